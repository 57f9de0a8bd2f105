"""Accumulates chunks into the completion that a call without streaming returns; pure, linear.

It refuses to decide whether the stream was complete: it returns what has been received so far.
"""

import json
from collections.abc import Iterable
from typing import Any

from attrs import define, field

from laplas_async.types import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Cost,
    FunctionCall,
    Logprobs,
    Message,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from laplas_async.wire.codec import cost_from

# Pieces of a text before they are joined: fewer keep the last join short, more keep adding cheap.
_MOST_PIECES = 4096


class Accumulator:
    """Add chunks in order; take the completion at any time.

    Text is kept in pieces and joined when needed. Choices are separated by ``index``, tool calls
    by ``index`` and ``id`` as servers really send them: missing, starting at 1, or repeated.
    """

    __slots__ = ("_choices", "_head")

    def __init__(self) -> None:
        self._head = ChatCompletion()
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Add one chunk."""
        head = self._head
        if not head.id:
            head.id = chunk.id
        if not head.model:
            head.model = chunk.model
        if not head.created:
            head.created = chunk.created
        if chunk.usage is not None:
            head.usage = chunk.usage if head.usage is None else _later(head.usage, chunk.usage)
        if chunk.extra:
            head.extra.update(chunk.extra)
            if "meta" in chunk.extra:
                head.cost = cost_from(chunk.extra["meta"]) or head.cost
        for delta in chunk.choices:
            choice = self._choices.get(delta.index)
            if choice is None:
                choice = self._choices[delta.index] = _Choice()
            choice.add(delta)

    def pieces(self, index: int) -> list[str]:
        """The text of a choice that has begun, in pieces; append more that are not empty.

        The fast way to ``add`` chunks that add nothing else. Call it again from time to time: it
        joins many pieces into one, so that memory and the last join stay small.
        """
        choice = self._choices[index]
        if len(choice.content) > _MOST_PIECES:
            choice.gather()
        return choice.content

    @property
    def size(self) -> int:
        """The number of pieces in which the text of all choices was received."""
        return sum(choice.gathered + len(choice.content) for choice in self._choices.values())

    @property
    def started(self) -> bool:
        """Whether any choice has been received."""
        return bool(self._choices)

    def finished(self, choices: int = 1) -> bool:
        """Whether at least ``choices`` have been received, each with its finish reason."""
        return len(self._choices) >= choices and all(
            choice.finish_reason is not None for choice in self._choices.values()
        )

    @property
    def has_content(self) -> bool:
        """Whether text, a refusal or a tool call has been received."""
        return any(c.content or c.joined or c.refusal or c.calls for c in self._choices.values())

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far."""
        return self._head.usage

    @property
    def cost(self) -> Cost | None:
        """The cost reported so far."""
        return self._head.cost

    def completion(self) -> ChatCompletion:
        """What has been received so far, as an independent value."""
        head = self._head
        return ChatCompletion(
            id=head.id,
            choices=[choice.value(index) for index, choice in sorted(self._choices.items())],
            created=head.created,
            model=head.model,
            usage=head.usage,
            extra=dict(head.extra),
            cost=head.cost,
        )


@define(eq=False, repr=False)
class _Fields:
    """Unknown fields as they grow: text and lists are extended, everything else is replaced.

    Text is kept in pieces: a model's reasoning arrives in such a field, token by token.
    """

    texts: dict[str, list[str]] = field(factory=dict)
    others: dict[str, Any] = field(factory=dict)

    def add(self, more: dict[str, Any]) -> None:
        for name, value in more.items():
            if isinstance(value, str):
                self.texts.setdefault(name, []).append(value)
            elif isinstance(value, list) and isinstance(old := self.others.get(name), list):
                old.extend(value)
            else:
                self.others[name] = list(value) if isinstance(value, list) else value

    def value(self) -> dict[str, Any]:
        others = {k: list(v) if isinstance(v, list) else v for k, v in self.others.items()}
        return others | {name: "".join(pieces) for name, pieces in self.texts.items()}


@define(eq=False, repr=False)
class _Call:
    """A tool call that is being received."""

    id: str = ""
    type: str = ""
    name: str = ""
    arguments: list[str] = field(factory=list)
    extra: _Fields = field(factory=_Fields)
    function_extra: _Fields = field(factory=_Fields)

    def add(self, name: Any, arguments: Any) -> None:
        # The name arrives whole, in pieces, or repeated with every piece of the arguments.
        if isinstance(name, str) and name != self.name:
            self.name += name
        if isinstance(arguments, str) and arguments:
            self.arguments.append(arguments)

    def value(self) -> ToolCall:
        return ToolCall(
            id=self.id,
            function=FunctionCall(self.name, "".join(self.arguments), self.function_extra.value()),
            type=self.type or "function",
            extra=self.extra.value(),
        )


