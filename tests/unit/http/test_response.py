"""``Response`` against a socket that sends prepared bytes."""

import asyncio

import pytest

from laplas_async.errors import APIError, ConnectionFailedError, LaplasError, RateLimitError
from laplas_async.http.transport import Transport
from tests.unit.http.prepared_server import KEY, OK, Server, post


@pytest.mark.parametrize("status", [200, 201, 204, 307, 404, 429, 500])
async def test_every_status_is_a_response(
    transport: Transport, server: Server, status: int
) -> None:
    server.answer(
        b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nLocation: /there\r\n"
        b"x-request-id: r-1\r\nx-ratelimit-remaining: 0\r\nx-ratelimit-reset: 3\r\n\r\n" % status
    )
    response = await post(transport)
    assert response.status == status
    assert response.request_id == "r-1"
    assert response.reset_delay == 3.0
    assert await response.read_all() == b""
    assert response.ended


async def test_bytes_are_returned_as_they_arrive(transport: Transport, server: Server) -> None:
    server.answer(OK + b"Content-Length: 4\r\n\r\nab", stays_open=True)
    response = await post(transport)
    assert await response.read() == b"ab"
    assert not response.ended
    response.close()


async def test_what_arrived_before_a_break_is_returned_before_the_error(
    transport: Transport, server: Server
) -> None:
    server.answer(OK + b"Content-Length: 9\r\n\r\nabc")
    response = await post(transport)
    assert await response.read() == b"abc"
    with pytest.raises(ConnectionFailedError, match="before the response was complete") as caught:
        await response.read()
    assert caught.value.sent
    assert not response.ended
    response.close()


async def test_a_body_over_the_limit_is_an_error_or_truncated(
    transport: Transport, server: Server
) -> None:
    server.answer(OK + b"Connection: close\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
    response = await post(transport)
    with pytest.raises(APIError, match="larger than 10 bytes"):
        await response.read_all(10)
    response.close()
    truncated = await (await post(transport)).read_all(10, truncate=True)
    assert 10 < len(truncated) <= 1000


async def test_closing_a_response_raises_the_reason_in_the_waiting_reader(
    transport: Transport, server: Server
) -> None:
    server.answer(OK + b"Content-Length: 4\r\n\r\n", stays_open=True)
    response = await post(transport)
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    reason = LaplasError("closed by the test")
    response.close(reason)
    with pytest.raises(LaplasError) as caught:
        await reading
    assert caught.value is reason


async def test_an_error_response_becomes_its_error_without_the_key(
    transport: Transport, server: Server
) -> None:
    body = f'{{"message": "no more for {KEY}"}}'.encode()
    server.answer(b"HTTP/1.1 429 X\r\nRetry-After: 2\r\nContent-Length: 47\r\n\r\n" + body)
    error = await (await post(transport)).error()
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 2.0
    assert str(error) == "429: no more for ***"


async def test_the_status_alone_is_an_error_when_the_body_breaks(
    transport: Transport, server: Server
) -> None:
    server.answer(b"HTTP/1.1 503 X\r\nContent-Length: 99\r\n\r\n")
    response = await post(transport)
    assert (await response.error()).status == 503
    response.close()


async def test_invalid_framing_after_a_part_of_the_body_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aiohttp closes such a connection and leaves the reader waiting; we notice that ourselves."""
    monkeypatch.setattr("laplas_async.http.response._CHECK_SECONDS", 0.01)
    was_read = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nHe\r\n")
        await was_read.wait()
        writer.write(b"no size\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    transport = Transport(f"http://127.0.0.1:{port}", KEY)
    async with listener:
        response = await post(transport, stream=True)
        response.watch()
        assert await response.read() == b"He"
        was_read.set()
        with pytest.raises(ConnectionFailedError, match="before the response was complete"):
            await response.read()
        response.close()
        await transport.close()
