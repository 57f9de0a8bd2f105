"""One queue for all tasks of a client, in arrival order: when the next request may be sent.

It holds the waiting tasks and one timer; ``limiter`` decides. It refuses to retry, and to know what
a request contains.
"""

import asyncio
import heapq
import itertools
import logging
import math
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from laplas_async.errors import (
    ConfigError,
    LaplasError,
    RequestTimeoutError,
)
from laplas_async.pacing.decision import Decider
from laplas_async.pacing.ledger import Rule, Ticket
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.reservation import RequestSize, TokenEstimate, total_tokens
from laplas_async.types import DEFAULT_MODEL, Usage

if TYPE_CHECKING:
    from laplas_async.pacing.shared.gate import SharedGate

try:
    import resource
except ImportError:  # Windows: no limit of this kind
    _OPEN_FILES = math.inf
else:
    _OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

log = logging.getLogger("laplas_async")

# Requests in flight at most while nothing else is configured: more sockets than that cost more in
# the event loop than they gain, on any service that was measured.
_MOST_IN_FLIGHT = 1000
# Of the process's open files, so that a fifth is left to everything else; never fewer than 16.
_SHARE_OF_FILES, _LEAST_FILES = 0.8, 16
# A rule whose numbers drift by less than a twentieth is no news to subscribers.
_SAME = 0.05
NO_SIZE = RequestSize()
_NO_MONEY = "the budget has no room before a call in flight ends"


@frozen
class Pace:
    """What a gate knows and holds at one moment.

    ``rate``: learned requests per second, None while none is known; ``concurrency``: how many may
    be in flight; ``in_flight`` and ``waiting``: how many are; ``rejected``: rejections so far.
    ``rules``: the limits that are configured or believed, each with its evidence; ``str(rule)``
    reads "60 per minute (window)". ``reason``: why the next request waits now; None if it need
    not. ``verdict``: what the last rejection that was judged was taken for; None before the first.
    ``at``: the moment of all this, in seconds of the gate's clock, as ``Rule.since`` is.
    """

    rate: float | None
    concurrency: int
    in_flight: int
    waiting: int
    rejected: int
    rules: tuple[Rule, ...] = ()
    reason: str | None = None
    verdict: str | None = None
    at: float = 0.0

    def describe(self, *, wall: float | None = None) -> list[str]:
        """The rules as text: "60 per minute (window), since 12:03".

        ``wall``: the time of ``at`` in seconds since 1970; now by default.
        """
        wall = time.time() if wall is None else wall
        return [_describe(rule, wall - self.at) for rule in self.rules]


class LimitSubscriber(Protocol):
    """Is informed when the gate changes what it believes about the service's limits."""

    def limit_changed(self, pace: Pace) -> None:
        """Receive the new belief. Called in the event loop; must be quick and must not raise."""
        ...


class Permit:
    """The right to have one request in flight; returned once, by the way the request ended."""

    __slots__ = ("_gate", "_held", "_size", "_ticket", "turn")

    def __init__(self, gate: "Gate", turn: int, ticket: Ticket, size: RequestSize) -> None:
        self._gate = gate
        self._held = True
        self._size = size
        self._ticket = ticket
        self.turn = turn

    @property
    def started(self) -> float:
        """When it was granted, by the gate's clock."""
        return self._ticket.started

    def release(self) -> None:
        """Return it after an end that says nothing about limits. The second time does nothing."""
        if self._take():
            self._gate.limiter.ended(self._ticket, self._gate.clock())
            self._gate.admit()

    def accept(self) -> None:
        """The service took it, as a stream's first content shows; it is still in flight."""
        if self._held:
            self._gate.limiter.accepted(self._ticket, self._gate.clock())
            self._gate.admit()

    def succeed(self, usage: Usage | None = None) -> None:
        """Return it after a completion; ``usage`` corrects the reservation and the estimate."""
        if self._take():
            gate = self._gate
            if usage is not None and (tokens := total_tokens(usage)) is not None:
                gate.estimate.learn(self._size, usage)
                gate.limiter.settle(self._ticket, tokens)
            now = gate.clock()
            gate.limiter.accepted(self._ticket, now)
            gate.limiter.ended(self._ticket, now)
            gate.admit()

    def reject(self, retry_after: float | None = None) -> None:
        """Return it after a rejection for a limit; ``retry_after`` in seconds, if it was sent."""
        if self._take():
            self._gate.limiter.rejected(self._ticket, self._gate.clock(), retry_after)
            self._gate.admit()

    def exhaust(self, error: LaplasError) -> None:
        """Return it after a quota was used up, for which waiting seconds does not help."""
        if self._take():
            self._gate.limiter.ended(self._ticket, self._gate.clock())
            self._gate.exhaust(error)
            self._gate.admit()

    def pause(self, delay: float) -> None:
        """Send nothing for ``delay`` seconds: a response reported that the limit is used up."""
        self._gate.limiter.pause(self._gate.clock(), delay)

    def fail(self) -> None:
        """Return it after the service failed, or could not be reached."""
        if self._take():
            self._gate.limiter.failed(self._ticket, self._gate.clock())
            self._gate.admit()

    def _take(self) -> bool:
        held, self._held = self._held, False
        return held


