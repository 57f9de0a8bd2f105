"""The scheduler: what it starts and when, how it ends, and that nothing remains."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable

import pytest

from laplas_async.calls.scheduler import LOOK_AHEAD, Scheduler, wait_for_all
from laplas_async.pacing.gate import Gate
from laplas_async.pacing.limits import Limits

context: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="nobody's")


class Numbers:
    """Work whose items pass the gate and end when ``released``."""

    def __init__(self, gate: Gate, count: int) -> None:
        self.gate = gate
        self.items = deque(range(count))
        self.taken: list[int] = []
        self.ended: list[int] = []
        self.contexts: set[str] = set()
        self.released = asyncio.Event()
        self.fail_at = -1
        self.fail_take_at = -1
        self.on_run: Callable[[], object] = lambda: None

    @property
    def exhausted(self) -> bool:
        return not self.items

    def take(self) -> int | None:
        if not self.items:
            return None
        self.taken.append(self.items.popleft())
        if self.taken[-1] == self.fail_take_at:
            raise OSError("the source broke")
        return self.taken[-1]

    async def run(self, item: int) -> None:
        permit = await self.gate.acquire()
        try:
            self.on_run()
            self.contexts.add(context.get())
            if item == self.fail_at:
                raise KeyError(item)
            await self.released.wait()
            self.ended.append(item)
        finally:
            permit.release()


def make(count: int, concurrency: int) -> tuple[Scheduler[int], Numbers, Gate]:
    gate = Gate(Limits(concurrency=concurrency))
    work = Numbers(gate, count)
    return Scheduler(work, gate), work, gate


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_it_starts_what_the_gate_admits_and_looks_no_further_ahead() -> None:
    scheduler, work, gate = make(100, 3)
    scheduler.start()
    await settle()
    assert 1 <= gate.pace.in_flight <= 3  # a gate begins slowly
    assert gate.waiting == LOOK_AHEAD
    assert work.taken == list(range(gate.pace.in_flight + LOOK_AHEAD))
    work.released.set()
    await scheduler.done
    assert sorted(work.ended) == list(range(100))
    assert scheduler.failure is None
    assert gate.pace.in_flight == 0
    assert not gate.on_room


async def test_nothing_to_do_is_done_at_once() -> None:
    scheduler, _, _ = make(0, 3)
    scheduler.start()
    await scheduler.done
    scheduler.check()


async def test_one_item_is_started_even_if_others_fill_the_gate() -> None:
    scheduler, work, gate = make(5, 1)
    permit = await gate.acquire()
    others = [asyncio.create_task(gate.acquire()) for _ in range(5)]
    await settle()
    scheduler.start()
    await settle()
    assert work.taken == [0]
    permit.release()
    for other in others:
        (await other).release()
    work.released.set()
    await scheduler.done
    assert work.ended == [0, 1, 2, 3, 4]


async def test_it_waits_for_items_that_are_not_there_yet() -> None:
    scheduler, work, _ = make(0, 3)
    work.released.set()
    work.items.append(1)
    take, closed = work.take, [False]
    work.take = lambda: take() if closed[0] else None  # type: ignore[method-assign]
    scheduler.start()
    await settle()
    assert not scheduler.done.done()
    closed[0] = True
    scheduler.wake()
    await scheduler.done
    assert work.ended == [1]


@pytest.mark.parametrize("where", ["run", "take"])
async def test_an_exception_ends_the_work_and_is_its_failure(where: str) -> None:
    scheduler, work, gate = make(100, 4)
    work.fail_at, work.fail_take_at = (2, -1) if where == "run" else (-1, 2)
    scheduler.start()
    await scheduler.done
    with pytest.raises(KeyError if where == "run" else OSError):
        scheduler.check()
    started = len(work.taken)
    await settle()
    assert len(work.taken) == started
    await scheduler.aclose()
    assert gate.pace.in_flight == gate.waiting == 0
    assert not gate.on_room


async def test_a_worker_cancelled_by_its_own_call_is_a_failure_not_a_lost_item() -> None:
    scheduler, work, _ = make(10, 1)

    def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    work.on_run = cancel
    scheduler.start()
    await scheduler.done
    assert isinstance(scheduler.failure, asyncio.CancelledError)
    await scheduler.aclose()


async def test_closing_cancels_what_runs_and_frees_the_gate() -> None:
    scheduler, work, gate = make(100, 3)
    scheduler.start()
    await settle()
    started = len(work.taken)
    await scheduler.aclose()
    await scheduler.aclose()
    assert work.ended == []
    assert gate.pace.in_flight == gate.waiting == 0
    scheduler.wake()
    await settle()
    assert len(work.taken) == started


async def test_items_run_in_the_context_of_the_caller_whichever_task_makes_room() -> None:
    token = context.set("the caller's")
    scheduler, work, gate = make(20, 2)
    context.reset(token)
    permit = await gate.acquire()
    scheduler.start()
    await settle()

    async def release() -> None:
        context.set("another task's")
        permit.release()
        work.released.set()

    await asyncio.create_task(release())
    await scheduler.done
    assert work.contexts == {"the caller's"}


async def test_waiting_for_all_outlasts_a_cancellation() -> None:
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait_for_all([future]))
    await settle()
    task.cancel()
    await settle()
    assert not task.done()
    future.set_exception(ValueError("of no interest"))
    with pytest.raises(asyncio.CancelledError):
        await task
    future.exception()
