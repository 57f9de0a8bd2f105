"""Accumulates chunks into the completion that a call without streaming returns; pure, linear.

It refuses to decide whether the stream was complete: it returns what has been received so far.
"""

from collections.abc import Iterable
from typing import Any, Final

from attrs import define, field, frozen

from laplas_async.types import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Cost,
    Logprobs,
    Message,
    TokenLogprob,
    Usage,
)
from laplas_async.wire.codec import cost_from
from laplas_async.wire.fields import GrowingFields, GrowingParts
from laplas_async.wire.tool_calls import GrowingCall, GrowingCalls

# Pieces of a text before they are joined: fewer keep the last join short, more keep adding cheap.
_MOST_PIECES = 4096


@frozen
class TextPlace:
    """Which growing text of a choice: its content, a field of reasoning, a call's arguments.

    ``field`` is the name in the JSON; ``call`` the index of the tool call.
    """

    field: str
    call: int | None = None

    def read(self, chunk: ChatCompletionChunk) -> str:
        """The text that a chunk with one choice adds in this place."""
        delta = chunk.choices[0].delta
        if self.call is not None:
            function = delta.tool_calls[0].function if delta.tool_calls else None
            text: Any = None if function is None else function.arguments
        else:
            text = delta.content if self.field == "content" else delta.extra.get(self.field)
        return text if type(text) is str else ""


