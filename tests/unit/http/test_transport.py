"""``Transport`` against a socket that sends prepared bytes."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from laplas_async.errors import (
    ConfigError,
    ConnectionFailedError,
    RequestTimeoutError,
)
from laplas_async.http.transport import Transport
from tests.unit.http.prepared_server import KEY, OK, Server, post

# --- requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "accept"), [(False, "application/json"), (True, "text/event-stream")]
)
async def test_a_request_is_a_post_with_the_key(
    transport: Transport, server: Server, accept: str, *, stream: bool
) -> None:
    server.answer(OK + b"Content-Length: 0\r\n\r\n")
    await (await post(transport, stream=stream)).read_all()
    head = server.heads[0]
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n" in head
    assert f"Accept: {accept}\r\n" in head


async def test_streams_ask_for_no_compression(transport: Transport, server: Server) -> None:
    server.answer(OK + b"Content-Length: 0\r\n\r\n")
    await (await post(transport, stream=True)).read_all()
    assert "Accept-Encoding: identity\r\n" in server.heads[0]


async def test_a_header_of_the_call_replaces_the_client_s_whatever_its_case(
    connect: Callable[..., Transport], server: Server
) -> None:
    server.answer(OK + b"Content-Length: 0\r\n\r\n")
    transport = connect(headers={"X-Team": "a", "accept": "b"})
    await (await post(transport, headers={"x-team": "c"})).read_all()
    lines = [line.lower() for line in server.heads[0].split("\r\n")]
    assert [line for line in lines if line.startswith("x-team:")] == ["x-team: c"]
    assert [line for line in lines if line.startswith("accept:")] == ["accept: b"]


async def test_connect_times_are_observed_until_the_first_connection(
    connect: Callable[..., Transport], server: Server
) -> None:
    server.answer(OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    observed: list[float] = []
    transport = connect(on_connect=observed.append)
    for _ in range(3):
        await (await post(transport)).read_all()
    assert len(observed) == 1
    assert observed[0] >= 0


async def test_a_caller_s_session_is_used_and_stays_open(
    connect: Callable[..., Transport], server: Server
) -> None:
    server.answer(OK + b"Content-Length: 0\r\n\r\n")
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        transport = connect(session=session)
        await (await post(transport)).read_all()
        await transport.close()
        assert not session.closed
    assert "X-Mine: 1\r\n" in server.heads[0]
    with pytest.raises(ConfigError, match="session"):
        await post(transport)


async def test_a_closed_transport_opens_again_when_used(
    transport: Transport, server: Server
) -> None:
    server.answer(OK + b"Content-Length: 2\r\n\r\nhi")
    await transport.close()
    assert await (await post(transport)).read_all() == b"hi"
    await transport.close()
    await transport.close()
    assert await (await post(transport)).read_all() == b"hi"


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": ""},
        {"api_key": "a\nb"},
        {"api_key": None},
        {"session": "none"},
        {"ssl_context": True},
        {"headers": {"X": 1}},
    ],
    ids=repr,
)
async def test_an_invalid_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Transport(**{"base_url": "https://h/v1", "api_key": KEY} | settings)


# --- large requests and headers ---------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 512 * 1024, 512 * 1024 + 1, 3 * 1024 * 1024])
async def test_a_body_of_any_size_is_sent_without_a_warning(
    transport: Transport, server: Server, size: int
) -> None:
    """aiohttp warns about bytes above 1 MiB, and warnings are errors here."""
    server.answer(OK + b"Content-Length: 0\r\n\r\n")
    body = b'"' + b"x" * (size - 2) + b'"'
    response = await transport.send(body, stream=False, connect_timeout=5.0)
    await response.read_all()
    assert server.bodies == [body]
    assert f"Content-Length: {size}\r\n" in server.heads[0]
    assert "Content-Type: application/json\r\n" in server.heads[0]


@pytest.mark.parametrize("size", [8_000, 9_000, 60_000])
async def test_a_response_header_may_have_64_kib(
    transport: Transport, server: Server, size: int
) -> None:
    server.answer(OK + b"X-Trace: " + b"x" * size + b"\r\nContent-Length: 2\r\n\r\nhi")
    assert await (await post(transport)).read_all() == b"hi"


async def test_a_response_may_have_many_headers(transport: Transport, server: Server) -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(120))
    server.answer(OK + many + b"Content-Length: 2\r\n\r\nhi")
    assert await (await post(transport)).read_all() == b"hi"


async def test_a_header_over_the_limit_is_not_worth_a_retry(
    transport: Transport, server: Server
) -> None:
    server.answer(OK + b"X-Trace: " + b"x" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nhi")
    with pytest.raises(ConnectionFailedError, match="headers are larger than") as caught:
        await post(transport)
    assert caught.value.permanent
    assert caught.value.sent


async def test_the_limits_hold_in_a_caller_s_session_too(
    connect: Callable[..., Transport], server: Server
) -> None:
    server.answer(OK + b"X-Trace: " + b"x" * 20_000 + b"\r\nContent-Length: 2\r\n\r\nhi")
    async with aiohttp.ClientSession() as session:
        response = await post(connect(session=session))
        assert await response.read_all() == b"hi"


# --- SOCKS ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
async def test_a_socks_proxy_is_used_and_resolves_the_name(
    monkeypatch: pytest.MonkeyPatch, server: Server, scheme: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{server.port}")
    server.speaks_socks = True
    server.answer(OK + b"Content-Length: 2\r\n\r\nhi")
    with pytest.warns(UserWarning, match="can be read on the way"):
        transport = Transport("http://service.invalid/v1", KEY)
    assert await (await post(transport)).read_all() == b"hi"
    await transport.close()
    assert server.destinations == [b"service.invalid"]


async def test_a_socks_proxy_that_refuses_is_a_connection_failure(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(3)
        writer.write(b"\x05\xff")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        monkeypatch.setenv("https_proxy", f"socks5://127.0.0.1:{port}")
        transport = Transport("https://service.invalid/v1", KEY)
        with pytest.raises(ConnectionFailedError, match="proxy") as caught:
            await post(transport)
        assert not caught.value.sent
        await transport.close()


async def test_a_socks_proxy_without_the_extra_is_a_config_error(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{server.port}")
    transport = Transport("https://service.invalid/v1", KEY)
    with pytest.raises(ConfigError, match="pip install"):
        await post(transport)
    assert server.heads == []
    await transport.close()


# --- failures ---------------------------------------------------------------------------------


async def test_a_refused_connection_was_not_sent(unused_tcp_port: int) -> None:
    transport = Transport(f"http://127.0.0.1:{unused_tcp_port}/v1", KEY)
    with pytest.raises(ConnectionFailedError, match="could not connect") as caught:
        await post(transport)
    assert not caught.value.sent
    assert not caught.value.permanent
    await transport.close()


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "connection broke"),
        ([b"HTTP/1.1 200"], "connection broke"),
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], "not valid HTTP"),
        ([b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"], "not valid HTTP"),
    ],
)
async def test_a_response_that_is_not_http_is_a_connection_failure(
    transport: Transport, server: Server, pieces: list[bytes], message: str
) -> None:
    server.answer(*pieces)
    with pytest.raises(ConnectionFailedError, match=message) as caught:
        await post(transport)
    assert caught.value.sent


@pytest.mark.parametrize(
    "answer",
    [b"%s\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: \x00%s\r\n\r\n", b"HTTP/1.1 200 OK\r\n%s\r\n\r\n"],
)
async def test_an_invalid_response_that_echoes_the_key_does_not_show_it(
    transport: Transport, server: Server, answer: bytes
) -> None:
    """aiohttp quotes the bytes that it cannot parse."""
    server.answer(answer % KEY.encode())
    with pytest.raises(ConnectionFailedError, match="not valid HTTP") as caught:
        await post(transport)
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


async def test_connecting_is_bounded_by_its_timeout(
    monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    async def never(*_args: object, **_options: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("aiohappyeyeballs.start_connection", never)
    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", never)
    with pytest.raises(RequestTimeoutError) as caught:
        await post(transport, connect_timeout=0.01)
    assert caught.value.phase == "connect"
    assert isinstance(caught.value, TimeoutError)
