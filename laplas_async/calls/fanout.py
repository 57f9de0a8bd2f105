"""Many requests at once: the work behind ``client.map``, and its outcomes.

It refuses to pace (the gate does), to decide when a request starts (``scheduler`` does), and to
keep more than ``buffer`` requests that its reader has not taken.
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

from laplas_async.calls.scheduler import Scheduler, wait_for_all
from laplas_async.errors import ConfigError, LaplasError
from laplas_async.pacing.gate import Gate
from laplas_async.types import Attempt, ChatCompletion

Requests = Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]


@define
class Outcome:
    """The result of one request: ``completion``, or ``error`` if it failed for good.

    ``key`` is the request's own ``key``, else its position in the input, from 0. ``attempts`` are
    the attempts that were made.
    """

    key: Any
    completion: ChatCompletion | None = None
    error: LaplasError | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a completion."""
        return self.completion is not None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that were made."""
        if self.completion is not None:
            return self.completion.attempts
        return () if self.error is None else self.error.attempts


class OutcomeStream:
    """The outcomes of many requests: ``async for outcome in client.map(requests)``.

    Requests are read as there is room for them. Leaving the loop cancels what still runs;
    ``async with client.map(...) as outcomes`` also waits until it has ended.
    """

    def __init__(self, fan: "Fan") -> None:
        self._fan = fan
        # The running tasks hold the fan, not this object: so dropping it (a break) is noticed.
        weakref.finalize(self, _drop, fan).atexit = False

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> Outcome:
        """The next outcome: as requests end, or in the input's order.

        A failed request raises nothing; what the input itself raises ends the stream and is raised
        here. Cancelling it cancels everything that runs.
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
        """Cancel what runs and wait until it has ended."""
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended. Safe to call twice."""
        await self._fan.aclose()


def _drop(fan: "Fan") -> None:
    """The stream was garbage-collected, in any thread: the loop cancels what runs."""
    if fan.scheduler is not None and not fan.scheduler.loop.is_closed():
        fan.scheduler.loop.call_soon_threadsafe(fan.cancel)


@define
class _Request:
    """A request that was read, its position, and (if ordered) where its outcome goes."""

    fields: Any
    position: int
    outcome: "asyncio.Future[Outcome]"


class Fan:
    """The work behind an ``OutcomeStream``: requests from an iterable, outcomes for its reader.

    ``complete`` makes one call. ``buffer``: how many requests may be read and their outcomes not
    yet taken, at least 1.
    """

    def __init__(
        self,
        complete: Callable[..., Awaitable[ChatCompletion]],
        gate: Gate,
        requests: Requests,
        *,
        ordered: bool,
        buffer: int,
    ) -> None:
        if type(buffer) is not int or buffer < 1:
            raise ConfigError(f"buffer={buffer!r}: must be an integer, at least 1")
        self.scheduler: Scheduler[_Request] | None = None
        self.exhausted = False
        self._complete = complete
        self._gate = gate
        self._source: _Source | _AsyncSource = (
            _AsyncSource(requests) if isinstance(requests, AsyncIterable) else _Source(requests)
        )
        self._ordered = ordered
        self._buffer = buffer
        # Futures in the order in which they are handed out; if not ordered, only completed ones.
        self._outcomes: deque[asyncio.Future[Outcome]] = deque()
        self._read = 0
        self._taken = 0
        self._cancelled = False
        self._changed = asyncio.Event()

    # --- the reader's side --------------------------------------------------------------------

    async def next(self) -> Outcome:
        """The next outcome; ``StopAsyncIteration`` when there is none."""
        if self.scheduler is None and not self._cancelled:
            self.scheduler = Scheduler(self, self._gate)
            self.scheduler.done.add_done_callback(lambda _: self._changed.set())
            self.scheduler.start()
        try:
            while self.scheduler is not None and not self._cancelled:
                self._changed.clear()
                self._check(self.scheduler)
                if self._outcomes and self._outcomes[0].done():
                    self._taken += 1
                    self.scheduler.wake()
                    return self._outcomes.popleft().result()
                if self.scheduler.done.done():
                    break
                await self._changed.wait()
        except BaseException:
            await self.aclose()
            raise
        await self.aclose()
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Cancel what runs, without waiting for it."""
        self._cancelled = True
        self._changed.set()
        if self.scheduler is not None:
            self.scheduler.cancel()
        self._source.cancel()

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended."""
        self.cancel()
        try:
            if self.scheduler is not None:
                await self.scheduler.aclose()
        finally:
            await self._source.aclose()

    def _check(self, scheduler: Scheduler[_Request]) -> None:
        """Raise the failure; a ``StopAsyncIteration`` would end the reader's loop silently."""
        try:
            scheduler.check()
        except StopAsyncIteration as error:
            raise RuntimeError("the requests raised StopAsyncIteration") from error

    # --- the scheduler's side -----------------------------------------------------------------

    def take(self) -> _Request | None:
        """Read a request, unless ``buffer`` of them are not yet taken."""
        if self.exhausted or self._read - self._taken >= self._buffer:
            return None
        try:
            if not self._source.ready(self._wake):
                return None
            fields = self._source.take()
        except (StopIteration, _Exhausted):
            self.exhausted = True
            return None
        request = _Request(fields, self._read, asyncio.get_running_loop().create_future())
        self._read += 1
        if self._ordered:
            self._outcomes.append(request.outcome)
        return request

    async def run(self, item: _Request) -> None:
        """Make the call, and hand out its outcome."""
        key: Any = item.position
        try:
            fields = item.fields
            if not isinstance(fields, Mapping):
                raise ConfigError(f"request {key}: must be an object, like {{'messages': ...}}")
            key = fields.get("key", key)
            fields = {name: value for name, value in fields.items() if name != "key"}
            if "messages" not in fields:
                raise ConfigError(f"request {item.position}: has no messages")
            outcome = Outcome(key, await self._complete(**fields))
        except LaplasError as error:
            outcome = Outcome(key, error=error)
            await asyncio.sleep(0)  # it may have failed without waiting: let the loop run
        item.outcome.set_result(outcome)
        if not self._ordered:
            self._outcomes.append(item.outcome)
        self._changed.set()

    def _wake(self) -> None:
        if self.scheduler is not None:
            self.scheduler.wake()


