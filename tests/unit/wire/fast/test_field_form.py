"""Events with more than one new value in each: the short way gives what the long way gives."""

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.chunks import ChunkDecoder
from laplas_async.wire.codec import DecodeError
from laplas_async.wire.fast.field_form import FieldForm


def body_of(text: str, number: int = 7, padding: str = "p", **more: Any) -> dict[str, Any]:
    delta = {"token_id": number, "role": "assistant", "content": text, "tool_calls": None}
    choice = {"text": text, "seed": None, "index": 0, "delta": delta, "finish_reason": None}
    head = {"id": f"c-{number}", "object": "chat.completion.chunk", "created": number, "model": "m"}
    return {**head, "choices": [choice], "obfuscation": padding, **more}


def block_of(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body)


def chunk_of(block: bytes) -> ChatCompletionChunk:
    chunk = ChunkDecoder().decode(block[6:])
    assert chunk is not None
    return chunk


def learn(before: bytes, block: bytes) -> FieldForm | None:
    return FieldForm.learn(before, block, chunk_of(block))


def form_of_two() -> FieldForm:
    form = learn(block_of(body_of("Der", 1, "ab")), block_of(body_of(" Fluß", 22, "c")))
    assert form is not None
    return form


WORDS = [" Rhein", "", ' "', "\n", "😀", '"},{"', "\\", '","seed":null', "?0?", "\x7f"]


def test_events_of_one_form_are_read_at_once() -> None:
    form = form_of_two()
    blocks = [block_of(body_of(word, number, word)) for number, word in enumerate(WORDS)]
    chunks = [form.chunk(item) for item in form.read(blocks, 0)]
    assert chunks == [chunk_of(block) for block in blocks]
    assert form.used


def test_what_is_added_at_once_is_what_is_added_single_reader() -> None:
    form = form_of_two()
    blocks = [block_of(body_of(word, number, word)) for number, word in enumerate(WORDS)]
    at_once, singly, alone = Accumulator(), Accumulator(), Accumulator()
    begin = chunk_of(block_of(body_of("Die", 1)))
    for accumulator in (at_once, singly, alone):
        accumulator.add(begin)
    form.add(form.read(blocks, 0), at_once)
    one = form.single_reader(alone)
    for block in blocks:
        singly.add(chunk_of(block))
        assert one(block + b"\n\n") == chunk_of(block)
        assert one(block + b"\n") is None
        assert one(block[:-1]) is None
    assert at_once.completion() == singly.completion() == alone.completion()
    assert at_once.size == singly.size == alone.size


