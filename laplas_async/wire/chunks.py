"""Events of a stream to chunks, one after the other.

It keeps what one event needs from the one before: half a character. It refuses to decide whether
the stream is whole (``stream`` does).
"""

from typing import Any

import orjson

from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta
from laplas_async.wire.codec import DecodeError, loads_raw, quote, repair_text, repaired, structure
from laplas_async.wire.error_body import is_failure
from laplas_async.wire.fast.decode import direct_chunk
from laplas_async.wire.fast.field_form import WideForm
from laplas_async.wire.fast.text_form import LARGEST, Template
from laplas_async.wire.large_json import LARGE, loads_large

_RAREST = 4096  # events between two tries to learn their form
Form = Template | WideForm
Item = str | list[Any]  # what a form reads of an event, and makes a chunk of
_Place = tuple[int, str, int | None]  # of a text that grows: choice, field, tool call


class FailureEvent(Exception):  # noqa: N818 - it is what came, not what is raised to a user
    """An event that tells an error; ``body`` is its JSON or text. Does not leave the library."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body


class ChunkReader:
    """Reads the data of one event after the other.

    A character outside the Basic Multilingual Plane that the server cut in two halves (each
    written as a lone surrogate) is handed out whole with its second half; a half that stays alone
    becomes U+FFFD. So every text handed out can be encoded.
    """

    __slots__ = ("_before", "_forms", "_halves", "_mending", "_wait", "form")

    def __init__(self) -> None:
        self._halves: dict[_Place, str] = {}
        self._mending = False
        self.form: Form | None = None  # learned last
        self._before: bytes | None = None  # such an event as was looked at last, if it has no form
        self._forms = 0  # learned in vain, one after the other
        self._wait = 0  # events until the next is worth learning

    def read(self, data: bytes, event: str = "") -> ChatCompletionChunk | None:
        """One event's data to a chunk; None for an unknown event that carries none.

        Raises ``FailureEvent`` for an error, ``DecodeError`` for what is no chunk.
        """
        try:
            body = self._load(data)
        except DecodeError:
            body = repair_text(data.decode("utf-8", "replace"))
            if event in ("", "message"):
                raise
        if event == "error" or (type(body) is dict and is_failure(body)):
            raise FailureEvent(body)
        if event not in ("", "message") and (type(body) is not dict or "choices" not in body):
            return None  # a kind of event that we do not know: no chunk, no harm
        if type(body) is not dict:
            raise DecodeError(f"expected a chunk, got {quote(data)}")
        return direct_chunk(body) or structure(body, ChatCompletionChunk)

    def learn(self, block: bytes, chunk: ChatCompletionChunk) -> None:
        """Take the block that this chunk was just read from for the form of those to come.

        One without text, as the first and the last have none, is like no other: it tells nothing.
        """
        if not any(choice.delta.content for choice in chunk.choices):
            return
        form = self.form
        used = form is not None and form.used
        if self._wait:
            self._wait -= 1
            if form is not None and not used:  # it fits none: not even tried until the next
                self._before, self.form = form.sample, None
            return
        # Where events have no form that lasts, one is tried for ever more rarely.
        self._forms = 0 if used else self._forms + 1
        self._wait = min(_RAREST, 2 ** min(self._forms, 16) - 1)
        before = self._before if form is None else form.sample
        self._before = self.form = None
        if not self._mending:
            if before is not None and not (used and isinstance(form, Template)):
                self.form = WideForm.learn(before, block, chunk)
            if self.form is None:
                self.form = Template.learn(block, chunk)
        if self.form is None and len(block) <= LARGEST:
            self._before = block

    def _load(self, data: bytes) -> Any:
        try:
            body = orjson.loads(data) if len(data) <= LARGE else loads_large(data)
        except orjson.JSONDecodeError:
            body = loads_raw(data)
            self._mending = True
            self.form = None  # half a character may come where only text was expected
        if self._mending:
            try:
                self._join_halves(body)
                body = repaired(body)
            except RecursionError:
                raise DecodeError(f"nested too deep: {quote(data)}") from None
        return body

    def _join_halves(self, body: Any) -> None:
        """Put the halves of characters together, in the texts that grow: those of the deltas."""
        for choice in _dicts(body, "choices"):
            delta = choice.get("delta")
            if delta is None:
                delta = choice["delta"] = {}
            if type(delta) is not dict:
                continue
            index = _whole(choice.get("index")) or 0
            ends = choice.get("finish_reason") is not None
            for name, text in delta.items():
                if type(text) is str:
                    delta[name] = self._join(text, (index, name, None), ends=ends)
            for call in _dicts(delta, "tool_calls"):
                function = call.get("function")
                if type(function) is dict and type(text := function.get("arguments")) is str:
                    place = (index, "tool_calls", _whole(call.get("index")))
                    function["arguments"] = self._join(text, place, ends=ends)
            if ends:
                self._give_up(delta, index)

    def _join(self, text: str, place: _Place, *, ends: bool) -> str:
        text = self._halves.pop(place, "") + text
        if text and not ends and "\ud800" <= text[-1] <= "\udbff":
            self._halves[place] = text[-1]
            text = text[:-1]
        return repair_text(text)

    def _give_up(self, delta: dict[str, Any], index: int) -> None:
        """The choice is at its end: halves whose partner never came are told as U+FFFD."""
        for place in [place for place in self._halves if place[0] == index]:
            del self._halves[place]
            _, name, call = place
            if name == "tool_calls":
                rest = {"index": call, "function": {"arguments": "\ufffd"}}
                delta[name] = [*_dicts(delta, name), rest]
            elif delta.get(name) is None:
                delta[name] = "\ufffd"


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _dicts(body: Any, name: str) -> list[dict[str, Any]]:
    items = body.get(name) if type(body) is dict else None
    return [item for item in items if type(item) is dict] if type(items) is list else []


def chunk_from_completion(body: dict[str, Any]) -> ChatCompletionChunk:
    """A whole JSON answer, given in place of a stream, as the one chunk that says it all.

    Raises ``DecodeError``.
    """
    choices = body.get("choices")
    if type(choices) is not list:
        raise DecodeError(f"not a chat completion: {quote(body)}")
    head = {k: v for k, v in body.items() if k not in ("choices", "object")}
    chunk = structure(head, ChatCompletionChunk)
    for choice in choices:
        if type(choice) is not dict:
            raise DecodeError(f"expected a choice, got {quote(choice)}")
        plain = {k: v for k, v in choice.items() if k != "message"}
        value = structure(plain, ChunkChoice)
        value.delta = structure(choice.get("message") or {}, Delta)
        for place, call in enumerate(value.delta.tool_calls or ()):
            call.index = place if call.index is None else call.index
        chunk.choices.append(value)
    return chunk


def has_content(chunk: ChatCompletionChunk) -> bool:
    """Whether a chunk carries anything of an answer: not a role, not usage, not nothing."""
    for choice in chunk.choices:
        delta = choice.delta
        if (
            delta.content
            or choice.finish_reason is not None
            or delta.tool_calls
            or delta.refusal
            or (delta.extra and any(delta.extra.values()))
        ):
            return True
    return False
