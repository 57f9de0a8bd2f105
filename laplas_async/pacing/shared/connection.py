"""A connection between a worker and the leader of one machine: bytes to messages and back.

It refuses to talk to a process of another user.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import cast

from laplas_async.pacing.shared import forks
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.directory import is_same_user

log = logging.getLogger("laplas_async")


class Connection(asyncio.Protocol):
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
