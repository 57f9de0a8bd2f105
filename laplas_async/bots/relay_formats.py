"""How a streamed answer is written for the reader of a user's service.

Pure: chunks in, events out; the frameworks' libraries frame them. A format begins, adds chunks, and
then either ends or fails: only a complete answer gets an end marker (law 1). It refuses to send the
key or anything else that an error's message does not contain.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from attrs import define, evolve, field, frozen

from laplas_async.errors import ConfigError, LaplasError
from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta, ToolCallDelta, Usage
from laplas_async.wire.codec import repair_text, to_dict

FormatName = Literal["sse", "text", "ui", "openai"]
FrameName = Literal["json", "text", "ui", "openai"]  # of WebSockets


@frozen
class ServerEvent:
    """One server-sent event; a WebSocket sends only its data."""

    data: str
    event: str | None = None
    id: str | None = None


@frozen
class Failure:
    """An error as the reader sees it."""

    message: str
    type: str = "InternalError"
    code: str | int | None = None

    def to_dict(self) -> dict[str, Any]:
        """In the form that clients of OpenAI know."""
        return {"message": self.message, "type": self.type, "param": None, "code": self.code}


class Format(Protocol):
    """Writes one answer. ``is_events``: as server-sent events, not as plain text."""

    is_events: bool
    headers: Mapping[str, str]
    json_errors: bool

    def begin(self) -> list[ServerEvent]:
        """What comes before the first chunk."""
        ...

    def add(self, chunk: ChatCompletionChunk) -> list[ServerEvent]:
        """What a chunk adds."""
        ...

    def end(self) -> list[ServerEvent]:
        """The end of a complete answer."""
        ...

    def fail(self, failure: Failure) -> list[ServerEvent]:
        """The end of an answer that failed."""
        ...


def new_format(name: str, names: tuple[str, ...]) -> Format:
    """Return a format for one answer. Raises ``ConfigError`` for a name that is not among them."""
    if name not in names:
        raise ConfigError(f"as_={name!r}: must be one of {', '.join(names)}")
    made: Format = _FORMATS[name]()
    return made


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half of a surrogate pair, whose other half the next chunk may bring, has no UTF-8.
    if not text.isascii() and repair_text(text) != text:
        text = json.dumps(value)
    # Many a client looks for the end marker anywhere in a line; inside a string it is none.
    return text.replace("[DONE]", "\\u005bDONE]")


@define
class Summary:
    """What the end of an answer reports."""

    finish_reason: str | None = None
    usage: Usage | None = None

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Take note of a chunk."""
        for choice in chunk.choices:
            if choice.index == 0 and choice.finish_reason is not None:
                self.finish_reason = choice.finish_reason
        self.usage = chunk.usage or self.usage

    def to_dict(self) -> dict[str, Any]:
        """Its fields as plain values."""
        usage = None if self.usage is None else to_dict(self.usage)
        return {"finish_reason": self.finish_reason, "usage": usage}


@define
class EventFormat:
    """For ``EventSource``: events ``text`` (a JSON string), then ``done`` or ``error``.

    Each text has an id, so that a browser that reconnects after an interruption says so, instead of
    asking (and paying) again unnoticed.
    """

    is_events = True
    json_errors = True
    headers: Mapping[str, str] = field(factory=dict)
    _summary: Summary = field(factory=Summary)
    _number: int = 0

    def begin(self) -> list[ServerEvent]:
        """Nothing."""
        return []

    def add(self, chunk: ChatCompletionChunk) -> list[ServerEvent]:
        """Its text, if it has any."""
        self._summary.add(chunk)
        if not chunk.text:
            return []
        self._number += 1
        return [ServerEvent(_json(chunk.text), "text", str(self._number))]

    def end(self) -> list[ServerEvent]:
        """``done``, with the finish reason and the usage."""
        return [ServerEvent(_json(self._summary.to_dict()), "done")]

    def fail(self, failure: Failure) -> list[ServerEvent]:
        """``error``, with its message and type."""
        return [ServerEvent(_json(failure.to_dict()), "error")]