CONTENT: Final = TextPlace("content")


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

    def extend(self, index: int, texts: Iterable[str], place: TextPlace = CONTENT) -> None:
        """Add texts to a choice that has begun; the fast way for chunks that add nothing else."""
        pieces = self.pieces(index, place)
        before = len(pieces)
        pieces += filter(None, texts)
        if len(pieces) > before and (end := self._choices[index].end).reason is not None:
            end.invalidate()

    def extend_logprobs(self, index: int, more: Iterable[Logprobs]) -> None:
        """Add log probabilities to a choice that has begun."""
        choice = self._choices[index]
        for logprobs in more:
            choice.add_logprobs(logprobs)

    def pieces(self, index: int, place: TextPlace = CONTENT) -> list[str]:
        """A text of a choice that has begun, in pieces; append more that are not empty.

        For a choice without a finish reason (``can_end``). Call it again from time to time: it
        joins many pieces into one, so that memory and the last join stay small.
        """
        choice = self._choices[index]
        if place.call is not None:
            return (choice.calls or GrowingCalls()).arguments(place.call)
        if place.field != "content":
            return choice.message_extra.texts.setdefault(place.field, [])
        if len(choice.content) > _MOST_PIECES:
            choice.gather()
        return choice.content

    @property
    def size(self) -> int:
        """The number of pieces in which the texts of all choices were received."""
        return sum(choice.size for choice in self._choices.values())

    @property
    def started(self) -> bool:
        """Whether any choice has been received."""
        return bool(self._choices)

    def finished(self, choices: int = 1) -> bool:
        """Whether at least ``choices`` have been received, each with proof of its end."""
        return len(self._choices) >= choices and all(
            choice.end.proven for choice in self._choices.values()
        )

    def settled(self, choices: int = 1) -> bool:
        """As ``finished``, and nothing suggests that more content may follow a finish reason."""
        return self.finished(choices) and all(
            choice.end.settled for choice in self._choices.values()
        )

    def can_end(self, index: int) -> bool:
        """Whether a finish reason was received for a choice, so that content would revoke it."""
        choice = self._choices.get(index)
        return choice is not None and choice.end.reason is not None

    @property
    def has_content(self) -> bool:
        """Whether text, a refusal or a tool call has been received."""
        return any(choice.has_answer for choice in self._choices.values())

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far."""
        return self._head.usage

    @property
    def cost(self) -> Cost | None:
        """The cost reported so far."""
        return self._head.cost

    def completion(self, *, partial: bool = False) -> ChatCompletion:
        """What has been received so far, as an independent value.

        ``partial``: the stream did not end, so a finish reason that proves nothing is left out.
        """
        head = self._head
        return ChatCompletion(
            id=head.id,
            choices=[
                choice.value(index, partial=partial)
                for index, choice in sorted(self._choices.items())
            ],
            created=head.created,
            model=head.model,
            usage=head.usage,
            extra=dict(head.extra),
            cost=head.cost,
        )


@define(eq=False, repr=False)
class _End:
    """The finish reason of a choice, and whether it proves that the choice is complete (law 1).

    Some servers write a reason into every chunk, or one after the model's thoughts and another
    after the text. So content after a reason revokes it. After that, a reason in a chunk with
    content proves nothing any more, unless the first one came after thoughts alone.
    """

    reason: str | None = None  # the last one
    proven: bool = False
    settled: bool = False  # no content is expected to follow
    _last: str | None = None
    _careless: bool = False  # the server writes reasons before the end
    _doubtful: bool = False  # the present reason came with content, or before any

    def reach(self, reason: str, *, doubtful: bool, with_content: bool, after_answer: bool) -> None:
        self.reason = self._last = reason
        self.proven = not (self._careless and with_content)
        self.settled = self.proven and after_answer and not with_content
        self._doubtful = doubtful

    def invalidate(self) -> None:
        if self.reason is not None:
            self._careless = self._careless or self._doubtful
            self.reason, self.proven, self.settled = None, False, False

    def reported(self, *, partial: bool) -> str | None:
        """The reason to report: the last one, or for a partial response one that is proven."""
        return self._last if self.proven or not partial else None


@define(eq=False, repr=False)
class _Choice:
    """A choice that is being received."""

    role: str = ""
    content: list[str] = field(factory=list)
    joined: list[str] = field(factory=list)  # the text before ``content``
    gathered: int = 0  # pieces in it
    has_text: bool = False  # content was received, perhaps empty: "" is not None
    refusal: list[str] = field(factory=list)
    calls: GrowingCalls | None = None
    parts: GrowingParts | None = None  # content that is a list; the text before ``joined``
    end: _End = field(factory=_End)
    logprobs: Logprobs | None = None
    logprobs_extra: GrowingFields = field(factory=GrowingFields)
    extra: dict[str, Any] = field(factory=dict)
    message_extra: GrowingFields = field(factory=GrowingFields)
    old_call: GrowingCall | None = None

    def add(self, piece: ChunkChoice) -> None:
        delta = piece.delta
        content = delta.content
        if content is not None:
            self.has_text = True
            if content:
                self._add_content(content)
        if delta.role and not self.role:
            self.role = delta.role
        if delta.refusal:
            self.refusal.append(delta.refusal)
        if delta.tool_calls:
            if self.calls is None:
                self.calls = GrowingCalls()
            self.calls.add(delta.tool_calls)
        if delta.extra:
            self._add_extra(delta.extra)
        if piece.finish_reason is not None or self.end.reason is not None:
            self._add_reason(piece)
        if piece.logprobs is not None:
            self.add_logprobs(piece.logprobs)
        if piece.extra:
            self.extra.update(piece.extra)

    def _add_content(self, content: str | list[Any]) -> None:
        if isinstance(content, str):
            self.content.append(content)
            return
        if self.parts is None:
            self.parts = GrowingParts()
        self._move_text(self.parts)
        for part in content:
            self.parts.add(part)

    def _move_text(self, parts: GrowingParts) -> None:
        """Move the text after the last part into a part, before more parts follow it."""
        if self.content or self.joined:
            self.gather()
            parts.add({"type": "text", "text": "".join(self.joined)})
            self.joined.clear()

    def _add_reason(self, piece: ChunkChoice) -> None:
        delta = piece.delta
        adds = bool(delta.content or delta.tool_calls or delta.refusal or delta.reasoning)
        if adds:
            self.end.invalidate()
        if piece.finish_reason is not None:
            starts = not (adds or self.has_answer or self.parts or self.message_extra.texts)
            self.end.reach(
                piece.finish_reason,
                doubtful=adds or starts,
                with_content=adds,
                after_answer=self.has_answer,
            )

    @property
    def size(self) -> int:
        size = self.gathered + len(self.content)
        size += sum(map(len, self.message_extra.texts.values()))
        return size + (0 if self.calls is None else self.calls.size)

    @property
    def has_answer(self) -> bool:
        """Whether text, a refusal or a tool call has been received, not only thoughts."""
        return bool(
            self.content
            or self.joined
            or self.refusal
            or self.calls
            or self.old_call
            or (self.parts is not None and self.parts.has_answer)
        )

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
                self.old_call = GrowingCall()
            self.old_call.add(old.get("name"), old.get("arguments"))
            extra = {name: value for name, value in extra.items() if name != "function_call"}
        self.message_extra.add(extra)

    def add_logprobs(self, more: Logprobs) -> None:
        if self.logprobs is None:
            self.logprobs = Logprobs()
        self.logprobs.content = _extended(self.logprobs.content, more.content)
        self.logprobs.refusal = _extended(self.logprobs.refusal, more.refusal)
        if more.extra:
            self.logprobs_extra.add(more.extra)

    def value(self, index: int, *, partial: bool) -> Choice:
        text = "".join([*self.joined, *self.content])
        content: str | list[Any] | None = text
        if self.parts is not None:
            content = self.parts.value(then=text)
        elif not text and (not self.has_text or self.calls or self.refusal):
            # A stream may open with content "" although only tool calls or a refusal follow.
            content = None
        lp = self.logprobs
        extra = self.message_extra.value()
        if self.old_call is not None:
            arguments = "".join(self.old_call.arguments)
            extra["function_call"] = {"name": self.old_call.name, "arguments": arguments}
        return Choice(
            index=index,
            message=Message(
                role=self.role or "assistant",
                content=content,
                tool_calls=[call.value() for call in self.calls.calls] if self.calls else None,
                refusal="".join(self.refusal) or None,
                extra=extra,
            ),
            finish_reason=self.end.reported(partial=partial),
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
