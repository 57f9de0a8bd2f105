"""Many requests through one client: read as they can be asked, handed out as they are answered.

It refuses to pace (the gate does) and to keep more than what is in flight and what its reader has
not taken yet.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from types import TracebackType
from typing import Any, Self

from attrs import define

from laplas_async.errors import ConfigError, LaplasError
from laplas_async.types import Attempt, ChatCompletion

Requests = Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]


@define
class Outcome:
    """What became of one request: ``completion``, or ``error`` if it failed for good.

    ``key`` is the request's own ``key``, else its place in the input, from 0. ``attempts`` are the
    tries that were made.
    """

    key: Any
    completion: ChatCompletion | None = None
    error: LaplasError | None = None

    @property
    def ok(self) -> bool:
        """Whether it was answered."""
        return self.completion is not None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The tries that were made."""
        if self.completion is not None:
            return self.completion.attempts
        return () if self.error is None else self.error.attempts


class OutcomeStream:
    """The outcomes of many requests: ``async for outcome in client.map(requests)``.

    The next request is read when there is room to ask it. Leaving the loop ends what still runs;
    ``async with client.map(...) as outcomes`` also waits until it has ended.
    """

    def __init__(self, fan: "Fan") -> None:
        self._fan = fan
        # The running tasks hold the fan, not this: so dropping this (a break) can be noticed.
        weakref.finalize(self, _drop, fan).atexit = False

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> Outcome:
        """The next outcome: as they are answered, or in the input's order.

        Never raises for a request; what the input itself raises ends the rest. Cancelling it ends
        all that runs.
        """
        return await self._fan.next()

    async def __aenter__(self) -> Self:
        """The stream itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what runs."""
        await self.aclose()

    async def aclose(self) -> None:
        """End what runs, and give its places back. Safe to call twice."""
        await self._fan.aclose()


def _drop(fan: "Fan") -> None:
    """The collector says that nobody reads any more; the loop ends what runs."""
    if fan.loop is not None and not fan.loop.is_closed():
        fan.loop.call_soon_threadsafe(fan.cancel)


class Fan:
    """The work behind an ``OutcomeStream``.

    ``has_room``: whether a request that is read now would soon go. ``buffer``: how many may be
    read, and not yet taken by the reader.
    """

    def __init__(
        self,
        requests: Requests,
        ask: Callable[[Mapping[str, Any]], Awaitable[ChatCompletion]],
        has_room: Callable[[], bool],
        on_end: Callable[["Fan"], None],
        *,
        ordered: bool,
        buffer: int,
    ) -> None:
        if isinstance(requests, AsyncIterable):
            self._async_source: AsyncIterator[Any] | None = aiter(requests)
        else:
            self._async_source = None
            self._source: Iterator[Any] = iter(requests)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._ask = ask
        self._has_room = has_room
        self._on_end = on_end
        self._ordered = ordered
        self._buffer = buffer
        self._running: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Future[Any] | None = None
        self._due: deque[asyncio.Future[Outcome]] = deque()  # if ordered: as they were read
        self._done: deque[Outcome] = deque()
        self._count = 0
        self._exhausted = False
        self._closed = False
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()

    async def next(self) -> Outcome:
        """The next outcome; ``StopAsyncIteration`` when there is none."""
        self.loop = asyncio.get_running_loop()
        try:
            while not self._closed:
                self._changed.clear()
                self._raise_failure()
                if (outcome := self._take()) is not None:
                    return outcome
                if not self._exhausted and self._may_read():
                    await self._read()
                elif self._running or self._due or self._reading is not None:
                    await self._changed.wait()
                else:
                    break
        except BaseException:
            await self.aclose()
            raise
        await self.aclose()
        raise StopAsyncIteration

    def cancel(self) -> None:
        """End what runs, without waiting for it."""
        self._closed = True
        self._changed.set()
        for task in self._running:
            task.cancel()
        if self._reading is not None:
            self._reading.cancel()
        self._on_end(self)

    async def aclose(self) -> None:
        """End what runs, and wait until it has ended."""
        self.cancel()
        tasks = {*self._running, *(() if self._reading is None else (self._reading,))}
        if tasks:
            await asyncio.wait(tasks)
        close = getattr(self._async_source, "aclose", None)
        if close is not None:
            await close()

    def wake(self) -> None:
        """Something has changed: whoever waits for an outcome looks anew."""
        self._changed.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _take(self) -> Outcome | None:
        if self._ordered:
            return self._due.popleft().result() if self._due and self._due[0].done() else None
        return self._done.popleft() if self._done else None

    def _may_read(self) -> bool:
        if self._reading is not None and not self._reading.done():
            return False
        kept = len(self._due) if self._ordered else len(self._running) + len(self._done)
        return kept < self._buffer and (not self._running or self._has_room())

    async def _read(self) -> None:
        """Read one request and begin it; from an async source, as soon as it has one."""
        try:
            if self._async_source is None:
                request = next(self._source)
            elif self._reading is None:
                self._reading = asyncio.ensure_future(_first(self._async_source))
                self._reading.add_done_callback(lambda _: self._changed.set())
                return
            else:
                reading, self._reading = self._reading, None
                request = reading.result()
        except (StopIteration, StopAsyncIteration, _Exhausted):
            self._exhausted = True
            return
        place, self._count = self._count, self._count + 1
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self._ordered:
            self._due.append(future)
        task = asyncio.create_task(self._run(request, place, future))
        self._running.add(task)
        task.add_done_callback(self._end)
        await asyncio.sleep(0)  # it comes to the gate, so that its room is known

    async def _run(self, request: Any, place: int, future: asyncio.Future[Outcome]) -> None:
        key: Any = place
        try:
            if not isinstance(request, Mapping):
                raise ConfigError(f"request {place}: must be an object, like {{'messages': ...}}")
            key = request.get("key", place)
            fields = {name: value for name, value in request.items() if name != "key"}
            if "messages" not in fields:
                raise ConfigError(f"request {place}: has no messages")
            outcome = Outcome(key, await self._ask(fields))
        except LaplasError as error:
            outcome = Outcome(key, error=error)
        future.set_result(outcome)
        if not self._ordered:
            self._done.append(outcome)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Not ours, so no outcome: the caller's own hook, or a defect. The reader gets it.
            self._failure = error


class _Exhausted(Exception):  # noqa: N818 - a StopAsyncIteration cannot be a future's exception
    """The async source has no more."""


async def _first(source: AsyncIterator[Any]) -> Any:
    try:
        return await anext(source)
    except StopAsyncIteration:
        raise _Exhausted from None
