"""``ChatStream``: the chunks of a streamed completion, for the caller.

An async context manager and an async iterator; a class, not a generator, so that nothing is left
to a finalizer. ``reader`` reads and judges the response; ``client`` begins it.
"""

import asyncio
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from attrs import evolve, frozen

from laplas_async.errors import ConfigError, LaplasError, StreamError, StreamTruncatedError
from laplas_async.streaming.reader import StreamReader
from laplas_async.types import Attempt, ChatCompletion, ChatCompletionChunk, Cost, Usage


class Admission(Protocol):
    """What a call holds while its stream runs: its place at the gate, its part of a budget."""

    def succeed(self, usage: Usage | None, cost: Cost | None = None) -> None:
        """Return it after a response, with what that used."""
        ...

    def release(self) -> None:
        """Return it after the stream was given up."""
        ...


Left = Literal["abandoned", "cancelled"]
"""How a caller left a stream before its end: on purpose, or because its task was cancelled."""


class StreamTrace(Protocol):
    """Measures a call for its observers until its stream has ended."""

    @property
    def wants_chunks(self) -> bool:
        """Whether an observer is to be informed of each chunk."""
        ...

    def chunk_taken(self, chunk: ChatCompletionChunk) -> None:
        """A chunk is given to the reader of the stream."""
        ...

    def end_stream(
        self,
        completion: ChatCompletion,
        attempt: Attempt,
        error: LaplasError | None,
        *,
        left: Left | None,
    ) -> None:
        """The stream has ended with ``error``, or was ``left``; ``attempt`` is the last one."""
        ...


@frozen
class Begun:
    """A stream whose first content has been received, and what was needed to begin it."""

    reader: StreamReader
    admission: Admission
    attempts: tuple[Attempt, ...]
    trace: StreamTrace | None = None


class ChatStream:
    """A streamed completion: ``async with client.stream(...) as s: async for chunk in s``.

    Entering sends the request, with retries, and returns when the first content has been received.
    Leaving closes the connection at once. For one reader at a time; ``aclose`` may be called from
    any task. Iterating to the end means that the response was complete: otherwise it raises, with
    what was received in ``error.partial``.
    """

    __slots__ = (
        "__weakref__",
        "_attempts",
        "_begin",
        "_closed",
        "_forget_drop",
        "_in_block",
        "_left",
        "_on_chunk",
        "_on_end",
        "_opening",
        "_reader",
    )

    def __init__(
        self,
        begin: Callable[[], Awaitable[Begun]],
        on_end: Callable[["ChatStream"], None],
    ) -> None:
        self._begin: Callable[[], Awaitable[Begun]] | None = begin
        self._on_end = on_end
        self._reader: StreamReader | None = None
        self._forget_drop: Callable[[], object] = lambda: None
        self._opening: asyncio.Timeout | None = None
        self._closed = False
        self._in_block = False
        self._left: Left | None = None
        self._on_chunk: Callable[[ChatCompletionChunk], None] | None = None
        self._attempts: tuple[Attempt, ...] = ()

    async def start(self) -> None:
        """Send the request, as entering the block does, for callers that cannot use a block.

        Outside of a block, read it to its end or call ``aclose()``. Raises what
        ``LaplasClient.stream`` says. Cancelling it leaves nothing behind.
        """
        if self._closed:
            raise ConfigError("this stream is closed; call stream() for another")
        begin, self._begin = self._begin, None
        if begin is None:
            raise ConfigError("this stream was started already; call stream() for another")
        try:
            async with asyncio.timeout(None) as self._opening:  # through which aclose() ends it
                begun = await begin()
        except BaseException as error:
            self._closed, self._opening = True, None
            self._on_end(self)
            if isinstance(error, TimeoutError) and not isinstance(error, LaplasError):
                raise StreamTruncatedError("the stream was closed before it began") from None
            raise
        reader, self._attempts = begun.reader, begun.attempts
        self._reader = reader
        if begun.trace is not None and begun.trace.wants_chunks:
            self._on_chunk = begun.trace.chunk_taken
        loop = asyncio.get_running_loop()
        finalizer = weakref.finalize(self, _drop, loop, reader, begun.admission)
        finalizer.atexit = False
        self._forget_drop = finalizer.detach
        end = _End(weakref.ref(self), reader, begun, self._on_end)
        if reader.ended:  # nothing but the end was received
            end(None)
        else:
            reader.on_end = end

    async def __aenter__(self) -> Self:
        """Send the request, unless that was done; leaving the block closes the connection."""
        if self._in_block:
            raise ConfigError("this stream was entered already; call stream() for another")
        if self._reader is None:
            await self.start()
        self._in_block = True
        if self._reader is not None:
            self._reader.close_on_cancel = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, whatever happened inside."""
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        self._leave("cancelled" if cancelled else "abandoned")
        await self.aclose()

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, ChatCompletionChunk]:
        """The next chunk, as soon as it is received.

        Raises ``StreamError`` (truncated, timeout, an error event, not a chunk) with the partial
        completion. Cancelling it loses nothing inside a block; outside of one, it closes the
        stream.
        """
        # The reader's own coroutine: one more around it would be a cost for each token.
        if (reader := self._reader) is None:
            raise ConfigError("enter the stream first: async with client.stream(...) as stream")
        return reader.next() if self._on_chunk is None else self._observed(reader, self._on_chunk)

    async def _observed(
        self, reader: StreamReader, on_chunk: Callable[[ChatCompletionChunk], None]
    ) -> ChatCompletionChunk:
        chunk = await reader.next()
        on_chunk(chunk)
        return chunk

    def next_text(self) -> str | None:
        """A text of choice 0 that is ready, without its chunk; for ``text``."""
        if self._reader is None or self._on_chunk is not None:
            return None
        return self._reader.next_text()

    def text(self) -> "TextStream":
        """The text of choice 0 alone, piece by piece: ``async for piece in stream.text()``."""
        return TextStream(self)

    async def completion(self) -> ChatCompletion:
        """The complete response, equal to one without streaming; reads what is still to come.

        Raises as iterating does; after leaving the block early, ``StreamTruncatedError``.
        """
        async for _ in self:
            pass
        return self.partial

    @property
    def partial(self) -> ChatCompletion:
        """What has been received so far."""
        if self._reader is None:
            return ChatCompletion(attempts=self._attempts)
        completion = self._reader.completion()
        completion.attempts = self._attempts
        return completion

    @property
    def request_id(self) -> str | None:
        """The service's id of this request, for its support; None before it has responded."""
        return None if self._reader is None else self._reader.response.request_id

    @property
    def status(self) -> int | None:
        """The response's status; None before it was received."""
        return None if self._reader is None else self._reader.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, with lower-case names; none before it was received."""
        return {} if self._reader is None else self._reader.response.plain_headers

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that were made; the last one has the error with which the stream ended."""
        return self._attempts

    async def aclose(self) -> None:
        """Close the connection at once, from any task; safe to call twice.

        A task that is reading gets ``StreamTruncatedError``, unless the response was complete.
        """
        self._closed = True
        if self._reader is not None:
            self._leave("abandoned")
            self._reader.close()
        elif self._opening is not None and not self._opening.expired():
            self._opening.reschedule(asyncio.get_running_loop().time())
        else:
            self._on_end(self)

    close = aclose  # its name in other clients

    def _leave(self, left: Left) -> None:
        if self._left is None and self._reader is not None and self._reader.unread:
            self._left = left

    @property
    def left(self) -> Left | None:
        """How its caller left it before its end; None if that did not happen."""
        if self._reader is not None and self._reader.cancelled:
            return "cancelled"
        return self._left

    @property
    def closed(self) -> bool:
        """Whether it was closed, or has ended."""
        return self._closed

    def detach(self, attempts: tuple[Attempt, ...]) -> None:
        """The stream has ended, so dropping it needs no attention any more."""
        self._closed = True
        self._attempts = attempts
        self._forget_drop()


