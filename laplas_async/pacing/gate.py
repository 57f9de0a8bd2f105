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

from laplas_async.pacing.limit import Limiter, Limits


class Permit:
    """The right to have one request in flight; give it back once, in any way it ended."""

    __slots__ = ("_gate", "_held", "started", "turn")

    def __init__(self, gate: "Gate", turn: int, started: float) -> None:
        self._gate = gate
        self._held = True
        self.turn = turn
        self.started = started

    def release(self) -> None:
        """It ended in a way that says nothing about limits. The second time does nothing."""
        if self._held:
            self._held = False
            self._gate.end()

    def answer(self) -> None:
        """It was answered, and ended."""
        if self._held:
            self._gate.limiter.answered()
            self.release()

    def reject(self, retry_after: float | None = None) -> None:
        """It was rejected for a limit, ``retry_after`` seconds being told or not."""
        if self._held:
            self._gate.limiter.reject(self.started, self._gate.clock(), retry_after)
            self.release()


class Gate:
    """Tasks wait here for their turn. Belongs to one event loop from its first use.

    A waiter that is cancelled is skipped; one that was just let through when it is cancelled
    gives its place back. A request that is tried again keeps its turn, so it waits before those
    that came later.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        limiter: Limiter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limiter = limiter if limiter is not None else Limiter(limits or Limits())
        self.clock = clock
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._turns = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many tasks wait for their turn."""
        return sum(not future.done() for _, future in self._waiting)

    async def acquire(self, turn: int | None = None) -> Permit:
        """Wait for the turn; ``turn`` is that of an earlier permit of the same request.

        Cancelling it leaves nothing behind.
        """
        if turn is None:
            turn = next(self._turns)
        if not self._waiting and self.limiter.delay(self.clock()) <= 0:
            return self._start(turn)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (turn, future))
        self._let_go()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.end()  # let through at the very moment of being cancelled
            else:
                self._let_go()  # the first of the queue may be another now
            raise
        return Permit(self, turn, self.clock())

    def _start(self, turn: int) -> Permit:
        now = self.clock()
        self.limiter.start(now)
        return Permit(self, turn, now)

    def end(self) -> None:
        """A permit is given back; ``Permit`` calls this."""
        self.limiter.end()
        self._let_go()

    def _let_go(self) -> None:
        """Let through whoever may go, and set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting
        while waiting:
            if waiting[0][1].done():  # cancelled
                heapq.heappop(waiting)
                continue
            now = self.clock()
            delay = self.limiter.delay(now)
            if delay <= 0:
                self.limiter.start(now)
                heapq.heappop(waiting)[1].set_result(None)
                continue
            if not math.isinf(delay):
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(delay, self._let_go)
            return
