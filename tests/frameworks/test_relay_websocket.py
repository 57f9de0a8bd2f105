"""``relay_websocket`` with WebSockets of FastAPI (under uvicorn) and of aiohttp.web."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from laplas_async import ConfigError, LaplasClient, RetryPolicy, relay_websocket
from laplas_async.simulator import Fault, Simulator

for module in ("fastapi", "uvicorn", "websockets"):
    pytest.importorskip(module, reason=f"{module} is not installed (the extra 'frameworks')")

import uvicorn  # noqa: E402
from fastapi import FastAPI, WebSocket  # noqa: E402

KEY = "test-key-that-never-shows"
PATIENCE = 30.0  # seconds, for conditions; time is never measured

Answer = Callable[[Any, str], Awaitable[object]]


@asynccontextmanager
async def fastapi_service(answer: Answer) -> AsyncIterator[str]:
    app = FastAPI()

    @app.websocket("/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        async for question in websocket.iter_text():
            if await answer(websocket, question) == "disconnected":
                break

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/chat"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def aiohttp_service(answer: Answer) -> AsyncIterator[str]:
    async def chat(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            if await answer(websocket, message.data) == "disconnected":
                break
        return websocket

    app = web.Application()
    app.router.add_get("/chat", chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/chat"
    finally:
        await runner.cleanup()


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


@pytest.fixture(params=[fastapi_service, aiohttp_service], ids=lambda one: one.__name__)
def service(request: pytest.FixtureRequest) -> Any:
    return request.param


@asynccontextmanager
async def chatting(
    service: Any, client: LaplasClient, outcomes: list[str], **settings: Any
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async def answer(websocket: Any, question: str) -> str:
        outcome = await relay_websocket(client.stream(question), websocket, **settings)
        outcomes.append(outcome)
        return outcome

    async with (
        service(answer) as address,
        aiohttp.ClientSession() as session,
        session.ws_connect(address) as websocket,
    ):
        yield websocket


async def received(websocket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    found: list[Any] = []
    while not found or found[-1]["type"] == "text":
        found.append(json.loads(await websocket.receive_str(timeout=PATIENCE)))
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_socket_carries_one_answer_after_the_other(
    service: Any, client: LaplasClient
) -> None:
    outcomes: list[str] = []
    async with chatting(service, client, outcomes) as websocket:
        for question in ("One?", "Two?"):
            await websocket.send_str(question)
            *texts, end = await received(websocket)
            text = "".join(one["text"] for one in texts)
            assert text == (await client.complete(question)).text
            assert (end["type"], end["finish_reason"]) == ("done", "stop")
    assert outcomes == ["complete", "complete"]


@pytest.mark.parametrize("fault", [Fault.status(401), Fault.cut(after=3)])
async def test_a_failure_is_one_error_and_the_socket_stays_open(
    service: Any, client: LaplasClient, simulator: Simulator, fault: Fault
) -> None:
    outcomes: list[str] = []
    simulator.script(fault)
    async with chatting(service, client, outcomes) as websocket:
        await websocket.send_str("One?")
        assert (await received(websocket))[-1]["type"] == "error"
        await websocket.send_str("Two?")
        assert (await received(websocket))[-1]["type"] == "done"
    assert outcomes == ["failed", "complete"]


@pytest.mark.parametrize("after", [0, 2])
async def test_a_browser_that_leaves_ends_the_request_to_the_model(
    service: Any, client: LaplasClient, simulator: Simulator, after: int
) -> None:
    outcomes: list[str] = []
    simulator.script(Fault.stall(after=after))
    async with chatting(service, client, outcomes) as websocket:
        await websocket.send_str("One?")
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=PATIENCE)
        if after:
            await websocket.receive_str(timeout=PATIENCE)
        await websocket.close()
        assert await simulator.wait_idle(PATIENCE)
        await until(lambda: outcomes == ["disconnected"])


async def test_a_message_during_the_answer_can_stop_it(
    service: Any, client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=2))
    outcomes: list[str] = []

    async def answer(websocket: Any, question: str) -> str:
        stream = client.stream(question)

        async def on_message(text: str) -> None:
            if text == "stop":
                await stream.aclose()

        outcome = await relay_websocket(stream, websocket, on_message=on_message)
        outcomes.append(outcome)
        return outcome

    async with (
        service(answer) as address,
        aiohttp.ClientSession() as session,
        session.ws_connect(address) as websocket,
    ):
        await websocket.send_str("One?")
        await websocket.receive_str(timeout=PATIENCE)
        await websocket.send_str("go on")
        await websocket.send_str("stop")
        assert (await received(websocket))[-1]["type"] == "error"
    assert outcomes == ["failed"]
    assert await simulator.wait_idle(PATIENCE)


async def test_frames_may_be_chunks_as_openai_sends_them(
    service: Any, client: LaplasClient
) -> None:
    async with chatting(service, client, [], as_="openai") as websocket:
        await websocket.send_str("One?")
        frames: list[str] = []
        while not frames or frames[-1] != "[DONE]":
            frames.append(await websocket.receive_str(timeout=PATIENCE))
    pieces = [json.loads(one)["choices"][0]["delta"].get("content") or "" for one in frames[:-1]]
    assert "".join(pieces) == (await client.complete("One?")).text


async def test_what_is_no_websocket_is_refused(client: LaplasClient) -> None:
    with pytest.raises(ConfigError, match="websocket='x'"):
        await relay_websocket(client.stream("?"), "x")
    with pytest.raises(ConfigError, match="must be one of json"):
        await relay_websocket(client.stream("?"), "x", as_="sse")  # type: ignore[arg-type]
