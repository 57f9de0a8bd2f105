"""Hidden limits and counts of the simulator over real sockets, with a plain aiohttp client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import pytest

from laplas_async.simulator import Fault, HiddenLimit, Simulator

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


async def first_bytes(response: aiohttp.ClientResponse, count: int) -> bytes:
    got = b""
    while got.count(b"\n\n") < count:
        got += await response.content.readany()
    return got


async def test_the_hidden_rate(http: aiohttp.ClientSession, sim: Simulator) -> None:
    sim.limit = HiddenLimit(rate=0.001, burst=3)
    for expected in (200, 200, 200, 429, 429):
        async with chat(http, sim) as response:
            body = await response.json()
            assert response.status == expected
            assert not [name for name in response.headers if "ratelimit" in name.lower()]
            assert "Retry-After" not in response.headers
    assert body["message"] == "Too Many Requests"
    assert (sim.counts.rejected, sim.counts.answered) == (2, 3)
    sim.limit = HiddenLimit(rate=0.001, burst=1, headers=True)
    async with chat(http, sim) as response:
        assert response.headers["x-ratelimit-remaining-requests"] == "0"
    async with chat(http, sim) as response:
        assert response.headers["retry-after"] == "1000"
    sim.limit = None
    async with chat(http, sim) as response:
        assert response.status == 200


async def test_a_stream_counts_as_in_flight_until_its_end(
    http: aiohttp.ClientSession, sim: Simulator
) -> None:
    sim.limit = HiddenLimit(concurrency=1)
    sim.script(Fault.stall(after=1))
    async with chat(http, sim, STREAM) as response:
        await first_bytes(response, 2)
        async with chat(http, sim) as other:
            assert other.status == 429
        response.close()
    assert await sim.wait_idle()
    # As soon as a whole stream has been read, the next request is admitted.
    for _ in range(20):
        async with chat(http, sim, STREAM) as response:
            assert response.status == 200
            await response.read()


async def test_the_counts_add_up_under_load(http: aiohttp.ClientSession, sim: Simulator) -> None:
    sim.limit = HiddenLimit(concurrency=8)

    async def one(number: int) -> int:
        body = STREAM if number % 2 else BODY
        async with chat(http, sim, body | {"seed": number + 1}) as response:
            await response.read()
            return response.status

    statuses = await asyncio.gather(*(one(number) for number in range(200)))
    counts = sim.counts
    assert counts.requests == 200
    assert counts.answered == statuses.count(200)
    assert counts.rejected == statuses.count(429)
    assert counts.in_flight == 0
    assert counts.open_connections <= counts.connections


async def test_requests_about_the_simulator_are_not_counted(sim: Simulator) -> None:
    root = sim.base_url.removesuffix("/v1")
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{root}/_counts") as response:
            counts = await response.json()
        assert set(counts.values()) == {0}
        limit = {"rate": 5, "burst": 2, "concurrency": 1}
        async with http.post(f"{root}/_limit", json=limit) as response:
            assert response.status == 200
        assert sim.limit == HiddenLimit(rate=5, burst=2, concurrency=1)
        async with http.post(f"{root}/_limit", json={"rate": -1}) as response:
            assert response.status == 400
        async with http.post(f"{root}/_limit", json={}) as response:
            assert response.status == 200
        assert sim.limit == HiddenLimit()
        async with http.get(f"{root}/_other") as response:
            assert response.status == 404
        assert sim.counts.connections == 0
        async with chat(http, sim, headers=KEY) as response:
            await response.read()
        assert (sim.counts.connections, sim.counts.open_connections) == (1, 1)
    assert await sim.wait_for(lambda counts: counts.open_connections == 0)


async def test_a_limit_per_minute_is_tested_without_waiting(http: aiohttp.ClientSession) -> None:
    now = 1000.0
    limit = HiddenLimit(requests=2, per=60, phase=15, headers="retry-after")
    async with Simulator(limit=limit, clock=lambda: now) as sim:
        assert [await status_of(http, sim) for _ in range(3)] == [200, 200, 429]
        async with chat(http, sim) as response:
            assert response.headers["retry-after"] == "45"
        now += 45
        assert [await status_of(http, sim) for _ in range(3)] == [200, 200, 429]
        assert sim.requests[-1].started == 1045.0


@pytest.mark.parametrize("charge", ["used", "requested"])
async def test_tokens_per_minute(http: aiohttp.ClientSession, charge: Any) -> None:
    body = BODY | {"max_tokens": 400}
    async with Simulator(clock=lambda: 0.0) as sim:
        async with chat(http, sim, body) as response:
            usage = (await response.json())["usage"]
        cost = usage["total_tokens"] if charge == "used" else usage["prompt_tokens"] + 400
        sim.limit = [HiddenLimit(tokens=2 * cost, charge=charge, headers=True)]
        async with chat(http, sim, body) as response:
            assert response.headers["x-ratelimit-remaining-tokens"] == str(cost)
        # An invalid request is refused and charged nothing.
        assert await status_of(http, sim, body | {"n": 0}) == 400
        assert [await status_of(http, sim, body) for _ in range(2)] == [200, 429]
        assert (sim.counts.rejected, sim.counts.refused, sim.counts.in_flight) == (1, 1, 0)


async def test_several_limits_over_http(sim: Simulator) -> None:
    root = sim.base_url.removesuffix("/v1")
    limits = [{"rate": 100}, {"requests": 3, "per": 3600}]
    async with aiohttp.ClientSession(headers=KEY) as http:
        async with http.post(f"{root}/_limit", json=limits) as response:
            assert (await response.json())["also"][0]["requests"] == 3
        assert [await status_of(http, sim) for _ in range(4)] == [200, 200, 200, 429]
        async with http.post(f"{root}/_limit", json={"ratee": 1}) as response:
            assert "ratee" in (await response.json())["message"]


async def test_models_and_balance_can_be_configured(http: aiohttp.ClientSession) -> None:
    """Some servers list their models as a bare array."""
    async with Simulator(models=[{"id": "tiny"}], balance=3.5) as sim:
        async with http.get(f"{sim.base_url}/models") as response:
            assert await response.json() == [{"id": "tiny"}]
        async with http.get(f"{sim.base_url}/billing/balance") as response:
            assert (await response.json())["balance"] == 3.5
        assert sim.counts.requests == 0
