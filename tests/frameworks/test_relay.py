"""``relay`` inside FastAPI (under uvicorn) and aiohttp.web, over real sockets."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from attrs import frozen

from laplas_async import ConfigError, Conversations, LaplasClient, RetryPolicy, relay
from laplas_async.simulator import Fault, Simulator

for module in ("fastapi", "uvicorn", "sse_starlette", "aiohttp_sse", "openai"):
    pytest.importorskip(module, reason=f"{module} is not installed (the extra 'frameworks')")

import openai  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI, Request  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402

KEY = "test-key-that-never-shows"
# Longer than anything a loaded machine does: conditions are awaited, and time is never measured.
PATIENCE = 30.0

Handler = Callable[[Any], Awaitable[Any]]


@asynccontextmanager
async def fastapi_service(handler: Handler) -> AsyncIterator[str]:
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST", "HEAD"])
    async def ask(request: Request) -> Any:
        return await handler(request)

    async with uvicorn_service(app) as address:
        yield address


@asynccontextmanager
async def wrapped_fastapi_service(handler: Handler) -> AsyncIterator[str]:
    """With the middleware that is known for hiding disconnects, and a body that was read."""
    app = FastAPI()

    async def through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=through)

    @app.api_route("/{path:path}", methods=["GET", "POST", "HEAD"])
    async def ask(request: Request) -> Any:
        await request.body()
        return await handler(request)

    async with uvicorn_service(app) as address:
        yield address


@asynccontextmanager
async def uvicorn_service(app: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/ask"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def aiohttp_service(handler: Handler, **options: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/ask"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def cancelling_aiohttp_service(handler: Handler) -> AsyncIterator[str]:
    async with aiohttp_service(handler, handler_cancellation=True) as address:
        yield address


SERVICES = [
    fastapi_service,
    wrapped_fastapi_service,
    aiohttp_service,
    cancelling_aiohttp_service,
]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as simulator:
        yield simulator


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[LaplasClient]:
    retry = RetryPolicy(max_rejections=0, max_attempts=1)
    async with LaplasClient(KEY, simulator.base_url, retry=retry) as client:
        yield client


@pytest.fixture(params=SERVICES, ids=lambda one: one.__name__)
def service(request: pytest.FixtureRequest) -> Any:
    return request.param


@frozen
class Options:
    """What the handler of a test passes to ``relay``."""

    settings: dict[str, Any]

    def handler(self, client: LaplasClient) -> Handler:
        async def ask(request: Any) -> Any:
            question = request.query.get("q") if isinstance(request, web.Request) else "Why?"
            return await relay(client.stream(question or "Why?"), request, **self.settings)

        return ask


@asynccontextmanager
async def serving(
    service: Any, client: LaplasClient, **settings: Any
) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    async with (
        service(Options(settings).handler(client)) as address,
        aiohttp.ClientSession() as session,
    ):
        yield address, session


def events(body: str) -> list[tuple[str, Any]]:
    found = []
    for block in body.split("\n\n")[:-1]:
        lines = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
        fields = {name: value for name, _, value in lines}
        if "data" in fields:
            data = fields["data"]
            found.append(
                (fields.get("event", "message"), data if data == "[DONE]" else json.loads(data))
            )
    return found


def is_error(event: tuple[str, Any]) -> bool:
    name, data = event
    return name == "error" or (
        isinstance(data, dict) and ("error" in data or data.get("type") == "error")
    )


# --- complete answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_events_carry_the_whole_answer_and_an_end(
    service: Any, client: LaplasClient, method: str
) -> None:
    async with (
        serving(service, client) as (address, session),
        session.request(method, address, data=b"{}" if method == "POST" else None) as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        *texts, (last, summary) = events(await response.text())
    assert {name for name, _ in texts} == {"text"}
    assert "".join(text for _, text in texts) == (await client.complete("Why?")).text
    assert last == "done"
    assert summary["finish_reason"] == "stop"
    assert summary["usage"]["completion_tokens"] > 0


async def test_plain_text_is_the_answer(service: Any, client: LaplasClient) -> None:
    async with (
        serving(service, client, as_="text") as (address, session),
        session.get(address) as response,
    ):
        assert (response.status, response.content_type) == (200, "text/plain")
        assert await response.text() == (await client.complete("Why?")).text


async def test_the_ai_sdk_reads_a_message_stream(service: Any, client: LaplasClient) -> None:
    async with (
        serving(service, client, as_="ui") as (address, session),
        session.post(address, json={}) as response,
    ):
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        found = [data for _, data in events(await response.text())]
    assert found[-1] == "[DONE]"
    deltas = [part["delta"] for part in found[:-1] if part["type"] == "text-delta"]
    assert "".join(deltas) == (await client.complete("Why?")).text


async def test_openai_python_reads_the_chunks(service: Any, client: LaplasClient) -> None:
    async with (
        serving(service, client, as_="openai") as (address, _),
        openai_client(address) as reader,
    ):
        stream = await reader.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Why?"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    completion = await client.complete("Why?")
    assert text == completion.text
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert chunks[-1].usage.completion_tokens == completion.usage.completion_tokens


async def test_this_library_reads_the_chunks(service: Any, client: LaplasClient) -> None:
    async with (
        serving(service, client, as_="openai") as (address, _),
        LaplasClient("other", proxy_base(address)) as reader,
        reader.stream("Why?") as stream,
    ):
        relayed = await stream.completion()
    assert relayed == await client.complete("Why?")


def proxy_base(address: str) -> str:
    return address.removesuffix("/ask") + "/v1"


@asynccontextmanager
async def openai_client(address: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(
        api_key="other", base_url=proxy_base(address), max_retries=0
    ) as reader:
        yield reader


async def test_heartbeats_are_sent_while_the_model_is_silent(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=1))
    async with (
        serving(service, client, heartbeat=0.01) as (address, session),
        session.get(address) as response,
    ):
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                await response.content.readuntil(b": ping\n\n")
    assert await simulator.wait_idle(PATIENCE)


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_", ["sse", "text", "ui", "openai"])
@pytest.mark.parametrize(
    "failure",
    [
        (Fault.status(401), 401),
        (Fault.quota(), 429),
        (Fault.status(503, retry_after=7), 503),
        (Fault.drop(), 502),
        (Fault.error_event(after=0), 500),
    ],
)
async def test_a_failure_before_the_first_text_has_its_true_status(
    service: Any,
    client: LaplasClient,
    simulator: Simulator,
    failure: tuple[Fault, int],
    as_: str,
) -> None:
    fault, status = failure
    simulator.script(fault)
    async with (
        serving(service, client, as_=as_) as (address, session),
        session.get(address) as response,
    ):
        assert response.status == status
        assert response.content_type in ("application/json", "text/plain")
        assert await response.text()
        if status == 503:
            assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("as_", ["sse", "ui", "openai"])
@pytest.mark.parametrize(
    "fault", [Fault.cut(after=3), Fault.truncate(after=3), Fault.error_event(after=3)]
)
async def test_a_later_failure_is_one_error_event_and_no_end(
    service: Any, client: LaplasClient, simulator: Simulator, fault: Fault, as_: str
) -> None:
    simulator.script(fault)
    async with (
        serving(service, client, as_=as_) as (address, session),
        session.get(address) as response,
    ):
        assert response.status == 200
        body = await response.text()
    found = events(body)
    assert [one for one in found if is_error(one)] == found[-1:]
    assert "[DONE]" not in body
    assert "event: done" not in body


# Not under BaseHTTPMiddleware, which ends every body properly (see ``relay``).
@pytest.mark.parametrize("service", [fastapi_service, aiohttp_service])
async def test_plain_text_that_breaks_off_is_no_complete_response(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.cut(after=3))
    async with (
        serving(service, client, as_="text") as (address, session),
        session.get(address) as response,
    ):
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.text()


async def test_openai_python_raises_what_the_service_raised(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    async with (
        serving(service, client, as_="openai") as (address, _),
        openai_client(address) as reader,
    ):
        simulator.script(Fault.status(401), Fault.cut(after=3))
        with pytest.raises(openai.AuthenticationError):
            await reader.chat.completions.create(**ask, stream=True)
        stream = await reader.chat.completions.create(**ask, stream=True)
        with pytest.raises(openai.APIError, match="cut"):
            [chunk async for chunk in stream]


async def test_the_reader_may_see_another_message(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.status(401), Fault.cut(after=1))
    async with serving(service, client, describe=lambda _: "Sorry.") as (address, session):
        for _ in range(2):
            async with session.get(address) as response:
                body = await response.text()
            assert '"Sorry."' in body
            assert "API key" not in body


# --- readers that leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("as_", ["sse", "text", "ui", "openai"])
@pytest.mark.parametrize("after", [0, 2])
async def test_a_browser_that_leaves_ends_the_request_to_the_model(
    service: Any, client: LaplasClient, simulator: Simulator, after: int, as_: str
) -> None:
    simulator.script(Fault.stall(after=after))
    async with serving(service, client, as_=as_) as (address, session):
        asking = asyncio.create_task(session.get(address))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=PATIENCE)
        if after:
            response = await asking
            await response.content.readany()
            response.close()
        else:
            asking.cancel()
            await asyncio.wait([asking])
        assert await simulator.wait_idle(PATIENCE)
        # And the service goes on.
        async with session.get(address) as response:
            assert await response.read()


async def test_a_browser_that_leaves_while_the_request_waits_at_the_gate_leaves_no_trace(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.slow_headers(60))
    async with serving(service, client) as (address, session):
        asking = asyncio.create_task(session.get(address))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=PATIENCE)
        asking.cancel()
        await asyncio.wait([asking])
        assert await simulator.wait_idle(PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while client.pace.in_flight:
                await asyncio.sleep(0)


class Endless:
    """A stream of text without an end, which knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def __aiter__(self) -> "Endless":
        return self

    async def __anext__(self) -> str:
        await asyncio.sleep(0)
        return "x" * 65_536

    async def aclose(self) -> None:
        self.closed.set()


