"""A thread of one event loop, that is waited for: none outlives the batch."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

# A thread that computes keeps the interpreter for 5 ms whenever the loop wants it; one that sleeps
# for a moment after each millisecond of work gives it back before.
_BREATH = 0.0001


def breathe() -> None:
    """From a thread that has computed for a millisecond or so: let the loop go first."""
    time.sleep(_BREATH)


class Background:
    """Runs ``work`` in a thread of its own. ``ended`` has its exception, if it raised one."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self.ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon, for an input whose read cannot be ended must not keep the process.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        """From the thread: have the loop call this."""
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody wants to know
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is told to whoever waits
            self.tell(self._end, error)
        else:
            self.tell(self._end, None)

    def _end(self, error: BaseException | None) -> None:
        self._thread.join()  # it has nothing more to do
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)


async def wait_for_all(futures: "set[asyncio.Future[Any]]") -> None:
    """Wait until these have ended, whatever; a cancellation comes after that."""
    cancelled: asyncio.CancelledError | None = None
    while pending := {future for future in futures if not future.done()}:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
