"""``TextForm``: events that differ in their text alone.

Nearly every event of a stream repeats the bytes of the previous one, except for one growing text:
the content, the model's reasoning, or the arguments of a tool call. Where the bytes around it are
identical, only that one JSON string is decoded, and the chunk is built from what is known of the
rest: the same value as the general path gives, for a fraction of the work. It refuses to guess: an
event that differs anywhere else takes the general path.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import orjson

from laplas_async.types import (
    REASONING_FIELDS,
    ChatCompletionChunk,
    ChunkChoice,
    Delta,
    FunctionCallDelta,
    ToolCallDelta,
)
from laplas_async.wire.accumulate import CONTENT, Accumulator, TextPlace
from laplas_async.wire.codec import DecodeError, structure
from laplas_async.wire.fast.decode import direct_chunk

PREFIX: Final = b"data: "
_STRING: Final = rb':[ ]?("[^"\\]*(?:\\.[^"\\]*)*")'
# Bytes of an event; a larger one holds more than a token, and is not worth keeping as a sample.
LARGEST_EVENT: Final = 16 * 1024

SingleReader = Callable[[bytes], ChatCompletionChunk | None]


class TextForm:
    """The bytes around the text: ``head`` up to its first quote, ``tail`` from its last.

    A ``Form`` (see ``learner``) whose items are texts.
    """

    __slots__ = ("_extras", "_head", "_make", "_place", "_tail", "index", "used")

    def __init__(
        self, head: bytes, tail: bytes, chunk: ChatCompletionChunk, place: TextPlace
    ) -> None:
        self._head = head
        self._tail = tail
        self.used = False  # an event has been read by it
        self.index = chunk.choices[0].index  # of the choice to which the texts belong
        self._place = place
        self._make: Any = maker(chunk, place)
        choice = chunk.choices[0]
        others = {name: v for name, v in choice.delta.extra.items() if name != place.field}
        extras = chunk.extra, choice.extra, others
        # None where there are none: most forms of thousands of open streams have no such fields.
        self._extras = tuple(map(dict, extras)) if any(extras) else None

    @classmethod
    def learn(cls, block: bytes, chunk: ChatCompletionChunk) -> Self | None:
        """The form of an event and its chunk; None if more than the content may change."""
        if len(block) > LARGEST_EVENT or not block.startswith(PREFIX):
            return None
        # Without other fields in the delta, the event adds its text and nothing else.
        place = text_place(chunk)
        if place is None or any(
            value and name != place.field for name, value in chunk.choices[0].delta.extra.items()
        ):
            return None
        key = b'"%b"' % place.field.encode()
        if block.count(key) != 1:
            return None
        string = re.compile(_STRING).match(block, block.index(key) + len(key))
        if string is None:
            return None
        head, tail = block[: string.start(1) + 1], block[string.end(1) - 1 :]
        # Proof that this is the place: another text put there becomes that of the chunk.
        try:
            body = _loads(head[len(PREFIX) :] + b"?" + tail)
            proof = direct_chunk(body) or structure(body, ChatCompletionChunk)
        except (DecodeError, orjson.JSONDecodeError):
            return None
        if text_place(proof) != place or place.read(proof) != "?":
            return None
        known = maker(proof, place)
        return cls(head, tail, proof, place) if known(place.read(chunk)) == chunk else None

    @property
    def text_index(self) -> int | None:
        """The choice to whose content its items belong, if they are texts of it."""
        return self.index if self._place.field == "content" else None

    @property
    def chunk(self) -> Callable[[Any], ChatCompletionChunk]:
        """The function that makes the chunk of one item."""
        make: Callable[[Any], ChatCompletionChunk] = self._make
        return make

    def agrees(self, chunk: ChatCompletionChunk) -> bool:
        """Whether this form may be used after a chunk that it did not read.

        Its events add their texts alone, so an unknown field that has another value meanwhile
        would keep that value.
        """
        if self._extras is None:
            return True
        of_chunk, of_choice, of_delta = self._extras
        pairs = [(of_chunk, chunk.extra)]
        for choice in chunk.choices:
            pairs += (of_choice, choice.extra), (of_delta, choice.delta.extra)
        return all(known.get(k, v) == v for known, extra in pairs for k, v in extra.items())

    def add(self, items: list[Any], accumulator: Accumulator) -> None:
        """Add the texts to the completion."""
        accumulator.extend(self.index, items, self._place)

    def single_reader(self, accumulator: Accumulator) -> SingleReader:
        """A function for bytes that may be exactly one event of this form, and nothing else.

        It returns the chunk and adds its text to the completion, or None if the bytes are not that.
        """
        head, end, chunk, loads = self._head, self._tail + b"\n\n", self.chunk, _loads
        add = accumulator.pieces(self.index, self._place).append
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
        """Read as many blocks from ``start`` on as have this form; the text of each."""
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


def maker(
    known: ChatCompletionChunk, place: TextPlace = CONTENT
) -> Callable[[str], ChatCompletionChunk]:
    """A function that makes a chunk like ``known`` with another text in a place."""
    with_content = _content_maker(known)
    if place == CONTENT:
        return with_content
    content = known.choices[0].delta.content
    fixed: Any = content if type(content) is str else None
    if place.call is None:
        name = place.field

        def with_reasoning(text: str) -> ChatCompletionChunk:
            chunk = with_content(fixed)
            chunk.choices[0].delta.extra[name] = text
            return chunk

        return with_reasoning
    known_call = (known.choices[0].delta.tool_calls or [ToolCallDelta()])[0]
    id_, kind, index = known_call.id, known_call.type, known_call.index
    function_name = None if known_call.function is None else known_call.function.name

    def with_arguments(text: str) -> ChatCompletionChunk:
        chunk = with_content(fixed)
        function: FunctionCallDelta = _new(FunctionCallDelta)
        function.name = function_name
        function.arguments = text
        function.extra = {}
        call: ToolCallDelta = _new(ToolCallDelta)
        call.index = index
        call.id = id_
        call.type = kind
        call.function = function
        call.extra = {}
        chunk.choices[0].delta.tool_calls = [call]
        return chunk

    return with_arguments


def _content_maker(known: ChatCompletionChunk) -> Callable[[str], ChatCompletionChunk]:
    id_, created, model, object_ = known.id, known.created, known.model, known.object
    choice = known.choices[0]
    index, role = choice.index, choice.delta.role
    extra, choice_extra, delta_extra = known.extra, choice.extra, choice.delta.extra

    def chunk(text: str) -> ChatCompletionChunk:
        # Nothing is shared, so that changing one chunk does not change the next. Field by field,
        # since three calls of ``__init__`` take half as long again; a test compares the two.
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


def text_place(chunk: ChatCompletionChunk, *, logprobs: bool = False) -> TextPlace | None:
    """The place of the one text that a chunk adds, where everything else in it is flat, or None.

    ``logprobs``: a chunk with log probabilities counts too.
    """
    if len(chunk.choices) != 1 or chunk.usage is not None or not _is_flat(chunk.extra):
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    if (
        choice.finish_reason is not None
        or (choice.logprobs is not None and not logprobs)
        or delta.refusal is not None
        or not _is_flat(choice.extra)
        or not _is_flat(delta.extra)
    ):
        return None
    reasoning = [name for name in REASONING_FIELDS if delta.extra.get(name)]
    if delta.tool_calls is not None:
        return None if reasoning or delta.content else _arguments_place(delta.tool_calls)
    if not reasoning:
        return CONTENT if type(delta.content) is str else None
    if len(reasoning) > 1 or delta.content or type(delta.extra[reasoning[0]]) is not str:
        return None
    return TextPlace(reasoning[0])


def _arguments_place(calls: Sequence[ToolCallDelta]) -> TextPlace | None:
    call = calls[0] if len(calls) == 1 else None
    if call is None or call.function is None or call.index is None or call.extra or call.id:
        return None  # an id decides to which call it belongs
    function = call.function
    if function.name or not function.arguments or function.extra:
        return None
    return TextPlace("arguments", call.index)


def _is_flat(extra: dict[str, Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in extra.values())
