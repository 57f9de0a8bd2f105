"""Workers of one machine: a connection to the leader's socket, or the leader itself in a thread.

A worker connects; if nobody listens, it takes the lock and leads, and then connects to itself like
all others. When a connection ends, the same begins again, so the next leader is there within
milliseconds. It refuses to decide anything about permits.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final, Protocol, cast

from laplas_async.pacing.shared import forks
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.directory import MeetingPlace, is_same_user
from laplas_async.pacing.shared.leader import Leader
from laplas_async.pacing.shared.service import LeaderService

log = logging.getLogger("laplas_async")

# Seconds. How long a new leader waits for the workers of the last one, which try to connect every
# ``_RETRY_AFTER``; a takeover takes about their sum (test_shared: takeover).
COLLECT_FOR: Final = 0.02
_RETRY_AFTER: Final = 0.003
# Seconds without a word from a leader that holds the lock: it was stopped, for it would otherwise
# send its state every 0.5 s. Its own lease ends before that.
TAKEOVER_AFTER: Final = 2.0
LEASE: Final = 1.5
_RENEW_EVERY: Final = 0.25
_FLUSH_FOR: Final = 0.2


class Receiver(Protocol):
    """Whom a link informs; called in the event loop."""

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
        self._connection: _Connection | None = None
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

    async def aclose(self) -> None:
        """Leave. If this worker leads, the others elect another at once."""
        self.send([m.Bye()])
        if self._connection is not None:
            self._connection.close()
        self._task.cancel()
        await asyncio.wait([self._task])
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            await asyncio.wait([asyncio.wrap_future(thread.ended)])

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

    async def _connect(self) -> "_Connection | None":
        self._generation = max(self._generation, self._place.generation)
        path = self._place.socket_path(self._generation)
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(
                lambda: _Connection(self._receiver.received), path
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
        self._thread = LeaderThread(leader, listener, lock, self._place, self._generation)
        return True


class _Connection(asyncio.Protocol):
    """Bytes to messages and back, at either end. ``lost`` is done when it has ended."""

    def __init__(self, receive: Callable[[list[m.Message]], None]) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receive = receive
        self._splitter = m.Splitter()
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Both ends must be the same user's."""
        self._transport = cast("asyncio.Transport", transport)
        connection = transport.get_extra_info("socket")
        self._descriptor = connection.fileno()
        forks.guard(self._descriptor)
        if not is_same_user(connection):
            log.warning("refused a process of another user at the socket of the shared limit")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """It has ended."""
        forks.forget(self._descriptor)
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Pass on what is complete."""
        try:
            messages = self._splitter.feed(data)
        except m.MessageError as error:
            self.send([m.Refused(f"another program, or another version of laplas-async: {error}")])
            self.close()
            return
        if messages:
            self._receive(messages)

    def send(self, messages: Iterable[m.Message]) -> None:
        """Send them."""
        self.write(b"".join(map(m.encode, messages)))

    def write(self, data: bytes) -> None:
        """Send encoded messages."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            # A peer that does not read is stopped: what it missed, it will not miss.
            if transport.get_write_buffer_size() > m.MOST_BYTES:
                transport.abort()
            else:
                transport.write(data)

    def close(self) -> None:
        """Close it once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()


class LeaderThread:
    """A leader with a loop of its own, so that no user's loop can hold it up.

    ``ended`` is done when the lock is free again.
    """

    def __init__(
        self,
        leader: Leader,
        listener: socket.socket,
        lock: int,
        place: MeetingPlace,
        generation: int,
    ) -> None:
        self.ended: Future[None] = Future()
        self._leader = leader
        self._listener = listener
        self._lock = lock
        self._place = place
        self._generation = generation
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None  # in the loop; set from outside of it
        forks.guard(lock)
        forks.guard(listener.fileno())
        threading.Thread(target=self._run, name="laplas-leader", daemon=True).start()

    def stop(self) -> None:
        """End it, from any thread; ``ended`` says when it has."""
        self._stopping.set()
        with contextlib.suppress(RuntimeError):  # its loop is closed
            if self._loop is not None and self._stop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            forks.forget(self._listener.fileno())
            forks.forget(self._lock)
            self._listener.close()
            os.close(self._lock)
            self.ended.set_result(None)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._loop = loop
        connections: dict[str, _Connection] = {}
        open_now: set[_Connection] = set()

        def deliver(names: Iterable[str], data: bytes) -> None:
            for name in names:
                if name in connections:
                    connections[name].write(data)

        service = LeaderService(self._leader, deliver)

        def accept() -> _Connection:
            name = ""

            def receive(messages: list[m.Message]) -> None:
                nonlocal name
                if isinstance(messages[0], m.Hello) and not name:
                    name = messages[0].name
                    connections[name] = connection
                service.receive(name, messages)

            def lost(_: "asyncio.Future[None]") -> None:
                open_now.discard(connection)
                if connections.get(name) is connection:
                    del connections[name]
                    service.leave(name)

            connection = _Connection(receive)
            connection.lost.add_done_callback(lost)
            open_now.add(connection)
            return connection

        server = await loop.create_unix_server(accept, sock=self._listener)
        service.start()
        try:
            await self._lead(service, self._stop)
        finally:
            service.stop()
            server.close()
            for connection in open_now:
                connection.close()
            if open_now:
                await asyncio.wait([one.lost for one in open_now], timeout=_FLUSH_FOR)
            for connection in open_now:
                connection.abort()

    async def _lead(self, service: LeaderService, stop: asyncio.Event) -> None:
        """Return when it is to stop, or when there is a successor."""
        while not self._stopping.is_set():
            now = time.monotonic()
            if self._place.exists(self._generation + 1):
                log.info("this process was stopped, and another leads the shared limit now")
                return
            service.renew(now + LEASE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_EVERY):
                    await stop.wait()
