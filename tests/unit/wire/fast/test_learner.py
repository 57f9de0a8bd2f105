"""``FormLearner``: each kind of stream gets a form, and reads the same with it as without."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.types import ChatCompletion, ChatCompletionChunk
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.chunks import ChunkDecoder
from laplas_async.wire.fast.field_form import FieldForm
from laplas_async.wire.fast.learner import FormLearner
from laplas_async.wire.fast.text_form import TextForm

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def block(delta: Any, reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, **fields}
    return b"data: " + json.dumps({**HEAD, "choices": [choice]}).encode()


def token(text: str, probability: float, *, top: int = 0) -> dict[str, Any]:
    data = list(text.encode())
    one = {"token": text, "logprob": probability, "bytes": data}
    return {**one, "top_logprobs": [one] * top}


def content(text: str) -> bytes:
    return block({"content": text})


def reasoning(text: str) -> bytes:
    return block({"content": None, "reasoning_content": text})


def thinking(text: str) -> bytes:
    return block({"content": "", "reasoning": text})


def arguments(text: str) -> bytes:
    return block({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})


def logprobs(text: str) -> bytes:
    found = [token(text, -len(text) / 7, top=len(text) % 3)]
    return block({"content": text}, logprobs={"content": found, "refusal": None})


def reasoning_with_ids(text: str) -> bytes:
    return reasoning(text).replace(
        b'"id": "c"', b'"id": "c-%d"' % (zlib.crc32(text.encode()) % 997)
    )


CALL = {"index": 0, "id": "call", "type": "function", "function": {"name": "f", "arguments": ""}}
FIRST = [block({"role": "assistant"}), block({"tool_calls": [CALL]})]
LAST = [block({}, "stop")]
SHAPES = [content, reasoning, thinking, arguments, logprobs, reasoning_with_ids]
PIECES = st.tuples(st.sampled_from(SHAPES), st.text(max_size=9))


def read(
    blocks: Sequence[bytes], *, one_by_one: bool = False, enabled: bool = True
) -> tuple[list[ChatCompletionChunk], ChatCompletion, int]:
    """The chunks, the completion, and how many of them a form has read, as the reader does it."""
    decoder, accumulator = ChunkDecoder(), Accumulator()
    learner = decoder.learner
    learner.enabled = enabled
    chunks: list[ChatCompletionChunk] = []
    by_form = 0
    while len(chunks) < len(blocks):
        at = len(chunks)
        form = learner.form
        if form is not None and one_by_one and not accumulator.can_end(form.index):
            made = form.single_reader(accumulator)(blocks[at] + b"\n\n")
            if made is not None:
                chunks.append(made)
                by_form += 1
                continue
        elif form is not None and (items := form.read(blocks, at)):
            form.add(items, accumulator)
            chunks += map(form.chunk, items)
            by_form += len(items)
            continue
        chunk = decoder.decode(blocks[at][6:])
        assert chunk is not None
        accumulator.add(chunk)
        chunks.append(chunk)
        learner.learn(blocks[at], chunk)
    return chunks, accumulator.completion(), by_form


@settings(deadline=None)
@given(pieces=st.lists(PIECES, max_size=30), one_by_one=st.booleans())
def test_a_stream_of_any_shapes_reads_the_same_with_forms_as_without(
    pieces: list[Any], *, one_by_one: bool
) -> None:
    blocks = FIRST + [shape(text) for shape, text in pieces] + LAST
    chunks, completion, _ = read(blocks, one_by_one=one_by_one)
    expected, whole, by_form = read(blocks, enabled=False)
    assert by_form == 0
    assert chunks == expected
    assert completion == whole


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_nearly_every_event_of_a_stream_is_read_by_a_form(shape: Any, *, one_by_one: bool) -> None:
    blocks = FIRST + [shape(f"token {number}") for number in range(50)] + LAST
    _, _, by_form = read(blocks, one_by_one=one_by_one)
    assert by_form >= 44


@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_of_a_form_share_nothing_with_each_other(shape: Any) -> None:
    chunks, _, _ = read(FIRST + [shape("same")] * 20)
    chunks[-1].choices[0].delta.extra["changed"] = True
    for call in chunks[-1].choices[0].delta.tool_calls or ():
        call.extra["changed"] = True
    assert chunks[-1] != chunks[-2]
    assert chunks[-2] == chunks[-3]


def test_progress_counts_every_piece_that_a_form_has_read() -> None:
    for shape in (content, reasoning, arguments):
        decoder, accumulator = ChunkDecoder(), Accumulator()
        sizes = []
        for number in range(5):
            data = (FIRST[1:] + [shape(f"token {n}") for n in range(4)])[number]
            chunk = decoder.decode(data[6:])
            assert chunk is not None
            accumulator.add(chunk)
            sizes.append(accumulator.size)
        assert sizes == [0, 1, 2, 3, 4]


def test_a_change_from_reasoning_to_content_gets_a_form_at_once() -> None:
    blocks = [reasoning(f"r{n}") for n in range(20)] + [content(f"c{n}") for n in range(20)]
    _, completion, by_form = read(blocks)
    assert by_form >= 36
    assert completion.text == "".join(f"c{n}" for n in range(20))


def test_a_learner_that_is_disabled_has_no_form() -> None:
    learner, decoder = FormLearner(), ChunkDecoder()
    chunk = decoder.decode(content("a")[6:])
    assert chunk is not None
    learner.learn(content("a"), chunk)
    assert isinstance(learner.form, TextForm)
    learner.disable()
    assert learner.form is None
    learner.learn(content("b"), chunk)
    assert learner.form is None


def test_fields_that_change_lead_to_a_form_of_fields() -> None:
    blocks = [reasoning_with_ids(f"r{number}") for number in range(9)]
    decoder = ChunkDecoder()
    for data in blocks[:4]:
        chunk = decoder.decode(data[6:])
        assert chunk is not None
        decoder.learner.learn(data, chunk)
        if isinstance(decoder.learner.form, FieldForm):
            return
    raise AssertionError("no form was learned")
