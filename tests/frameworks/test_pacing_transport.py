"""``PacingTransport`` under httpx, httpx2 and openai's own client, over sockets."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from laplas_async import Gate, Limits
from laplas_async.openai import PacingTransport
from laplas_async.pacing.decision import PAUSED
from laplas_async.simulator import Fault, HiddenLimit, Simulator

KEY = "test-key-that-never-shows"
ASK = {"model": "m", "messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 3}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as sim:
        yield sim


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    try:
        return importlib.import_module(request.param)
    except ModuleNotFoundError:
        pytest.skip(f"{request.param} is not installed")


def _client(library: Any, sim: Simulator, transport: PacingTransport) -> Any:
    return library.AsyncClient(
        transport=transport,
        base_url=sim.base_url,
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=10,
    )


async def test_a_429_waits_for_another_turn_and_the_caller_sees_the_answer(
    library: Any, sim: Simulator
) -> None:
    sim.script(Fault.status(429), Fault.status(429, retry_after=0))
    transport = PacingTransport()
    async with _client(library, sim, transport) as client:
        response = await client.post("/chat/completions", json=ASK)
    assert response.status_code == 200
    assert response.json()["choices"]
    assert sim.counts.answered == 1
    assert transport.gate.pace.rejected == 2
    assert transport.gate.pace.in_flight == 0


async def test_the_permit_is_held_until_a_stream_is_read_or_closed(
    library: Any, sim: Simulator
) -> None:
    transport = PacingTransport()
    async with _client(library, sim, transport) as client:
        body = ASK | {"stream": True}
        async with client.stream("POST", "/chat/completions", json=body) as response:
            assert transport.gate.pace.in_flight == 1
            lines = [line async for line in response.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        assert transport.gate.pace.in_flight == 0
        async with client.stream("POST", "/chat/completions", json=body) as response:
            async for _ in response.aiter_lines():
                break
        assert transport.gate.pace.in_flight == 0


async def test_a_quota_and_a_long_retry_after_reach_the_caller(
    library: Any, sim: Simulator
) -> None:
    transport = PacingTransport(max_elapsed=5.0)
    async with _client(library, sim, transport) as client:
        sim.script(Fault.quota())
        response = await client.post("/chat/completions", json=ASK)
        assert response.status_code == 429
        assert "limit" in response.json()["message"]
        sim.script(Fault.status(429, retry_after=60))
        response = await client.post("/chat/completions", json=ASK)
        assert response.status_code == 429
        assert response.headers["retry-after"] == "60"
    assert transport.gate.pace.in_flight == 0


async def test_other_failures_are_the_callers(library: Any, sim: Simulator) -> None:
    transport = PacingTransport()
    async with _client(library, sim, transport) as client:
        sim.script(Fault.status(503))
        assert (await client.post("/chat/completions", json=ASK)).status_code == 503
        sim.script(Fault.drop())
        with pytest.raises(library.TransportError):
            await client.post("/chat/completions", json=ASK)
    assert transport.gate.pace.in_flight == 0
    assert len(sim.requests) == 2


@pytest.mark.parametrize(
    ("fault", "is_cut"),
    [(Fault.truncate(after=2), True), (Fault.no_done(), False), (Fault.no_finish(), False)],
)
async def test_a_guarded_stream_raises_when_it_was_cut(
    library: Any, sim: Simulator, fault: Fault, is_cut: bool
) -> None:
    transport = PacingTransport(guard_streams=True)
    async with _client(library, sim, transport) as client:
        sim.script(fault)
        body = ASK | {"stream": True}
        async with client.stream("POST", "/chat/completions", json=body) as response:
            if is_cut:
                with pytest.raises(library.RemoteProtocolError, match="cut"):
                    [line async for line in response.aiter_lines()]
            else:
                assert [line async for line in response.aiter_lines()]
    assert transport.gate.pace.in_flight == 0


async def test_cancelled_requests_return_their_places(library: Any, sim: Simulator) -> None:
    transport = PacingTransport(Gate(Limits(concurrency=1)))
    async with _client(library, sim, transport) as client:
        sim.script(Fault.slow_headers(30))
        tasks = [asyncio.create_task(client.post("/chat/completions", json=ASK)) for _ in range(3)]
        assert await sim.wait_for(lambda counts: counts.in_flight == 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert transport.gate.pace.in_flight == transport.gate.pace.waiting == 0
        assert (await client.post("/chat/completions", json=ASK)).status_code == 200


async def test_openais_client_is_answered_every_time_below_a_hidden_limit(
    library: Any,
) -> None:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    if library.__name__ == "httpx2" and openai.__version__.startswith("1."):
        pytest.skip("openai 1 takes httpx clients only")
    async with Simulator(api_key=KEY, limit=HiddenLimit(rate=20, burst=5)) as sim:
        transport = PacingTransport()
        async with openai.AsyncOpenAI(
            api_key=KEY,
            base_url=sim.base_url,
            http_client=library.AsyncClient(transport=transport),
            max_retries=0,
        ) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(**ASK) for _ in range(60))
            )
        assert len(answers) == sim.counts.answered == 60
        assert len(sim.requests) <= 90
        assert json.loads(answers[0].model_dump_json())["choices"]


async def test_a_retry_after_of_a_day_fails_its_request_and_holds_up_no_other_for_long(
    library: Any, sim: Simulator
) -> None:
    transport = PacingTransport()
    async with _client(library, sim, transport) as client:
        sim.script(Fault.status(429, retry_after=86400))
        assert (await client.post("/chat/completions", json=ASK)).status_code == 429
    gate = transport.gate
    assert not gate.limiter.decide(gate.clock(), 0).go
    assert gate.limiter.decide(gate.clock() + 121, 0).go


async def test_a_response_that_says_the_limit_is_used_up_pauses_the_gate(library: Any) -> None:
    limit = HiddenLimit(requests=2, per=60, headers="x-ratelimit")
    async with Simulator(api_key=KEY, limit=limit) as sim:
        transport = PacingTransport()
        async with _client(library, sim, transport) as client:
            for _ in range(2):
                assert (await client.post("/chat/completions", json=ASK)).status_code == 200
            assert transport.gate.pace.rejected == 0
            assert transport.gate.pace.reason == PAUSED


async def test_a_reader_that_is_cancelled_returns_the_permit(library: Any, sim: Simulator) -> None:
    transport = PacingTransport()
    async with _client(library, sim, transport) as client:
        sim.script(Fault.stall(after=1))
        started = asyncio.Event()

        async def read() -> None:
            body = ASK | {"stream": True}
            async with client.stream("POST", "/chat/completions", json=body) as response:
                async for _ in response.aiter_lines():
                    started.set()

        task = asyncio.create_task(read())
        await started.wait()
        assert transport.gate.pace.in_flight == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert transport.gate.pace.in_flight == 0
        assert (await client.post("/chat/completions", json=ASK)).status_code == 200


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_an_error_response_is_the_callers_and_returns_the_permit(
    library: Any, sim: Simulator, status: int
) -> None:
    transport = PacingTransport()
    async with _client(library, sim, transport) as client:
        sim.script(Fault.status(status))
        body = ASK | {"stream": True}
        async with client.stream("POST", "/chat/completions", json=body) as response:
            assert response.status_code == status
        assert transport.gate.pace.in_flight == 0
        assert transport.gate.pace.rejected == 0


async def test_a_429_when_there_is_no_more_time_is_the_callers_with_its_body(
    library: Any, sim: Simulator
) -> None:
    transport = PacingTransport(max_elapsed=0)
    async with _client(library, sim, transport) as client:
        sim.script(Fault.status(429, retry_after=1))
        async with client.stream("POST", "/chat/completions", json=ASK) as response:
            assert response.status_code == 429
            assert json.loads(await response.aread())["message"]
    assert transport.gate.pace.in_flight == 0
    assert len(sim.requests) == 1