@frozen
class _End:
    """Called by the reader at the end: returns what the stream held.

    It knows the stream weakly, since the reader would otherwise keep alive a stream that is
    dropped before its end.
    """

    stream: "weakref.ref[ChatStream]"
    reader: StreamReader
    begun: Begun
    on_end: Callable[[ChatStream], None]

    def __call__(self, error: LaplasError | None) -> None:
        stream, reader, begun = self.stream(), self.reader, self.begun
        left = "abandoned" if stream is None else stream.left  # it was dropped: see _drop
        attempts = begun.attempts
        if error is not None:
            text = None if left else f"{type(error).__name__}: {error}"
            failed = evolve(attempts[-1], error=text, may_be_billed=True)
            attempts = (*attempts[:-1], failed)
            error.attempts = attempts
            if isinstance(error, StreamError):
                error.partial.attempts = attempts
        begun.admission.succeed(reader.accumulator.usage, reader.cost)
        if stream is not None:
            stream.detach(attempts)
            self.on_end(stream)
        if begun.trace is not None:
            completion = reader.completion()
            completion.attempts = attempts
            begun.trace.end_stream(completion, attempts[-1], error, left=left)


def _drop(loop: asyncio.AbstractEventLoop, reader: StreamReader, admission: Admission) -> None:
    """A stream was dropped before its end, outside of a block: return what it held.

    Called by the garbage collector, so it only schedules the work in the loop (law 4).
    """
    warnings.warn(
        "a stream was dropped before its end; use 'async with', or call aclose()",
        ResourceWarning,
        stacklevel=2,
    )
    if not loop.is_closed():
        loop.call_soon_threadsafe(reader.close)
        loop.call_soon_threadsafe(admission.release)


class TextStream:
    """The text alone of a ``ChatStream``; pieces are never empty."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """The iterator itself."""
        return self

    async def __anext__(self) -> str:
        """The next piece of text. Raises as the stream does."""
        if (text := self._stream.next_text()) is not None:
            return text
        async for chunk in self._stream:
            if text := chunk.text:
                return text
        raise StopAsyncIteration
