"""The short way from an event to a chunk gives what the long way gives, or gives nothing."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.chunks import ChunkDecoder, FailureEvent
from laplas_async.wire.codec import DecodeError
from laplas_async.wire.fast.text_form import TextForm

HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 17, "model": "m"}


def body_of(content: Any, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": content}, "logprobs": None, "finish_reason": None}
    return HEAD | {"system_fingerprint": "fp", "choices": [choice]} | more


def block_of(body: Any) -> bytes:
    return b"data: " + orjson.dumps(body)


def the_long_way(blocks: Sequence[bytes]) -> list[ChatCompletionChunk | str]:
    decoder = ChunkDecoder()
    return [read_one(decoder, block) for block in blocks]


def the_short_way(blocks: Sequence[bytes]) -> list[ChatCompletionChunk | str]:
    """As ``answer`` does it."""
    decoder = ChunkDecoder()
    got: list[ChatCompletionChunk | str] = []
    while len(got) < len(blocks):
        if decoder.learner.form is not None and (
            items := decoder.learner.form.read(blocks, len(got))
        ):
            got += map(decoder.learner.form.chunk, items)
        else:
            block = blocks[len(got)]
            got.append(chunk := read_one(decoder, block))
            if not isinstance(chunk, str):
                decoder.learner.learn(block, chunk)
    return got


def read_one(decoder: ChunkDecoder, block: bytes) -> ChatCompletionChunk | str:
    try:
        chunk = decoder.decode(block[6:])
    except (DecodeError, FailureEvent) as error:
        return type(error).__name__
    assert chunk is not None
    return chunk


def test_events_of_one_form_are_read_at_once() -> None:
    blocks = [block_of(body_of(text)) for text in ("Der", " Fluß", "", "河", ' "', "\n", "😀")]
    decoder = ChunkDecoder()
    first = decoder.decode(blocks[0][6:])
    assert first is not None
    decoder.learner.learn(blocks[0], first)
    assert decoder.learner.form is not None
    texts = decoder.learner.form.read(blocks, 1)
    assert texts == [" Fluß", "", "河", ' "', "\n", "😀"]
    assert decoder.learner.form.index == 0
    assert [first, *map(decoder.learner.form.chunk, texts)] == the_long_way(blocks)


SAME = body_of("text")
OTHERS: dict[str, bytes] = {
    "another id": block_of(body_of("x", id="c-2")),
    "another time": block_of(body_of("x", created=18)),
    "a finish reason": block_of(body_of("x")).replace(
        b'finish_reason":null', b'finish_reason":"stop"'
    ),
    "usage": block_of(body_of("x", usage={"total_tokens": 3})),
    "an error": block_of(body_of("x", error="broken")),
    "a field more": block_of(body_of("x", more=1)),
    "null": block_of(body_of(None)),
    "a number": block_of(body_of(7)),
    "a list": block_of(body_of(["x"])),
    "an object": block_of(body_of({"content": "x"})),
    "one string more": block_of(SAME).replace(b'"text"', b'"text","role":"user"'),
    "the key twice": block_of(SAME).replace(b'"text"', b'"text","content":"twice"'),
    "a quote too few": block_of(SAME).replace(b'"text"', b'"text'),
    "a quote too many": block_of(SAME).replace(b'"text"', b'"te"xt"'),
    "an escaped end": block_of(SAME).replace(b'"text"', b'"text\\"'),
    "a control character": block_of(SAME).replace(b"text", b"te\x01xt"),
    "no UTF-8": block_of(SAME).replace(b"text", b"te\xffxt"),
    "half a character": block_of(SAME).replace(b"text", b"\\ud83d"),
    "its other half": block_of(SAME).replace(b"text", b"\\ude00"),
    "cut": block_of(SAME)[:-7],
    "bytes behind": block_of(SAME) + b"}",
    "only the frame": block_of(SAME).replace(b'"text"', b'"'),
    "not a chunk": b"data: 7",
    "empty": b"data: ",
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_an_event_of_another_form_goes_the_long_way(other: bytes) -> None:
    blocks = [block_of(SAME), block_of(SAME), other, block_of(SAME), other, block_of(SAME)]
    assert the_short_way(blocks) == the_long_way(blocks)


NOT_LEARNED: dict[str, Any] = {
    "no choices": HEAD | {"choices": []},
    "two choices": HEAD | {"choices": [{"index": 0, "delta": {"content": "a"}}] * 2},
    "a tool call": HEAD | {"choices": [{"delta": {"content": "", "tool_calls": [{"id": "t"}]}}]},
    "thoughts beside the content": HEAD
    | {"choices": [{"delta": {"content": "a", "reasoning_content": "hm"}}]},
    "thoughts under two names": HEAD
    | {"choices": [{"delta": {"content": "", "reasoning_content": "hm", "reasoning": "hm"}}]},
    "a call with an id": HEAD
    | {
        "choices": [
            {"delta": {"tool_calls": [{"index": 0, "id": "t", "function": {"arguments": "a"}}]}}
        ]
    },
    "log probabilities": HEAD
    | {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]},
    "the end": HEAD | {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]},
    "a nested field": HEAD | {"choices": [{"delta": {"content": "a"}}], "meta": {"usage": {}}},
    "content elsewhere": HEAD | {"choices": [{"delta": {}, "x": {"content": "a"}}]},
}


@pytest.mark.parametrize("body", NOT_LEARNED.values(), ids=NOT_LEARNED.keys())
def test_what_adds_more_than_text_is_no_form(body: Any) -> None:
    block = block_of(body)
    chunk = ChunkDecoder().decode(block[6:])
    assert chunk is not None
    assert TextForm.learn(block, chunk) is None


def test_spaces_behind_the_colon_are_a_form_too() -> None:
    block = b"data: " + json.dumps(body_of("Der")).encode()
    chunk = ChunkDecoder().decode(block[6:])
    assert chunk is not None
    assert TextForm.learn(block, chunk) is not None


def test_nothing_is_shared_between_chunks() -> None:
    blocks = [block_of(body_of(text)) for text in "abcd"]
    _, second, third, _ = chunks = the_short_way(blocks)
    assert isinstance(second, ChatCompletionChunk)
    assert isinstance(third, ChatCompletionChunk)
    second.extra["mine"] = 1
    second.choices[0].extra["mine"] = 1
    second.choices[0].delta.extra["mine"] = 1
    second.choices.clear()
    assert [third, chunks[3]] == the_long_way(blocks)[2:]


def test_a_stream_whose_events_all_differ_is_seldom_tried() -> None:
    decoder = ChunkDecoder()
    tried = 0
    for number in range(2000):
        block = block_of(body_of("x", n=number / 7))
        assert decoder.learner.form is None or decoder.learner.form.read([block], 0) == []
        chunk = decoder.decode(block[6:])
        assert chunk is not None
        waiting = decoder.learner._pause
        decoder.learner.learn(block, chunk)
        tried += waiting == 0
    assert tried < 15


_texts = st.text(st.characters(codec="utf-8"), max_size=8)
_spoof = st.just('"content":"x"')
_contents = st.one_of(_texts, _texts, _texts, st.none(), st.integers(-9, 9), _spoof)
_bodies = st.builds(
    body_of,
    _contents,
    id=st.sampled_from(["c-1", "c-1", "c-1", "c-2"]),
    choices=st.one_of(
        st.nothing(),
        st.lists(
            st.fixed_dictionaries(
                {
                    "index": st.integers(0, 1),
                    "delta": st.fixed_dictionaries({"content": _contents}),
                },
                optional={"finish_reason": st.sampled_from([None, None, "stop"])},
            ),
            min_size=1,
            max_size=1,
        ),
    ),
)
_writers = st.sampled_from(
    [
        orjson.dumps,
        lambda body: json.dumps(body).encode(),
        lambda b: json.dumps(b, ensure_ascii=False).encode(),
    ]
)


@settings(deadline=None)
@given(st.lists(_bodies, max_size=12), _writers, st.data())
def test_the_short_way_gives_what_the_long_way_gives(
    bodies: list[dict[str, Any]], write: Any, data: Any
) -> None:
    blocks = [b"data: " + write(body) for body in bodies]
    if blocks and data.draw(st.booleans()):  # and with a byte changed anywhere
        place = data.draw(st.integers(0, len(blocks) - 1))
        at = data.draw(st.integers(6, len(blocks[place]) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (10, 13)))
        blocks[place] = blocks[place][:at] + bytes([byte]) + blocks[place][at + 1 :]
    assert the_short_way(blocks) == the_long_way(blocks)
