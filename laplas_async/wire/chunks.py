"""Decodes the events of one stream into chunks, in order.

It keeps what one event needs of the previous one: half a character. It refuses to decide whether
the stream is complete (``streaming.verdict`` does).
"""

import contextlib
from typing import Any

import orjson

from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta
from laplas_async.wire.codec import (
    DecodeError,
    loads,
    loads_raw,
    quote,
    repair_text,
    repaired,
    structure,
)
from laplas_async.wire.error_body import is_failure
from laplas_async.wire.fast.decode import direct_chunk
from laplas_async.wire.fast.learner import FormLearner
from laplas_async.wire.large_json import LARGE, loads_large

_FAILURES = ("error", "exception", "failure")  # kinds of events, without case
_Place = tuple[int, str, int | None]  # of a growing text: choice, field, tool call


class FailureEvent(Exception):  # noqa: N818 - a kind of event, never raised to a user
    """An event that reports an error; ``body`` is its JSON or text. Never leaves the library."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body


class ChunkDecoder:
    """Decodes the data of one event after the other.

    A character outside the Basic Multilingual Plane that the server cut into two halves (each
    written as a lone surrogate) is returned whole with its second half; a half without the other
    becomes U+FFFD. So every text that is returned can be encoded.
    """

    __slots__ = ("_halves", "_has_text", "_messages", "_repairing", "learner")

    def __init__(self) -> None:
        self._halves: dict[_Place, str] = {}
        self._repairing = False
        self._has_text = False  # text was received
        self._messages = False  # it came in messages instead of deltas
        self.learner = FormLearner()

    def decode(self, data: bytes, event: str = "") -> ChatCompletionChunk | None:
        """Decode one event; None for an event of an unknown kind without a chunk.

        Raises ``FailureEvent`` for an error, ``DecodeError`` for data that is not a chunk.
        """
        try:
            body = self._load(data)
        except DecodeError:
            body = repair_text(data.decode("utf-8", "replace"))
            if event in ("", "message"):
                raise
        return self.decode_body(body, event)

    def decode_body(self, body: Any, event: str = "") -> ChatCompletionChunk | None:
        """As ``decode``, for plain JSON values."""
        if type(body) is str and body.lstrip()[:1] in ("{", "["):  # JSON inside a string
            with contextlib.suppress(DecodeError):
                body = loads(body.encode())
        if event.lower() in _FAILURES or is_failure(body):
            raise FailureEvent(body)
        if event not in ("", "message") and (type(body) is not dict or "choices" not in body):
            return None  # an unknown kind of event (law 8)
        if type(body) is not dict:
            raise DecodeError(f"expected a chunk, got {quote(body)}")
        chunk = direct_chunk(body) or structure(body, ChatCompletionChunk)
        if not self._has_text:
            self._has_text = any(choice.delta.content for choice in chunk.choices)
        return chunk

    def _load(self, data: bytes) -> Any:
        try:
            body = orjson.loads(data) if len(data) <= LARGE else loads_large(data)
        except orjson.JSONDecodeError:
            body = loads_raw(data)
            self._repairing = True
            self.learner.disable()  # half a character may come where only text was expected
        if b'"delta"' not in data or b'"message"' in data:
            self._read_other_shapes(body)
        if self._repairing:
            try:
                self._join_halves(body)
                body = repaired(body)
            except RecursionError:
                raise DecodeError(f"nested too deeply: {quote(data)}") from None
        return body

    def _read_other_shapes(self, body: Any) -> None:
        """Make deltas of choices in another shape: of a whole message, or of completed text."""
        # A message after deltas with text repeats what they added.
        if (self._messages or not self._has_text) and to_deltas(body):
            self._messages = True

    def _join_halves(self, body: Any) -> None:
        """Join the halves of characters in the texts that grow: those of the deltas."""
        for choice in dicts(body, "choices"):
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
            for call in dicts(delta, "tool_calls"):
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
        """The choice has ended: halves without the other half become U+FFFD."""
        for place in [place for place in self._halves if place[0] == index]:
            del self._halves[place]
            _, name, call = place
            if name == "tool_calls":
                rest = {"index": call, "function": {"arguments": "\ufffd"}}
                delta[name] = [*dicts(delta, name), rest]
            elif delta.get(name) is None:
                delta[name] = "\ufffd"


# --- choices in another shape -----------------------------------------------------------------
# Gateways that translate between services send a whole completion in an event, a chunk in response
# to a plain call, or ``text`` as in the older completions API. Left as they are, their text would
# be lost without an error (law 1).


def to_deltas(body: Any) -> bool:
    """Give each choice of a chunk a ``delta``, in place; whether one was in another shape."""
    found = False
    for choice in dicts(body, "choices"):
        if _adds(choice.get("delta")):
            continue
        message = _message(choice)
        if message is None:
            continue
        for place, call in enumerate(dicts(message, "tool_calls")):
            call.setdefault("index", place)
        choice.pop("message", None)
        choice.pop("text", None)
        choice["delta"] = message
        body.pop("object", None)
        found = True
    return found


def to_messages(body: Any) -> None:
    """Give each choice of a completion a ``message``, in place."""
    for choice in dicts(body, "choices"):
        if type(choice.get("message")) is dict:
            continue
        message = _message(choice)
        if message is not None:
            choice.pop("text", None)
            choice["message"] = message
            body.pop("object", None)


def _adds(delta: Any) -> bool:
    """Whether a delta adds something; a role alone does not."""
    return type(delta) is dict and any(value for name, value in delta.items() if name != "role")


def _message(choice: dict[str, Any]) -> dict[str, Any] | None:
    """The message of a choice, however it is given; None if there is none."""
    message = choice.get("message")
    if type(message) is dict:
        return message or None
    text = message if type(message) is str else choice.get("text")
    return {"content": text} if type(text) is str else None


def dicts(body: Any, name: str) -> list[dict[str, Any]]:
    """The objects in a list of ``body``; [] where there is no such list."""
    items = body.get(name) if type(body) is dict else None
    return [item for item in items if type(item) is dict] if type(items) is list else []


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def chunk_from_completion(body: dict[str, Any]) -> ChatCompletionChunk:
    """A completion received in place of a stream, as one chunk. Raises ``DecodeError``."""
    choices = body.get("choices")
    if type(choices) is not list:
        raise DecodeError(f"not a chat completion: {quote(body)}")
    to_messages(body)
    head = {k: v for k, v in body.items() if k not in ("choices", "object")}
    chunk = structure(head, ChatCompletionChunk)
    for choice in choices:
        if type(choice) is not dict:
            raise DecodeError(f"expected a choice, got {quote(choice)}")
        plain = {k: v for k, v in choice.items() if k != "message"}
        value = structure(plain, ChunkChoice)
        if choice.get("message") is not None:
            value.delta = structure(choice["message"], Delta)
        for place, call in enumerate(value.delta.tool_calls or ()):
            call.index = place if call.index is None else call.index
        chunk.choices.append(value)
    return chunk


def has_content(chunk: ChatCompletionChunk) -> bool:
    """Whether a chunk carries part of a completion, and not just a role or usage."""
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
