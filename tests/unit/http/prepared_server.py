"""A socket that sends prepared bytes, for the tests of transports and their responses."""

import asyncio
from typing import Any

from laplas_async.http.response import Response
from laplas_async.http.transport import Transport

KEY = "key-that-never-shows"
OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Sends the same prepared bytes to every request, and records the request's head."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.speaks_socks = False
        self.destinations: list[bytes] = []
        self.stays_open = False
        self.port = 0
        self._handlers: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            await self._respond(reader, writer)
        except ConnectionError:  # the client has closed it without reading everything
            pass
        finally:
            writer.close()

    async def finish(self) -> None:
        """Wait until all connections have been closed by their clients."""
        if self._handlers:
            await asyncio.wait(self._handlers)

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.speaks_socks:
            await self.greet(reader, writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
        self.bodies.append(await reader.readexactly(length))
        for piece in self.pieces:
            writer.write(piece)
            await writer.drain()
        if self.stays_open:
            await reader.read()

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak SOCKS 5 (RFC 1928) without authentication, as the proxy and the destination."""
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x00")
        _, _, _, kind, length = await reader.readexactly(5)
        assert kind == 3  # a name, which the proxy resolves
        self.destinations.append(await reader.readexactly(length))
        await reader.readexactly(2)
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")

    def answer(self, *pieces: bytes, stays_open: bool = False) -> None:
        self.pieces = list(pieces)
        self.stays_open = stays_open


async def post(transport: Transport, *, stream: bool = False, **options: Any) -> Response:
    return await transport.send(b"{}", stream=stream, **{"connect_timeout": 5.0} | options)
