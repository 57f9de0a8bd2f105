"""The upstream side of a relay: a stream that is opened, read, and closed in any case.

It takes whatever gives chunks or text: a ``ChatStream``, an ``AnswerStream``, a ``ParsedStream``,
an async generator. It refuses to write anything: ``relay_formats`` and the frameworks do.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from attrs import frozen

from laplas_async.bots.relay_formats import Failure, Format, ServerEvent, chunk_of, failure_of
from laplas_async.errors import (
    AnswerReplacedError,
    ChatBusyError,
    ConfigError,
    ConversationError,
    DuplicateMessageError,
    LaplasError,
)
from laplas_async.types import ChatCompletionChunk

log = logging.getLogger("laplas_async")

Describe = Callable[[LaplasError], str]


@frozen
class RelayOptions:
    """How an answer is relayed; durations in seconds, None: unlimited."""

    form: Format
    heartbeat: float | None
    send_timeout: float | None
    describe: Describe | None
    headers: dict[str, str]


class Source:
    """One stream, read once."""

    def __init__(self, stream: Any) -> None:
        if not hasattr(stream, "__aiter__") and not hasattr(stream, "__aenter__"):
            raise ConfigError(
                f"stream={stream!r:.80}: must be a stream, such as that of client.stream(...)"
            )
        self._stream = stream
        self._items: AsyncIterator[Any] | None = None
        self._first: ChatCompletionChunk | None = None
        self._entered = False
        self._closed = False
        self.failed = False  # and the reader was informed, if its format can

    async def open(self) -> None:
        """Send the request, if that was not done, and wait for the first chunk or the end.

        Raises what the stream raises. Cancelling it closes nothing; ``aclose`` does.
        """
        stream = self._stream
        if hasattr(stream, "start") and hasattr(stream, "status"):
            if stream.status is None:
                await stream.start()
        elif hasattr(stream, "__aenter__"):
            stream = await stream.__aenter__()
            self._entered = True
        self._items = aiter(stream)
        try:
            self._first = chunk_of(await anext(self._items))
        except StopAsyncIteration:
            self._items = None

    async def _next(self) -> ChatCompletionChunk | None:
        """The next chunk, None at the end; raises what the stream raises."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._items is None:
            return None
        try:
            return chunk_of(await anext(self._items))
        except StopAsyncIteration:
            return None

    async def events(
        self, form: Format, describe: Describe | None
    ) -> AsyncGenerator[ServerEvent, None]:
        """The whole answer in a format, with its end marker or its one error; then it is closed.

        Raises a failure, after its event, if the format has none for it or it is not this
        library's: a failure must not look like an end.
        """
        try:
            for event in form.begin():
                yield event
            while (chunk := await self._next()) is not None:
                for event in form.add(chunk):
                    yield event
        except Exception as error:
            for event in form.fail(self.failure(error, describe)):
                yield event
            if not form.is_events or not isinstance(error, LaplasError):
                raise
        else:
            for event in form.end():
                yield event
        finally:
            await self.aclose()

    def failure(self, error: Exception, describe: Describe | None) -> Failure:
        """What the reader sees of an error, which is logged."""
        request_id = getattr(error, "request_id", None)  # and no message: it may quote the answer
        log.warning("a relayed answer failed: %s (request %s)", type(error).__name__, request_id)
        self.failed, message = True, None
        if describe is not None and isinstance(error, LaplasError):
            message = describe(error)
        return failure_of(error, message)

    async def aclose(self) -> None:
        """Close the stream at once; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()
        elif self._entered:
            await self._stream.__aexit__(None, None, None)


async def open_or_gone(source: Source, gone: "asyncio.Future[Any]") -> bool:
    """Open the source unless the reader leaves first; whether it is open.

    Raises what opening raises. Afterwards, and when it is cancelled, nothing goes on opening.
    """
    opening = asyncio.ensure_future(source.open())
    try:
        await asyncio.wait({opening, gone}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            await opening
            return True
        return False
    finally:
        await stop(opening)


async def stop(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and wait until it has ended, whatever it ends with."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


def status_of(error: LaplasError) -> int:
    """The HTTP status of an answer that failed before its first text.

    That of the service, where it sent one; else what a gateway would say.
    """
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status <= 599:
        return status
    match error:
        case ConfigError():
            return 400
        case ChatBusyError() | DuplicateMessageError() | AnswerReplacedError():
            return 409
        case ConversationError():
            return 500
    return 504 if isinstance(error, TimeoutError) else 502


def retry_after(error: LaplasError) -> dict[str, str]:
    """The header that asks the reader to wait as long as the service asks us to."""
    delay = getattr(error, "retry_after", None)
    return {"Retry-After": str(max(1, round(delay)))} if delay else {}
