"""``FieldForm``: events that differ in more than their text: an id, a time, padding, a number.

The places are learned from two events: what differs between them is a place if it is one whole JSON
string or integer, or the log probabilities. Where everything else is identical, only these are
decoded, and put where ``decode`` puts them. Like ``text_form``, which reads events without such
places, it refuses to guess.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import orjson

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.accumulate import CONTENT, Accumulator, TextPlace
from laplas_async.wire.codec import DecodeError, structure
from laplas_async.wire.fast.decode import direct_chunk, direct_logprobs
from laplas_async.wire.fast.text_form import (
    LARGEST_EVENT,
    PREFIX,
    SingleReader,
    maker,
    text_place,
)

_TOKENS: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"|[0-9]+|[^"0-9]+|"'
_QUOTE: Final = b'"'
_MOST_PLACES: Final = 8  # events with more of them gain nothing over the general path
_MARK: Final = 7_000_000_000_000_000_000  # a number that no event contains
_LOGPROBS: Final = b'"logprobs":'
# In place of log probabilities while a form is learned: bytes that no JSON contains, and a value
# by which they are found in the chunk.
_CUT: Final = b'"\0"'
_SAMPLE: Final = b'{"content":[],"?":1}'


class FieldForm:
    """The bytes around the places, and which field of the chunk each place is.

    A ``Form`` (see ``learner``) whose items are lists of values.
    """

    __slots__ = (
        "_first",
        "_logprobs_at",
        "_make",
        "_others",
        "_place",
        "_text_at",
        "index",
        "sample",
        "used",
    )

    def __init__(
        self,
        sample: bytes,
        literals: Sequence[bytes],
        kinds: Sequence[type],
        known: ChatCompletionChunk,
    ) -> None:
        self.sample = sample
        self._first = literals[0]
        last = [False] * (len(kinds) - 1) + [True]
        self._others = tuple(zip(literals[1:], kinds, last, strict=True))
        self.used = False  # an event has been read by it
        self.index = known.choices[0].index  # of the choice to which the texts belong
        self._place = text_place(known, logprobs=True) or CONTENT
        self._logprobs_at = kinds.index(dict) if dict in kinds else None
        marks = [_mark(at, kind) for at, kind in enumerate(kinds)]
        self._text_at, make = _maker(known, marks, self._place, self._logprobs_at)
        self._make: Any = make

    @classmethod
    def learn(cls, before: bytes, block: bytes, chunk: ChatCompletionChunk) -> Self | None:
        """The form of two events, ``chunk`` being that of the second; None if they have none."""
        if len(block) > LARGEST_EVENT or not block.startswith(PREFIX) or not _adds_only_text(chunk):
            return None
        cut, cut_before = block, before
        if chunk.choices[0].logprobs is not None:
            cut, cut_before = _without_logprobs(block), _without_logprobs(before)
        tokens = re.compile(_TOKENS).findall(cut)
        others = re.compile(_TOKENS).findall(cut_before)
        if len(tokens) != len(others):
            return None
        places = [at for at, token in enumerate(tokens) if token != others[at] or token == _CUT]
        kinds = [kind for at in places if (kind := _kind(tokens[at], others[at])) is not None]
        if not 0 < len(places) == len(kinds) <= _MOST_PLACES:
            return None
        literals = [b""]
        marked = list(tokens)
        number = 0
        for at, token in enumerate(tokens):
            if at not in places:
                literals[-1] += token
                continue
            kind = kinds[number]
            marked[at] = _SAMPLE if kind is dict else orjson.dumps(_mark(number, kind))
            # The quotes of a string are not part of its place.
            quote = _QUOTE if kind is str else b""
            literals[-1] += quote
            literals.append(quote)
            number += 1
        # Proof: other values put in these places are found in the chunk, which shows where.
        try:
            body = orjson.loads(b"".join(marked)[len(PREFIX) :])
            known = direct_chunk(body) or structure(body, ChatCompletionChunk)
        except (DecodeError, orjson.JSONDecodeError):
            return None
        if not _adds_only_text(known):
            return None
        logprobs = known.choices[0].logprobs
        if dict in kinds and (logprobs is None or logprobs.extra != {"?": 1}):
            return None
        try:
            form = cls(block, literals, kinds, known)
        except LookupError:
            return None
        values = form._values(block)
        return form if values is not None and form.chunk(values) == chunk else None

    @property
    def text_index(self) -> int | None:
        """None: its items are not texts."""
        return None

    @property
    def chunk(self) -> Callable[[Any], ChatCompletionChunk]:
        """The function that makes the chunk of one item."""
        make: Callable[[Any], ChatCompletionChunk] = self._make
        return make

    def read(self, blocks: Sequence[bytes], start: int) -> list[Any]:
        """Read as many blocks from ``start`` on as have this form; the values of each."""
        items: list[list[Any]] = []
        for at in range(start, len(blocks)):
            if (item := self._values(blocks[at])) is None:
                break
            items.append(item)
        self.used = self.used or bool(items)
        return items

    def add(self, items: list[Any], accumulator: Accumulator) -> None:
        """Add its items to the completion: all texts, and the last value of all other places."""
        *before, last = items
        at = self._text_at
        accumulator.extend(self.index, [item[at] for item in before], self._place)
        if (of := self._logprobs_at) is not None:
            accumulator.extend_logprobs(self.index, [item[of] for item in before])
        accumulator.add(self.chunk(last))

    def single_reader(self, accumulator: Accumulator) -> SingleReader:
        """A function for bytes that may be exactly one event of this form, and nothing else.

        It returns the chunk and adds it to the completion, or None if the bytes are not that.
        """
        values, chunk, add = self._values, self.chunk, accumulator.add

        def one(data: bytes) -> ChatCompletionChunk | None:
            if data[-2:] != b"\n\n" or (item := values(data[:-2])) is None:
                return None
            self.used = True
            made = chunk(item)
            add(made)
            return made

        return one

    def _values(self, block: bytes) -> list[Any] | None:
        """The values in the places, if the block has this form.

        Each is decoded by itself, so it is one whole value wherever the next literal was found.
        """
        if not block.startswith(self._first) or not block.endswith(self._others[-1][0]):
            return None
        values: list[Any] = []
        begin = len(self._first)
        find, loads = block.find, orjson.loads
        try:
            for literal, kind, is_last in self._others:
                end = len(block) - len(literal) if is_last else find(literal, begin)
                if end < begin:
                    return None
                if kind is str:
                    value = loads(block[begin - 1 : end + 1])
                elif kind is dict:
                    value = direct_logprobs(loads(block[begin:end]))
                    if value is None:
                        return None
                    values.append(value)
                    begin = end + len(literal)
                    continue
                else:
                    number = block[begin:end]
                    value = loads(number) if number.isdigit() else None
                if type(value) is not kind:
                    return None
                values.append(value)
                begin = end + len(literal)
        except orjson.JSONDecodeError:
            return None
        return values


def _without_logprobs(block: bytes) -> bytes:
    """The event with a mark for the log probabilities, the only ones in it; else as it is."""
    before, key, value = block.partition(_LOGPROBS)
    if not key or block.count(_LOGPROBS) != 1 or _CUT in block:
        return block
    try:
        text = value.decode().lstrip()
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return block
    blanks = value[: len(value) - len(value.lstrip())]
    return before + key + blanks + _CUT + text[end:].encode()


def _kind(token: bytes, other: bytes) -> type | None:
    """The type of a place in which these two tokens were found; None: it must not change."""
    if token == other == _CUT:
        return dict
    if len(token) > 1 and len(other) > 1 and token[:1] == other[:1] == _QUOTE:
        return str
    return int if token.isdigit() and other.isdigit() else None


def _mark(at: int, kind: type) -> str | int:
    return f"?{at}?" if kind is str else _MARK + at


def _maker(
    known: ChatCompletionChunk,
    marks: list[str | int],
    place: TextPlace,
    logprobs_at: int | None,
) -> tuple[int, Callable[[list[Any]], ChatCompletionChunk]]:
    """A function that makes the chunk of some values, and which of them is the text.

    ``known`` has the marks in their places. Raises ``LookupError`` if one is not found.
    """
    choice = known.choices[0]
    delta = choice.delta
    text = place.read(known)
    text_at = marks.index(text) if text in marks else -1
    fields = _found(marks, {name: getattr(known, name) for name in ("id", "created", "model")})
    extra = _found(marks, known.extra)
    choice_extra = _found(marks, choice.extra)
    others = {name: value for name, value in delta.extra.items() if name != place.field}
    delta_extra = _found(marks, others)
    places = [
        text_at,
        *(at for some in (fields, extra, choice_extra, delta_extra) for _, at in some),
        *(() if logprobs_at is None else (logprobs_at,)),
    ]
    if sorted(places) != list(range(len(marks))):
        raise LookupError
    make = maker(known, place)

    def chunk(values: list[Any]) -> ChatCompletionChunk:
        made = make(values[text_at])
        for name, at in fields:
            setattr(made, name, values[at])
        for name, at in extra:
            made.extra[name] = values[at]
        for name, at in choice_extra:
            made.choices[0].extra[name] = values[at]
        for name, at in delta_extra:
            made.choices[0].delta.extra[name] = values[at]
        if logprobs_at is not None:
            made.choices[0].logprobs = values[logprobs_at]
        return made

    return text_at, chunk


def _found(marks: list[str | int], values: dict[str, Any]) -> list[tuple[str, int]]:
    # A value in ``error`` makes the event a failure, so it must take the general path.
    return [
        (name, marks.index(value))
        for name, value in values.items()
        if type(value) in (str, int) and value in marks and name != "error"
    ]


def _adds_only_text(chunk: ChatCompletionChunk) -> bool:
    """Whether the chunk adds its text, and everything else in it replaces earlier values.

    Log probabilities, which accumulate too, are added one by one.
    """
    place = text_place(chunk, logprobs=True)
    # Unknown texts in a delta accumulate, as reasoning does, so that each of them counts.
    return place is not None and not any(
        value and type(value) is str and name != place.field
        for name, value in chunk.choices[0].delta.extra.items()
    )
