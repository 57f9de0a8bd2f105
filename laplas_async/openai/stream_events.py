"""``client.chat.completions.stream``: chunks as typed events, and the completion they make.

One pass over the chunks of an ``AsyncStream``; whether the stream was whole the core decides. An
event's snapshots and partly parsed objects are made when they are read, so that a long answer
costs no more for them unless a program looks.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from typing import Any, Literal, Self

from attrs import define, field, frozen

from laplas_async.openai.errors import (
    ContentFilterFinishReasonError,
    LengthFinishReasonError,
    UnsupportedError,
)
from laplas_async.openai.omitted import is_given
from laplas_async.openai.parsing import Format, parse_arguments, parse_completion
from laplas_async.openai.results import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionTokenLogprob,
    ChoiceDeltaToolCall,
    ChoiceLogprobs,
    ChunkChoice,
    ParsedChatCompletion,
)
from laplas_async.openai.streams import AsyncStream


@frozen
class ChunkEvent:
    """Each chunk, before the events that it causes."""

    chunk: ChatCompletionChunk
    _snapshot: Callable[[], ChatCompletion] = field(repr=False)
    type: Literal["chunk"] = "chunk"

    @property
    def snapshot(self) -> ChatCompletion:
        """The completion received by the time of reading this."""
        return self._snapshot()


@frozen
class ContentDeltaEvent:
    """More text; ``snapshot`` is all of it so far."""

    delta: str
    snapshot: str
    type: Literal["content.delta"] = "content.delta"

    @property
    def parsed(self) -> Any:
        """The JSON of the text so far, as far as it can be read; None without any."""
        return _partial(self.snapshot)


@frozen
class ContentDoneEvent:
    """The text is complete; ``parsed`` is its object, where a class was given."""

    content: str
    parsed: Any = None
    type: Literal["content.done"] = "content.done"


@frozen
class RefusalDeltaEvent:
    """More of a refusal."""

    delta: str
    snapshot: str
    type: Literal["refusal.delta"] = "refusal.delta"


@frozen
class RefusalDoneEvent:
    """The refusal is complete."""

    refusal: str
    type: Literal["refusal.done"] = "refusal.done"


@frozen
class FunctionToolCallArgumentsDeltaEvent:
    """More of a tool call's arguments."""

    name: str
    index: int
    arguments: str
    arguments_delta: str
    type: Literal["tool_calls.function.arguments.delta"] = "tool_calls.function.arguments.delta"

    @property
    def parsed_arguments(self) -> Any:
        """The JSON of the arguments so far, as far as it can be read."""
        return _partial(self.arguments)


@frozen
class FunctionToolCallArgumentsDoneEvent:
    """A tool call's arguments are complete."""

    name: str
    index: int
    arguments: str
    parsed_arguments: Any = None
    type: Literal["tool_calls.function.arguments.done"] = "tool_calls.function.arguments.done"


@frozen
class LogprobsContentDeltaEvent:
    """More log probabilities of the text."""

    content: list[ChatCompletionTokenLogprob]
    snapshot: list[ChatCompletionTokenLogprob]
    type: Literal["logprobs.content.delta"] = "logprobs.content.delta"


@frozen
class LogprobsContentDoneEvent:
    """The log probabilities of the text are complete."""

    content: list[ChatCompletionTokenLogprob]
    type: Literal["logprobs.content.done"] = "logprobs.content.done"


def _partial(text: str) -> Any:
    if not text.strip():
        return None
    try:
        find_partial = import_module("laplas_async.structured.reading").find_partial
    except ModuleNotFoundError:
        raise UnsupportedError("event.parsed: read it from the event 'content.done'") from None
    return find_partial(text, arrays=True)


