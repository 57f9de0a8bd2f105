"""A thread that belongs to an event loop and is joined: none outlives the batch.

It refuses to share state: the thread reports to the loop by calls in the loop.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

# Seconds. A computing thread keeps the GIL for 5 ms (``sys.getswitchinterval``) after the event
# loop has requested it. A thread that sleeps for a moment after each millisecond or so of work
# hands it over at once; 0.1 ms reliably lets the other thread run.
_YIELD = 0.0001


def yield_gil() -> None:
    """Let the event loop run; for a thread that has computed for a millisecond or so."""
    time.sleep(_YIELD)


class Background:
    """Runs ``work`` in a thread. ``ended`` is set at its end, to its exception if it raised."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self.ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon: an input whose read cannot be interrupted must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call_in_loop(self, callback: Callable[..., object], *arguments: Any) -> None:
        """From the thread: have the event loop call this soon."""
        with contextlib.suppress(RuntimeError):  # the loop was closed: nothing is left to notify
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - reported through ``ended``
            self.call_in_loop(self._end, error)
        else:
            self.call_in_loop(self._end, None)

    def _end(self, error: BaseException | None) -> None:
        self._thread.join()  # this call was its last action
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
