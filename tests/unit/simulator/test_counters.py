"""The sums agree, and every change notifies the waiting tasks."""

import asyncio
import threading

import pytest

from laplas_async.simulator.counters import Counters, Seen


def arrive(counters: Counters) -> Seen:
    return counters.arrive("POST", "/x", {"Authorization": "Bearer secret"}, 1.0)


def test_sums_agree_and_an_end_counts_once() -> None:
    counters = Counters(10)
    first, second = arrive(counters), arrive(counters)
    counters.end(first, "answered", status=200, now=2.0)
    counters.end(first, "abandoned", status=None, now=3.0)
    counts = counters.counts
    assert (counts.requests, counts.answered, counts.abandoned) == (2, 1, 0)
    assert (counts.in_flight, counts.max_in_flight) == (1, 2)
    assert (first.number, first.outcome, first.ended) == (1, "answered", 2.0)
    assert second.outcome is None


def test_it_keeps_the_last_requests_and_shows_no_key() -> None:
    counters = Counters(2)
    for _ in range(5):
        arrive(counters)
    assert [seen.number for seen in counters.requests] == [4, 5]
    assert "secret" not in repr(counters.requests)


def test_clear_keeps_what_is_in_flight() -> None:
    counters = Counters(9)
    counters.connect(opened=1, accepted=1)
    seen = arrive(counters)
    arrive(counters)
    counters.end(seen, "faulted", status=500, now=1)
    counters.clear()
    counts = counters.counts
    assert (counts.requests, counts.faulted, counts.in_flight, counts.connections) == (0, 0, 1, 1)
    assert counters.requests == []


async def test_a_waiting_task_is_notified_or_times_out() -> None:
    counters = Counters(9)
    seen = arrive(counters)
    waiting = asyncio.ensure_future(counters.wait_for(lambda counts: not counts.in_flight, 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    counters.end(seen, "answered", status=200, now=1)
    assert await waiting
    assert await counters.wait_for(lambda _: True, 0.001)
    assert not await counters.wait_for(lambda _: False, 0.001)
    assert not counters.block_until(lambda _: False, 0.001)
    assert not counters._waiting


async def test_cancelling_a_wait_leaves_nothing_behind() -> None:
    counters = Counters(9)
    waiting = asyncio.ensure_future(counters.wait_for(lambda _: False, 60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not counters._waiting


async def test_a_predicate_that_raises_fails_only_its_own_caller() -> None:
    counters = Counters(9)
    with pytest.raises(ZeroDivisionError):
        await counters.wait_for(lambda _: 1 // 0 == 0, 60)
    arrive(counters)


def test_changes_in_another_thread_notify_and_predicates_may_read_counts() -> None:
    counters = Counters(9)
    seen = arrive(counters)
    ending = threading.Thread(
        target=counters.end, args=(seen, "answered"), kwargs={"status": 200, "now": 1}
    )
    ending.start()
    assert counters.block_until(lambda _: counters.counts.answered == 1, 60)
    ending.join()