class Gate:
    """Tasks wait here for their turn. Belongs to one event loop from its first use.

    Pass one gate to several clients of one service and key, and they share its limits. A waiting
    task that is cancelled is skipped; one that was admitted at the moment of its cancellation
    returns its place. A request that is tried again keeps its turn, so it goes before later ones.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        limiter: Decider | None = None,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], asyncio.Handle] | None = None,
    ) -> None:
        if limiter is None:
            limits = limits if limits is not None else Limits()
            limiter = Limiter(limits, ceiling=ceiling_for(limits.concurrency))
        self.limiter: Decider = limiter
        self.clock = clock
        self.estimate = TokenEstimate()
        self.on_room: set[Callable[[], None]] = set()  # called when a waiting task was admitted
        self._waiting: list[tuple[int, int, asyncio.Future[Ticket]]] = []
        self._count = 0
        self._elsewhere = 0
        self._turns = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._call_later = call_later
        # Weakly: a client that is dropped without being closed must not live on in a shared gate.
        self._subscribers: weakref.WeakSet[LimitSubscriber] = weakref.WeakSet()
        self._published = limiter.concurrency, limiter.closed, limiter.rules

    @staticmethod
    def shared(
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        model: str = DEFAULT_MODEL,
        limits: Limits | None = None,
        url: str | None = None,
    ) -> "SharedGate":
        """A gate that shares one learned limit with all others of this service, key and model.

        The first three as for ``LaplasClient``. Without ``url``: all processes of this user on this
        machine; nothing needs to be installed or started. ``url``: of a Redis server (7 or newer,
        or Valkey), as in ``redis://host:6379/0``, for processes on many machines; needs the extra
        ``redis``. Pass the same ``limits`` everywhere; a permit takes a round trip to the leader,
        so ``max_wait`` should be a second or more. Call ``aclose()`` at the end. Raises
        ``ConfigError``, also if the directory of the socket belongs to another user.
        """
        from laplas_async.pacing.shared.joining import make_gate  # noqa: PLC0415 - law 9

        return make_gate(api_key, base_url, model, limits, url)

    async def aclose(self) -> None:
        """Leave the others, if the gate is shared: calls that wait are refused then."""

    def exhaust(self, error: LaplasError) -> None:
        """A quota is used up: no lesson about limits; other calls meet it themselves."""

    @property
    def waiting(self) -> int:
        """How many tasks wait for their turn, or for what they need before they ask for it."""
        return self._count + self._elsewhere

    @property
    def pace(self) -> Pace:
        """What it knows and holds now."""
        limiter = self.limiter
        now = self.clock()
        decision = limiter.decide(now, self._waiting[0][1] if self._waiting else 0)
        return Pace(
            rate=limiter.rate_per_second,
            concurrency=limiter.concurrency,
            in_flight=limiter.in_flight,
            waiting=self.waiting,
            rejected=limiter.rejections,
            rules=limiter.rules,
            reason=decision.reason or (_NO_MONEY if self._elsewhere else None),
            verdict=limiter.verdict,
            at=now,
        )

    @contextmanager
    def waiting_elsewhere(self) -> Iterator[None]:
        """Count a task as waiting before it asks for its turn: for room in a budget."""
        self._elsewhere += 1
        try:
            yield
        finally:
            self._elsewhere -= 1
            for wake in self.on_room:
                wake()

    def subscribe(self, subscriber: LimitSubscriber) -> None:
        """Inform ``subscriber`` of each change of the learned limits, for as long as it lives."""
        self._subscribers.add(subscriber)

    def publish(self) -> None:
        """Inform every subscriber if the learned limits differ from those published last.

        Called after the event that caused the change was reported, so that causes come first.
        """
        if not self._subscribers:
            return
        limiter, (concurrency, closed, rules) = self.limiter, self._published
        now = limiter.concurrency, limiter.closed, limiter.rules
        if (concurrency, closed) == now[:2] and _alike(rules, now[2]):
            return
        self._published = now
        pace = self.pace
        for subscriber in list(self._subscribers):
            subscriber.limit_changed(pace)

    async def acquire(self, turn: int | None = None, *, size: RequestSize = NO_SIZE) -> Permit:
        """Wait for the turn; ``turn`` is that of an earlier permit of the same request.

        ``size`` determines the tokens that are reserved. Raises ``ConfigError`` for a request that
        ``tokens_per_minute`` can never admit, ``RequestTimeoutError`` (phase ``turn``) after
        ``max_wait``. Cancelling it leaves nothing behind.
        """
        limits = self.limiter.limits
        budget = limits.tokens_per_minute
        # Also without a budget, so that a limiter can relate rejections to what requests cost.
        tokens = self.estimate.tokens(size)
        if budget is not None and tokens > budget:
            raise ConfigError(
                f"the request needs about {tokens} tokens, more than tokens_per_minute={budget} "
                "can ever admit; lower max_tokens or shorten the messages"
            )
        if turn is None:
            turn = next(self._turns)
        if not self._count:
            now = self.clock()
            if self.limiter.decide(now, tokens).go:
                return Permit(self, turn, self.limiter.started(now, tokens), size)
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (turn, tokens, future))
        self._count += 1
        if self._waiting[0][2] is future:
            self.admit()
        self._enqueued()
        try:
            if limits.max_wait is None:
                ticket = await future
            else:
                async with asyncio.timeout(limits.max_wait):
                    ticket = await future
        except TimeoutError:
            self._leave(future)
            raise RequestTimeoutError(
                f"no turn within {limits.max_wait} s (Limits.max_wait); {self._count} wait",
                phase="turn",
            ) from None
        except asyncio.CancelledError:
            self._leave(future)
            raise
        return Permit(self, turn, ticket, size)

    def admit(self) -> None:
        """Admit the tasks that may go now, and set the timer for the next. Permits call this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, limiter = self._waiting, self.limiter
        while waiting:
            _, tokens, future = waiting[0]
            if future.done():  # gave up
                heapq.heappop(waiting)
                continue
            now = self.clock()
            decision = limiter.decide(now, tokens)
            if decision.go:
                heapq.heappop(waiting)
                self._count -= 1
                future.set_result(limiter.started(now, tokens))
                for wake in self.on_room:
                    wake()
                continue
            if decision.until < math.inf:
                later = self._call_later or asyncio.get_running_loop().call_later
                self._timer = later(decision.until - now, self._on_timer)
            return

    def _enqueued(self) -> None:
        """One more task waits."""

    def _refuse_waiting(self, error: Callable[[], LaplasError]) -> None:
        """Let all waiting tasks fail."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error())

    def _on_timer(self) -> None:
        self.admit()
        self.publish()

    def _leave(self, future: asyncio.Future[Ticket]) -> None:
        if future.done() and not future.cancelled():
            # At the very moment of giving up it was admitted, or refused.
            if future.exception() is None:
                self.limiter.ended(future.result(), self.clock())
        else:
            future.cancel()
            self._count -= 1
        self.admit()


def _describe(rule: Rule, shift: float) -> str:
    if rule.evidence == "configured":
        return str(rule)
    return f"{rule}, since {time.strftime('%H:%M', time.localtime(rule.since + shift))}"


def _alike(before: tuple[Rule, ...], after: tuple[Rule, ...]) -> bool:
    """Whether these are the same rules, but for a drift of their numbers."""
    return len(before) == len(after) and all(
        (one.kind, one.unit, one.since) == (two.kind, two.unit, two.since)
        and math.isclose(one.number, two.number, rel_tol=_SAME)
        and math.isclose(one.period, two.period, rel_tol=_SAME)
        for one, two in zip(before, after, strict=True)
    )


def ceiling_for(configured: int | None) -> int:
    """The most that may be in flight: what is configured, within what the process can open."""
    room = max(_LEAST_FILES, _OPEN_FILES * _SHARE_OF_FILES)
    if configured is not None and configured > room:
        log.warning(
            "Limits.concurrency=%d is lowered to %d: this process may open %d files "
            "(raise that with ulimit -n)",
            configured,
            int(room),
            int(_OPEN_FILES),
        )
    return int(min(_MOST_IN_FLIGHT if configured is None else configured, room))
