"""Events of a stream to chunks, one after the other.

It keeps what one event needs from the one before: half a character. It refuses to decide whether
the stream is whole (``stream`` does).
"""

from typing import Any

import orjson

from laplas_async.types import (
    ChatCompletionChunk,
    ChunkChoice,
    Delta,
    FunctionCallDelta,
    ToolCallDelta,
)
from laplas_async.wire.codec import DecodeError, loads_raw, mend, mended, quote, structure
from laplas_async.wire.failures import is_failure


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

    def __init__(self) -> None:
        self._halves: dict[tuple[int, str], str] = {}
        self._mending = False

    def read(self, data: bytes, event: str = "") -> ChatCompletionChunk | None:
        """One event's data to a chunk; None for an unknown event that carries none.

        Raises ``FailureEvent`` for an error, ``DecodeError`` for what is no chunk.
        """
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            try:
                body = loads_raw(data)
            except DecodeError:
                if event == "error":
                    raise FailureEvent(mend(data.decode("utf-8", "replace"))) from None
                if event not in ("", "message"):
                    return None  # a kind of event we do not know: no chunk, no harm
                raise
            self._mending = True
        if type(body) is not dict:
            if event == "error":
                raise FailureEvent(mended(body))
            raise DecodeError(f"expected a chunk, got {quote(data)}")
        if event == "error" or is_failure(body):
            raise FailureEvent(mended(body))
        chunk = structure(body, ChatCompletionChunk)
        if self._mending:
            self._mend(chunk)
        return chunk

    def _mend(self, chunk: ChatCompletionChunk) -> None:
        chunk.id, chunk.model, chunk.object = mend(chunk.id), mend(chunk.model), mend(chunk.object)
        chunk.extra = mended(chunk.extra)
        for choice in chunk.choices:
            delta = choice.delta
            delta.content = self._join(choice, "content", delta.content)
            delta.refusal = self._join(choice, "refusal", delta.refusal)
            delta.role = mended(delta.role)
            delta.extra = mended(delta.extra)
            choice.finish_reason = mended(choice.finish_reason)
            choice.extra = mended(choice.extra)
            for call in delta.tool_calls or ():
                self._mend_call(choice, call)

    def _mend_call(self, choice: ChunkChoice, call: ToolCallDelta) -> None:
        if call.function is not None:
            function: FunctionCallDelta = call.function
            function.name = mended(function.name)
            function.extra = mended(function.extra)
            function.arguments = self._join(choice, f"call {call.index}", function.arguments)

    def _join(self, choice: ChunkChoice, field: str, text: str | None) -> str | None:
        key = (choice.index, field)
        text_or_half = self._halves.pop(key, "") + (text or "")
        if not text_or_half:
            return text
        if choice.finish_reason is None and "\ud800" <= text_or_half[-1] <= "\udbff":
            self._halves[key] = text_or_half[-1]
            text_or_half = text_or_half[:-1]
        return mend(text_or_half)


def chunk_from_completion(body: dict[str, Any]) -> ChatCompletionChunk:
    """A whole JSON answer, given in place of a stream, as the one chunk that says it all.

    Raises ``DecodeError``.
    """
    choices = body.get("choices")
    if type(choices) is not list:
        raise DecodeError(f"not a chat completion: {quote(repr(body))}")
    head = {k: v for k, v in body.items() if k not in ("choices", "object")}
    chunk = structure(head, ChatCompletionChunk)
    for choice in choices:
        if type(choice) is not dict:
            raise DecodeError(f"expected a choice, got {quote(repr(choice))}")
        plain = {k: v for k, v in choice.items() if k != "message"}
        value = structure(plain, ChunkChoice)
        value.delta = structure(choice.get("message") or {}, Delta)
        for place, call in enumerate(value.delta.tool_calls or ()):
            call.index = place if call.index is None else call.index
        chunk.choices.append(value)
    return chunk
