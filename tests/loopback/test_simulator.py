"""The simulator's responses and faults over real sockets, with a plain aiohttp client."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import orjson
import pytest

from laplas_async.simulator import Fault, HiddenLimit, Simulator, Timing

BODY = {"model": "m", "messages": [{"role": "user", "content": "Name a river — 日本 🙂"}]}
STREAM = BODY | {"stream": True, "stream_options": {"include_usage": True}}
KEY = {"Authorization": "Bearer test-key"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_key="test-key") as events:
        yield events


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=KEY) as session:
        yield session


def chat(
    http: aiohttp.ClientSession, sim: Simulator, body: Any = None, **options: Any
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    return http.post(f"{sim.base_url}/chat/completions", json=body or BODY, **options)


async def status_of(http: aiohttp.ClientSession, sim: Simulator, body: Any = None) -> int:
    async with chat(http, sim, body) as response:
        return response.status


async def chunks(response: aiohttp.ClientResponse) -> list[Any]:
    """Read the events of a whole stream."""
    data = await response.read()
    found = [block.removeprefix(b"data: ") for block in data.split(b"\n\n") if block]
    return [one if one == b"[DONE]" else orjson.loads(one) for one in found]


async def read_into(got: bytearray, response: aiohttp.ClientResponse) -> None:
    while data := await response.content.readany():
        got += data


async def first_bytes(response: aiohttp.ClientResponse, count: int) -> bytes:
    got = b""
    while got.count(b"\n\n") < count:
        got += await response.content.readany()
    return got


def text_of(events: Any) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for one in events
        if one != b"[DONE]"
        for choice in one["choices"]
    )


@pytest.mark.parametrize("status", [200, 201])
async def test_streamed_and_plain_responses_are_equal(
    http: aiohttp.ClientSession, status: int
) -> None:
    async with Simulator(status=status, costs=True) as sim:
        async with chat(http, sim) as response:
            whole = await response.json()
            assert response.status == status
            assert response.headers["x-request-id"].endswith("1")
        async with chat(http, sim, STREAM) as response:
            events = await chunks(response)
            assert response.status == status
            assert response.content_type == "text/event-stream"
        assert text_of(events) == whole["choices"][0]["message"]["content"]
        assert events[-1] == b"[DONE]"
        assert events[-2]["usage"] == whole["usage"]
        assert whole["meta"]["usage"]["usd_spent"] > 0
        counts = sim.counts
        assert (counts.requests, counts.answered, counts.streams) == (2, 2, 1)
        assert counts.tokens == 2 * whole["usage"]["completion_tokens"]
        first, second = sim.requests
        assert (first.body, second.body) == (BODY, STREAM)
        assert second.headers["authorization"] == "Bearer test-key"
        assert second.ended is not None
        assert second.started <= second.ended
        assert (second.status, second.outcome) == (status, "answered")
        assert second.chunks == whole["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("key", "status"),
    [("Bearer test-key", 200), ("bearer test-key", 200), ("Bearer x", 401), ("Basic a", 401)],
)
async def test_the_key_is_checked(sim: Simulator, key: str, status: int) -> None:
    headers = {"Authorization": key}
    async with aiohttp.ClientSession(headers=headers) as http, chat(http, sim) as response:
        assert response.status == status
        body = await response.json()
    if status == 401:
        assert body["message"] == "This request requires a valid API key."
        assert sim.counts.refused == 1


async def test_without_an_api_key_any_bearer_token_is_accepted() -> None:
    async with Simulator() as sim, aiohttp.ClientSession() as http:
        async with chat(http, sim) as response:
            assert response.status == 401
        async with chat(http, sim, headers={"Authorization": "Bearer any"}) as response:
            assert response.status == 200


async def test_refusals_have_the_error_body_of_the_service(
    http: aiohttp.ClientSession, sim: Simulator
) -> None:
    async with chat(http, sim, BODY | {"n": 0}) as response:
        body = await response.json()
        assert response.status == 400
    assert body["errors"] == [{"path": ["n"], "message": "Must be at least 1"}]
    assert body["message"] == "Body validation error!"
    assert body["statusCode"] == 400
    assert body["path"] == "/v1/chat/completions"
    assert body["requestId"] == response.headers["x-request-id"]
    assert body["timestamp"].endswith("Z")
    url = f"{sim.base_url}/chat/completions"
    async with http.post(url, data=b"{", headers={"Content-Type": "application/json"}) as response:
        assert response.status == 400
    async with http.post(url, data=b"a=b") as response:
        assert response.status == 400
    async with http.get(url) as response:
        assert response.status == 405
    async with http.post(f"{sim.base_url}/nowhere", json={}) as response:
        assert response.status == 404
        assert (await response.json())["message"] == "Cannot POST /v1/nowhere"
    bad = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"enum": 3}}}
    async with chat(http, sim, BODY | {"response_format": bad}) as response:
        assert response.status == 400
    assert (sim.counts.refused, sim.counts.requests) == (6, 6)
    async with http.post(f"{url}/", json=BODY) as response:
        assert response.status == 200
    async with http.get(f"{sim.base_url}/models") as response:
        assert (await response.json())["data"]
    assert sim.counts.requests == 7


async def test_a_script_is_used_up_in_order(http: aiohttp.ClientSession, sim: Simulator) -> None:
    sim.script(Fault.status(429, retry_after=1), None, Fault.status(503, "<html>"))
    sim.script_always(lambda body, number: Fault.drop() if body["model"] == str(number) else None)
    statuses = []
    for _ in range(4):
        async with chat(http, sim) as response:
            statuses.append(response.status)
    assert statuses == [429, 200, 503, 200]
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await status_of(http, sim, BODY | {"model": "5"})
    sim.script_always(Fault.quota())
    async with chat(http, sim) as response:
        assert "free limit" in (await response.json())["message"]
    sim.clear()
    async with chat(http, sim) as response:
        assert response.status == 200
    assert sim.counts.requests == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [Fault.cut(after=2), Fault.reset(after=2)], ids=lambda f: f.kind)
async def test_cuts_and_resets_are_connection_errors(
    http: aiohttp.ClientSession, sim: Simulator, fault: Fault, stream: bool
) -> None:
    sim.script(fault)
    async with chat(http, sim, BODY | {"stream": stream}) as response:
        got = bytearray()
        with pytest.raises(aiohttp.ClientPayloadError):
            await read_into(got, response)
    assert got.count(b'"content"') == (3 if stream else 1)
    assert (sim.counts.faulted, sim.counts.in_flight) == (1, 0)
    assert await sim.wait_for(lambda counts: counts.open_connections == 0)


async def test_streams_that_end_cleanly_but_incompletely(
    http: aiohttp.ClientSession, sim: Simulator
) -> None:
    sim.script(Fault.truncate(after=2), Fault.no_done(), Fault.no_finish())
    sim.script(Fault.error_event(after=1), Fault.garbage(after=1, data=b"\xff"))
    bodies = []
    for _ in range(5):
        async with chat(http, sim, STREAM) as response:
            bodies.append(await response.read())
    assert [b"[DONE]" in one for one in bodies] == [False, False, True, False, False]
    assert [b'"finish_reason":"stop"' in one for one in bodies] == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert b'"statusCode":500' in bodies[3]
    assert bodies[4].endswith(b"\xff")


@pytest.mark.parametrize(
    "fault",
    [
        Fault.gzip(),
        Fault.http10(),
        Fault.slow_headers(0.001),
        Fault.raw(b"data: [DONE]\n\n", chunk=1),
        Fault.written(chunk=1),
        Fault.written(per_write=7),
    ],
    ids=lambda fault: fault.kind,
)
async def test_complete_streams_sent_unusually(
    http: aiohttp.ClientSession, sim: Simulator, fault: Fault
) -> None:
    sim.script(fault)
    async with chat(http, sim, STREAM) as response:
        events = await chunks(response)
    assert events[-1] == b"[DONE]"
    if fault.kind != "raw":
        async with chat(http, sim) as response:
            whole = await response.json()
        assert text_of(events) == whole["choices"][0]["message"]["content"]
    assert sim.requests[0].outcome == "faulted"


async def test_other_kinds_of_responses(http: aiohttp.ClientSession, sim: Simulator) -> None:
    sim.script(Fault.html(), Fault.json_instead(), Fault.redirect("/v1/elsewhere"), Fault.gzip())
    sim.script(Fault.http10())
    async with chat(http, sim, STREAM) as response:
        assert response.content_type == "text/html"
    async with chat(http, sim, STREAM) as response:
        assert (await response.json())["object"] == "chat.completion"
    async with chat(http, sim, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, "/v1/elsewhere")
    for _ in range(2):
        async with chat(http, sim) as response:
            assert (await response.json())["object"] == "chat.completion"
    assert response.version == aiohttp.HttpVersion10


@pytest.mark.parametrize(
    "fault",
    [
        Fault.stall(after=2),
        Fault.heartbeats(after=2, interval=0.001),
        Fault.keep_open(),
        Fault.never_ends(10**9),
        Fault.raw(b"data: {}\n\n" * 3, end="stall"),
    ],
    ids=lambda fault: fault.kind,
)
async def test_a_client_that_disconnects_is_noticed(
    http: aiohttp.ClientSession, sim: Simulator, fault: Fault
) -> None:
    sim.limit = HiddenLimit(concurrency=1)
    sim.script(fault)
    async with chat(http, sim, STREAM) as response:
        if fault.kind == "never_ends":
            await response.content.readexactly(1000)
        else:
            got = await first_bytes(response, 3)
            assert b"DONE" not in got or fault.kind == "keep_open"
        response.close()
    assert await sim.wait_idle()
    assert await sim.wait_for(lambda counts: counts.open_connections == 0)
    expected = "faulted" if fault.kind == "keep_open" else "abandoned"
    assert sim.requests[0].outcome == expected
    # The place under the limit is free again.
    async with chat(http, sim) as response:
        assert response.status == 200


async def test_a_client_that_disconnects_from_a_timed_stream_is_noticed(
    http: aiohttp.ClientSession,
) -> None:
    timing = Timing(tokens_per_second=0.001, plain=1000)
    async with Simulator(timing=timing) as sim:
        async with chat(http, sim, STREAM) as response:
            await first_bytes(response, 2)
            response.close()
        assert await sim.wait_for(lambda counts: counts.abandoned == 1)
        plain = asyncio.ensure_future(status_of(http, sim))
        assert await sim.wait_for(lambda counts: counts.in_flight == 1)
        plain.cancel()
        assert await sim.wait_for(lambda counts: counts.abandoned == 2)
        assert sim.counts.in_flight == 0
        assert sim.requests[0].chunks == 1


async def test_responses_take_at_least_their_time(http: aiohttp.ClientSession) -> None:
    timing = Timing(first_token=0.05, tokens_per_second=200, plain=0.08)
    async with Simulator(timing=timing) as sim:
        body = STREAM | {"max_tokens": 11}
        start = time.monotonic()
        async with chat(http, sim, body) as response:
            assert await chunks(response)
        assert time.monotonic() - start >= 0.099
        start = time.monotonic()
        async with chat(http, sim) as response:
            await response.read()
        assert time.monotonic() - start >= 0.079


async def test_a_body_of_megabytes(http: aiohttp.ClientSession, sim: Simulator) -> None:
    big = io.BytesIO(orjson.dumps(BODY | {"image": "x" * 5_000_000}))
    headers = {"Content-Type": "application/json"}
    url = f"{sim.base_url}/chat/completions"
    async with http.post(url, data=big, headers=headers) as response:
        assert response.status == 200


async def test_a_status_without_a_body_and_expect_100_continue(
    http: aiohttp.ClientSession, sim: Simulator
) -> None:
    sim.script(Fault.status(204, b""))
    async with chat(http, sim) as response:
        assert (response.status, await response.read()) == (204, b"")
    async with chat(http, sim, expect100=True) as response:
        assert response.status == 200
    async with http.head(f"{sim.base_url}/chat/completions") as response:
        assert response.status == 405
    async with chat(http, sim) as response:
        assert response.status == 200
