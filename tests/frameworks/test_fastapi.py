"""A client inside a FastAPI service: opened in its lifespan, shared by its requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from laplas_async import LaplasClient, LaplasError
from laplas_async.simulator import Fault, HiddenLimit, Simulator

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

KEY = "test-key-that-never-shows"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as simulator:
        yield simulator


@pytest.fixture
async def browser(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of a service with one endpoint for whole answers and one for streams."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with LaplasClient(KEY, simulator.base_url) as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/whole")
    async def whole(question: str) -> dict[str, str]:
        try:
            completion = await app.state.client.complete(question)
        except LaplasError as error:
            raise HTTPException(502, error.message) from None
        return {"text": completion.text}

    @app.get("/streamed")
    async def streamed(question: str) -> StreamingResponse:
        stream = app.state.client.stream(question)
        try:
            await stream.start()
        except LaplasError as error:
            raise HTTPException(502, error.message) from None

        async def texts() -> AsyncIterator[str]:
            async with stream:
                async for text in stream.text():
                    yield text

        return StreamingResponse(texts(), media_type="text/plain")

    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as browser,
    ):
        yield browser


async def test_a_stream_carries_the_text_of_the_whole_answer(browser: httpx.AsyncClient) -> None:
    whole = await browser.get("/whole", params={"question": "Name a river."})
    streamed = await browser.get("/streamed", params={"question": "Name a river."})
    assert whole.json()["text"] == streamed.text != ""


@pytest.mark.parametrize("path", ["/whole", "/streamed"])
async def test_a_refused_request_is_no_success(
    browser: httpx.AsyncClient, simulator: Simulator, path: str
) -> None:
    simulator.script(Fault.status(400))
    response = await browser.get(path, params={"question": "Name a river."})
    assert response.status_code == 502
    assert response.json()["detail"]


async def test_requests_of_many_browsers_share_one_gate(
    browser: httpx.AsyncClient, simulator: Simulator
) -> None:
    simulator.limit = HiddenLimit(concurrency=4)
    questions = [{"question": f"Name river number {number}."} for number in range(40)]
    responses = await asyncio.gather(*(browser.get("/whole", params=one) for one in questions))
    assert {response.status_code for response in responses} == {200}
    assert simulator.counts.answered == 40
