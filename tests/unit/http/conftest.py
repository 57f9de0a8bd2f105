"""What the HTTP tests share."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from laplas_async.http.transport import Transport
from tests.unit.http.prepared_server import KEY, Server


@pytest.fixture
def unused_tcp_port() -> int:
    """A port on which nothing listens: it was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.handle, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Callable[..., Transport]]:
    opened: list[Transport] = []

    def make(**settings: Any) -> Transport:
        opened.append(Transport(f"http://127.0.0.1:{server.port}/v1", KEY, **settings))
        return opened[-1]

    yield make
    for transport in opened:
        await transport.close()


@pytest.fixture
def transport(connect: Callable[..., Transport]) -> Transport:
    return connect()
