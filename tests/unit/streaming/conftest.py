"""A response with prepared bytes over a socket, for the tests of what reads it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from laplas_async.http.response import Response
from laplas_async.http.transport import Transport
from laplas_async.streaming.reader import StreamReader
from laplas_async.timeouts import Timeouts
from tests.unit.http.prepared_server import KEY, OK, Server, post

HEAD = OK + b"Content-Type: text/event-stream\r\nConnection: close\r\nx-request-id: r-1\r\n\r\n"
Respond = Callable[..., Awaitable[Response]]
Open = Callable[..., Awaitable[StreamReader]]


def event(delta: Any = None, reason: str | None = None, index: int = 0) -> bytes:
    """An event of one choice; ``delta`` is its content, or the whole of it."""
    made = {"content": delta} if isinstance(delta, str) else delta or {}
    choice = {"index": index, "delta": made, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def respond() -> AsyncIterator[Respond]:
    """A response whose body is these pieces; the connection stays open if asked for."""
    server = Server()
    async with await asyncio.start_server(server.handle, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        transport = Transport(f"http://127.0.0.1:{port}/v1", KEY)
        opened: list[Response] = []

        async def make(*pieces: bytes, stays_open: bool = False) -> Response:
            server.answer(HEAD, *pieces, stays_open=stays_open)
            opened.append(await post(transport, stream=True))
            return opened[-1]

        yield make
        for response in opened:
            response.close()
        await transport.close()
        await server.finish()


@pytest.fixture
def open_reader(respond: Respond) -> Open:
    """A reader of such a response, opened."""

    async def make(*pieces: bytes, choices: int = 1, stays_open: bool = False) -> StreamReader:
        response = await respond(*pieces, stays_open=stays_open)
        now = asyncio.get_running_loop().time()
        reader = StreamReader(response, Timeouts(), choices=choices, sent_at=now)
        await reader.open()
        return reader

    return make
