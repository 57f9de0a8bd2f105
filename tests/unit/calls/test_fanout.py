"""The work behind ``client.map``: sources, order, the bound of ``buffer``, and the end."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.calls.fanout import Fan, Outcome, OutcomeStream
from laplas_async.errors import ConfigError, ServerError
from laplas_async.pacing.gate import Gate
from laplas_async.pacing.limits import Limits
from laplas_async.types import Attempt, ChatCompletion


async def complete(*, messages: str, delay: int = 0, **fields: Any) -> ChatCompletion:
    """A call that takes ``delay`` turns of the loop."""
    for _ in range(delay):
        await asyncio.sleep(0)
    if messages == "fail":
        raise ServerError("500: no", status=500, attempts=(Attempt(0.0, status=500),))
    if messages == "defect":
        raise ZeroDivisionError
    return ChatCompletion(messages, attempts=(Attempt(0.0, status=200),))


def fan(requests: Any, *, ordered: bool = False, buffer: int = 1000) -> OutcomeStream:
    return OutcomeStream(
        Fan(complete, Gate(Limits(concurrency=50)), requests, ordered=ordered, buffer=buffer)
    )


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def others() -> set["asyncio.Task[Any]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.parametrize("buffer", [0, -1, True, 1.5, None])
async def test_a_buffer_that_holds_nothing_is_a_config_error(buffer: Any) -> None:
    with pytest.raises(ConfigError, match="buffer="):
        fan([], buffer=buffer)


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(1, 8))
def test_ordered_outcomes_are_in_the_order_of_the_input(delays: list[int], buffer: int) -> None:
    async def main() -> list[Outcome]:
        requests = ({"messages": str(n), "delay": d} for n, d in enumerate(delays))
        return [outcome async for outcome in fan(requests, ordered=True, buffer=buffer)]

    outcomes = asyncio.run(main())
    assert [outcome.key for outcome in outcomes] == list(range(len(delays)))
    assert all(outcome.ok for outcome in outcomes)


async def test_without_order_a_slow_request_holds_up_no_other() -> None:
    requests = [{"messages": "slow", "delay": 50}, {"messages": "quick"}]
    assert [outcome.key async for outcome in fan(requests)] == [1, 0]


async def test_a_failure_is_an_outcome_with_its_attempts() -> None:
    requests: list[Any] = [{"key": "a", "messages": "fail"}, {"messages": "x"}, {}, "no request"]
    outcomes = {outcome.key: outcome async for outcome in fan(requests)}
    assert [attempt.status for attempt in outcomes["a"].attempts] == [500]
    assert outcomes[1].ok
    assert outcomes[1].attempts
    assert isinstance(outcomes[2].error, ConfigError)
    assert isinstance(outcomes[3].error, ConfigError)
    assert Outcome("k").attempts == ()


async def test_many_invalid_requests_do_not_block_the_loop() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    assert len([outcome async for outcome in fan({} for _ in range(500))]) == 500
    counter.cancel()
    assert turns > 100


@pytest.mark.parametrize("ordered", [False, True])
async def test_no_more_than_the_buffer_is_read_ahead_of_the_reader(*, ordered: bool) -> None:
    read = 0

    def requests() -> Iterator[dict[str, Any]]:
        nonlocal read
        for read in range(1, 101):  # noqa: B007 - the count is looked at from outside
            yield {"messages": "x"}

    outcomes = fan(requests(), ordered=ordered, buffer=7)
    assert read == 0
    for taken in range(1, 90):
        await anext(outcomes)
        await settle()  # a slow reader
        assert read == min(100, taken + 7)
    await outcomes.aclose()


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_the_source_raises_is_raised_to_the_reader(*, is_async: bool) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"messages": "x"}
        raise OSError("the source broke")

    async def broken_async() -> AsyncIterator[dict[str, Any]]:
        yield {"messages": "x"}
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        async for _ in fan(broken_async() if is_async else broken()):
            pass
    assert not others()


async def test_a_stray_stop_of_the_source_does_not_end_the_loop_silently() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"messages": "x", "delay": 10}
        raise StopAsyncIteration

    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        async for _ in fan(broken()):
            pass


async def test_a_defect_in_a_call_is_raised_to_the_reader() -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in fan([{"messages": "defect"}]):
            pass
    assert not others()


async def test_an_async_source_is_closed_and_its_read_cancelled() -> None:
    closed = False

    async def source() -> AsyncIterator[dict[str, Any]]:
        nonlocal closed
        try:
            yield {"messages": "x"}
            await asyncio.Event().wait()
        finally:
            closed = True

    async with fan(source()) as outcomes:
        assert (await anext(outcomes)).ok
        await settle()
    assert closed
    assert not others()
    with pytest.raises(StopAsyncIteration):
        await anext(outcomes)


async def test_dropping_the_stream_ends_the_work() -> None:
    def endless() -> Iterator[dict[str, Any]]:
        while True:
            yield {"messages": "x", "delay": 1_000_000}

    outcomes = fan(endless())
    waiting = asyncio.create_task(anext(outcomes))
    await settle()
    assert len(others()) > 10
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    del outcomes, waiting
    gc.collect()
    await settle()
    assert not others()


async def test_closing_before_the_first_outcome_reads_nothing() -> None:
    outcomes = fan(iter([{"messages": "x"}]))
    await outcomes.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(outcomes)
