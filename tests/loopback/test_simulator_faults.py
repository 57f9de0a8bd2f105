"""Faults of real servers over real sockets, read with bare sockets and a plain aiohttp client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from laplas_async.simulator import Fault, Simulator, error_body

BODY = {"model": "m", "messages": [{"role": "user", "content": "Name a river"}], "max_tokens": 30}
STREAM = BODY | {"stream": True}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as made:
        yield made


async def exchange(sim: Simulator, body: dict[str, Any]) -> bytes:
    """Send a request over a bare socket and return all bytes until the connection closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    data = orjson.dumps(body)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n"
    head += f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    writer.write(f"{head}\r\n\r\n".encode() + data)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_verbatim_bytes_arrive_unchanged(sim: Simulator) -> None:
    response = b"HTTP/1.1 299 Odd\r\nX: \xff\r\n\r\nabc\x00"
    sim.script(Fault.verbatim(response), Fault.verbatim(pieces=[response[:9], response[9:]]))
    assert await exchange(sim, BODY) == response
    assert await exchange(sim, STREAM) == response
    assert sim.counts.faulted == 2


async def test_broken_chunking_delivers_the_chunks_before_it(sim: Simulator) -> None:
    sim.script(Fault.broken_chunking(after=3))
    response = await exchange(sim, STREAM)
    assert response.count(b'"content":') == 4
    assert response.endswith(b"\r\nbroken\r\n")
    assert sim.requests[0].chunks == 3
    assert await sim.wait_for(lambda counts: counts.open_connections == 0)


async def test_a_verbatim_response_may_stall_until_the_client_disconnects(sim: Simulator) -> None:
    sim.script(Fault.verbatim(b"HTTP/1.1 200 OK\r\n", end="stall"))
    asking = asyncio.ensure_future(exchange(sim, BODY))
    assert await sim.wait_for(lambda counts: counts.in_flight == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await sim.wait_for(lambda counts: counts.abandoned == 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_large_headers_are_sent(sim: Simulator, stream: bool) -> None:
    sim.script(Fault.large_headers(20_000))
    response = await exchange(sim, STREAM if stream else BODY)
    assert b"x" * 20_000 + b"\r\n" in response
    assert (b"[DONE]" in response) == stream


async def test_a_server_that_streams_unless_stream_is_false(sim: Simulator) -> None:
    sim.script_always(Fault.stream_unless_false())
    assert b"text/event-stream" in await exchange(sim, BODY)
    assert b"text/event-stream" in await exchange(sim, STREAM)
    assert b"application/json" in await exchange(sim, BODY | {"stream": False})
    assert sim.counts.streams == 2


async def test_retry_after_headers_arrive_verbatim(sim: Simulator) -> None:
    sim.script(Fault.rate_limit(retry_after="3, 2", retry_after_ms=0, reset="6m0s"))
    response = await exchange(sim, BODY)
    for line in (b"Retry-After: 3, 2", b"retry-after-ms: 0", b"x-ratelimit-reset-requests: 6m0s"):
        assert line + b"\r\n" in response


@pytest.mark.parametrize("framing", ["data", "line", "bare"])
async def test_error_events_arrive_in_their_framing(sim: Simulator, framing: Any) -> None:
    body = error_body("typed", message="engine stopped")
    sim.script(Fault.error_event(after=2, body=body, framing=framing))
    response = await exchange(sim, STREAM)
    prefix = {"data": b"data: ", "line": b"error: ", "bare": b"\n"}[framing]
    assert prefix + b'{"error_type":"internal_error","error_message":"engine stopped"}' in response


async def test_a_pause_holds_back_the_rest_of_the_stream(sim: Simulator) -> None:
    sim.script(Fault.pause(3600, after=2), Fault.pause(0.001, after=2))
    url = f"{sim.base_url}/chat/completions"
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer x"}) as http:
        async with http.post(url, json=STREAM) as response:
            for _ in range(3):
                await response.content.readuntil(b"\n\n")
            assert sim.requests[0].chunks == 2
            response.close()
        async with http.post(url, json=STREAM) as response:
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