class AsyncChatCompletionStream:
    """The events of a stream, and at its end the completion."""

    def __init__(
        self, chunks: AsyncStream[ChatCompletionChunk], format_: Format, tools: Any
    ) -> None:
        self._chunks = chunks
        self._format = format_
        self._tools = list(tools) if is_given(tools) and tools is not None else []
        self._choices: dict[int, _Choice] = {}
        self._events = self._read()
        self.response = chunks.response

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> Any:
        """The next event. Raises as the chunks' stream does."""
        return await anext(self._events)

    @property
    def current_completion_snapshot(self) -> ChatCompletion:
        """The completion of what has been received."""
        return self._chunks.received()

    async def until_done(self) -> Self:
        """Read to the end."""
        async for _ in self:
            pass
        return self

    async def get_final_completion(self) -> ParsedChatCompletion:
        """Read to the end; the completion, parsed. Raises as ``parse`` does."""
        await self.until_done()
        return parse_completion(self._chunks.received(), self._format, self._tools)

    async def close(self) -> None:
        """Close the connection at once."""
        await self._chunks.close()

    async def _read(self) -> AsyncIterator[Any]:
        async for chunk in self._chunks:
            yield ChunkEvent(chunk, self._chunks.received)
            for choice in chunk.choices:
                state = self._choices.setdefault(choice.index, _Choice(self._format, self._tools))
                for event in state.events(choice):
                    yield event
                self._check_finished(choice)

    def _check_finished(self, choice: ChunkChoice) -> None:
        if self._format.read is None and not self._tools:
            return
        if choice.finish_reason == "length":
            raise LengthFinishReasonError(completion=self._chunks.received())
        if choice.finish_reason == "content_filter":
            raise ContentFilterFinishReasonError


@define
class _Call:
    name: str = ""
    arguments: str = ""


@define
class _Choice:
    """What one choice has had, and which of its ends were reported."""

    _format: Format
    _tools: list[Any]
    _text: str | None = None
    _refusal: str | None = None
    _logprobs: list[ChatCompletionTokenLogprob] = field(factory=list)
    _calls: dict[int, _Call] = field(factory=dict)
    _current: int | None = None
    _is_text_done: bool = False

    def events(self, choice: ChunkChoice) -> Iterator[Any]:
        """The events that one chunk causes, in openai's order."""
        delta = choice.delta
        if delta.content is not None:
            self._text = (self._text or "") + delta.content
            yield ContentDeltaEvent(delta.content, self._text)
        if delta.refusal is not None:
            self._refusal = (self._refusal or "") + delta.refusal
            yield RefusalDeltaEvent(delta.refusal, self._refusal)
        for call in delta.tool_calls or ():
            yield self._add_call(call)
        if choice.logprobs is not None:
            yield from self._add_logprobs(choice.logprobs)
        if choice.finish_reason:
            yield from self._text_done()
            yield from self._call_done()
        for call in delta.tool_calls or ():
            if self._current != call.index:
                yield from self._text_done()
                yield from self._call_done()
            self._current = call.index

    def _add_call(self, delta: ChoiceDeltaToolCall) -> FunctionToolCallArgumentsDeltaEvent:
        call = self._calls.setdefault(delta.index, _Call())
        function = delta.function
        more = (function and function.arguments) or ""
        call.name = call.name or (function and function.name) or ""
        call.arguments += more
        return FunctionToolCallArgumentsDeltaEvent(call.name, delta.index, call.arguments, more)

    def _add_logprobs(self, logprobs: ChoiceLogprobs) -> Iterator[LogprobsContentDeltaEvent]:
        if logprobs.content:
            self._logprobs += logprobs.content
            yield LogprobsContentDeltaEvent(logprobs.content, list(self._logprobs))

    def _text_done(self) -> Iterator[Any]:
        if self._is_text_done:
            return
        self._is_text_done = True
        if self._text:
            read = self._format.read
            yield ContentDoneEvent(
                self._text, None if read is None or self._refusal else read(self._text)
            )
        if self._refusal is not None:
            yield RefusalDoneEvent(self._refusal)
        if self._logprobs:
            yield LogprobsContentDoneEvent(list(self._logprobs))

    def _call_done(self) -> Iterator[FunctionToolCallArgumentsDoneEvent]:
        if self._current is None:
            return
        call, index = self._calls[self._current], self._current
        self._current = None
        parsed = parse_arguments(self._tools, call.name, call.arguments)
        yield FunctionToolCallArgumentsDoneEvent(call.name, index, call.arguments, parsed)
