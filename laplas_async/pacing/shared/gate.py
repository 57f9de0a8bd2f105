"""A gate whose permits come from the leader of all workers with the same service, key and model.

It holds the waiting tasks of one event loop, as every gate does; ``worker`` decides, and a link
(``unix`` or ``redis``) carries the messages. No call ever waits for the link.
"""

import asyncio
import heapq
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from laplas_async.errors import ConfigError, LaplasError, QuotaExceededError
from laplas_async.pacing.gate import NO_SIZE, Gate, Permit, ceiling_for
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.reservation import RequestSize
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.leader import Leader
from laplas_async.pacing.shared.worker import TICK, Mode, SharedLimiter

log = logging.getLogger("laplas_async")

# Seconds for which the ends of requests are collected; rejections go at once.
_COLLECT_ENDS: Final = 0.005
# Seconds after a quota's rejection in which no worker asks again. The quota is renewed in minutes
# or hours, so this costs nothing and saves what every waiting task of every worker would send.
_QUOTA_HOLD: Final = 2.0
_CLOSED: Final = "this shared gate is closed; make another"


class Link(Protocol):
    """The way to the leader; see ``unix.UnixLink``."""

    def send(self, messages: Iterable[m.Message]) -> None:
        """Send to the leader, if there is a connection. Does not wait."""

    def check(self, silent: float) -> None:
        """The leader has said nothing for so many seconds."""

    async def aclose(self) -> None:
        """Leave."""


def package_version() -> str:
    """The installed version of this package, which all workers must share."""
    try:
        return version("laplas-async")
    except PackageNotFoundError:  # run from a checkout
        return "0"


