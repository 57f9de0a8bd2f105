"""What answers and rejections teach about a service's hidden limit; pure arithmetic over ``now``.

It refuses to wait and to know who waits: ``gate`` asks ``delay(now)``, and tells it what became of
each request.

How it finds a limit that nobody tells:

- It begins with 20 requests a millisecond apart, then doubles what it has sent again and again,
  at the pace at which word of a rejection can come back: long before answers do.
- A rejection at a level (requests in flight, itself included) that was *not* accepted lately is
  taken for a limit on the number at once: ``window`` becomes one less.
- A rejection at a level that *was* accepted lately must be one on the rate. A token bucket is
  empty at each rejection; so if A were accepted in the dt seconds between two of them, the rate is
  between (A-1)/dt and (A+1)/dt. The estimate is pulled into these bounds, and they close.
- Just above what it knows it goes on feeling for more, slowly while a rejection is due and fast
  when none came for long; each estimate apart, and only while it is what holds requests back.
"""

import math
from collections import deque

from attrs import define, field

from laplas_async.pacing.limits import Ledger, Limits, Ticket

_FIRST = 20  # requests of the first train
_TRAIN_GAP = 0.001
_SCOUTS, _LOOK = 2, 0.01  # the first two, and the seconds that they get to be rejected in
_STEEP, _STEADY_GAP = 200, 0.001
_LEAST_GAP = 0.0002  # seconds between two requests while no rate is known
_DOUBLING = 0.3  # seconds, until it is known how far away the service is
_NEAR, _FAR = 0.06, 0.6
_CAREFUL = 40
_RECENT = 64
_LEAST_SPAN = 0.1
_FEW = 8
_FIRST_PROBE = 16
_PROBE = 80  # accepted requests between two probes of the number at once
_CREEP = 0.02
_LONGEST_SPAN = 50.0
_SETTLE = 0.25  # seconds after which a request that was not rejected counts as accepted
_CATCH_UP = 0.02  # seconds of the schedule that may be made up for when the timer was late
_SEARCH_SPAN = 8.0
_LOST = 10  # failures in a row, without an answer, that mean the service is down
_MAX_PAUSE = 30.0
_SLOWEST = 1 / 30  # requests a second


