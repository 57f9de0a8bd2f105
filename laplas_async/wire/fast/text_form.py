"""The event as a form: all that stays the same from one chunk to the next, and the text between.

Nearly every event of a stream repeats the bytes of the one before, but for the content. Where the
bytes around the content are the same to the last, only that one JSON string is decoded, and the
chunk is made from what is known of the rest: the same value as the long way gives, for a fraction
of the work. It refuses to guess: an event that differs anywhere else goes the long way.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import orjson

from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.codec import DecodeError, structure
from laplas_async.wire.fast.decode import direct_chunk

PREFIX: Final = b"data: "
_KEY: Final = b'"content"'
_STRING: Final = rb':[ ]?("[^"\\]*(?:\\.[^"\\]*)*")'
LARGEST: Final = 16 * 1024  # bytes of an event: a larger one is no token

OneByOne = Callable[[bytes], ChatCompletionChunk | None]


class Template:
    """What surrounds the content: ``head`` up to its first quote, ``tail`` from its last.

    Its items are texts.
    """

    __slots__ = ("_head", "_tail", "chunk", "index", "used")

    def __init__(self, head: bytes, tail: bytes, chunk: ChatCompletionChunk) -> None:
        self._head = head
        self._tail = tail
        self.used = False  # an event was of this form
        self.index = chunk.choices[0].index  # of the choice that the texts belong to
        self.chunk = maker(chunk)  # the chunk with this text as its content

    @classmethod
    def learn(cls, block: bytes, chunk: ChatCompletionChunk) -> Self | None:
        """The form of an event and its chunk; None if more than the content may change."""
        if len(block) > LARGEST or not block.startswith(PREFIX) or block.count(_KEY) != 1:
            return None
        # With nothing in the delta's own fields, it adds its content alone to what is known.
        if not adds_text(chunk) or any(chunk.choices[0].delta.extra.values()):
            return None
        string = re.compile(_STRING).match(block, block.index(_KEY) + len(_KEY))
        if string is None:
            return None
        head, tail = block[: string.start(1) + 1], block[string.end(1) - 1 :]
        # The proof that this is the place: another text put there is the chunk's content.
        try:
            body = _loads(head[len(PREFIX) :] + b"?" + tail)
            proof = direct_chunk(body) or structure(body, ChatCompletionChunk)
        except (DecodeError, orjson.JSONDecodeError):
            return None
        delta = proof.choices[0].delta if proof.choices else Delta()
        if delta.content != "?":
            return None
        delta.content = chunk.choices[0].delta.content
        return cls(head, tail, proof) if proof == chunk else None

    def add(self, items: list[Any], accumulator: Accumulator) -> None:
        """Take some of its items."""
        pieces = accumulator.pieces(self.index)
        pieces += filter(None, items)

    def one_by_one(self, accumulator: Accumulator) -> OneByOne:
        """What reads bytes that may be one whole event of this form, and nothing else.

        It gives the chunk, whose text ``accumulator`` was given, or None if the bytes are not that.
        """
        head, end, chunk, loads = self._head, self._tail + b"\n\n", self.chunk, _loads
        add = accumulator.pieces(self.index).append
        # From quote to quote: nothing but one JSON string can be read there.
        least, first, last = len(head) + len(end), len(head) - 1, 1 - len(end)

        def one(data: bytes) -> ChatCompletionChunk | None:
            if data.startswith(head) and data.endswith(end) and len(data) >= least:
                try:
                    text = loads(data[first:last])
                except orjson.JSONDecodeError:
                    return None
                self.used = True
                if text:
                    add(text)
                return chunk(text)
            return None

        return one

    @property
    def sample(self) -> bytes:
        """An event of this form."""
        return self._head + b"?" + self._tail

    def read(self, blocks: Sequence[bytes], start: int) -> list[Any]:
        """The contents of as many blocks as follow of this form, from the one at ``start``."""
        head, tail, loads = self._head, self._tail, _loads
        first, last = len(head) - 1, 1 - len(tail) or None
        least = len(head) + len(tail)
        texts: list[str] = []
        for at in range(start, len(blocks)):
            block = blocks[at]
            if not block.startswith(head) or not block.endswith(tail) or len(block) < least:
                break
            try:
                texts.append(loads(block[first:last]))
            except orjson.JSONDecodeError:
                break
        self.used = self.used or bool(texts)
        return texts


_loads: Any = orjson.loads
_new: Any = object.__new__


def maker(known: ChatCompletionChunk) -> Callable[[str], ChatCompletionChunk]:
    """What makes a chunk like this with another text."""
    id_, created, model, object_ = known.id, known.created, known.model, known.object
    choice = known.choices[0]
    index, role = choice.index, choice.delta.role
    extra, choice_extra, delta_extra = known.extra, choice.extra, choice.delta.extra

    def chunk(text: str) -> ChatCompletionChunk:
        # Nothing is shared: what a caller does to one chunk does not show in the next. Field by
        # field, as three calls of ``__init__`` cost half as much again; a test holds it to them.
        delta: Delta = _new(Delta)
        delta.role = role
        delta.content = text
        delta.refusal = None
        delta.tool_calls = None
        delta.extra = delta_extra.copy() if delta_extra else {}
        choice: ChunkChoice = _new(ChunkChoice)
        choice.index = index
        choice.delta = delta
        choice.finish_reason = None
        choice.logprobs = None
        choice.extra = choice_extra.copy() if choice_extra else {}
        chunk: ChatCompletionChunk = _new(ChatCompletionChunk)
        chunk.id = id_
        chunk.choices = [choice]
        chunk.created = created
        chunk.model = model
        chunk.usage = None
        chunk.object = object_
        chunk.extra = extra.copy() if extra else {}
        return chunk

    return chunk


def adds_text(chunk: ChatCompletionChunk) -> bool:
    """Whether a chunk like it has one choice with text, and all else in it is plain and flat."""
    if len(chunk.choices) != 1 or chunk.usage is not None or not _is_flat(chunk.extra):
        return False
    choice = chunk.choices[0]
    delta = choice.delta
    return (
        type(delta.content) is str
        and choice.finish_reason is None
        and choice.logprobs is None
        and delta.tool_calls is None
        and delta.refusal is None
        and _is_flat(choice.extra)
        and _is_flat(delta.extra)
    )


def _is_flat(extra: dict[str, Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in extra.values())