@pytest.mark.parametrize("as_", ["sse", "text"])
async def test_a_reader_that_takes_nothing_is_given_up(service: Any, as_: Any) -> None:
    streams: list[Endless] = []

    async def ask(request: Any) -> Any:
        streams.append(Endless())
        return await relay(streams[-1], request, as_=as_, send_timeout=0.2)

    async with service(ask) as address:
        _, _, port = address.removesuffix("/ask").rpartition(":")
        _, writer = await asyncio.open_connection("127.0.0.1", int(port), limit=1)
        writer.write(b"GET /ask HTTP/1.1\r\nHost: here\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            while not streams:
                await asyncio.sleep(0.005)
            await streams[0].closed.wait()
        writer.transport.abort()


async def test_a_browser_that_reconnects_does_not_ask_again(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    """EventSource reconnects after an interruption; 204 makes it stop."""
    async with (
        serving(service, client) as (address, session),
        session.get(address, headers={"Last-Event-ID": "7"}) as response,
    ):
        assert response.status == 204
    assert simulator.requests == []


async def test_a_head_request_asks_nothing(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    async with (
        serving(service, client) as (address, session),
        session.head(address) as response,
    ):
        assert (response.status, response.content_type) == (200, "text/event-stream")
    assert simulator.requests == []


# --- streams --------------------------------------------------------------------------------------


async def test_an_answer_of_a_conversation_is_relayed_and_kept(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    conversations = Conversations(client)

    async def ask(request: Any) -> Any:
        return await relay(conversations["chat"].ask("One."), request)

    async with service(ask) as address, aiohttp.ClientSession() as session:
        async with session.get(address) as response:
            assert events(await response.text())[-1][0] == "done"
        simulator.script(Fault.stall(after=2))
        async with session.get(address) as response:
            await response.content.readuntil(b"id: 2\n")
        assert await simulator.wait_idle(PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while conversations["chat"].waiting:
                await asyncio.sleep(0)
        states = [turn.state for turn in await conversations["chat"].turns()]
        assert states == ["complete", "interrupted"]


async def test_a_refused_message_of_a_busy_chat_is_a_conflict(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    conversations = Conversations(client, busy="refuse")

    async def ask(request: Any) -> Any:
        return await relay(conversations["chat"].ask("One."), request)

    simulator.script(Fault.stall(after=1))
    async with (
        conversations,
        service(ask) as address,
        aiohttp.ClientSession() as session,
        session.get(address) as first,
    ):
        await first.content.readline()
        async with session.get(address) as second:
            assert second.status == 409


async def test_a_browser_that_leaves_while_its_message_waits_leaves_the_line(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    chat = Conversations(client)["chat"]

    async def ask(request: Any) -> Any:
        return await relay(chat.ask("One."), request)

    simulator.script(Fault.stall(after=1))
    async with service(ask) as address, aiohttp.ClientSession() as session:
        first = await session.get(address)
        await first.content.readline()
        asking = asyncio.create_task(session.get(address))
        async with asyncio.timeout(PATIENCE):
            while chat.waiting < 2:
                await asyncio.sleep(0.005)
            asking.cancel()
            while chat.waiting > 1:
                await asyncio.sleep(0.005)
            assert simulator.counts.requests == 1
            first.close()
            while chat.waiting:
                await asyncio.sleep(0.005)
        assert len(await chat.turns()) == 1


async def test_with_aiohttp_a_stream_may_have_been_entered(
    client: LaplasClient, simulator: Simulator
) -> None:
    async def ask(request: web.Request) -> Any:
        async with client.stream("Why?") as stream:
            return await relay(stream, request, as_="text")

    async with (
        aiohttp_service(ask) as address,
        aiohttp.ClientSession() as session,
        session.get(address) as response,
    ):
        assert await response.text() == (await client.complete("Why?")).text


async def test_stopping_the_service_ends_the_requests_to_the_model(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=1))
    async with aiohttp.ClientSession() as session:
        async with service(Options({}).handler(client)) as address:
            response = await session.get(address)
            await response.content.readline()
        assert await simulator.wait_idle(PATIENCE)
        response.close()


async def test_with_fastapi_awaiting_is_optional(client: LaplasClient) -> None:
    app = FastAPI()

    @app.get("/ask")
    def ask(request: Request) -> Any:
        return relay(client.stream("Why?"), request, as_="text")

    async with (
        uvicorn_service(app) as address,
        aiohttp.ClientSession() as session,
        session.get(address) as response,
    ):
        assert await response.text() == (await client.complete("Why?")).text


# --- arguments ------------------------------------------------------------------------------------


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ConfigError, match="request='x': must be one of aiohttp"):
        relay(Endless(), "x")


@pytest.mark.parametrize(
    "settings", [{"as_": "xml"}, {"heartbeat": 0}, {"send_timeout": -1}, {"heartbeat": True}]
)
def test_settings_that_cannot_be_right_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        relay(Endless(), "x", **settings)


@pytest.mark.parametrize(
    ("library", "extra"), [("sse_starlette", "fastapi"), ("aiohttp_sse", "aiohttp")]
)
async def test_a_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    scope = {"type": "http", "method": "GET", "headers": [], "path": "/"}
    from aiohttp.test_utils import make_mocked_request

    request = Request(scope) if extra == "fastapi" else make_mocked_request("GET", "/")
    with pytest.raises(ConfigError, match=rf"pip install 'laplas-async\[{extra}\]'") as caught:
        relay(Endless(), request)
    assert "\n" not in str(caught.value)