class SharedGate(Gate):
    """As ``Gate``. ``connect`` makes the link, in the event loop of the first use."""

    def __init__(
        self,
        limits: Limits | None,
        connect: "Callable[[SharedGate], Link]",
        *,
        clock: Callable[[], float] = time.monotonic,
        version: str | None = None,
    ) -> None:
        limits = Limits() if limits is None else limits
        self._ceiling = ceiling_for(limits.concurrency)
        self.worker = SharedLimiter(
            limits,
            secrets.token_hex(6),
            clock(),
            ceiling=self._ceiling,
            version=package_version() if version is None else version,
        )
        super().__init__(limiter=self.worker, clock=clock)
        self._connect = connect
        self._link: Link | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()
        self._flush_soon: asyncio.Handle | None = None
        self._flush_later: asyncio.Handle | None = None
        self._ticker: asyncio.Handle | None = None
        self._quota: tuple[float, m.Quota] | None = None  # until when nothing is asked
        self._closed = False

    async def acquire(self, turn: int | None = None, *, size: RequestSize = NO_SIZE) -> Permit:
        """As ``Gate.acquire``. Raises ``QuotaExceededError`` for a quota that a worker met."""
        if self._loop is None or self._closed or self._process != os.getpid():
            self._start()
        if self._quota is not None:
            self._check_quota(self._quota)
        return await super().acquire(turn, size=size)

    def admit(self) -> None:
        """As ``Gate.admit``, and send what has changed."""
        super().admit()
        self._send_soon()

    def exhaust(self, error: LaplasError) -> None:
        """Inform all workers."""
        quota = m.Quota(error.message)
        if self._link is not None:
            self._link.send([quota])
        self._hold(quota)

    async def aclose(self) -> None:
        """Leave the other workers. Calls that wait, and later ones, are refused."""
        self._closed = True
        self._refuse_waiting(lambda: ConfigError(_CLOSED))
        for handle in (self._flush_soon, self._flush_later, self._ticker):
            if handle is not None:
                handle.cancel()
        link, self._link = self._link, None
        if link is not None and self._process == os.getpid():
            await link.aclose()

    # --- called by the link -----------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Of this worker, unique among all."""
        return self.worker.name

    def connected(self) -> None:
        """The leader can be sent to."""
        if self._link is not None:
            self._link.send([self.worker.hello(self.clock())])

    def received(self, messages: list[m.Message]) -> None:
        """The leader says something."""
        now, before = self.clock(), self.worker.mode
        for message in messages:
            if isinstance(message, m.Quota):
                self._hold(message)
            reply = self.worker.receive(message, now)
            if reply is not None and self._link is not None:
                self._link.send([reply])
            if isinstance(message, m.Refused) and before is not Mode.REFUSED:
                log.warning(
                    "the limit is not shared; only configured limits hold: %s", message.reason
                )
        if before is Mode.ALONE and self.worker.mode is Mode.SHARED:
            log.info("the limit is shared again")
        self.admit()
        self.publish()

    def disconnected(self) -> None:
        """The connection to the leader is lost."""
        self.worker.disconnected(self.clock())

    def make_leader(self, now: float) -> Leader:
        """Lead: go on from the last state that was broadcast."""
        worker = self.worker
        leader = Leader(worker.configured, ceiling=self._ceiling, version=worker.version, began=now)
        if worker.state is not None:
            leader.continue_from(worker.state, worker.state_age(self.clock()), now)
        return leader

    # --- inside -----------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._closed:
            raise ConfigError(_CLOSED)
        if self._loop is not None:
            raise ConfigError(
                "this shared gate was used before the process forked; make one in the child"
            )
        self._process = os.getpid()
        self._loop = asyncio.get_running_loop()
        self.worker.begin(self.clock())
        self._link = self._connect(self)
        self._ticker = self._loop.call_later(TICK, self._tick)

    def _enqueued(self) -> None:
        super()._enqueued()
        self._send_soon()

    def _tick(self) -> None:
        now, before = self.clock(), self.worker.mode
        silent = self.worker.tick(now)
        if before is not Mode.ALONE and self.worker.mode is Mode.ALONE:
            log.warning(
                "no contact with the workers that share the limit: this one keeps to its share of "
                "what was known until there is"
            )
            super().admit()
        if self._link is not None:
            self._link.check(silent)
        self._flush()
        if self._loop is not None and not self._closed:
            self._ticker = self._loop.call_later(TICK, self._tick)

    def _send_soon(self) -> None:
        """Send in the next step of the loop what cannot wait, and the rest a little later."""
        loop, worker = self._loop, self.worker
        if loop is None or self._flush_soon is not None or self._closed:
            return
        if worker.has_stock or worker.outbox.urgent or self._count != worker.wanted:
            self._flush_soon = loop.call_soon(self._flush)
        elif self._flush_later is None and worker.outbox.reports:
            self._flush_later = loop.call_later(_COLLECT_ENDS, self._flush)

    def _flush(self) -> None:
        for handle in (self._flush_soon, self._flush_later):
            if handle is not None:
                handle.cancel()
        self._flush_soon = self._flush_later = None
        worker = self.worker
        room = max(0, self._ceiling - worker.in_flight)
        # Where tokens are not limited they only inform the learner, and the first one's will do.
        costs = [tokens for _, tokens, _ in self._waiting[:1]]
        if worker.limits.tokens_per_minute is not None:
            costs = [tokens for _, tokens, _ in heapq.nsmallest(32, self._waiting, key=_turn)]
        messages = worker.outgoing(self.clock(), min(self._count, room), costs)
        if messages and self._link is not None:
            self._link.send(messages)

    def _hold(self, quota: m.Quota) -> None:
        self._quota = self.clock() + _QUOTA_HOLD, quota
        self._refuse_waiting(lambda: _error(quota))

    def _check_quota(self, held: tuple[float, m.Quota]) -> None:
        until, quota = held
        if self.clock() < until:
            raise _error(quota)
        self._quota = None


def _turn(waiting: tuple[int, int, object]) -> int:
    return waiting[0]


def _error(quota: m.Quota) -> QuotaExceededError:
    return QuotaExceededError(quota.message, status=429)
