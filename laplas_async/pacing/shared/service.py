"""The leader in an event loop: its timers, its lease, and the delivery of what it says.

It refuses to know the transport: ``deliver`` is given.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.leader import Leader

# Seconds. Workers miss the state after twice this (``worker.ALONE_AFTER``).
BROADCAST_EVERY: Final = 0.5
_TICK: Final = 0.25


class LeaderService:
    """Runs ``leader`` in the running loop, until ``stop``.

    ``deliver(names, data)`` sends the same bytes to several workers, and does not wait.
    """

    def __init__(
        self,
        leader: Leader,
        deliver: Callable[[Iterable[str], bytes], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.leader = leader
        self._deliver = deliver
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._broadcast_at = clock() + BROADCAST_EVERY
        self._joined: set[str] = set()  # and have no state yet
        self._stopped = False

    def start(self) -> None:
        """Begin to serve."""
        self._tick()

    def receive(self, name: str, messages: Iterable[m.Message]) -> None:
        """A worker says something."""
        now = self._clock()
        for message in messages:
            self.leader.receive(name, message, now)
            if isinstance(message, m.Hello):
                self._joined.add(name)
        self._serve_soon()

    def leave(self, name: str) -> None:
        """A worker's connection is closed."""
        self.leader.leave(name, self._clock())
        self._serve_soon()

    def renew(self, lease_until: float) -> None:
        """The lease is extended."""
        lapsed = self._clock() >= self.leader.lease_until
        self.leader.lease_until = lease_until
        if lapsed:
            self._serve_soon()

    def broadcast(self) -> None:
        """Send the state to all workers."""
        now = self._clock()
        self._broadcast_at = now + BROADCAST_EVERY
        self._send_state(self.leader.workers, now)

    def stop(self, *, broadcast: bool = True) -> None:
        """Grant nothing more; all get the last state, from which the next leader goes on.

        Without ``broadcast``, another leads already, and knows better.
        """
        self._stopped = True
        for handle in (self._soon, self._timer, self._ticker):
            if handle is not None:
                handle.cancel()
        if broadcast:
            self.broadcast()

    def _serve_soon(self) -> None:
        if self._soon is None and not self._stopped:
            self._soon = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._soon = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        until = self.leader.grant(now)
        if until < math.inf:
            self._timer = self._loop.call_later(max(0.0, until - now), self._serve)
        outbox, self.leader.outbox = self.leader.outbox, {}
        for name, messages in outbox.items():
            self._deliver((name,), b"".join(map(m.encode, messages)))
        if self._joined and self.leader.granting:
            self._send_state([name for name in self.leader.workers if name in self._joined], now)
            self._joined.clear()

    def _send_state(self, names: Collection[str], now: float) -> None:
        # Not before the workers' history is a part of it: they drop theirs when they receive it.
        if names and self.leader.granting:
            self._deliver(names, m.encode(self.leader.state(now)))

    def _tick(self) -> None:
        now = self._clock()
        self.leader.tick(now)
        if now >= self._broadcast_at - _TICK / 2:
            self.broadcast()
        self._ticker = self._loop.call_later(_TICK, self._tick)
        self._serve_soon()