@define
class JSONFormat:
    """For WebSockets: objects of type ``text``, then ``done`` or ``error``."""

    is_events = True
    json_errors = True
    headers: Mapping[str, str] = field(factory=dict)
    _summary: Summary = field(factory=Summary)

    def begin(self) -> list[ServerEvent]:
        """Nothing."""
        return []

    def add(self, chunk: ChatCompletionChunk) -> list[ServerEvent]:
        """Its text, if it has any."""
        self._summary.add(chunk)
        return [_part("text", text=chunk.text)] if chunk.text else []

    def end(self) -> list[ServerEvent]:
        """The finish reason and the usage."""
        return [_part("done", **self._summary.to_dict())]

    def fail(self, failure: Failure) -> list[ServerEvent]:
        """The error's message and type."""
        return [_part("error", error=failure.to_dict())]


@define
class TextFormat:
    """Plain text. A failure cuts the connection: else it would look like a short answer."""

    is_events = False
    json_errors = False
    headers: Mapping[str, str] = field(factory=dict)

    def begin(self) -> list[ServerEvent]:
        """Nothing."""
        return []

    def add(self, chunk: ChatCompletionChunk) -> list[ServerEvent]:
        """Its text, if it has any."""
        return [ServerEvent(repair_text(chunk.text))] if chunk.text else []

    def end(self) -> list[ServerEvent]:
        """Nothing: the end of the body is the end of the answer."""
        return []

    def fail(self, failure: Failure) -> list[ServerEvent]:  # noqa: ARG002 - a Format's
        """Nothing: the connection is cut."""
        return []