@define(eq=False, repr=False)
class _Choice:
    """A choice that is being received."""

    role: str = ""
    content: list[str] = field(factory=list)
    joined: list[str] = field(factory=list)  # the text before ``content``
    gathered: int = 0  # pieces in it
    has_text: bool = False  # content was received, perhaps empty: "" is not None
    refusal: list[str] = field(factory=list)
    calls: list[_Call] = field(factory=list)
    by_index: dict[int, _Call] = field(factory=dict)
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    logprobs_extra: _Fields = field(factory=_Fields)
    extra: dict[str, Any] = field(factory=dict)
    message_extra: _Fields = field(factory=_Fields)
    old_call: _Call | None = None

    def add(self, piece: ChunkChoice) -> None:
        delta = piece.delta
        if delta.content is not None:
            self.has_text = True
            if delta.content:
                self.content.append(delta.content)
        if delta.role and not self.role:
            self.role = delta.role
        if delta.refusal:
            self.refusal.append(delta.refusal)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._add_call(call)
        if delta.extra:
            self._add_extra(delta.extra)
        if piece.finish_reason is not None:
            self.finish_reason = piece.finish_reason
        if piece.logprobs is not None:
            self._add_logprobs(piece.logprobs)
        if piece.extra:
            self.extra.update(piece.extra)

    def gather(self) -> None:
        """Join the pieces of the content, keeping the list object, which forms append to."""
        self.joined.append("".join(self.content))
        self.gathered += len(self.content)
        self.content.clear()

    def _add_extra(self, extra: dict[str, Any]) -> None:
        # The old name of tool calls; some servers send both.
        old = extra.get("function_call")
        if type(old) is dict:
            if self.old_call is None:
                self.old_call = _Call()
            self.old_call.add(old.get("name"), old.get("arguments"))
            extra = {name: value for name, value in extra.items() if name != "function_call"}
        self.message_extra.add(extra)

    def _add_call(self, delta: ToolCallDelta) -> None:
        call = self._find_call(delta)
        if call is None:
            call = _Call()
            self.calls.append(call)
        if delta.index is not None:
            self.by_index[delta.index] = call
        if delta.id:
            call.id = delta.id
        if delta.type:
            call.type = delta.type
        if delta.extra:
            call.extra.add(delta.extra)
        function = delta.function
        if function is not None:
            call.add(function.name, function.arguments)
            if function.extra:
                call.function_extra.add(function.extra)

    def _find_call(self, delta: ToolCallDelta) -> _Call | None:
        """The call to which a piece belongs; None: it begins a new one."""
        if delta.index is not None:
            call = self.by_index.get(delta.index)
        else:
            call = self.calls[-1] if self.calls else None
            if call is not None and not delta.id and delta.function and delta.function.name:
                # Neither index nor id, but a name: a new call, unless this one is incomplete.
                return None if call.name and _is_whole(call.arguments) else call
        if call is not None and delta.id and call.id and delta.id != call.id:
            # The same index with a new id is a new call, or an earlier one continued.
            return next((known for known in self.calls if known.id == delta.id), None)
        return call

    def _add_logprobs(self, more: Logprobs) -> None:
        if self.logprobs is None:
            self.logprobs = Logprobs()
        self.logprobs.content = _extended(self.logprobs.content, more.content)
        self.logprobs.refusal = _extended(self.logprobs.refusal, more.refusal)
        if more.extra:
            self.logprobs_extra.add(more.extra)

    def value(self, index: int) -> Choice:
        text = "".join([*self.joined, *self.content])
        # A stream may open with content "" although only tool calls or a refusal follow.
        has_text = bool(text) or (self.has_text and not self.calls and not self.refusal)
        lp = self.logprobs
        extra = self.message_extra.value()
        if self.old_call is not None:
            arguments = "".join(self.old_call.arguments)
            extra["function_call"] = {"name": self.old_call.name, "arguments": arguments}
        return Choice(
            index=index,
            message=Message(
                role=self.role or "assistant",
                content=text if has_text else None,
                tool_calls=[call.value() for call in self.calls] or None,
                refusal="".join(self.refusal) or None,
                extra=extra,
            ),
            finish_reason=self.finish_reason,
            logprobs=lp
            and Logprobs(_copied(lp.content), _copied(lp.refusal), self.logprobs_extra.value()),
            extra=dict(self.extra),
        )


def _copied(tokens: list[TokenLogprob] | None) -> list[TokenLogprob] | None:
    return None if tokens is None else list(tokens)


def _extended(
    tokens: list[TokenLogprob] | None, more: Iterable[TokenLogprob] | None
) -> list[TokenLogprob] | None:
    if more is None:
        return tokens
    tokens = [] if tokens is None else tokens
    tokens.extend(more)
    return tokens


def _is_whole(arguments: list[str]) -> bool:
    if not arguments or not arguments[-1].endswith("}"):
        return False  # decided without parsing everything again for each piece
    try:
        json.loads("".join(arguments))
    except ValueError:
        return False
    return True


def _later(old: Usage, new: Usage) -> Usage:
    """Merge usage reported in parts, or repeatedly as it grows: the largest numbers count."""
    return Usage(
        prompt_tokens=max(old.prompt_tokens, new.prompt_tokens),
        completion_tokens=max(old.completion_tokens, new.completion_tokens),
        total_tokens=max(old.total_tokens, new.total_tokens),
        prompt_tokens_details=new.prompt_tokens_details or old.prompt_tokens_details,
        completion_tokens_details=new.completion_tokens_details or old.completion_tokens_details,
        extra=old.extra | new.extra,
    )
