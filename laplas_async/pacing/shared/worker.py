"""A worker's side: what a gate asks in place of a limiter of its own.

Pure: it is given messages and ``now``, and returns what is to be sent. A permit that the leader
has granted lets one request through. It refuses to guess: it sends only what was granted, until
nothing is heard for a second; from then on its share of what was known last (``fallback``).
"""

import math
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import attrs
from attrs import define, evolve

from laplas_async.pacing.decision import GO, Go, Wait
from laplas_async.pacing.ledger import Rule, Ticket
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.fallback import ShareLimiter

# Seconds without a message from the leader, which sends its state every 0.5 s
# (test_worker: alone).
ALONE_AFTER: Final = 1.0
# Seconds between calls of ``tick``. After a gap of seven, this process was stopped or its event
# loop blocked: the leader may have given its permits to others (test_worker: stopped).
TICK: Final = 0.25
_STOPPED: Final = 7 * TICK
_ALIVE_EVERY: Final = 0.5  # seconds
_GREET_EVERY: Final = 1.0  # seconds: one greeting may be lost, or meet a leader that is ending
# Reports that are kept for the next leader: half a second's while there is one; without one, about
# three minutes at ten requests a second. Older ones are dropped (test_worker: memory).
_MOST_HISTORY: Final = 4096
# Tokens are sent for so many waiting tasks; the others follow as these are served.
_COSTS_AHEAD: Final = 32
WAITING: Final = "the limit is shared: waiting for a permit"
JOINING: Final = "joining the workers that share the limit"


class Mode(Enum):
    """Who decides."""

    JOINING = "nobody yet"
    SHARED = "the leader"
    ALONE = "this worker, by its share"
    REFUSED = "this worker, by its configured limits"


@define(eq=False, repr=False)
class Granted(Ticket):
    """A permit that is in use. ``local``: its ticket while this worker decides itself."""

    number: int = 0
    local: Ticket | None = None


@define(eq=False, repr=False)
class _Outbox:
    """Reports that wait to be sent, and those that the next leader must learn of.

    ``urgent``: one is to be sent at once, not with the next batch. ``history``: (time, report)
    since the last state.
    """

    reports: list[m.Report] = attrs.field(factory=list)
    urgent: bool = False
    history: deque[tuple[float, m.Report]] = attrs.field(
        factory=lambda: deque(maxlen=_MOST_HISTORY)
    )

    def add(self, kind: str, number: int, value: float | None, now: float, *, send: bool) -> None:
        """Add one."""
        report = (kind, number, value, 0.0)
        self.history.append((now, report))
        if not send:
            return
        self.urgent = self.urgent or kind in {m.REJECTED, m.FAILED, m.PAUSE}
        last = self.reports[-1] if self.reports else None
        if kind == m.ENDED and last is not None and last[:2] == (m.ACCEPTED, number):
            self.reports[-1] = (m.DONE, number, None, 0.0)
        else:
            self.reports.append(report)

    def remember(self, kind: str, number: int, value: float | None, now: float) -> None:
        """Add what the present leader knows already."""
        self.history.append((now, (kind, number, value, 0.0)))

    def take(self) -> tuple[m.Report, ...]:
        """What is to be sent."""
        reports, self.reports, self.urgent = tuple(self.reports), [], False
        return reports


