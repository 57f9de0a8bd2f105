"""Many requests through one client, over a real socket: order, failures, memory, leaving early."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from laplas_async import (
    BadRequestError,
    ConfigError,
    Event,
    LaplasClient,
    Limits,
    RequestTimeoutError,
    RetryPolicy,
)
from laplas_async.pacing.limiter import Limiter
from laplas_async.simulator import Fault, HiddenLimit, Simulator, Timing


def questions(count: int) -> Iterator[dict[str, Any]]:
    return ({"messages": f"Question {i}", "max_tokens": 5} for i in range(count))


async def test_each_request_has_one_outcome(client: LaplasClient, simulator: Simulator) -> None:
    keys = [outcome.key async for outcome in client.map(questions(200))]
    assert sorted(keys) == list(range(200))
    assert simulator.counts.answered == 200


async def test_outcomes_in_the_order_of_the_input(key: str) -> None:
    async with (
        Simulator(api_key=key, timing=Timing(plain=(0.001, 0.02))) as simulator,
        LaplasClient(key, simulator.base_url) as client,
    ):
        outcomes = [outcome async for outcome in client.map(questions(50), ordered=True)]
    assert [outcome.key for outcome in outcomes] == list(range(50))
    assert all(outcome.ok and outcome.attempts for outcome in outcomes)


async def test_an_async_source_with_keys_of_its_own(client: LaplasClient) -> None:
    async def source() -> AsyncIterator[dict[str, Any]]:
        for name in ("a", "b", "c"):
            await asyncio.sleep(0)
            yield {"key": name, "messages": name}

    async with client.map(source()) as outcomes:
        assert {outcome.key async for outcome in outcomes} == {"a", "b", "c"}


async def test_a_request_that_fails_raises_nothing(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(None, Fault.status(400), None)
    rows: list[Any] = [*questions(3), {"messages": []}, {"temperature": 1}, "no row"]
    rows.append({"messages": "x", "temprature": 1})
    errors = {o.key: o.error async for o in client.map(rows) if not o.ok}
    assert isinstance(errors.pop(1), BadRequestError)
    assert errors.keys() == {3, 4, 5, 6}
    assert all(isinstance(error, ConfigError) for error in errors.values())


async def test_it_reads_only_as_far_as_there_is_room(key: str, simulator: Simulator) -> None:
    read = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal read
        while True:
            read += 1
            yield {"messages": "Hello"}

    simulator.script_always(Fault.stall())
    limits = Limits(concurrency=3)
    async with LaplasClient(key, simulator.base_url, limits=limits) as client:
        async with client.map(endless()) as outcomes:
            waiting = asyncio.create_task(anext(outcomes))
            assert await simulator.wait_for(lambda counts: counts.in_flight == 3)
            assert read <= 3 + 2
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert client.pace.in_flight == client.pace.waiting == 0
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)


async def test_a_slow_reader_bounds_what_is_read(client: LaplasClient) -> None:
    read = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal read
        for row in questions(1000):
            read += 1
            yield row

    async with client.map(rows(), buffer=10) as outcomes:
        for taken in range(1, 50):
            await anext(outcomes)
            assert read <= taken + 10


async def test_leaving_the_loop_ends_what_runs(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script(None)
    simulator.script_always(lambda _body, number: None if number == 1 else Fault.stall())
    async for outcome in client.map(questions(10)):
        assert outcome.ok
        break
    gc.collect()
    assert await simulator.wait_idle()
    assert client.pace.in_flight == 0


async def test_closing_the_client_ends_it(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script_always(Fault.stall())
    outcomes = client.map(questions(10))
    waiting = asyncio.create_task(anext(outcomes))
    assert await simulator.wait_for(lambda counts: counts.in_flight > 0)
    await client.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_what_the_source_raises_is_raised(client: LaplasClient) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"messages": "x"}
        raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        async for _ in client.map(broken()):
            pass
    assert client.pace.in_flight == 0


# --- the gate, seen from outside --------------------------------------------------------------


async def test_under_a_hidden_limit_every_call_is_answered_and_events_report_it(key: str) -> None:
    events: list[Event] = []
    async with (
        Simulator(api_key=key, limit=HiddenLimit(concurrency=4), timing=Timing(plain=0.005)) as sim,
        LaplasClient(key, sim.base_url, on_event=events.append) as client,
    ):
        completions = await asyncio.gather(*(client.complete(f"{i}") for i in range(120)))
        pace = client.pace
    assert len(completions) == 120
    assert pace.rejected == sim.counts.rejected > 0
    assert pace.rejected <= 30  # four may be in, and a few dozen responses are enough to learn it
    kinds = [event.kind for event in events]
    assert kinds.count("rejected") == kinds.count("retry") == sim.counts.rejected
    assert kinds.count("attempt") == 120
    assert all(
        event.attempt is not None for event in events if event.kind not in ("retry", "limit")
    )
    # The first rejection changes what is taken for the limit, and so an event reports it.
    assert kinds[kinds.index("rejected") + 1] == "limit"
    # First it closes to single probes, and says so; what it believes afterwards has its evidence.
    limits = [event.pace for event in events if event.kind == "limit"]
    assert "rejected" in (limits[0].reason or "")
    assert all(rule.evidence for seen in limits for rule in seen.rules)


async def test_a_call_that_is_not_admitted_in_time_fails_fast(
    key: str, simulator: Simulator
) -> None:
    simulator.script_always(Fault.stall())
    limits = Limits(concurrency=1, max_wait=0.02)
    async with LaplasClient(key, simulator.base_url, limits=limits) as client:
        first = asyncio.create_task(client.complete("Hello"))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1)
        with pytest.raises(RequestTimeoutError, match="max_wait") as caught:
            await client.complete("Hello")
        assert caught.value.phase == "turn"
        assert caught.value.attempts == ()
        assert client.pace.waiting == 0
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert simulator.counts.requests == 1


async def test_tokens_per_minute_refuse_what_never_fits(key: str, simulator: Simulator) -> None:
    limits = Limits(tokens_per_minute=1000)
    async with LaplasClient(key, simulator.base_url, limits=limits) as client:
        with pytest.raises(ConfigError, match="tokens_per_minute"):
            await client.complete("Hello", max_tokens=5000)
        await client.complete("Hello", max_tokens=500)
        limiter = client.gate.limiter
        assert isinstance(limiter, Limiter)
        (book,) = limiter._configured
        assert 0 < book.used <= 520
    assert simulator.counts.requests == 1


async def test_one_attempt_means_one_attempt_also_at_a_limit(
    key: str, simulator: Simulator
) -> None:
    simulator.script_always(Fault.status(429))
    retry = RetryPolicy(max_attempts=1)
    async with LaplasClient(key, simulator.base_url, retry=retry) as client:
        outcomes = [outcome async for outcome in client.map(questions(1))]
    assert [len(outcome.attempts) for outcome in outcomes] == [1]
    assert simulator.counts.requests == 1


async def test_the_default_buffer_never_lowers_a_configured_concurrency(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laplas_async.client._BUFFER", 10)  # few sockets show it as well
    limits = Limits(concurrency=25, adaptive=False)
    async with (
        Simulator(api_key=key, timing=Timing(plain=3600)) as simulator,
        LaplasClient(key, simulator.base_url, limits=limits) as client,
        client.map(questions(60)) as outcomes,
    ):
        reading = asyncio.ensure_future(anext(outcomes))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 25)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
