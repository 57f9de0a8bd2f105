"""Workers of one machine: a connection to the leader's socket, or the leader itself in a thread.

A worker connects; if nobody listens, it takes the lock and leads, and then connects to itself like
all others. When a connection ends, the same begins again, so the next leader is there within
milliseconds. It refuses to decide anything about permits.
"""

import asyncio
import os
import time
from collections.abc import Iterable
from typing import Final, Protocol

from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.connection import Connection
from laplas_async.pacing.shared.directory import MeetingPlace
from laplas_async.pacing.shared.leader import Leader
from laplas_async.pacing.shared.leader_thread import LEASE, LeaderThread

# Seconds. How long a new leader waits for the workers of the last one, which try to connect every
# ``_RETRY_AFTER``; a takeover takes about their sum (test_shared: takeover).
COLLECT_FOR: Final = 0.02
_RETRY_AFTER: Final = 0.003
# Seconds without a word from a leader that holds the lock: it was stopped, for it would otherwise
# send its state every 0.5 s. Its own lease ends before that.
TAKEOVER_AFTER: Final = 2.0


class Receiver(Protocol):
    """Whom a link informs; called in the event loop."""

    @property
    def name(self) -> str:
        """Of the worker, unique among all."""
        ...

    def connected(self) -> None:
        """The leader can be sent to."""

    def received(self, messages: list[m.Message]) -> None:
        """The leader says something."""

    def disconnected(self) -> None:
        """The connection to it is lost."""

    def make_leader(self, now: float) -> Leader:
        """This worker is to lead: continue from the last state that it has."""
        ...


class UnixLink:
    """The connection of one worker, for as long as it runs in the running loop."""

    def __init__(self, place: MeetingPlace, receiver: Receiver) -> None:
        self._place = place
        self._receiver = receiver
        self._generation = place.generation
        self._connection: Connection | None = None
        self._thread: LeaderThread | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def send(self, messages: Iterable[m.Message]) -> None:
        """Send to the leader, if there is a connection."""
        if self._connection is not None:
            self._connection.send(messages)

    def check(self, silent: float) -> None:
        """The leader has said nothing for so many seconds; after two, another one is elected."""
        if silent > TAKEOVER_AFTER and self._connection is not None:
            self._generation = max(self._generation + 1, self._place.generation)
            self._connection.abort()
            if self._thread is not None:
                self._thread.stop()

    async def aclose(self) -> None:
        """Leave. If this worker leads, the others elect another at once."""
        self.send([m.Bye()])
        if self._connection is not None:
            self._connection.close()
        self._task.cancel()
        await asyncio.wait([self._task])
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.aclose()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection = await self._connect()
                if connection is not None:
                    self._connection = connection
                    self._receiver.connected()
                    await connection.lost
                    self._connection = None
                    self._receiver.disconnected()
                elif not self._lead():
                    await asyncio.sleep(_RETRY_AFTER)
        except OSError as error:  # no descriptors, no space, no permission: this one acts alone
            context = {"message": "the shared limit cannot be joined", "exception": error}
            loop.call_exception_handler(context)
        finally:
            if self._connection is not None:
                self._connection.close()
            if self._thread is not None:
                self._thread.stop()

    async def _connect(self) -> "Connection | None":
        self._generation = max(self._generation, self._place.generation)
        path = self._place.socket_path(self._generation)
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(
                lambda: Connection(self._receiver.received), path
            )
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BlockingIOError):
            return None
        return connection

    def _lead(self) -> bool:
        """Take the lock if nobody has it; whether this worker leads."""
        if self._thread is not None and not self._thread.ended.done():
            return False  # it is about to listen, or to end
        again = self._place.exists(self._generation)
        lock = self._place.lock(self._generation)
        if lock is None:
            return False
        now = time.monotonic()
        leader = self._receiver.make_leader(now)
        leader.collect_until = now + COLLECT_FOR if again or self._generation > 1 else now
        leader.lease_until = now + LEASE
        try:
            listener = self._place.listen(self._generation)
        except BaseException:
            os.close(lock)
            raise
        self._thread = LeaderThread(
            leader,
            listener,
            lock,
            self._place,
            self._generation,
            owner=self._receiver.name,
        )
        return True
