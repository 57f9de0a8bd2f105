"""The key never leaks, TLS is verified, and no response exhausts memory (laws 5 and 7)."""

import asyncio
import gc
import gzip
import logging
import pickle
import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laplas_async import (
    APIError,
    ConfigError,
    ConnectionFailedError,
    LaplasClient,
    LaplasError,
    RetryPolicy,
    StreamProtocolError,
)
from laplas_async.http.endpoint import make_socket
from laplas_async.http.response import MAX_BODY_BYTES
from laplas_async.simulator import Fault, Simulator

ONCE = RetryPolicy(max_attempts=1)


async def failing(client: LaplasClient, *, streamed: bool) -> LaplasError:
    with pytest.raises(LaplasError) as caught:
        await (read_stream(client) if streamed else client.complete("Hello"))
    return caught.value


async def read_stream(client: LaplasClient) -> None:
    async with client.stream("Hello") as stream:
        await stream.completion()


def everything_of(error: BaseException) -> str:
    """Everything that can be printed of an error: message, fields, pickle, traceback."""
    fields = {name: repr(value) for name, value in vars(error).items()}
    trace = "".join(traceback.format_exception(error))
    return f"{error!r} {error} {fields} {pickle.dumps(error)!r} {trace}"


ECHOES = {
    "an error body": Fault.status(401, body={"message": "Incorrect API key: {key-of-nobody}"}),
    "an error page": Fault.status(502, body="<html>Bearer {key-of-nobody}</html>"),
    "an error event": Fault.error_event(after=1, body={"error": {"message": "{key-of-nobody}"}}),
    "an event that is no JSON": Fault.garbage(after=1, data=b"data: {key-of-nobody}\n\n"),
    "a page in place of a stream": Fault.raw(data=b"<html>{key-of-nobody}</html>"),
    "JSON of another kind": Fault.raw(data=b'{"authorization": "Bearer {key-of-nobody}"}'),
    "an error in a success": Fault.raw(data=b'{"error": "bad key {key-of-nobody}"}'),
    "a cut": Fault.cut(after=1),
    "no response": Fault.drop(),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ECHOES)
async def test_the_key_is_in_no_error(
    name: str, caplog: pytest.LogCaptureFixture, *, streamed: bool
) -> None:
    # A text with braces, which occurs nowhere else in a response, so that every echo is found.
    key = "{key-of-nobody}"
    caplog.set_level(logging.DEBUG)
    async with (
        Simulator(api_key=key) as simulator,
        LaplasClient(key, simulator.base_url, retry=ONCE) as client,
    ):
        simulator.script_always(ECHOES[name])
        error = await failing(client, streamed=streamed)
        assert key not in everything_of(error)
        assert key not in "\n".join(
            record.getMessage() for record in caplog.records if record.name == "laplas_async"
        )


@pytest.mark.parametrize("fault", [Fault.status(401), Fault.drop(), Fault.cut()], ids=repr)
async def test_the_key_is_not_in_the_locals_of_a_traceback(
    client: LaplasClient, simulator: Simulator, key: str, fault: Fault
) -> None:
    """Error trackers send the repr of every local variable."""
    simulator.script_always(fault)
    error = await failing(client, streamed=True)
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if "test_security" not in frame.filename]
    assert frames
    for frame in frames:
        assert key not in str(frame.locals)
    for value in (client, vars(client), vars(client._transport)):
        assert key not in repr(value)


async def test_a_redirect_is_not_followed(
    client: LaplasClient, simulator: Simulator, key: str
) -> None:
    async with Simulator(api_key=key) as other:
        simulator.script_always(Fault.redirect(f"{other.base_url}/chat/completions", status=307))
        for streamed in (False, True):
            error = await failing(client, streamed=streamed)
            assert isinstance(error, APIError)
            assert error.status == 307
            assert "base_url" in str(error)
        assert other.counts.connections == 0
    assert simulator.counts.requests == 2


@pytest.mark.parametrize("url", ["http://api.example.com/v1", "http://10.0.0.1/v1"])
def test_http_to_another_host_warns(url: str) -> None:
    with pytest.warns(UserWarning, match="https"):
        LaplasClient("k", url)


@pytest.mark.parametrize(
    "url", ["http://localhost/v1", "http://127.0.0.9:1/v1", "http://[::1]:1/v1", "https://x/v1"]
)
def test_loopback_and_https_do_not_warn(url: str) -> None:
    LaplasClient("k", url)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ssl_context": False},
        {"ssl_context": True},
        {"api_key": "a\r\nX: y"},
        {"api_key": "ключ"},
        {"headers": {"X": "a\nb"}},
        {"headers": {"X\r\n": "a"}},
        {"session": "none"},
    ],
    ids=repr,
)
def test_an_insecure_setting_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        LaplasClient(**{"api_key": "k", "base_url": "https://x/v1", **arguments})
    assert "ключ" not in str(caught.value)


async def test_an_invalid_ca_file_is_a_config_error(tmp_path: Path, simulator: Simulator) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    for name in ("ca.pem", "missing.pem"):
        async with LaplasClient("k", "https://127.0.0.1:1/v1", ca_file=tmp_path / name) as client:
            with pytest.raises(ConfigError, match="ca_file"):
                await client.complete("Hello")


async def test_an_untrusted_certificate_is_not_retried(
    authority: tuple[Path, ssl.SSLContext],
) -> None:
    ca_file, context = authority
    answered = []

    async def answer(request: web.BaseRequest) -> web.Response:
        answered.append(request.headers["Authorization"])
        return web.json_response({"choices": [{"message": {"content": "Hi"}}]})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        port = runner.addresses[0][1]
        url = f"https://127.0.0.1:{port}/v1"
        async with LaplasClient("k", url) as client:
            with pytest.raises(ConnectionFailedError, match="ca_file") as caught:
                await client.complete("Hello")
            assert caught.value.permanent
            assert len(caught.value.attempts) == 1
            assert not answered
        async with LaplasClient("k", url, ca_file=ca_file) as client:
            assert (await client.complete("Hello")).text == "Hi"
    finally:
        await runner.cleanup()


async def test_a_proxy_from_the_environment_is_used(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
        with pytest.warns(UserWarning, match="https"):
            client = LaplasClient(key, "http://service.invalid/v1", retry=ONCE)
        async with client:
            await failing(client, streamed=False)
    assert asked == [b"POST http://service.invalid/v1/chat/completions HTTP/1.1\r\n"]


def test_sockets_use_tcp_keep_alive() -> None:
    import socket

    with make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


async def test_a_response_cannot_exhaust_memory(client: LaplasClient, simulator: Simulator) -> None:
    """64 MiB is the bound of a body, decompressed; a bomb is a few kilobytes on the wire."""
    bomb = gzip.compress(b'{"choices":["' + b" " * (MAX_BODY_BYTES + 1) + b'"]}')
    assert len(bomb) < 100_000
    fault = Fault.raw(data=bomb, content_encoding="gzip", content_type="application/json")
    simulator.script_always(fault)
    plain = await failing(client, streamed=False)
    assert isinstance(plain, APIError)
    assert "larger than" in str(plain)
    streamed = await failing(client, streamed=True)
    assert isinstance(streamed, StreamProtocolError)
    assert "larger than" in str(streamed)
    gc.collect()


async def test_a_huge_error_body_is_shortened(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script(Fault.status(400, body=b"x" * 1_000_000))
    error = await failing(client, streamed=False)
    assert isinstance(error, APIError)
    assert len(str(error)) < 1000
    assert len(error.body) < 3000
