"""``on_event`` over sockets: a listener that raises harms no call; a shared gate informs all."""

import asyncio
from typing import Any

import pytest

from laplas_async import Event, Gate, LaplasClient, Limits, RetryPolicy
from laplas_async.simulator import Fault, Simulator


class ListenerError(Exception):
    pass


def raise_always(event: Event) -> None:
    raise ListenerError(event.kind)


@pytest.fixture
async def contexts() -> list[dict[str, Any]]:
    collected: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: collected.append(context))
    return collected


async def test_a_listener_that_raises_keeps_no_permit_of_a_call(
    key: str, simulator: Simulator, contexts: list[dict[str, Any]]
) -> None:
    limits = Limits(concurrency=2)
    async with (
        asyncio.timeout(30),
        LaplasClient(key, simulator.base_url, limits=limits, on_event=raise_always) as client,
    ):
        for _ in range(5):
            assert (await client.complete("Hello")).text
        assert client.pace.in_flight == 0
    assert len(contexts) == 5  # each exception once
    assert all(isinstance(context["exception"], ListenerError) for context in contexts)


async def test_a_listener_that_raises_keeps_no_permit_of_a_stream(
    key: str, simulator: Simulator, contexts: list[dict[str, Any]]
) -> None:
    limits = Limits(concurrency=2)
    async with (
        asyncio.timeout(30),
        LaplasClient(key, simulator.base_url, limits=limits, on_event=raise_always) as client,
    ):
        for _ in range(5):
            async with client.stream("Hello") as stream:
                assert (await stream.completion()).text
        assert client.pace.in_flight == 0
    assert len(contexts) == 5


async def test_a_listener_that_raises_prevents_no_retry(
    key: str, simulator: Simulator, contexts: list[dict[str, Any]]
) -> None:
    simulator.script(Fault.status(503), Fault.status(429))
    retry = RetryPolicy(jitter=lambda _delay: 0.0)
    async with LaplasClient(key, simulator.base_url, retry=retry, on_event=raise_always) as client:
        completion = await client.complete("Hello")
    assert [attempt.status for attempt in completion.attempts] == [503, 429, 200]
    kinds = [str(context["exception"]) for context in contexts]
    assert kinds.count("attempt") == 2
    assert kinds.count("rejected") == 1
    assert kinds.count("retry") == 2


async def test_both_clients_of_a_shared_gate_learn_of_a_limit(
    key: str, simulator: Simulator
) -> None:
    simulator.script(None, None, Fault.status(429), Fault.status(429))
    gate = Gate()
    seen: tuple[list[Event], list[Event]] = ([], [])
    async with (
        LaplasClient(key, simulator.base_url, gate=gate, on_event=seen[0].append) as one,
        LaplasClient(key, simulator.base_url, gate=gate, on_event=seen[1].append) as two,
    ):
        await asyncio.gather(*(client.complete("Hello") for client in (one, two) * 15))
    changes = [[event.pace for event in events if event.kind == "limit"] for events in seen]
    assert changes[0] == changes[1] != []


async def test_the_listener_may_be_replaced(key: str, simulator: Simulator) -> None:
    seen: list[Event] = []
    async with LaplasClient(key, simulator.base_url) as client:
        await client.complete("Hello")
        client.on_event = seen.append
        await client.complete("Hello")
        client.on_event = None
        await client.complete("Hello")
    assert [event.kind for event in seen] == ["attempt"]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
async def test_the_token_reservation_learns_from_plain_calls_and_streams(
    key: str, simulator: Simulator, *, streamed: bool
) -> None:
    limits = Limits(tokens_per_minute=1_000_000)
    async with LaplasClient(key, simulator.base_url, limits=limits) as client:
        before = client.gate.estimate.bytes_per_token
        for _ in range(5):
            if streamed:
                async with client.stream("Hello", max_tokens=9) as stream:
                    await stream.completion()
            else:
                await client.complete("Hello", max_tokens=9)
        estimate = client.gate.estimate
        assert estimate.mean_completion == pytest.approx(9, abs=1)
        assert estimate.bytes_per_token != before