@define
class OpenAIFormat:
    """The chunks themselves, for any client of OpenAI's API.

    The usage goes into the chunk with the finish reason instead of into one without choices: every
    client finds it there, and programs that read ``choices[0]`` of each chunk do not break.
    """

    is_events = True
    json_errors = True
    headers: Mapping[str, str] = field(factory=dict)
    _id: str = field(factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    _held: ChatCompletionChunk | None = None

    def begin(self) -> list[ServerEvent]:
        """Nothing."""
        return []

    def add(self, chunk: ChatCompletionChunk) -> list[ServerEvent]:
        """The chunk; one with a finish reason waits for the usage."""
        if not chunk.choices:
            if chunk.usage is not None and self._held is not None:
                self._held = evolve(self._held, usage=chunk.usage)
                return []
            return [self._event(chunk)] if chunk.usage is not None or chunk.extra else []
        events = self._release()
        if any(choice.finish_reason is not None for choice in chunk.choices):
            self._held = chunk
            return events
        return [*events, self._event(chunk)]

    def end(self) -> list[ServerEvent]:
        """``[DONE]``."""
        return [*self._release(), ServerEvent("[DONE]")]

    def fail(self, failure: Failure) -> list[ServerEvent]:
        """An error, which clients raise."""
        return [ServerEvent(_json({"error": failure.to_dict()}))]

    def _release(self) -> list[ServerEvent]:
        held, self._held = self._held, None
        return [] if held is None else [self._event(held)]

    def _event(self, chunk: ChatCompletionChunk) -> ServerEvent:
        body = to_dict(chunk)
        body["id"] = chunk.id or self._id
        for choice in body["choices"]:
            choice.setdefault("finish_reason", None)
            choice.setdefault("delta", {})
        return ServerEvent(_json(body))


@define
class _Call:
    """A tool call while it is streamed."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    started: bool = False


@define
class UIFormat:
    """The AI SDK's UI message stream, version 1: what its ``useChat`` reads by default.

    Parts have a start, deltas and an end. It sends no field that an older version of the SDK would
    refuse: their schemas allow no unknown ones.
    """

    is_events = True
    json_errors = False  # the SDK shows the body of a failed request as the error's text
    headers: Mapping[str, str] = field(factory=lambda: {"x-vercel-ai-ui-message-stream": "v1"})
    _summary: Summary = field(factory=Summary)
    _open: tuple[str, str] | None = None  # kind and id of the part that is being written
    _parts: int = 0
    _calls: dict[int, _Call] = field(factory=dict)

    def begin(self) -> list[ServerEvent]:
        """The start of the message and of its only step."""
        return [_part("start", messageId=f"msg_{uuid.uuid4().hex}"), _part("start-step")]

    def add(self, chunk: ChatCompletionChunk) -> list[ServerEvent]:
        """Its reasoning, text and tool calls."""
        self._summary.add(chunk)
        events = []
        for kind, text in (("reasoning", chunk.reasoning), ("text", chunk.text)):
            if text:
                events += self._begin_part(kind)
                events.append(_part(f"{kind}-delta", id=self._part_id, delta=text))
        for choice in chunk.choices:
            if choice.index == 0:
                for delta in choice.delta.tool_calls or ():
                    events += self._add_call(delta)
        return events

    def end(self) -> list[ServerEvent]:
        """The end of what is open, of the step and of the message."""
        events = self._end_part()
        for call in self._calls.values():
            events.append(_call_part(call))
        metadata = self._summary.to_dict()
        return [
            *events,
            _part("finish-step"),
            _part("finish", messageMetadata={k: v for k, v in metadata.items() if v is not None}),
            ServerEvent("[DONE]"),
        ]

    def fail(self, failure: Failure) -> list[ServerEvent]:
        """An error; the message has no end."""
        return [_part("error", errorText=failure.message)]

    @property
    def _part_id(self) -> str:
        return "" if self._open is None else self._open[1]

    def _begin_part(self, kind: str) -> list[ServerEvent]:
        if self._open is not None and self._open[0] == kind:
            return []
        events = self._end_part()
        self._parts += 1
        self._open = kind, f"{kind}-{self._parts}"
        return [*events, _part(f"{kind}-start", id=self._part_id)]

    def _end_part(self) -> list[ServerEvent]:
        if self._open is None:
            return []
        (kind, name), self._open = self._open, None
        return [_part(f"{kind}-end", id=name)]

    def _add_call(self, delta: ToolCallDelta) -> list[ServerEvent]:
        index = delta.index
        if index is None:  # a server that sends no index sends one call after the other
            index = max(self._calls, default=-1) + (1 if delta.id or not self._calls else 0)
        call = self._calls.setdefault(index, _Call())
        call.id = call.id or delta.id or ""
        function = delta.function
        if function is not None:
            call.name = call.name or function.name or ""
            call.arguments += function.arguments or ""
        if not call.name:
            return []
        call.id = call.id or f"call_{uuid.uuid4().hex}"
        events = [] if call.started else self._end_part()
        if not call.started:
            call.started = True
            events.append(_part("tool-input-start", toolCallId=call.id, toolName=call.name))
            text = call.arguments  # with those that came before the name
        else:
            text = (function.arguments or "") if function is not None else ""
        if text:
            events.append(_part("tool-input-delta", toolCallId=call.id, inputTextDelta=text))
        return events


def _part(kind: str, **fields: Any) -> ServerEvent:
    return ServerEvent(_json({"type": kind, **fields}))


def _call_part(call: _Call) -> ServerEvent:
    names = {"toolCallId": call.id, "toolName": call.name}
    try:
        return _part("tool-input-available", **names, input=json.loads(call.arguments or "{}"))
    except ValueError:
        return _part(
            "tool-input-error",
            **names,
            input=call.arguments,
            errorText="the arguments are not JSON",
        )


_FORMATS: dict[str, type[Any]] = {
    "sse": EventFormat,
    "text": TextFormat,
    "ui": UIFormat,
    "openai": OpenAIFormat,
    "json": JSONFormat,
}


def chunk_of(item: Any) -> ChatCompletionChunk:
    """A chunk, made of a piece of text where that is all there is (``RunEvent.text``, a string)."""
    if isinstance(item, ChatCompletionChunk):
        return item
    text = item if isinstance(item, str) else getattr(item, "text", None)
    if isinstance(text, str):
        return ChatCompletionChunk(choices=[ChunkChoice(delta=Delta(content=text))])
    raise ConfigError(f"stream: gave a {type(item).__name__}; must give chunks or text")


def failure_of(error: BaseException, message: str | None = None) -> Failure:
    """What the reader sees of an error: of one that is not this library's, nothing."""
    if not isinstance(error, LaplasError):
        return Failure("internal error")
    code = getattr(error, "code", None) or getattr(error, "status", None)
    return Failure(error.message if message is None else message, type(error).__name__, code)
