"""Learns the limits that nobody publishes; ``limiter`` explains how. It enforces no configured one.

It owns the estimators, attributes each rejection to one of them, and closes when none explains it.
"""

import math

from attrs import define, field

from laplas_async.pacing.air import Air
from laplas_async.pacing.closure import Closure
from laplas_async.pacing.concurrency import Concurrency
from laplas_async.pacing.decision import LEARNED, PROBING, STARTING, TRYING
from laplas_async.pacing.ledger import Book, Rule, Ticket
from laplas_async.pacing.ramp import Ramp
from laplas_async.pacing.rate import Rate
from laplas_async.pacing.spacing import Spacing
from laplas_async.pacing.tuning import TUNING
from laplas_async.pacing.verdict import Cause, Evidence, Held, judge
from laplas_async.pacing.window import Window

_OTHERS = (Held.WINDOW, Held.LONGER, Held.PLACES)  # rules besides the pace


@define(eq=False, repr=False)
class Learner:
    """The present beliefs: ``rate``, ``window`` and a ``longer`` one, ``places``.

    ``closure``: while only probes go. ``trial``: the last closure, while what is accepted after it
    shows the kind of limit.
    """

    air: Air = field(factory=Air)
    ramp: Ramp = field(factory=Ramp)
    places: Concurrency = field(factory=Concurrency)
    rate: Rate | Spacing | None = None
    window: Window = field(factory=Window)
    longer: Window = field(factory=Window)
    closure: Closure | None = None
    trial: Closure | None = None
    cause: Cause | None = None  # of the last rejection that was judged
    _ended: int = 0  # requests, ever
    _decided_at: float = -math.inf  # what was sent before belongs to the last lesson
    _lessons: int = 0  # in a row, with nothing accepted that was sent between
    _books: list[Book] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._books = [self.window.book, self.longer.book]

    # --- questions ------------------------------------------------------------------------------

    @property
    def most_at_once(self) -> float:
        """The learned limit on the number in flight; infinite where none is believed."""
        if self.trial is not None and self.places.feasible:
            return min(self.places.limit, self.places.cap + 1)
        return self.places.limit

    def rules(self) -> list[Rule]:
        """What is believed."""
        rules = [window.rule for window in (self.window, self.longer) if window.believed]
        if self.rate is not None:
            rules.insert(0, self.rate.rule)
        if self.places.believed:
            rules.append(self.places.rule)
        return rules

    def free_at(self, now: float, cost: int, level: int) -> tuple[float, str]:
        """From when the next may be sent, and what it waits for."""
        if self.closure is not None:
            at = max(self.closure.next_at, self.air.clear_at())
            # The pace holds for probes too: the one in the air may turn out to have reopened.
            paced = -math.inf if self.rate is None else self.rate.book.free_at(now, cost)
            return max(at, paced), PROBING
        if self.trial is not None and self.window.accepted < TUNING.trial_serial:
            until, reason = self.air.clear_at(), TRYING
        else:
            until, reason = self.ramp.next_at, STARTING
        if level >= self.places.sure:
            until = max(until, self.air.last_sent + self.places.gap)
        for book in self._books:
            if (at := book.free_at(now, cost)) > until:
                until, reason = at, LEARNED
        return until, reason

    # --- facts ----------------------------------------------------------------------------------

    def start(self, ticket: Ticket) -> None:
        """A request is sent."""
        now, ticket.ended = ticket.started, self._ended
        self._settle(now, -math.inf)
        if self.window.start == -math.inf:
            self.window.open(now)
            self.longer.open(now)
        if self.closure is None:
            ticket.held = self._held(ticket)
            if self.rate is not None and ticket.held in _OTHERS:
                self.rate.interrupt()
            self.window.send(now, self.air.overtaking)
            self.longer.send(now, self.air.overtaking)
            accepted = self.window.accepted
            if self.window.established:
                accepted = max(accepted, int(self.window.number))
            if self.air.measured:
                round_trip = self.air.settle_after
                self.ramp.send(now, accepted, round_trip, doubling=self.trial is not None)
            else:
                self.ramp.grope(now, self.longer.start)
        for book in self._books:
            book.enter(now, ticket.tokens)
        self.air.add(ticket)

    def accept(self, ticket: Ticket, now: float) -> None:
        """It was accepted."""
        if not ticket.settled:
            self.air.respond(now - ticket.started)
            self._accept(ticket, now)

    def end(self, ticket: Ticket, now: float, in_flight: int) -> None:
        """It is over; so many are in flight still."""
        self._settle(now, -math.inf)  # while this one was inside
        self._ended += 1
        if ticket.accepted:
            self.places.end(now - ticket.started)
        ticket.settled = True
        closure = self.closure
        if closure is not None and ticket.accepted and ticket.started < closure.last:
            closure.completed = True
            if self.places.feasible and in_flight < closure.level:
                closure.next_at = min(closure.next_at, now)

    def reject(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        """It was rejected."""
        if ticket.accepted:  # silence was taken for acceptance too early
            self.window.retract()
            self.longer.retract()
            self.places.retract(ticket)
        ticket.settled, ticket.accepted = True, False
        self._ended += 1
        self.air.reject(now - ticket.started)
        self._settle(now, ticket.started - self.air.overtaking)
        for book in self._books:
            book.refund(ticket.started, 0)
        self.places.reject(ticket, self.air.overtakers(ticket.started))
        if self.closure is not None:
            if ticket.started > self.closure.decided:
                self.closure.reject(ticket, now, retry_after)
        elif ticket.started > self._decided_at:
            self._lessons += 1
            self._learn(ticket, now)
            if self.closure is not None and retry_after is not None:
                self.closure.asked = retry_after
            self._decided_at = now

    # --- learning -------------------------------------------------------------------------------

    def _settle(self, now: float, before: float) -> None:
        for ticket in self.air.settled(now, before):
            self._accept(ticket, now)

    def _held(self, ticket: Ticket) -> Held:
        now, window, longer = ticket.started, self.window, self.longer
        if self.places.held(ticket.level):
            return Held.PLACES
        if window.trying(now):
            return Held.WINDOW
        freed = -math.inf
        if self.rate is not None and self.rate.book.just_free(now):
            trying = self.rate.book.rate > self.rate.low
            freed = math.inf if trying else self.rate.book.free_at(now, 0)
        if longer.believed and longer.full and longer.book.free_at(now, 0) > freed:
            return Held.LONGER
        if window.believed and window.full and window.book.free_at(now, 0) > freed:
            return Held.WINDOW
        if freed > -math.inf:
            return Held.PACE
        return Held.WINDOW if window.believed and window.just_due(now) else Held.NOTHING

    def _accept(self, ticket: Ticket, now: float) -> None:
        ticket.settled = ticket.accepted = True
        self.places.accept(ticket, self._ended)
        if self.closure is not None:
            if ticket.started > self.closure.decided:
                self._reopen(self.closure, ticket.started)
            else:
                self.closure.accepted += 1
        self.window.accept()
        self.longer.accept()
        if self.rate is not None:
            self.rate.accept(now, held=ticket.held is Held.PACE)
        if ticket.started > self._decided_at:
            self._lessons = 0
        trial = self.trial
        if (
            trial is not None
            and not self.places.feasible
            and self.window.accepted > self._refill(trial, ticket.started) + 2
        ):
            self.trial = None
            self.window.believe(now, trial.accepted, trial.origin)
        elif (
            trial is not None
            and self.window.accepted > TUNING.intervals_known
            and self._rate_known(trial)
        ):
            self.trial = None  # it goes on as before

    def _reopen(self, closure: Closure, start: float) -> None:
        self.closure = None
        if self.rate is not None:
            self.rate.interrupt()
        window, longer = self.window, self.longer
        # What has held for several cycles does not become longer all at once.
        other = window.established and start - closure.first > TUNING.same * window.period
        overdue = closure.held is Held.LONGER or longer.book.used >= longer.number / 2
        if closure.measured is not None:
            closure.measured.measure(start, closure.last)
            closure.measured.open(start)
        elif longer.believed and overdue and not longer.accepted:
            longer.measure(start, closure.last)
            longer.open(start)
        elif window.established and start - closure.first > TUNING.longer * window.period:
            number, opened = longer.accepted, longer.start
            longer.open(start)
            longer.believe(start, number, opened)
        elif window.believed and self._was_window and not other:
            accepted, early = window.accepted, window.early
            window.measure(start, closure.last)
            if self._too_long(closure, start) and not early and accepted < window.number:
                window.lower(accepted)
        elif self.rate is not None and not window.believed and self._too_long(closure, start):
            window.open(start)
            window.believe(start, self.longer.accepted, self.longer.start)
            self.longer.open(start)
            self.trial = None
            self.ramp.next_at = -math.inf
            return
        explained = window.early or closure.measured is not None or self.rate is None
        same = self.rate is not None and self._intervals(closure, start) <= TUNING.intervals_same
        self.trial = None if same or (window.believed and explained) else closure
        window.open(start)
        if not window.believed:
            window.floor = closure.last - closure.first
        self.ramp.next_at = -math.inf

    @property
    def _was_window(self) -> bool:
        """Whether the window, and no other rule, was the cause of the closure."""
        window = self.window
        alone = self.rate is None and not self.places.believed
        return alone or window.early or window.accepted >= TUNING.measured_share * window.number

    def _too_long(self, closure: Closure, start: float) -> bool:
        """Whether a bucket of the believed rate, or a quarter of it, would have opened earlier."""
        return self._rate_known(closure) and self._intervals(closure, start) > TUNING.intervals

    def _rate_known(self, closure: Closure) -> bool:
        """Whether the rate had held for long enough, when it closed, to be relied upon."""
        rate = self.rate
        return rate is not None and rate.low * (closure.first - rate.since) > TUNING.intervals_known

    def _refill(self, trial: Closure, sent: float) -> float:
        """The most that a bucket could have gained during a closure."""
        if self._rate_known(trial):
            return math.inf
        closed = self.window.start - trial.first
        rate = self.window.accepted / max(1e-3, sent - trial.first)
        if closed > TUNING.window_closed and trial.accepted > TUNING.burst_seconds * rate:
            return -1.0  # no bucket saves up for so long
        return trial.refill(sent)

    def _begun_anew(self, trial: Closure) -> bool:
        """Whether it opened so late that the believed rate has moved."""
        return self._intervals(trial, self.window.start) > TUNING.intervals_same

    def _intervals(self, closure: Closure, start: float) -> float:
        return 0.0 if self.rate is None else self.rate.low * (start - closure.first)

    def _learn(self, ticket: Ticket, now: float) -> None:
        trial, self.trial = self.trial, None
        window = self.window
        evidence = Evidence(
            held=ticket.held,
            lessons=self._lessons,
            trial=trial is not None,
            accepted=window.accepted,
            early=window.early,
            longer_accepted=self.longer.accepted,
            trying=window.trying(now),
            refill=self._refill(trial, ticket.started) if trial else math.inf,
            feasible=self.places.feasible,
            completed=trial is not None and trial.completed and trial.asked < TUNING.asked_most,
            number=window.number,
            rate=self.rate is not None,
        )
        self.cause = judge(evidence)
        match self.cause:
            case Cause.CONCURRENCY:
                self.places.believe(now)
            case Cause.LEVEL if not self.places.lower(ticket):
                pass
            case Cause.RATE:
                self._correct_rate(trial, ticket.started)
            case Cause.WINDOW if trial is not None:
                if window.believe(now, trial.accepted, trial.origin):
                    window.lower(window.accepted)
            case Cause.COUNT | Cause.UNKNOWN if self._shortened(ticket) is not None:
                self._lengthen(ticket, now)
            case Cause.COUNT:
                blamed = self.longer if ticket.held is Held.LONGER else window
                doubtful = blamed.doubtful
                blamed.reject()
                if doubtful:
                    self._close(ticket, now, blamed)
            case _:
                self._close(ticket, now)
        if trial is not None:
            self.places.forgive()
            if not evidence.feasible:
                self.places.refute()

    def _correct_rate(self, trial: Closure | None, sent: float) -> None:
        # Those that were sent later may have arrived before it.
        empty, later = sent + self.air.overtaking, self.air.later(sent)
        if trial is None or (self.rate is not None and not self._begun_anew(trial)):
            if self.rate is not None:
                self.rate.reject(empty, later)
            return
        if trial.accepted <= 1:
            self.rate = Spacing.begin(sent, start=self.window.start, trial=trial)
        else:
            self.rate = Rate.begin(sent, accepted=self.window.accepted, trial=trial)
            self.rate.book.empty(empty, later)
        self._books = [self.rate.book, self.window.book, self.longer.book]

    def _shortened(self, ticket: Ticket) -> Window | None:
        """The window that was tried with a shorter period, and rejected the first of its cycle."""
        if ticket.held is Held.PACE or ticket.held is Held.PLACES:
            return None
        for window in (self.longer, self.window):
            if window.shorter and window.early:
                return window
        return None

    def _lengthen(self, ticket: Ticket, now: float) -> None:
        window = self._shortened(ticket)
        if window is not None:
            window.lengthen()
            self._close(ticket, now, window)
            if self.closure is not None:
                self.closure.next_at = max(now, window.start + window.period)

    def _close(self, ticket: Ticket, now: float, measured: Window | None = None) -> None:
        window, sent = self.window, ticket.started
        since = now
        if measured is not None:
            since = measured.start
        elif window.early:  # its period is longer
            since = window.origin
        self.closure = Closure(
            decided=now,
            since=since,
            first=sent,
            last=sent,
            opened=self.longer.origin if window.established else window.origin,
            origin=window.origin,
            accepted=window.accepted,
            held=ticket.held,
            measured=measured,
            slack=TUNING.settle_slack + self.air.overtaking,
        )
        self.closure.schedule(now)