class SharedLimiter:
    """The interface of ``Limiter``; ``name``: of this worker, unique among all.

    ``ceiling``: never more in flight here than this. ``version``: of this package.
    """

    def __init__(
        self, limits: Limits, name: str, now: float, *, ceiling: int, version: str
    ) -> None:
        self.name = name
        self.version = version
        self.mode = Mode.JOINING
        self.rejections = 0
        self.outbox = _Outbox()
        self.state: m.State | None = None  # the last that was broadcast
        self._state_at = now
        self.configured = limits
        self._ceiling = ceiling
        self._local: Limiter | None = None
        self._stock: deque[tuple[int, int]] = deque()  # (number, cost): granted and not used
        self._held: dict[int, Granted] = {}
        self._sent: deque[tuple[float, int]] = deque(maxlen=_MOST_HISTORY)  # (time, tokens)
        self._next_number = 1
        self._wanted = 0  # by what the leader was sent, less what it has granted since
        self._heard = self._ticked = self._spoke = self._greeted = now

    # --- the interface of a limiter: questions ------------------------------------------------

    @property
    def limits(self) -> Limits:
        """What is configured. A worker that was refused does not learn."""
        if self.mode is Mode.REFUSED:
            return evolve(self.configured, adaptive=False)
        return self.configured

    @property
    def in_flight(self) -> int:
        """How many requests of this worker are in flight."""
        return len(self._held)

    @property
    def concurrency(self) -> int:
        """How many may be in flight now, of all workers together; alone, of this one."""
        if self._local is not None:
            return self._local.concurrency
        if self.state is not None:
            return self.state.concurrency
        configured = self.configured.concurrency
        return self._ceiling if configured is None else min(configured, self._ceiling)

    @property
    def closed(self) -> bool:
        """Whether only probes go."""
        if self._local is not None:
            return self._local.closed
        return self.state is not None and self.state.closed

    @property
    def rate_per_second(self) -> float | None:
        """The learned pace of all workers together; alone, of this one."""
        if self._local is not None:
            return self._local.rate_per_second
        return None if self.state is None else self.state.rate

    @property
    def verdict(self) -> str | None:
        """What the last rejection was taken for; None where another process judges."""
        return None if self._local is None else self._local.verdict

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What is configured, and what all workers together have learned."""
        if self.state is None or self.mode is Mode.REFUSED:
            return Limiter(self.configured).rules
        shift = self._state_at - self.state.now
        return tuple(_rule(one, shift) for one in self.state.rules)

    def decide(self, now: float, cost: int = 0) -> Go | Wait:
        """Whether a request that costs ``cost`` tokens may be sent now."""
        if self._local is not None:
            return self._local.decide(now, cost)
        if self.in_flight < self._ceiling and any(
            self._fits(most, cost) for _, most in self._stock
        ):
            return GO
        if self.mode is Mode.JOINING:
            return Wait(math.inf, JOINING)
        return Wait(math.inf, (self.state.reason if self.state else "") or WAITING)

    # --- the interface of a limiter: facts ----------------------------------------------------

    def connected(self, delay: float) -> None:
        """A connection took ``delay`` seconds."""
        self._report(m.CONNECTED, 0, delay, self._ticked)

    def started(self, now: float, cost: int = 0) -> Ticket:
        """A request is sent, with a permit that fits it."""
        local = None
        if self._local is None:
            number = self._use(now, cost)
        else:
            local = self._local.started(now, cost)
            number, self._next_number = self._next_number, self._next_number + 1
        ticket = Granted(now, self.in_flight + 1, cost, number=number, local=local)
        self._held[number] = ticket
        self._sent.append((now, cost))
        self.outbox.remember(m.STARTED, number, float(cost), now)
        return ticket

    def accepted(self, ticket: Ticket, now: float) -> None:
        """The service took it."""
        granted = _granted(ticket)
        if self._local is not None and granted.local is not None:
            self._local.accepted(granted.local, now)
        if granted.number in self._held and not granted.accepted:
            granted.accepted = True
            self._report(m.ACCEPTED, granted.number, None, now)

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """It used ``tokens``, in place of those reserved."""
        granted = _granted(ticket)
        if self._local is not None and granted.local is not None:
            self._local.settle(granted.local, tokens)
        if granted.number in self._held:
            self._report(m.TOKENS, granted.number, tokens, self._ticked)
        granted.tokens = tokens

    def ended(self, ticket: Ticket, now: float) -> None:
        """It is over, and nothing more is known of it."""
        local = self._end(m.ENDED, ticket, None, now)
        if self._local is not None and local is not None:
            self._local.ended(local, now)

    def failed(self, ticket: Ticket, now: float) -> None:
        """The service failed, or could not be reached."""
        local = self._end(m.FAILED, ticket, None, now)
        if self._local is not None and local is not None:
            self._local.failed(local, now)

    def rejected(self, ticket: Ticket, now: float, retry_after: float | None = None) -> None:
        """It was rejected for a limit; ``retry_after``: the seconds that the service asked for."""
        self.rejections += 1
        local = self._end(m.REJECTED, ticket, retry_after, now)
        if self._local is not None and local is not None:
            self._local.rejected(local, now, retry_after)

    def pause(self, now: float, delay: float) -> None:
        """Send nothing for ``delay`` seconds."""
        if self._local is not None:
            self._local.pause(now, delay)
        self._report(m.PAUSE, 0, delay, now)

    # --- the leader -----------------------------------------------------------------------------

    @property
    def wanted(self) -> int:
        """How many permits the leader was asked for, less what it has granted since."""
        return self._wanted

    @property
    def has_stock(self) -> bool:
        """Whether a granted permit is not used yet."""
        return bool(self._stock)

    def state_age(self, now: float) -> float:
        """Seconds since the last state was broadcast."""
        return now - self._state_at

    def begin(self, now: float) -> None:
        """It joins from now on."""
        self._heard = self._ticked = self._spoke = self._greeted = now

    def hello(self, now: float) -> m.Hello:
        """What is sent first on a new connection, and after being expired."""
        self._void_permits()
        self._spoke = self._greeted = now
        return m.Hello(
            name=self.name,
            version=self.version,
            protocol=m.PROTOCOL,
            next_number=self._next_number,
            held=tuple((ticket.number, ticket.tokens) for ticket in self._held.values()),
            history=tuple(
                (kind, number, value, max(0.0, now - at))
                for at, (kind, number, value, _) in self.outbox.history
            ),
            state=self.state,
            state_age=now - self._state_at,
        )

    def receive(self, message: m.Message, now: float) -> m.Message | None:
        """The leader says something; what is to be replied at once."""
        stopped = now - self._ticked > _STOPPED
        self._heard = self._ticked = now
        match message:
            case m.Welcome():
                self._share()
            case m.Refused():
                self.mode, self._local = Mode.REFUSED, None
                self._decide_alone(Limiter(self.limits, ceiling=self._ceiling))
            case m.Expired():
                return self._rejoin(now)
            case _ if self.mode is Mode.ALONE or (stopped and self.mode is Mode.SHARED):
                # The leader may have expired this worker, and given what it holds to others.
                return self._rejoin(now)
            case m.State():
                self._keep(message, now)
            case m.Grant() if self.mode is Mode.SHARED:
                self._stock.extend(enumerate(message.costs, message.first))
                self._next_number = message.first + len(message.costs)
                self._wanted -= len(message.costs)
        return None

    def disconnected(self, now: float) -> None:
        """The connection to the leader is lost: it has ended, or closed it."""
        self._void_permits()
        if self.mode is Mode.SHARED:
            self.mode = Mode.JOINING
            self._heard = now

    def tick(self, now: float) -> float:
        """A quarter of a second has passed; for how many seconds the leader has been silent."""
        if now - self._ticked > _STOPPED:  # it was this process that was stopped
            self._heard = now
        self._ticked = now
        silent = now - self._heard
        if silent > ALONE_AFTER and self.mode in {Mode.SHARED, Mode.JOINING}:
            self._void_permits()
            self.mode = Mode.ALONE
            self._decide_alone(self._share_of_known())
        return silent

    def outgoing(self, now: float, waiting: int, costs: Sequence[int] = ()) -> list[m.Message]:
        """What is to be sent now; ``waiting``: tasks, in whose order ``costs`` are."""
        if self.mode is not Mode.SHARED:
            self.outbox.take()  # the next leader learns of them from the history
            if self.mode is Mode.REFUSED or now - self._greeted < _GREET_EVERY:
                return []
            return [self.hello(now)]
        for number, _ in self._stock:  # nobody waits for them any more, or they do not fit
            self.outbox.add(m.UNUSED, number, None, now, send=True)
        self._stock.clear()
        sent: list[m.Message] = []
        if reports := self.outbox.take():
            sent.append(m.Reports(reports))
        counts_tokens = self.configured.tokens_per_minute is not None
        if waiting != self._wanted or (counts_tokens and waiting):
            self._wanted = waiting
            ahead = tuple(costs[:_COSTS_AHEAD])
            sent.append(m.Want(self._next_number - 1, waiting, ahead))
        if now - self._spoke >= _ALIVE_EVERY:
            self._spoke, self._wanted = now, waiting
            ahead = tuple(costs[:_COSTS_AHEAD])
            sent.append(m.Alive(self._next_number - 1, waiting, ahead, tuple(self._held)))
        return sent

    def _fits(self, most: int, cost: int) -> bool:
        """Tokens are only kept to where they are limited; else they are what may be learned."""
        return most >= cost or self.configured.tokens_per_minute is None

    def _use(self, now: float, cost: int) -> int:
        for position, (number, most) in enumerate(self._stock):
            if self._fits(most, cost):
                del self._stock[position]
                if most != cost:
                    self._report(m.TOKENS, number, cost, now)
                return number
        raise RuntimeError("started without a permit: ask decide() first")

    def _end(self, kind: str, ticket: Ticket, value: float | None, now: float) -> Ticket | None:
        granted = _granted(ticket)
        if self._held.pop(granted.number, None) is not None:
            self._report(kind, granted.number, value, now)
        return granted.local

    def _report(self, kind: str, number: int, value: float | None, now: float) -> None:
        self.outbox.add(kind, number, value, now, send=self.mode is Mode.SHARED)

    def _void_permits(self) -> None:
        self._stock.clear()
        self._wanted = 0

    def _rejoin(self, now: float) -> m.Hello | None:
        if self.mode is Mode.REFUSED or (self.mode is Mode.ALONE and now == self._greeted):
            return None
        if self.mode is Mode.SHARED:
            self.mode = Mode.JOINING
        return self.hello(now)

    def _share(self) -> None:
        self.mode, self._local = Mode.SHARED, None
        for ticket in self._held.values():
            ticket.local = None
        self.outbox.take()
        self._void_permits()

    def _keep(self, state: m.State, now: float) -> None:
        if self.mode is not Mode.SHARED:  # it says nothing of what was sent meanwhile
            return
        self.state, self._state_at = state, now
        self.outbox.history.clear()

    def _decide_alone(self, local: Limiter) -> None:
        """From here on ``local`` decides; what is in flight counts."""
        self._local = local
        for ticket in self._held.values():
            local.in_flight += 1
            ticket.local = Ticket(ticket.started, local.in_flight, settled=True, accepted=True)

    def _share_of_known(self) -> Limiter:
        state = self.state
        names = () if state is None else state.workers
        workers = max(1, len(names))
        rank = names.index(self.name) if self.name in names else 0
        return ShareLimiter(
            self.configured,
            self.rules,
            workers=workers,
            rank=rank,
            ceiling=self._ceiling,
            sent=self._sent,
        )


def _granted(ticket: Ticket) -> Granted:
    if not isinstance(ticket, Granted):
        raise TypeError("a ticket of another limiter")
    return ticket


def _rule(values: dict[str, Any], shift: float) -> Rule:
    rule = Rule(**values)
    return rule if rule.evidence == "configured" else evolve(rule, since=rule.since + shift)
