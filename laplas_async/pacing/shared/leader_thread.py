"""The leader of one machine: a thread with a loop of its own that serves a Unix socket.

It holds the lock for as long as it runs, and refuses to go on once another process leads.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Final

from laplas_async.pacing.shared import forks
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.connection import Connection
from laplas_async.pacing.shared.directory import MeetingPlace
from laplas_async.pacing.shared.leader import Leader
from laplas_async.pacing.shared.service import LeaderService

log = logging.getLogger("laplas_async")

# Seconds. Less than workers wait before they elect another (``unix.TAKEOVER_AFTER``), so that a
# leader that was stopped looks for a successor before it grants anything again.
LEASE: Final = 1.5
_RENEW_EVERY: Final = 0.25
# Seconds in which the last state should have been read when the leader leaves.
_FLUSH_FOR: Final = 0.2


class LeaderThread:
    """Serves ``listener`` while it holds ``lock``, both of which it closes.

    ``owner``: the name of the worker in this process that was elected. ``ended`` is done when the
    lock is free again.
    """

    def __init__(
        self,
        leader: Leader,
        listener: socket.socket,
        lock: int,
        place: MeetingPlace,
        generation: int,
        *,
        owner: str,
    ) -> None:
        self.ended: Future[None] = Future()
        self._leader = leader
        self._listener = listener
        self._lock = lock
        self._place = place
        self._generation = generation
        self._owner = owner
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None  # in the loop; set from outside of it
        forks.guard(lock)
        forks.guard(listener.fileno())
        self._thread = threading.Thread(target=self._run, name="laplas-leader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, from any thread; ``ended`` says when it has."""
        self._stopping.set()
        with contextlib.suppress(RuntimeError):  # its loop is closed
            if self._loop is not None and self._stop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)

    async def aclose(self) -> None:
        """Stop, and wait until the lock is free."""
        self.stop()
        await asyncio.wait([asyncio.wrap_future(self.ended)])
        self._thread.join()  # it has nothing left to do

    def _run(self) -> None:
        number = self._listener.fileno()
        try:
            asyncio.run(self._serve())
        finally:
            forks.forget(number)
            forks.forget(self._lock)
            self._listener.close()
            os.close(self._lock)
            self.ended.set_result(None)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        stop = self._stop = asyncio.Event()
        self._loop = loop
        clients = _Clients(self._leader)
        server = await loop.create_unix_server(clients.accept, sock=self._listener)
        clients.service.start()
        try:
            await self._lead(clients.service, stop)
        finally:
            clients.service.stop()
            place, generation = self._place, self._generation
            if clients.names <= {self._owner} and place.holds(generation, self._lock):
                place.remove(generation)  # it was the last one
            server.close()
            await clients.close()

    async def _lead(self, service: LeaderService, stop: asyncio.Event) -> None:
        """Return when it is to stop, or when there is a successor."""
        place, generation = self._place, self._generation
        while not self._stopping.is_set():
            now = time.monotonic()
            if place.exists(generation + 1) or not place.holds(generation, self._lock):
                log.info("this process was stopped, and another leads the shared limit now")
                return
            service.renew(now + LEASE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_EVERY):
                    await stop.wait()


class _Clients:
    """The open connections, by the names of the workers once they have said them."""

    def __init__(self, leader: Leader) -> None:
        self.service = LeaderService(leader, self._deliver)
        self._named: dict[str, Connection] = {}
        self._open: set[Connection] = set()
        self._closing = False

    @property
    def names(self) -> set[str]:
        """The workers that are connected."""
        return set(self._named)

    def accept(self) -> Connection:
        """The protocol of the next connection."""
        name = ""

        def receive(messages: list[m.Message]) -> None:
            nonlocal name
            if isinstance(messages[0], m.Hello) and not name:
                name = messages[0].name
                self._named[name] = connection
            if self._closing:
                connection.abort()
            else:
                self.service.receive(name, messages)

        def lost(_: "asyncio.Future[None]") -> None:
            self._open.discard(connection)
            if self._named.get(name) is connection:
                del self._named[name]
                self.service.leave(name)

        connection = Connection(receive)
        connection.lost.add_done_callback(lost)
        self._open.add(connection)
        return connection

    async def close(self) -> None:
        """Close all, once the last state is sent."""
        self._closing = True
        for connection in self._open:
            connection.close()
        if waited := [connection.lost for connection in self._open]:
            await asyncio.wait(waited, timeout=_FLUSH_FOR)
        for connection in self._open:  # also those that were accepted meanwhile
            connection.abort()

    def _deliver(self, names: Iterable[str], data: bytes) -> None:
        for name in names:
            if name in self._named:
                self._named[name].write(data)
