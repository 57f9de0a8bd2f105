"""The scheduler behind ``client.map`` and batches: starts work as the gate makes room for it.

It refuses to pace (the gate does), to retry (``retrying`` does), and to start more than the gate
can soon admit.
"""

import asyncio
import contextvars
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

from laplas_async.pacing.gate import Gate

T = TypeVar("T")

# Items that may be waiting at the gate, or on their way to it. One waiting item is enough for the
# gate to be busy; the second covers the turn of the loop in which the next one is started. More
# would only read the input earlier and hold memory for it (test_scheduler: look-ahead).
LOOK_AHEAD = 2


class Work(Protocol[T]):
    """What a ``Scheduler`` runs: where items come from and what is done with each."""

    @property
    def exhausted(self) -> bool:
        """Whether ``take`` will never return another item."""
        ...

    def take(self) -> T | None:
        """The next item to start; None if none is available yet. Called only if there is room.

        Call ``Scheduler.wake`` once one may be available. What it raises ends the work.
        """

    async def run(self, item: T) -> None:
        """Run one item to its end. What it raises ends the work: outcomes are not exceptions."""


class Scheduler(Generic[T]):
    """Starts the items of a ``Work`` as the gate makes room; belongs to the running event loop.

    ``done`` is set when every item has ended, or when the work failed: then ``failure`` is the
    exception. Items run in the context (``contextvars``) in which the scheduler was made, whichever
    task happens to make room for them.
    """

    def __init__(self, work: Work[T], gate: Gate) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._work = work
        self._gate = gate
        self._workers: set[asyncio.Task[None]] = set()
        self._starting = 0  # workers that have not reached the gate yet
        self._wake_due = False
        self._closed = False
        self.failure: BaseException | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()

    def check(self) -> None:
        """Raise the failure, if the work failed."""
        if self.failure is not None:
            raise self.failure

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop it belongs to."""
        return self._loop

    def start(self) -> None:
        """Begin to take items, in the next turn of the loop."""
        self._gate.on_room.add(self.wake)
        self.wake()

    def wake(self) -> None:
        """Something has changed: look for items to start, in the next turn of the loop."""
        if not self._wake_due and not self._closed:
            self._wake_due = True
            self._loop.call_soon(self._start_workers, context=self._context)

    def cancel(self) -> None:
        """Start nothing more and cancel what runs, without waiting for it. Safe to call twice."""
        self._closed = True
        self._gate.on_room.discard(self.wake)
        for worker in self._workers:
            worker.cancel()

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended, even if this call is cancelled."""
        self.cancel()
        await wait_for_all(self._workers)

    def _start_workers(self) -> None:
        self._wake_due = False
        while (item := self._next()) is not None:
            self._starting += 1
            worker = self._loop.create_task(self._run_items(item))
            self._workers.add(worker)
            worker.add_done_callback(self._end)
        if not self._workers and not self._closed and self._work.exhausted:
            self._finish()

    def _next(self) -> T | None:
        """The next item, if it would soon be admitted. One starts even if others use the gate."""
        ahead = self._gate.waiting + self._starting
        if self._closed or (self._workers and ahead >= LOOK_AHEAD):
            return None
        try:
            return self._work.take()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - reported by failure
            self._finish(error)
            return None

    async def _run_items(self, item: T | None) -> None:
        """Run an item, then others while there is room: a new task costs more than an item."""
        self._starting -= 1
        self.wake()
        while item is not None:
            await self._work.run(item)
            item = self._next()

    def _end(self, worker: "asyncio.Task[None]") -> None:
        self._workers.discard(worker)
        if worker.cancelled():
            if not self._closed:  # by a hook of the caller's: its item has no outcome
                self._finish(asyncio.CancelledError())
        elif (error := worker.exception()) is not None:
            self._finish(error)  # a hook of the caller's, or a defect
        self.wake()

    def _finish(self, failure: BaseException | None = None) -> None:
        self.failure = self.failure or failure
        self._closed = True
        self._gate.on_room.discard(self.wake)
        if not self.done.done():
            self.done.set_result(None)


async def wait_for_all(futures: "Iterable[asyncio.Future[Any]]") -> None:
    """Wait until all of these have ended, however they end.

    Cancelling it takes effect once they have ended.
    """
    waited, cancelled = set(futures), None
    while pending := {future for future in waited if not future.done()}:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
