"""A thread of the loop: it reports in the loop, its end is a future, and it is joined."""

import asyncio
import threading

import pytest

from laplas_async.batch.background import Background, yield_gil


async def test_its_end_is_a_future_and_the_thread_is_gone_by_then() -> None:
    before = threading.active_count()
    names: list[str] = []
    thread = Background("laplas-test", lambda: names.append(threading.current_thread().name))
    thread.start()
    await thread.ended
    assert names == ["laplas-test"]
    assert threading.active_count() == before


async def test_what_it_raises_is_the_exception_of_the_future() -> None:
    def work() -> None:
        raise KeyError("a defect")

    thread = Background("laplas-test", work)
    thread.start()
    with pytest.raises(KeyError, match="a defect"):
        await thread.ended


async def test_calls_are_made_in_the_loop_in_order() -> None:
    made: list[tuple[int, bool]] = []
    loop_thread = threading.current_thread()

    def call(number: int) -> None:
        made.append((number, threading.current_thread() is loop_thread))

    def work() -> None:
        for number in range(100):
            thread.call_in_loop(call, number)
            yield_gil()

    thread = Background("laplas-test", work)
    thread.start()
    await thread.ended
    assert made == [(number, True) for number in range(100)]


def test_a_loop_that_was_closed_is_no_error() -> None:
    async def make() -> Background:
        return Background("laplas-test", lambda: None)

    thread = asyncio.run(make())
    thread.call_in_loop(print, "never")


async def test_a_cancelled_future_ignores_the_end() -> None:
    thread = Background("laplas-test", lambda: None)
    thread.ended.cancel()
    thread.start()
    while thread._thread.is_alive():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert thread.ended.cancelled()