SAME = block_of(body_of("text", 7, "pad"))
OTHERS: dict[str, bytes] = {
    "another model": SAME.replace(b'"m"', b'"n"'),
    "a finish reason": SAME.replace(b'finish_reason":null', b'finish_reason":"stop"'),
    "an error": block_of(body_of("x", error="broken")),
    "a field more": block_of(body_of("x", more=1)),
    "null for the text": SAME.replace(b'content":"text"', b'content":null'),
    "a number for a text": SAME.replace(b'content":"text"', b'content":7'),
    "a text for a number": SAME.replace(b'token_id":7', b'token_id":"7"'),
    "a fraction": SAME.replace(b'token_id":7', b'token_id":7.5'),
    "a negative number": SAME.replace(b'token_id":7', b'token_id":-7'),
    "a number with a zero before": SAME.replace(b'token_id":7', b'token_id":07'),
    "no number": SAME.replace(b'token_id":7', b'token_id":'),
    "a number too large": SAME.replace(b'created":7', b'created":' + b"7" * 40),
    "true": SAME.replace(b'token_id":7', b'token_id":true'),
    "a space more": SAME.replace(b'token_id":7', b'token_id": 7'),
    "a line more": SAME.replace(b'token_id":7', b'token_id":\n7'),
    "a line before a text": SAME.replace(b'content":"text"', b'content":\n"text"'),
    "one string more": SAME.replace(b'"content":"text"', b'"content":"text","role":"user"'),
    "the key twice": SAME.replace(b'"content":"text"', b'"content":"text","content":"twice"'),
    "a quote too few": SAME.replace(b'content":"text"', b'content":"text'),
    "a quote too many": SAME.replace(b'content":"text"', b'content":"te"xt"'),
    "an escaped end": SAME.replace(b'content":"text"', b'content":"text\\"'),
    "a control character": SAME.replace(b'content":"text"', b'content":"te\x01xt"'),
    "no UTF-8": SAME.replace(b'content":"text"', b'content":"te\xffxt"'),
    "half a character": SAME.replace(b'content":"text"', b'content":"\\ud83d"'),
    "cut": SAME[:-7],
    "bytes behind": SAME + b"}",
    "not a chunk": b"data: 7",
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_an_event_of_another_form_is_not_read(other: bytes) -> None:
    form = form_of_two()
    assert len(form.read([SAME, other, SAME], 0)) == 1
    assert form.single_reader(Accumulator())(other + b"\n\n") is None


def delta_of(**delta: Any) -> bytes:
    body = body_of("x")
    body["choices"][0]["delta"] = delta
    return block_of(body)


NOT_LEARNED: dict[str, tuple[bytes, bytes]] = {
    "nothing differs": (SAME, SAME),
    "the text is the same": (block_of(body_of("a", 1)), block_of(body_of("a", 2))),
    "a key differs": (block_of(body_of("a", 1, a=1)), block_of(body_of("b", 1, b=1))),
    "the key twice": (
        SAME.replace(b'"content"', b'"content":"a","content"'),
        SAME.replace(b'"content"', b'"content":"b","content"').replace(b"text", b"other"),
    ),
    "the role differs": (delta_of(content="a", role="a"), delta_of(content="b", role="b")),
    "thoughts beside the text": (delta_of(content="a", t="x"), delta_of(content="b", t="y")),
    "a fraction differs": (delta_of(content="a", n=1.5), delta_of(content="b", n=2.25)),
    "a kind differs": (delta_of(content="a", n=1), delta_of(content="b", n="1")),
    "an error that is empty once": (
        block_of(body_of("a", error="")),
        block_of(body_of("b", error="")).replace(b'"m"', b'"n"').replace(b'error":""', b'error":0'),
    ),
    "nested": (block_of(body_of("a", meta={"n": 1})), block_of(body_of("b", meta={"n": 2}))),
    "another length": (block_of(body_of("a")), block_of(body_of("b", more=1))),
    "not on one line": (SAME + b"\nid: 1", SAME.replace(b"text", b"other") + b"\nid: 2"),
    "too many places": (
        block_of(body_of("a") | {f"n{i}": i for i in range(9)}),
        block_of(body_of("b") | {f"n{i}": i + 1 for i in range(9)}),
    ),
}


@pytest.mark.parametrize("pair", NOT_LEARNED.values(), ids=NOT_LEARNED.keys())
def test_what_cannot_be_placed_is_no_form(pair: tuple[bytes, bytes]) -> None:
    before, block = pair
    assert FieldForm.learn(before, block, chunk_of(block.partition(b"\n")[0])) is None


def test_nothing_is_shared_between_chunks() -> None:
    form = form_of_two()
    first, second = (form.chunk(item) for item in form.read([SAME, SAME], 0))
    first.extra["mine"] = first.choices[0].extra["mine"] = first.choices[0].delta.extra["mine"] = 1
    first.choices.clear()
    assert second == chunk_of(SAME)


@pytest.mark.parametrize("texts", list(itertools.product(("0", "", "1"), repeat=5)))
def test_a_field_that_returns_to_an_earlier_value_has_that_value(texts: tuple[str, ...]) -> None:
    """A form for text alone must not be used over a value that has changed meanwhile."""
    blocks = [block_of(body_of(text, 1)) for text in texts]
    _, added = read_all(blocks, short=True)
    _, expected = read_all(blocks, short=False)
    assert added.completion() == expected.completion()


def read_all(blocks: list[bytes], *, short: bool) -> tuple[list[Any], Accumulator]:
    """As ``answer`` does it; the long way reads each alone."""
    decoder, accumulator = ChunkDecoder(), Accumulator()
    got: list[Any] = []
    while len(got) < len(blocks):
        if (
            short
            and decoder.learner.form is not None
            and (items := decoder.learner.form.read(blocks, len(got)))
        ):
            got += map(decoder.learner.form.chunk, items)
            decoder.learner.form.add(items, accumulator)
            continue
        block = blocks[len(got)]
        try:
            chunk = decoder.decode(block[6:])
        except DecodeError as error:
            got.append(type(error))
            continue
        assert chunk is not None
        got.append(chunk)
        accumulator.add(chunk)
        decoder.learner.learn(block, chunk)
    return got, accumulator


_text = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(WORDS)
_bodies = st.builds(
    body_of,
    _text,
    st.integers(0, 3) | st.integers(),
    _text,
    model=st.sampled_from(["m", "m", "m", "n"]),
    system_fingerprint=_text | st.none(),
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(_bodies, max_size=14),
    st.sampled_from([orjson.dumps, lambda body: json.dumps(body).encode()]),
    st.data(),
)
def test_the_short_way_gives_what_the_long_way_gives(
    bodies: list[dict[str, Any]], write: Any, data: Any
) -> None:
    try:
        blocks = [b"data: " + write(body) for body in bodies]
    except TypeError:  # a number that orjson does not write
        return
    if blocks and data.draw(st.booleans()):  # and with a byte changed anywhere
        place = data.draw(st.integers(0, len(blocks) - 1))
        at = data.draw(st.integers(6, len(blocks[place]) - 1))
        byte = data.draw(st.integers(32, 255))
        blocks[place] = blocks[place][:at] + bytes([byte]) + blocks[place][at + 1 :]
    short, added = read_all(blocks, short=True)
    long, expected = read_all(blocks, short=False)
    assert short == long
    assert added.completion() == expected.completion()