class _Exhausted(Exception):  # noqa: N818 - a StopAsyncIteration cannot be a future's exception
    """The async source has no more."""


class _Source:
    """An iterable: its next item can always be taken."""

    def __init__(self, requests: Iterable[Any]) -> None:
        self._iterator: Iterator[Any] = iter(requests)

    def ready(self, on_ready: Callable[[], None]) -> bool:  # noqa: ARG002 - as in _AsyncSource
        """Always."""
        return True

    def take(self) -> Any:
        """The item. Raises ``StopIteration`` at the end, and what the source raises."""
        return next(self._iterator)

    def cancel(self) -> None:
        """Nothing: no read is under way between two turns of the loop."""

    async def aclose(self) -> None:
        """Nothing: the caller who made the iterable closes it."""


class _AsyncSource:
    """An async iterable, read one item at a time in a task of its own."""

    def __init__(self, requests: AsyncIterable[Any]) -> None:
        self._iterator: AsyncIterator[Any] = aiter(requests)
        self._reading: asyncio.Task[Any] | None = None

    def ready(self, on_ready: Callable[[], None]) -> bool:
        """Whether an item (or the end) can be taken; if not, begin to read it."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
            self._reading.add_done_callback(_retrieve)
            self._reading.add_done_callback(lambda _: on_ready())
        return self._reading.done()

    def take(self) -> Any:
        """The item. Raises ``_Exhausted`` at the end, and what the source raised."""
        reading, self._reading = self._reading, None
        return reading.result() if reading is not None else None

    def cancel(self) -> None:
        """Cancel the read that runs."""
        if self._reading is not None:
            self._reading.cancel()

    async def aclose(self) -> None:
        """Wait for the read that was cancelled, and close the source."""
        if self._reading is not None:
            await wait_for_all((self._reading,))
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()

    async def _read(self) -> Any:
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            raise _Exhausted from None


def _retrieve(reading: "asyncio.Task[Any]") -> None:
    # An error that nobody takes, because the stream was closed, is nobody's concern.
    if not reading.cancelled():
        reading.exception()
