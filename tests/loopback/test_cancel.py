"""Every way to cancel, at every point of a call: nothing is left behind (law 4)."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from laplas_async import (
    ConfigError,
    ConnectionFailedError,
    Gate,
    LaplasClient,
    LaplasError,
    Limits,
    RetryPolicy,
    StreamTruncatedError,
    Timeouts,
)
from laplas_async.simulator import Fault, Simulator, Timing

PATIENT = Timeouts(connect=None, first_token=None, idle=None, total=None)


async def settle(client: LaplasClient, simulator: Simulator) -> None:
    """Nothing is left: no permit held, no waiting task, no other task, no busy connection."""
    assert await simulator.wait_idle(timeout=0.1)
    assert client.gate.limiter.in_flight == 0
    assert client.gate.waiting == 0
    others = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    remaining = {
        task
        for task in others
        if "laplas_async/simulator" not in repr(task) and "aiohttp/web" not in repr(task)
    }
    assert not remaining


async def read_stream(client: LaplasClient) -> None:
    async with client.stream("Hello", timeouts=PATIENT) as stream:
        async for _ in stream:
            pass


async def read_plain(client: LaplasClient) -> None:
    await client.complete("Hello", timeouts=PATIENT)


CALLS = {"stream": read_stream, "plain": read_plain}
# Where the call hangs when it is cancelled, and how many requests the simulator has received.
POINTS = {
    "headers": (Fault.slow_headers(3600), 1),
    "first byte": (Fault.stall(), 1),
    "mid-event": (Fault.raw(data=b'data: {"choices":[{"delta":{"con', end="stall"), 1),
    "heartbeats": (Fault.heartbeats(interval=0.001), 1),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("point", POINTS)
async def test_a_cancelled_task_leaves_nothing(
    client: LaplasClient, simulator: Simulator, point: str, call: str
) -> None:
    fault, requests = POINTS[point]
    simulator.script_always(fault)
    task = asyncio.create_task(CALLS[call](client))
    assert await simulator.wait_for(lambda counts: counts.in_flight == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0, timeout=0.1)
    assert simulator.counts.requests == requests
    await settle(client, simulator)


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_at_every_step_of_the_loop(
    client: LaplasClient, simulator: Simulator, call: str, steps: int
) -> None:
    simulator.script_always(Fault.stall(after=1))
    task = asyncio.create_task(CALLS[call](client))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)
    await settle(client, simulator)


@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_in_backoff(key: str, simulator: Simulator, call: str) -> None:
    simulator.script_always(Fault.status(503))
    policy = RetryPolicy(first_delay=100, max_delay=100, jitter=lambda delay: delay)
    async with LaplasClient(key, simulator.base_url, retry=policy) as client:
        task = asyncio.create_task(CALLS[call](client))
        assert await simulator.wait_for(lambda counts: counts.faulted == 1)
        while client.gate.limiter.in_flight:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert simulator.counts.requests == 1
        await settle(client, simulator)


@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_at_the_gate(key: str, simulator: Simulator, call: str) -> None:
    simulator.script(Fault.stall())
    limits = Limits(concurrency=1)
    async with LaplasClient(key, simulator.base_url, limits=limits) as client:
        first = asyncio.create_task(CALLS[call](client))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1)
        second = asyncio.create_task(CALLS[call](client))
        third = asyncio.create_task(CALLS[call](client))
        while client.gate.waiting < 2:
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await third  # the place went to the next in the queue
        await settle(client, simulator)


async def timeout(client: LaplasClient) -> None:
    async with asyncio.timeout(0.05), client.stream("Hello", timeouts=PATIENT) as stream:
        async for _ in stream:
            pass


async def leave_early(client: LaplasClient) -> None:
    async with client.stream("Hello", timeouts=PATIENT) as stream:
        async for _ in stream:
            break


async def fail_inside(client: LaplasClient) -> None:
    async with client.stream("Hello", timeouts=PATIENT) as stream:
        async for _ in stream:
            raise KeyError("the caller's error")


async def close_from_another_task(client: LaplasClient) -> None:
    async with client.stream("Hello", timeouts=PATIENT) as stream, asyncio.TaskGroup() as group:
        async for _ in stream:
            group.create_task(stream.aclose())


async def close_twice_at_once(client: LaplasClient) -> None:
    async with client.stream("Hello", timeouts=PATIENT) as stream:
        await anext(stream)
        await asyncio.gather(stream.aclose(), stream.aclose(), client.aclose(), client.aclose())
        await stream.completion()


async def close_the_client(client: LaplasClient) -> None:
    async with client.stream("Hello", timeouts=PATIENT) as stream, asyncio.TaskGroup() as group:
        async for _ in stream:
            group.create_task(client.aclose())


async def break_without_a_block(client: LaplasClient) -> None:
    stream = await client.chat.completions.create(messages="Hello", stream=True)
    async for _ in stream:
        break
    await stream.close()


@pytest.mark.parametrize(
    ("way", "error"),
    [
        (timeout, TimeoutError),
        (leave_early, None),
        (fail_inside, KeyError),
        (close_from_another_task, StreamTruncatedError),
        (close_twice_at_once, StreamTruncatedError),
        (close_the_client, StreamTruncatedError),
        (break_without_a_block, None),
    ],
)
async def test_leaving_in_the_middle_of_a_stream(
    client: LaplasClient,
    simulator: Simulator,
    way: Callable[[LaplasClient], Awaitable[None]],
    error: type[Exception] | None,
) -> None:
    simulator.script_always(Fault.stall(after=2))
    if error is None:
        await way(client)
    else:
        with pytest.raises((error, ExceptionGroup)) as caught:
            await way(client)
        raised: BaseException = caught.value
        while isinstance(raised, ExceptionGroup):
            raised = raised.exceptions[0]
        assert isinstance(raised, error)
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0, timeout=0.1)
    await settle(client, simulator)


async def test_closed_while_it_begins(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script_always(Fault.stall())
    stream = client.stream("Hello", timeouts=PATIENT)
    task = asyncio.create_task(stream.start())
    assert await simulator.wait_for(lambda counts: counts.in_flight == 1)
    await stream.aclose()
    with pytest.raises(StreamTruncatedError, match="before it began"):
        await task
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0, timeout=0.1)
    await settle(client, simulator)


async def test_a_cancelled_read_inside_a_block_loses_nothing(
    key: str,
) -> None:
    async with (
        Simulator(api_key=key, timing=Timing(first_token=0.0, tokens_per_second=200)) as simulator,
        LaplasClient(key, simulator.base_url) as client,
    ):
        plain = await client.complete("Hello", max_tokens=30)
        async with client.stream("Hello", max_tokens=30) as stream:
            cancelled = 0
            while True:
                try:
                    async with asyncio.timeout(0.001):
                        await anext(stream)
                except TimeoutError:
                    cancelled += 1
                except StopAsyncIteration:
                    break
            assert cancelled
            assert await stream.completion() == plain


async def test_a_dropped_stream_returns_its_permit_and_connection(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=1))
    held = [await client.chat.completions.create(messages="Hello", stream=True)]
    await anext(held[0])
    with pytest.warns(ResourceWarning, match="async with"):
        held.clear()
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)
    await settle(client, simulator)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts /proc's entries")
async def test_a_thousand_abandoned_streams_leave_nothing(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script_always(Fault.stall(after=1))

    async def abandon(number: int) -> None:
        way = number % 3
        if way == 0:
            await leave_early(client)
        elif way == 1:
            with pytest.raises(KeyError):
                await fail_inside(client)
        else:
            task = asyncio.create_task(read_stream(client))
            while not client.gate.limiter.in_flight:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    await abandon(0)
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)
    before = open_files()
    for start in range(0, 1000, 20):
        await asyncio.gather(*(abandon(start + i) for i in range(20)))
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)
    await settle(client, simulator)
    gc.collect()
    assert open_files() == before


# --- closing the client -----------------------------------------------------------------------


async def test_drain_lets_running_calls_end(key: str) -> None:
    async with Simulator(api_key=key, timing=Timing(plain=0.05)) as simulator:
        client = LaplasClient(key, simulator.base_url)
        calls = [asyncio.create_task(client.complete("Hello")) for _ in range(5)]
        assert await simulator.wait_for(lambda counts: counts.in_flight == 5)
        closing = asyncio.create_task(client.aclose(drain=10))
        await asyncio.sleep(0)
        with pytest.raises(ConfigError, match="clos"):
            await client.complete("Too late")
        await closing
        assert all(call.done() and call.result().text for call in calls)
        assert await simulator.wait_for(lambda counts: counts.open_connections == 0)


async def test_drain_ends_at_its_bound(key: str, simulator: Simulator) -> None:
    simulator.script_always(Fault.stall(after=1))
    client = LaplasClient(key, simulator.base_url, timeouts=PATIENT)
    calls = [asyncio.create_task(read_plain(client)), asyncio.create_task(read_stream(client))]
    assert await simulator.wait_for(lambda counts: counts.in_flight == 2)
    await asyncio.gather(client.aclose(drain=0.05), client.aclose(drain=60), client.aclose())
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, ConnectionFailedError | StreamTruncatedError)
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)
    await settle(client, simulator)


async def test_used_after_closing(client: LaplasClient) -> None:
    await client.aclose()
    await client.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await client.complete("Hello")
    with pytest.raises(ConfigError, match="closed"):
        client.stream("Hello")
    with pytest.raises(ConfigError, match="closed"):
        async with client:
            pass


def test_used_from_another_event_loop(key: str) -> None:
    with Simulator(api_key=key).in_thread() as simulator:
        client = LaplasClient(key, simulator.base_url)

        async def first() -> None:
            await client.complete("Hello")
            await client.aclose()

        async def ask() -> None:
            await client.complete("Hello")

        other = LaplasClient(key, simulator.base_url)
        with asyncio.Runner() as runner, asyncio.Runner() as second:
            runner.run(first())
            runner.run(other.complete("Hello"))
            with pytest.raises(ConfigError, match="event loop"):
                second.run(other.complete("Hello"))
            runner.run(other.aclose())


async def test_a_shared_gate_limits_both_clients(key: str, simulator: Simulator) -> None:
    gate = Gate(Limits(concurrency=1))
    async with (
        LaplasClient(key, simulator.base_url, gate=gate) as one,
        LaplasClient(key, simulator.base_url, gate=gate) as two,
    ):
        await asyncio.gather(*(client.complete("Hello") for client in (one, two) * 5))
    assert simulator.counts.max_in_flight == 1


def test_errors_have_one_root() -> None:
    assert issubclass(StreamTruncatedError, LaplasError)
