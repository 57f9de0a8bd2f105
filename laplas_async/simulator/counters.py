"""What the simulator saw: a record per request, the sums, and waiting until a condition holds.

Safe to use from other threads than the server's. It refuses to poll: every change checks the
conditions of the waiting tasks.
"""

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

    ``number`` counts from 1 in order of arrival. ``body`` is the JSON object received, empty if the
    body was not one. ``headers`` is case-insensitive and left out of the repr because it holds the
    key. ``started`` and ``ended`` are seconds of ``time.monotonic()``. ``status`` and ``outcome``
    are None until the request has ended; ``outcome`` is "answered", "rejected" (by the hidden
    limit), "refused" (401, 404, 405, or an invalid body), "faulted" (by a scripted fault, whatever
    its effect), or "abandoned" (the client disconnected first, or the simulator stopped).
    ``chunks`` counts the content chunks written.
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
    """The sums at one moment.

    ``requests`` equals the five outcomes plus ``in_flight``. ``streams`` counts responses that
    started to stream, ``tokens`` the tokens written, streamed or not. ``connections`` counts all
    TCP connections accepted, ``open_connections`` those open now. Requests about the simulator
    itself (``/_counts``, ``/_limit``) are not counted, nor is the list of models or the balance.
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
class _RunningCounts:
    """The fields of ``Counts``, mutable."""

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


_NAMES = tuple(one.name for one in fields(_RunningCounts))


class Counters:
    """Counts requests and connections; the last ``remember`` requests are kept in full."""

    def __init__(self, remember: int) -> None:
        # Reentrant because a predicate may read the counts itself.
        self._lock = threading.RLock()
        self._running = _RunningCounts()
        self._seen: deque[Seen] = deque(maxlen=remember)
        self._waiting: dict[Future[None], Predicate] = {}

    @property
    def counts(self) -> Counts:
        """The counts at this moment."""
        with self._lock:
            return self._running.snapshot()

    @property
    def requests(self) -> list[Seen]:
        """The last requests, oldest first."""
        with self._lock:
            return list(self._seen)

    def arrive(self, method: str, path: str, headers: Mapping[str, str], now: float) -> Seen:
        """Count an arriving request and assign its number."""
        with self._lock:
            running = self._running
            running.requests += 1
            running.in_flight += 1
            running.max_in_flight = max(running.max_in_flight, running.in_flight)
            seen = Seen(
                number=running.requests, method=method, path=path, headers=headers, started=now
            )
            self._seen.append(seen)
            self._notify()
        return seen

    def end(self, seen: Seen, outcome: Outcome, *, status: int | None, now: float) -> None:
        """Count the end of a request; a second end is ignored."""
        with self._lock:
            if seen.outcome is not None:
                return
            seen.ended, seen.status, seen.outcome = now, status, outcome
            running = self._running
            running.in_flight -= 1
            setattr(running, outcome, getattr(running, outcome) + 1)
            self._notify()

    def write(self, seen: Seen, *, streams: int = 0, chunks: int = 0, tokens: int = 0) -> None:
        """Count a part of a response."""
        with self._lock:
            seen.chunks += chunks
            self._running.streams += streams
            self._running.tokens += tokens
            self._notify()

    def connect(self, *, opened: int, accepted: int = 0) -> None:
        """Add to the number of open connections (negative: closed) and of accepted ones."""
        with self._lock:
            self._running.connections += accepted
            self._running.open_connections += opened
            self._notify()

    def clear(self) -> None:
        """Forget the requests and reset the sums, except what is in flight or open."""
        with self._lock:
            self._seen.clear()
            now = self._running
            self._running = evolve(
                _RunningCounts(),
                in_flight=now.in_flight,
                max_in_flight=now.in_flight,
                connections=now.open_connections,
                open_connections=now.open_connections,
            )

    def when(self, predicate: Predicate) -> Future[None]:
        """Return a future that is done as soon as ``predicate`` holds."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting[future] = predicate
            self._notify()
        return future

    async def wait_for(self, predicate: Predicate, timeout: float) -> bool:  # noqa: ASYNC109
        """Return True once ``predicate`` holds, or False after ``timeout`` seconds."""
        future = self.when(predicate)
        try:
            await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        except TimeoutError:
            return False
        finally:
            self._forget(future)
        return True

    def block_until(self, predicate: Predicate, timeout: float) -> bool:
        """Do the same as ``wait_for`` but block the calling thread."""
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

    def _notify(self) -> None:
        """Resolve the futures whose predicate now holds; the lock must be held."""
        if not self._waiting:
            return
        counts = self._running.snapshot()
        for future, predicate in list(self._waiting.items()):
            error: Exception | None = None
            try:
                if not predicate(counts):
                    continue
            except Exception as raised:  # noqa: BLE001 - belongs to the caller of ``when``
                error = raised
            self._waiting.pop(future, None)
            if not future.set_running_or_notify_cancel():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
