"""Who may go now: one queue for all tasks of a client, first come, first served.

It holds the waiting tasks and one timer; what decides is ``limit``. It refuses to retry and to
know what a request is.
"""

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable

from attrs import frozen

from laplas_async.errors import ConfigError, RequestTimeoutError
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits, Ticket

try:
    import resource
except ImportError:  # Windows: no limit of this kind
    _FILES = math.inf
else:
    _FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@frozen
class Pace:
    """What a gate knows and holds at one moment.

    ``rate``: learned requests a second, None where none is known; ``concurrency``: how many may be
    in flight; ``rejected``: how many were, ever.
    """

    rate: float | None
    concurrency: int
    in_flight: int
    waiting: int
    rejected: int


class Permit:
    """The right to have one request in flight; give it back once, by the way it ended."""

    __slots__ = ("_gate", "_held", "_ticket", "turn")

    def __init__(self, gate: "Gate", turn: int, ticket: Ticket) -> None:
        self._gate = gate
        self._held = True
        self._ticket = ticket
        self.turn = turn

    @property
    def started(self) -> float:
        """When it was given, by the gate's clock."""
        return self._ticket.started

    def release(self) -> None:
        """It ended in a way that says nothing about limits. The second time does nothing."""
        if self._take():
            self._gate.limiter.end(self._ticket)
            self._gate.let_go()

    def answer(self, tokens: int | None = None) -> None:
        """It was answered, and ended; ``tokens`` were used, where the service told."""
        if self._take():
            if tokens is not None:
                self._gate.limiter.settle(self._ticket, tokens)
            self._gate.limiter.answer(self._ticket)
            self._gate.let_go()

    def reject(self, retry_after: float | None = None) -> None:
        """It was rejected for a limit, ``retry_after`` seconds being told or not."""
        if self._take():
            self._gate.limiter.reject(self._ticket, self._gate.clock(), retry_after)
            self._gate.let_go()

    def pause(self, seconds: float) -> None:
        """The service told, in an answer, that it takes no more for so long."""
        self._gate.limiter.pause(self._gate.clock(), seconds)

    def fail(self) -> None:
        """The service failed, or could not be reached."""
        if self._take():
            self._gate.limiter.fail(self._ticket, self._gate.clock())
            self._gate.let_go()

    def _take(self) -> bool:
        held, self._held = self._held, False
        return held


class Gate:
    """Tasks wait here for their turn. Belongs to one event loop from its first use.

    Give one to several clients of one service and key, and they share its limits. A waiter that is
    cancelled is skipped; one that was just let through when it is cancelled gives its place back.
    A request that is tried again keeps its turn, so it waits before those that came later.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        limiter: Limiter | None = None,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], asyncio.Handle] | None = None,
    ) -> None:
        if limiter is None:
            # A socket each, and some files for everybody else.
            limits = limits if limits is not None else Limits()
            wanted = max(1000, limits.concurrency or 0)
            ceiling = int(min(wanted, max(16, _FILES * 0.8)))
            limiter = Limiter(limits, ceiling=ceiling)
        self.limiter = limiter
        self.clock = clock
        self._waiting: list[tuple[int, int, asyncio.Future[Ticket]]] = []
        self._count = 0
        self._told_limit = limiter.rate, limiter.concurrency
        self._turns = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._call_later = call_later
        self.on_room: set[Callable[[], None]] = set()  # called when a waiting one went

    @property
    def waiting(self) -> int:
        """How many tasks wait for their turn."""
        return self._count

    @property
    def pace(self) -> Pace:
        """What it knows and holds now."""
        limiter = self.limiter
        return Pace(
            rate=None if math.isinf(limiter.rate) else limiter.rate,
            concurrency=limiter.concurrency,
            in_flight=limiter.in_flight,
            waiting=self._count,
            rejected=limiter.rejected,
        )

    def limit_changed(self) -> bool:
        """Whether the learned limit is another than when this was asked last.

        A rate that creeps counts when it has moved by a twentieth.
        """
        (rate, number), limiter = self._told_limit, self.limiter
        same = number == limiter.concurrency and (
            limiter.rate == rate or 0.95 * rate < limiter.rate < 1.05 * rate
        )
        if not same:
            self._told_limit = limiter.rate, limiter.concurrency
        return not same

    async def acquire(self, turn: int | None = None, *, tokens: int = 0) -> Permit:
        """Wait for the turn; ``turn`` is that of an earlier permit of the same request.

        ``tokens`` are reserved of the told tokens per minute. Raises ``ConfigError`` for more than
        that, ``RequestTimeoutError`` (phase turn) after ``max_wait``. Cancelling leaves nothing.
        """
        limits = self.limiter.limits
        budget = limits.tokens_per_minute
        if budget is not None and tokens > budget:
            raise ConfigError(
                f"about {tokens} tokens are asked for, and tokens_per_minute={budget} never lets "
                "so many through; lower max_tokens or shorten the messages"
            )
        if turn is None:
            turn = next(self._turns)
        if not self._count:
            now = self.clock()
            if self.limiter.delay(now, tokens) <= 0:
                return Permit(self, turn, self.limiter.start(now, tokens))
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (turn, tokens, future))
        self._count += 1
        if self._waiting[0][2] is future:
            self.let_go()
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
        return Permit(self, turn, ticket)

    def _leave(self, future: asyncio.Future[Ticket]) -> None:
        if future.done() and not future.cancelled():
            self.limiter.end(future.result())  # let through at the very moment of giving up
        else:
            future.cancel()
            self._count -= 1
        self.let_go()

    def let_go(self) -> None:
        """Let through whoever may go, and set the timer for the next. Permits call this."""
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
            delay = limiter.delay(now, tokens)
            if delay <= 0:
                heapq.heappop(waiting)
                self._count -= 1
                future.set_result(limiter.start(now, tokens))
                for tell in self.on_room:
                    tell()
                continue
            if not math.isinf(delay):
                later = self._call_later or asyncio.get_running_loop().call_later
                self._timer = later(delay, self.let_go)
            return