@define(eq=False, repr=False)
class Limiter:
    """How many may be in flight, and from when. ``ceiling``: never more at once than this."""

    limits: Limits = field(factory=Limits)
    ceiling: int = 1000
    in_flight: int = 0
    rejected: int = 0
    window: float = math.inf
    rate: float = math.inf
    _sent: int = 0  # of the first ramp
    _ramping: bool = True
    _doubling: float = _DOUBLING
    _next_at: float = -math.inf
    _closed_until: float = -math.inf
    _decided_at: float = -math.inf  # what was sent before has taught its lesson
    _empty_at: float | None = None  # the last rejection: the bucket was empty then
    _accepted: int = 0  # sent since, less the rejected
    _base: float = math.inf  # the rate before feeling for more
    _over_rate: int = 0  # accepted since the last rejection for the rate, while it held us back
    _felt_at: float = -math.inf
    _over_window: int = 0
    _probe_after: int = _FIRST_PROBE
    _probe_step: float = 0.5
    _searching: bool = False
    _last_level: int = 0
    _anchor: float = math.inf  # the first of the levels rejected one soon after the other
    _full_at: float = math.inf  # the rejected one that set the window was sent then
    _in_a_row: int = 0  # rejections, with nothing accepted that was sent after the first
    _proven: int = 0  # the highest level accepted since the last rejection
    _young: deque[Ticket] = field(factory=deque)  # sent, and not yet known as accepted
    _running: dict[Ticket, None] = field(factory=dict)  # in flight, in the order of sending
    _rate_held: bool = False
    _window_held: bool = False
    _held: int = 0  # of those accepted since the last rejection, how many waited for the rate
    _recent: deque[float] = field(factory=lambda: deque(maxlen=_RECENT))
    _last_was_number: bool = False
    _settle_after: float = _SETTLE
    _echo: float = 0.0  # seconds from sending to being rejected
    _sum_accepted: float = 0.0
    _sum_seconds: float = 0.0
    _careful: int = 0
    _failures: int = 0
    _ledger: Ledger = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ledger = Ledger(self.limits)

    # --- asked by the gate ----------------------------------------------------------------------

    @property
    def concurrency(self) -> int:
        """How many may be in flight now."""
        told = self.limits.concurrency
        most = self.ceiling if told is None else min(told, self.ceiling)
        if not self.limits.adaptive:
            return most
        if self._failures >= _LOST:
            return 1
        return max(1, min(most, int(self.window) if self.window < math.inf else most))

    def delay(self, now: float, tokens: int = 0) -> float:
        """Seconds until the next may go; 0: now; infinite: when one in flight has ended."""
        if self.in_flight >= self.concurrency:
            self._window_held = True
            return math.inf
        at = self._closed_until
        if self.limits.adaptive and self._next_at > at:
            at = self._next_at
            if at > now:
                self._rate_held = True
        return max(0.0, at - now, self._ledger.delay(now, tokens))

    # --- told by the gate -----------------------------------------------------------------------

    def start(self, now: float, tokens: int = 0) -> Ticket:
        """One goes."""
        self.in_flight += 1
        ticket = Ticket(now, self.in_flight, tokens)
        self._running[ticket] = None
        self._ledger.enter(ticket)
        if self.limits.adaptive:
            self._learn_from_start(ticket, now)
        return ticket

    def hear(self, seconds: float) -> None:
        """To connect took so long: a rejection will hardly take longer to come back."""
        self._doubling = min(_FAR, max(_NEAR, 2 * seconds))

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """It used so many tokens, in place of those reserved."""
        self._ledger.settle(ticket, tokens)

    def end(self, ticket: Ticket) -> None:
        """It is over, in a way that teaches nothing: cancelled, refused for itself."""
        self.in_flight -= 1
        del self._running[ticket]

    def answer(self, ticket: Ticket) -> None:
        """It was answered, so it was accepted."""
        self._failures = 0
        self._prove(ticket)
        self.end(ticket)

    def fail(self, ticket: Ticket, now: float, pause: float = 0.5) -> None:
        """The service failed (5xx, no connection). When it is down, only probes go, ever rarer."""
        self.end(ticket)
        self._failures += 1
        if self._failures >= _LOST and self.limits.adaptive:
            steps = min(self._failures - _LOST, 10)
            self._closed_until = max(self._closed_until, now + min(_MAX_PAUSE, pause * 2**steps))

    def pause(self, now: float, seconds: float) -> None:
        """The service told that it takes none for so long."""
        self._closed_until = max(self._closed_until, now + seconds)

    def reject(self, ticket: Ticket, now: float, retry_after: float | None = None) -> None:
        """It was rejected for the rate or for the number at once."""
        self.end(ticket)
        self.rejected += 1
        ticket.level += self._overtook(ticket)
        ticket.settled = ticket.rejected = True
        if not self.limits.adaptive:
            return
        self._in_a_row += 1
        if self._in_a_row >= _FEW:
            # Whatever the reason is: let word of what is under way come back first.
            pause = max(2 * (now - ticket.started), 0.001 * self._in_a_row)
            self._closed_until = max(self._closed_until, now + min(0.5, pause))
        if retry_after is not None:
            self.pause(now, retry_after)
        if ticket.started <= self._decided_at:
            # It was on its way already, and is part of the same lesson.
            if self._last_was_number:
                self._correct_number(ticket)
            if self._empty_at is None or ticket.started > self._empty_at:
                self._begin_epoch(ticket)
            return
        later = sum(1 for young in self._young if young.started >= ticket.started)
        accepted = max(0, self._accepted - later)
        self._settle_before(ticket)
        self._echo = max(now - ticket.started, 0.7 * self._echo)
        self._settle_after = min(1.0, max(0.01, 4 * self._echo))
        if self._ramping:
            self._ramping = False
            self._careful = _CAREFUL
        self._last_was_number = self._is_of_number(ticket, accepted)
        if self._last_was_number:
            self._full_at = ticket.started
            if accepted >= _FEW or math.isinf(self._anchor):
                self._anchor = ticket.level
            self._take_as_number(ticket)
            self._proven = ticket.level - 1
        else:
            self._take_as_rate(ticket, now, accepted)
            self._proven = 0
            self._probe_after = _FIRST_PROBE
        self._last_level = ticket.level
        self._decided_at = now
        self._begin_epoch(ticket)

    def _overtook(self, rejected: Ticket) -> int:
        """How many in flight were sent later, and yet were there before it."""
        later = 0
        for ticket in reversed(self._running):
            if ticket.started <= rejected.started:
                break
            later += ticket.settled
        return later

    def _is_of_number(self, ticket: Ticket, accepted: int) -> bool:
        """Whether it was rejected for the number at once, and not for the rate."""
        level, proven = ticket.level, self._proven
        if level > max(1, proven):
            # While many are still in flight from before, each is rejected at a lower level.
            return not (self._searching and accepted < _FEW and level < self._last_level)
        # A few more than the limit are accepted by luck, when others have just ended over there.
        near = level >= proven - proven // 32 and proven > 1
        if self._empty_at is None or math.isinf(self.rate):
            return near and (accepted >= 2 * level or self._empty_at is None)
        if not near or not level >= self.window - self.window / 32 >= 31:
            return False
        if accepted < _FEW:
            # Soon after another, and hardly lower; lower and lower is the way of a rate.
            return self._last_was_number and level >= self._anchor - self._anchor / 64
        return accepted < 0.7 * self.rate * (ticket.started - self._empty_at)

    # --- learning -------------------------------------------------------------------------------

    def _learn_from_start(self, ticket: Ticket, now: float) -> None:
        self._settle_young(now)
        self._young.append(ticket)
        self._accepted += 1
        if self._ramping:
            self._sent += 1
            gap = self._ramp_gap(self._sent)
        else:
            gap = _LEAST_GAP if math.isinf(self.rate) else 1.0 / self.rate
            if self._careful:  # what kind of limit it is shows with the next: not all at once
                self._careful -= 1
                gap = max(gap, self._echo / 2)
        # The schedule goes on from where it was, so that a late timer costs nothing.
        late = now - self._next_at
        catch_up = _TRAIN_GAP if self._ramping else _CATCH_UP
        self._next_at = (self._next_at if late < catch_up else now) + gap
        self._recent.append(now)
        if self._rate_held:
            self._rate_held = False
            self._held += 1
            self._feel_for_rate(now)
        if self._window_held or self.in_flight >= self.concurrency:
            self._window_held = False
            self._feel_for_number()

    def _ramp_gap(self, sent: int) -> float:
        """Seconds after the so-manieth request of the first ramp."""
        if sent < _FIRST:
            return _LOOK if sent == _SCOUTS else _TRAIN_GAP
        gap = self._doubling / (sent * math.log(2))
        # Beyond that, only steadily for a while: at such a pace it is the client's own machine
        # that word of a rejection waits for.
        return gap if sent < _STEEP else max(gap, _STEADY_GAP * min(1.0, 2 * _STEEP / sent))

    def _feel_for_rate(self, now: float) -> None:
        if math.isinf(self._base):
            return
        self._over_rate += 1
        if self._searching:
            more = 2 ** (self._over_rate / _SEARCH_SPAN)
        else:
            # The less the estimate rests on, the sooner it is doubted.
            n = self._over_rate / min(_LONGEST_SPAN, max(_SEARCH_SPAN, self._sum_accepted))
            more = 1 + _CREEP * n**2
            if n > 2:  # a rejection was due, and none came: the limit is higher
                more = (1 + _CREEP * 4) * 2 ** min(n - 2, 30)
        # Never faster than word of a rejection can come back.
        since, self._felt_at = now - self._felt_at, now
        most = self.rate * (1 + min(1.0, since / max(self._doubling, 2 * self._echo)))
        self.rate = min(self._base * more, most)

    def _feel_for_number(self) -> None:
        if math.isinf(self.window):
            return
        self._over_window += 1
        due = self._probe_after
        # The first step costs a rejection if the limit is where it was; each of the next is for a
        # limit that has moved up, and goes from what was accepted.
        if self._over_window == due:
            self.window += 1
            self._probe_step = 0.5
        elif self._over_window > due and self._proven >= int(self.window):
            # The first of them may have met with luck: one had just ended over there.
            self._probe_step *= 2.0
            self.window += max(1.0, min(self._probe_step, self.window / 16))

    def _take_as_number(self, ticket: Ticket) -> None:
        self.window = max(1.0, min(self.window, float(ticket.level - 1)))
        if self._over_window:  # found again where it was thought to be: look less often
            self._probe_after = min(_PROBE, 3 * self._probe_after)
        self._over_window = 0

    def _take_as_rate(self, ticket: Ticket, now: float, accepted: int) -> None:
        if self._empty_at is None:  # the very first, of a single request at a time
            accepted, seconds = 1, max(0.05, now - ticket.started)
        else:
            since = self._empty_at
            if accepted > 2 * self._held and accepted > _RECENT and len(self._recent) == _RECENT:
                # The rate did not hold us back for most of the time: the bucket may have run over.
                # What was sent at the last tells more; it errs upwards, and the next is exact.
                accepted, since = _RECENT - 1, max(since, self._recent[0])
                self._sum_accepted = self._sum_seconds = 0.0
                self._base = math.inf
                since = min(since, ticket.started - _LEAST_SPAN)  # a burst is no rate
            seconds = max(1e-3, ticket.started - since)
        low, high = max(0.0, accepted - 1) / seconds, (accepted + 1) / seconds
        known = self._base if self._base < math.inf else high
        if accepted < 1:
            self._base = max(_SLOWEST, min(known, high) / 2)
            self._searching = True
            self._sum_accepted = self._sum_seconds = 0.0
        else:
            self._base = min(max(known, low), high)
            self._searching = self._searching and accepted < 4
            self._add_up(accepted, seconds)
        self.rate = self._base
        self._over_rate, self._felt_at = 0, now
        self._next_at = now + 1.0 / self.rate

    def _correct_number(self, ticket: Ticket) -> None:
        """Another of the rejections that came at once."""
        if ticket.level <= self.window:
            self._take_as_number(ticket)
            self._proven = ticket.level - 1
            return
        # The one that set the window may have been overtaken on its way: what is in flight between
        # the two of them was let in.
        let_in = 0
        for running in self._running:
            if running.started >= ticket.started:
                break
            let_in += not running.rejected
        if ticket.started > self._full_at and let_in > self.window:
            self.window = float(let_in)
            self._proven = max(self._proven, let_in)

    def _add_up(self, accepted: int, seconds: float) -> None:
        """From empty to empty, over several rejections: the more, the closer the mean is."""
        sum_a, sum_s = self._sum_accepted, self._sum_seconds
        if (sum_a and not (accepted - 1) / seconds <= (sum_a + 1) / sum_s) or (
            sum_a and not (sum_a - 1) / sum_s <= (accepted + 1) / seconds
        ):
            sum_a = sum_s = 0.0  # they contradict: the limit has moved
        if sum_a > 200:
            sum_a, sum_s = sum_a / 2, sum_s / 2
        self._sum_accepted, self._sum_seconds = sum_a + accepted, sum_s + seconds
        if self._sum_accepted >= 4:
            self._base = self._sum_accepted / self._sum_seconds

    def _begin_epoch(self, rejected: Ticket) -> None:
        """The bucket was empty when this one came: from here on is counted."""
        self._empty_at = rejected.started
        self._held = 0
        self._accepted = sum(
            1 for ticket in self._young if ticket.started > rejected.started and not ticket.rejected
        )

    def _settle_young(self, now: float) -> None:
        """What was sent a while ago and was not rejected has been accepted."""
        young = self._young
        while young and (young[0].started <= now - self._settle_after or young[0].settled):
            self._prove(young.popleft())

    def _settle_before(self, rejected: Ticket) -> None:
        """A rejection overtakes none: what was sent before it and was not rejected is accepted."""
        young = self._young
        while young and (young[0].started < rejected.started or young[0].settled):
            self._prove(young.popleft())

    def _prove(self, ticket: Ticket) -> None:
        if not ticket.settled:
            ticket.settled = True
            if ticket.started > self._decided_at:
                self._in_a_row = 0
                self._proven = max(self._proven, ticket.level)
