"""``ChatStream``: the chunks of a streamed answer, for the caller.

An async context manager and an async iterator; a class, not a generator, so that nothing is left
to a finaliser. How an answer is read and judged is in ``answer``, how it is begun in ``client``.
"""

import asyncio
import warnings
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from laplas_async.errors import ConfigError, LaplasError, StreamError, StreamTruncatedError
from laplas_async.http.transport import TRANSFER_ERRORS
from laplas_async.pacing.gate import Permit
from laplas_async.streaming.reader import StreamedAnswer
from laplas_async.types import Attempt, ChatCompletion, ChatCompletionChunk
from laplas_async.wire.chunks import Item

_Begin = Callable[[], Awaitable[tuple[StreamedAnswer, Permit, tuple[Attempt, ...]]]]


class ChatStream:
    """A streamed answer: ``async with client.stream(...) as stream: async for chunk in stream``.

    Entering sends the request, with retries, and returns when the first content is there. Leaving
    closes the connection at once. For one reader at a time; ``aclose`` may be called from any
    task. Iterating to the end means that the answer was whole: anything else raises, with what
    had come in ``error.partial``.
    """

    __slots__ = (
        "__weakref__",
        "_answer",
        "_attempts",
        "_begin",
        "_closed",
        "_forget_drop",
        "_in_block",
        "_on_end",
        "_opening",
        "_permit",
        "_ready",
    )

    def __init__(
        self,
        begin: _Begin,
        on_end: Callable[["ChatStream"], None],
    ) -> None:
        self._begin: _Begin | None = begin
        self._on_end = on_end
        self._answer: StreamedAnswer | None = None
        self._permit: Permit | None = None
        self._ready: list[ChatCompletionChunk | Item] = []  # the answer's own: the next one last
        self._forget_drop: Callable[[], object] = lambda: None
        self._opening: asyncio.Timeout | None = None
        self._closed = False
        self._in_block = False
        self._attempts: tuple[Attempt, ...] = ()

    async def start(self) -> None:
        """Send the request, as entering the block does, for those who cannot use a block.

        Outside of a block, read it to its end or call ``aclose()``. Raises what
        ``LaplasClient.stream`` says; cancelling leaves nothing.
        """
        if self._closed:
            raise ConfigError("this stream is closed; call stream() for another")
        begin, self._begin = self._begin, None
        if begin is None:
            raise ConfigError("this stream was started already; call stream() for another")
        try:
            async with asyncio.timeout(None) as self._opening:  # aclose() ends it through this
                answer, permit, self._attempts = await begin()
        except BaseException as error:
            self._closed = True
            self._on_end(self)
            if isinstance(error, TimeoutError) and not isinstance(error, LaplasError):
                raise StreamTruncatedError("the stream was closed before it began") from None
            raise
        self._answer, self._permit = answer, permit
        self._ready = answer.ready
        loop = asyncio.get_running_loop()
        dropped = weakref.finalize(self, _let_go, loop, answer, permit)
        dropped.atexit = False
        self._forget_drop = dropped.detach

    async def __aenter__(self) -> Self:
        """Send the request, unless that is done; leaving the block closes the connection."""
        if self._in_block:
            raise ConfigError("this stream was entered already; call stream() for another")
        if self._answer is None:
            await self.start()
        self._in_block = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, whatever happened inside."""
        await self.aclose()

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        """The next chunk, as soon as it is here.

        Raises ``StreamError`` (truncated, timeout, an error event, no chunk) with the partial.
        Cancelling it loses nothing inside a block; outside of one, it closes the stream.
        """
        answer = self._answer
        if self._ready and answer is not None:  # as nearly always, when they come fast
            item = self._ready.pop()
            return item if type(item) is ChatCompletionChunk else answer.chunk(item)
        if answer is None:
            raise ConfigError("enter the stream first: async with client.stream(...) as stream")
        if answer.waiting:
            raise ConfigError("another task is reading this stream")
        answer.waiting = True
        try:
            if (read_one := answer.alone) is None:
                chunk = await answer.next()
            else:  # a token at a time: the short way
                data: bytes | None
                try:
                    data = await answer.readany()
                except TRANSFER_ERRORS as error:
                    data = answer.rest(error)
                if not data or (chunk := read_one(data)) is None:
                    chunk = await answer.next(data)
        except LaplasError as error:
            self._end_with(error)
            raise
        except asyncio.CancelledError:
            if not self._in_block:  # nobody else would close it
                await self.aclose()
            raise
        finally:
            answer.waiting = False
        if chunk is None:
            self._release()
            raise StopAsyncIteration
        return chunk

    def next_text(self) -> str | None:
        """A text of choice 0 that is here already, without the chunk around it; for ``text``."""
        ready, answer = self._ready, self._answer
        while ready and answer is not None and answer.index == 0 and type(ready[-1]) is str:
            if (text := ready.pop()) and type(text) is str:
                return text
        return None

    def text(self) -> "TextStream":
        """The text of choice 0 alone, piece by piece: ``async for piece in stream.text()``."""
        return TextStream(self)

    async def completion(self) -> ChatCompletion:
        """The whole answer, equal to the unstreamed one; reads what is still to come.

        Raises as iterating does; after leaving the block early, ``StreamTruncatedError``.
        """
        async for _ in self:
            pass
        return self.partial

    @property
    def partial(self) -> ChatCompletion:
        """What has come so far."""
        if self._answer is None:
            return ChatCompletion(attempts=self._attempts)
        completion = self._answer.completion()
        completion.attempts = self._attempts
        return completion

    @property
    def request_id(self) -> str | None:
        """The service's id of this request, for its support; None before it answered."""
        return None if self._answer is None else self._answer.response.request_id

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The tries it took to begin."""
        return self._attempts

    async def aclose(self) -> None:
        """Close the connection at once, from any task; safe to call twice.

        Whoever is reading gets ``StreamTruncatedError``, unless the answer was whole.
        """
        self._closed = True
        if self._answer is not None:
            self._answer.close()
            self._release()
        elif self._opening is not None:
            self._opening.reschedule(asyncio.get_running_loop().time())
        else:
            self._on_end(self)

    close = aclose  # its name in the clients that people come from

    def _end_with(self, error: LaplasError) -> None:
        error.attempts = self._attempts
        if isinstance(error, StreamError):
            error.partial.attempts = self._attempts
        self._release()

    def _release(self) -> None:
        """The answer is over: give the place back, once."""
        permit, self._permit = self._permit, None
        if permit is not None:
            self._closed = True
            self._forget_drop()
            permit.succeed(None if self._answer is None else self._answer.accumulator.usage)
            self._on_end(self)


def _let_go(loop: asyncio.AbstractEventLoop, answer: StreamedAnswer, permit: Permit) -> None:
    """A stream was dropped unread, outside of a block: give back what it held.

    Called by the collector, so all it does is to tell; the work is done in the loop.
    """
    warnings.warn(
        "a stream was dropped before its end; use 'async with', or call aclose()",
        ResourceWarning,
        stacklevel=2,
    )
    if not loop.is_closed():
        loop.call_soon_threadsafe(answer.close)
        loop.call_soon_threadsafe(permit.release)


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
