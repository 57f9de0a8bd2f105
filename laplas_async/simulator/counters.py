"""What the simulator saw: one record a request, plain counts, and waiting for a count.

Safe to ask from another thread than the server's. It refuses to poll: who waits is told by
the change itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Literal

from attrs import define, evolve, field, fields, frozen

Outcome = Literal["answered", "rejected", "refused", "faulted", "abandoned"]


@define(kw_only=True)
class Seen:
    """One request as the simulator saw it.

    `number` counts from 1 in order of arrival. `body` is the JSON object sent, empty where it
    was none. `headers` ignore case, and are not shown by repr, for they hold the key.
    `started` and `ended` are seconds of `time.monotonic()`. `status` and `outcome` are None
    until it ended; `outcome` is "answered", "rejected" (by the hidden limit), "refused" (401,
    404, 405, or the request checks), "faulted" (a scripted fault, whatever it did), or
    "abandoned" (the client went away first, or the simulator stopped). `chunks` counts the
    content chunks written.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    started: float
    body: dict[str, Any] = field(factory=dict)
    ended: float | None = None
    status: int | None = None
    outcome: Outcome | None = None
    chunks: int = 0


@frozen(kw_only=True)
class Counts:
    """Counts at one moment.

    `requests` is the sum of the five outcomes and `in_flight`. `streams` counts answers that
    began to stream; `tokens` the tokens written, streamed or not. `connections` counts TCP
    connections ever accepted, `open_connections` those open now. Questions about the counts
    themselves (`/_counts`, `/_limit`) are in none of them.
    """

    requests: int = 0
    answered: int = 0
    rejected: int = 0
    refused: int = 0
    faulted: int = 0
    abandoned: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    streams: int = 0
    tokens: int = 0
    connections: int = 0
    open_connections: int = 0


Predicate = Callable[[Counts], bool]


@define(kw_only=True)
class _Running:
    """The same counts, in a form that can be added to."""

    requests: int = 0
    answered: int = 0
    rejected: int = 0
    refused: int = 0
    faulted: int = 0
    abandoned: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    streams: int = 0
    tokens: int = 0
    connections: int = 0
    open_connections: int = 0

    def snapshot(self) -> Counts:
        return Counts(**{name: getattr(self, name) for name in _NAMES})


_NAMES = tuple(one.name for one in fields(_Running))


class Tally:
    """Adds up what happens; `remember` is how many requests it keeps in full."""

    def __init__(self, remember: int) -> None:
        # Reentrant, for a predicate may well ask for the counts itself.
        self._lock = threading.RLock()
        self._running = _Running()
        self._seen: deque[Seen] = deque(maxlen=remember)
        self._waiting: dict[Future[None], Predicate] = {}

    @property
    def counts(self) -> Counts:
        """The counts now."""
        with self._lock:
            return self._running.snapshot()

    @property
    def requests(self) -> list[Seen]:
        """The requests remembered, oldest first."""
        with self._lock:
            return list(self._seen)

    def arrive(self, method: str, path: str, headers: Mapping[str, str], now: float) -> Seen:
        """Count a request in and give it its number."""
        with self._lock:
            running = self._running
            running.requests += 1
            running.in_flight += 1
            running.max_in_flight = max(running.max_in_flight, running.in_flight)
            seen = Seen(
                number=running.requests, method=method, path=path, headers=headers, started=now
            )
            self._seen.append(seen)
            self._tell()
        return seen

    def end(self, seen: Seen, outcome: Outcome, *, status: int | None, now: float) -> None:
        """Count a request out, once; a second end is ignored."""
        with self._lock:
            if seen.outcome is not None:
                return
            seen.ended, seen.status, seen.outcome = now, status, outcome
            running = self._running
            running.in_flight -= 1
            setattr(running, outcome, getattr(running, outcome) + 1)
            self._tell()

    def write(self, seen: Seen, *, streams: int = 0, chunks: int = 0, tokens: int = 0) -> None:
        """Count what was written for a request."""
        with self._lock:
            seen.chunks += chunks
            self._running.streams += streams
            self._running.tokens += tokens
            self._tell()

    def connect(self, *, opened: int, accepted: int = 0) -> None:
        """Count connections: opened or closed (negative), and accepted ever."""
        with self._lock:
            self._running.connections += accepted
            self._running.open_connections += opened
            self._tell()

    def clear(self) -> None:
        """Forget the requests and start the sums anew; what is in flight or open stays."""
        with self._lock:
            self._seen.clear()
            now = self._running
            self._running = evolve(
                _Running(),
                in_flight=now.in_flight,
                max_in_flight=now.in_flight,
                connections=now.open_connections,
                open_connections=now.open_connections,
            )

    def when(self, predicate: Predicate) -> Future[None]:
        """Return a future that is done as soon as `predicate` holds."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting[future] = predicate
            self._tell()
        return future

    async def wait_for(self, predicate: Predicate, timeout: float) -> bool:  # noqa: ASYNC109
        """Return True once `predicate` holds, or False after `timeout` seconds."""
        future = self.when(predicate)
        try:
            await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        except TimeoutError:
            return False
        finally:
            self._forget(future)
        return True

    def block_until(self, predicate: Predicate, timeout: float) -> bool:
        """Do as `wait_for`, blocking the calling thread."""
        future = self.when(predicate)
        try:
            future.result(timeout)
        except TimeoutError:
            return False
        finally:
            self._forget(future)
        return True

    def _forget(self, future: Future[None]) -> None:
        with self._lock:
            self._waiting.pop(future, None)
            future.cancel()

    def _tell(self) -> None:
        """Tell those whose predicate now holds; called with the lock held."""
        if not self._waiting:
            return
        counts = self._running.snapshot()
        for future, predicate in list(self._waiting.items()):
            error: Exception | None = None
            try:
                if not predicate(counts):
                    continue
            except Exception as raised:  # noqa: BLE001 - it is the waiter's, and goes to it
                error = raised
            self._waiting.pop(future, None)
            if not future.set_running_or_notify_cancel():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
