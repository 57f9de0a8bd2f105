"""The tally: its sums agree, and who waits is told by the change itself."""

import asyncio
import threading

import pytest

from laplas_async.simulator.counters import Seen, Tally


def arrive(tally: Tally) -> Seen:
    return tally.arrive("POST", "/x", {"Authorization": "Bearer secret"}, 1.0)


def test_sums_agree_and_an_end_counts_once() -> None:
    tally = Tally(10)
    first, second = arrive(tally), arrive(tally)
    tally.end(first, "answered", status=200, now=2.0)
    tally.end(first, "abandoned", status=None, now=3.0)
    counts = tally.counts
    assert (counts.requests, counts.answered, counts.abandoned) == (2, 1, 0)
    assert (counts.in_flight, counts.max_in_flight) == (1, 2)
    assert (first.number, first.outcome, first.ended) == (1, "answered", 2.0)
    assert second.outcome is None


def test_it_remembers_so_many_and_shows_no_key() -> None:
    tally = Tally(2)
    for _ in range(5):
        arrive(tally)
    assert [seen.number for seen in tally.requests] == [4, 5]
    assert "secret" not in repr(tally.requests)


def test_clear_keeps_what_is_in_flight() -> None:
    tally = Tally(9)
    tally.connect(opened=1, accepted=1)
    seen = arrive(tally)
    arrive(tally)
    tally.end(seen, "faulted", status=500, now=1)
    tally.clear()
    counts = tally.counts
    assert (counts.requests, counts.faulted, counts.in_flight, counts.connections) == (0, 0, 1, 1)
    assert tally.requests == []


async def test_waiting_is_told_and_times_out() -> None:
    tally = Tally(9)
    seen = arrive(tally)
    waiting = asyncio.ensure_future(tally.wait_for(lambda counts: not counts.in_flight, 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    tally.end(seen, "answered", status=200, now=1)
    assert await waiting
    assert await tally.wait_for(lambda _: True, 0.001)
    assert not await tally.wait_for(lambda _: False, 0.001)
    assert not tally.block_until(lambda _: False, 0.001)
    assert not tally._waiting


async def test_cancelled_waiting_leaves_nothing() -> None:
    tally = Tally(9)
    waiting = asyncio.ensure_future(tally.wait_for(lambda _: False, 60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not tally._waiting


async def test_a_failing_predicate_fails_its_waiter_only() -> None:
    tally = Tally(9)
    with pytest.raises(ZeroDivisionError):
        await tally.wait_for(lambda _: 1 // 0 == 0, 60)
    arrive(tally)


def test_told_from_another_thread_and_a_predicate_may_ask() -> None:
    tally = Tally(9)
    seen = arrive(tally)
    ending = threading.Thread(
        target=tally.end, args=(seen, "answered"), kwargs={"status": 200, "now": 1}
    )
    ending.start()
    assert tally.block_until(lambda _: tally.counts.answered == 1, 60)
    ending.join()
