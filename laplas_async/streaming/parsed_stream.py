"""``ParsedStream``: a streamed answer read into a type while it arrives.

It holds a ``ChatStream`` and gives what passes through to ``structured``. It refuses to retry: an
answer that does not fit raises, for parts of it may have been used already.
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from laplas_async.errors import BadRequestError, InvalidJSONError, OutputError, Problem
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.structured.parsing import (
    Parsed,
    ParseRequest,
    answer_text,
    failed_generation,
    output_error,
    unusable,
)
from laplas_async.structured.partial_output import ItemReader, PartialOutput
from laplas_async.structured.reading import Mismatch, NoJSON
from laplas_async.types import Attempt, ChatCompletion, ChatCompletionChunk

T = TypeVar("T")


class ParsedStream(Generic[T]):
    """A typed streamed answer: ``async with client.stream(..., into=T) as stream``.

    Iterate over it for chunks, ``text()`` for text, ``items(path)`` for the elements of a list as
    each is complete, or ``await parsed()`` for the whole object. They read the same stream, for one
    reader at a time, so what one has read, another does not get; ``parsed()`` and
    ``partial_output`` always cover everything read so far.
    """

    def __init__(
        self,
        open_stream: Callable[..., ChatStream],
        request: ParseRequest[T],
        remember: Callable[[str], object] = lambda _: None,
        prepare: Callable[[ParseRequest[T]], Awaitable[None]] | None = None,
    ) -> None:
        self._open_stream = open_stream
        self._request = request
        self._remember = remember
        self._prepare = prepare
        self._output = request.output
        self._partial = PartialOutput(request.output)
        self._result: Parsed[T] | None = None
        self._stream = open_stream(request.messages, **request.parameters)

    async def __aenter__(self) -> Self:
        """Send the request, in the next mode if the service rejects the first one.

        Raises as ``complete`` does. Leaving the block closes the connection.
        """
        if self._prepare is not None:
            mode = self._request.mode
            await self._prepare(self._request)
            if self._request.mode != mode:
                await self._stream.aclose()
                self._stream = self._open_stream(self._request.messages, **self._request.parameters)
        while True:
            try:
                await self._stream.__aenter__()
            except BadRequestError as error:
                if failed_generation(error) is not None:
                    raise
                self._request.reject(error)
                self._stream = self._open_stream(self._request.messages, **self._request.parameters)
            else:
                self._remember(self._request.mode)
                return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, whatever happened inside."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        """The next chunk. Raises ``StreamError`` as every stream does.

        An answer that goes on with nothing but white space is closed and raises
        ``InvalidJSONError``. Cancelling it loses nothing.
        """
        chunk = await anext(self._stream)
        for text in _json_pieces(chunk, self._request.mode):
            self._partial.feed(text)
        if self._partial.is_endless:
            completion = self._stream.partial
            await self._stream.aclose()
            message = "the model writes only white space; the stream was closed"
            raise InvalidJSONError(
                message,
                text=completion.text.rstrip(),
                errors=(Problem("", message),),
                completion=completion,
            )
        return chunk

    def items(self, path: str = "") -> "ItemStream":
        """The elements of a list in the output: ``async for line in stream.items("lines")``.

        ``path`` names fields, as in ``"order.lines"``; "" where the output itself is a list. Each
        element is given as soon as it is complete, and is validated; one that does not fit raises
        ``OutputValidationError`` with its path. Raises ``ConfigError`` where the type has no list.
        """
        return ItemStream(self, self._partial.items(path))

    @property
    def partial_output(self) -> Any:
        """What is complete so far: finished objects typed, open ones as dicts; None at first.

        Live: it grows while the stream is read. Strings appear when they are complete
        (``open_string`` has the one being written).
        """
        return self._partial.value

    @property
    def open_string(self) -> str | None:
        """The string value being written, so far; None outside of one. Costs its length."""
        return self._partial.open_string

    async def parsed(self) -> Parsed[T]:
        """The whole typed answer; reads what is still to come.

        Raises ``StreamError`` as iterating does, ``OutputError`` as ``LaplasClient.parse`` does,
        ``TruncatedOutputError`` with the partial object where ``max_tokens`` ended it.
        """
        async for _ in self:
            pass
        if self._result is None:
            self._result = self._read(self._stream.partial)
        return self._result

    def _read(self, completion: ChatCompletion) -> Parsed[T]:
        usage = completion.usage
        if (error := unusable(completion, usage)) is not None:
            raise error
        text = answer_text(completion, self._output.name)
        try:
            output = self._output.read(text)
        except (NoJSON, Mismatch) as wrong:
            raise output_error(text, wrong, completion, usage) from wrong
        return Parsed(output, completion, usage, completion.cost, self._request.mode)

    def error_for(self, wrong: Mismatch) -> OutputError:
        """The error for an element that does not fit."""
        completion = self._stream.partial
        return output_error(completion.text, wrong, completion, completion.usage)

    def text(self) -> "TextPieces":
        """The text alone, piece by piece."""
        return TextPieces(self)

    async def completion(self) -> ChatCompletion:
        """The whole completion; reads what is still to come."""
        async for _ in self:
            pass
        return self._stream.partial

    @property
    def partial(self) -> ChatCompletion:
        """The completion so far."""
        return self._stream.partial

    @property
    def request_id(self) -> str | None:
        """The service's id of this request; None before it responded."""
        return self._stream.request_id

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts it took to begin."""
        return self._stream.attempts

    async def aclose(self) -> None:
        """Close the connection at once, from any task; safe to call twice."""
        await self._stream.aclose()


class TextPieces:
    """The text alone of a ``ParsedStream``; pieces are never empty."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ParsedStream[Any]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """The iterator itself."""
        return self

    async def __anext__(self) -> str:
        """The next piece of text."""
        async for chunk in self._stream:
            if text := chunk.text:
                return text
        raise StopAsyncIteration


class ItemStream:
    """The elements of one list of a ``ParsedStream``, each when it is complete."""

    __slots__ = ("_left", "_reader", "_stream")

    def __init__(self, stream: ParsedStream[Any], reader: ItemReader) -> None:
        self._stream = stream
        self._reader = reader
        self._left: list[Any] | None = None  # after the end of the stream, the last one first

    def __aiter__(self) -> Self:
        """The iterator itself."""
        return self

    async def __anext__(self) -> Any:
        """The next element."""
        while self._left is None:
            try:
                if found := self._reader.next():
                    return found[0]
            except Mismatch as wrong:
                raise self._stream.error_for(wrong) from wrong
            if await anext(self._stream, None) is None:
                self._left = self._reader.finish((await self._stream.parsed()).output)[::-1]
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _json_pieces(chunk: ChatCompletionChunk, mode: str) -> list[str]:
    """What a chunk adds to the JSON: text, or in tool mode the arguments of the call."""
    if mode != "tool":
        return [chunk.text] if chunk.text else []
    return [
        call.function.arguments
        for choice in chunk.choices
        if choice.index == 0
        for call in choice.delta.tool_calls or ()
        if call.function is not None and call.function.arguments
    ] or ([chunk.text] if chunk.text else [])
