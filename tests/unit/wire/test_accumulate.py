"""Chunks to the completion that an unstreamed call would have given."""

import copy
import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.types import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Cost,
    Delta,
    FunctionCall,
    FunctionCallDelta,
    Logprobs,
    Message,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.chunks import chunk_from_completion
from laplas_async.wire.codec import to_dict


def accumulated(*chunks: ChatCompletionChunk) -> ChatCompletion:
    accumulator = Accumulator()
    for chunk in chunks:
        accumulator.add(chunk)
    return accumulator.completion()


def chunk(delta: Delta | None = None, index: int = 0, **choice: Any) -> ChatCompletionChunk:
    return ChatCompletionChunk(choices=[ChunkChoice(index, delta or Delta(), **choice)])


def call(
    index: int | None = None,
    identity: str | None = None,
    name: str | None = None,
    arguments: str | None = None,
) -> ChatCompletionChunk:
    function = FunctionCallDelta(name, arguments) if name or arguments is not None else None
    return chunk(Delta(tool_calls=[ToolCallDelta(index, identity, function=function)]))


def calls_of(*chunks: ChatCompletionChunk) -> list[tuple[str, str, str]]:
    return [(c.id, c.function.name, c.function.arguments) for c in accumulated(*chunks).tool_calls]


# --- streamed equals unstreamed, for any completion cut in any way ----------------------------

SHORT = st.text(max_size=4)
LONG = st.text(max_size=12)
UNKNOWN = st.dictionaries(
    st.sampled_from(["x_a", "x_b"]),
    SHORT | st.integers() | st.lists(st.integers(), max_size=3) | st.dictionaries(SHORT, SHORT),
    max_size=2,
)
TOKEN = st.builds(
    TokenLogprob,
    SHORT,
    st.floats(-9, 0),
    st.none(),
    st.lists(st.builds(TopLogprob, SHORT)),
    UNKNOWN,
)
LOGPROBS = st.builds(
    Logprobs, st.none() | st.lists(TOKEN, max_size=3), st.none() | st.lists(TOKEN, max_size=2)
)
CALL = st.builds(
    ToolCall,
    st.uuids().map(str),
    st.builds(FunctionCall, st.text(min_size=1, max_size=4), LONG, UNKNOWN),
    extra=UNKNOWN,
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    calls = draw(st.none() | st.lists(CALL, min_size=1, max_size=3, unique_by=lambda c: c.id))
    refusal = draw(st.none() | st.text(min_size=1, max_size=8))
    plain = not calls and refusal is None  # beside them "" and None are the same
    content = draw(st.none() | (LONG if plain else st.text(min_size=1, max_size=8)))
    return Message(
        draw(st.sampled_from(["assistant", "tool"])),
        content,
        tool_calls=calls,
        refusal=refusal,
        extra=draw(UNKNOWN),
    )


@st.composite
def completions(draw: st.DrawFn) -> ChatCompletion:
    indexes = sorted(draw(st.sets(st.integers(0, 5), max_size=3)))
    return ChatCompletion(
        draw(SHORT),
        [
            Choice(
                index,
                draw(messages()),
                draw(st.none() | st.text(min_size=1, max_size=4)),
                draw(st.none() | LOGPROBS),
                draw(UNKNOWN),
            )
            for index in indexes
        ],
        draw(st.integers(0, 2**40)),
        draw(SHORT),
        draw(st.none() | st.builds(Usage, *[st.integers(0, 99)] * 3, extra=UNKNOWN)),
        extra=draw(UNKNOWN),
    )


def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def cut_extra(draw: st.DrawFn, extra: dict[str, Any]) -> list[dict[str, Any]]:
    """Text and lists come in pieces, everything else whole."""
    pieces: list[dict[str, Any]] = []
    for name, value in extra.items():
        if isinstance(value, str) or (isinstance(value, list) and value):
            at = draw(st.integers(0, len(value)))
            pieces += [{name: value[:at]}, {name: value[at:]}]
        else:
            pieces.append({name: value})
    return pieces


def deltas_of(draw: st.DrawFn, message: Message) -> list[Delta]:
    """The message in pieces, each kind in its order."""
    lines: list[list[Delta]] = []
    if isinstance(message.content, str):
        lines.append([Delta(content=text) for text in cut(draw, message.content)])
    if message.refusal is not None:
        lines.append([Delta(refusal=text) for text in cut(draw, message.refusal)])
    lines.append([Delta(extra=piece) for piece in cut_extra(draw, message.extra)])
    first = draw(st.integers(0, 1))  # some servers count calls from 1
    pieces_sent = [
        [ToolCallDelta(place, one.id, one.type, FunctionCallDelta(one.function.name))]
        + [ToolCallDelta(place, function=FunctionCallDelta(arguments=text)) for text in pieces]
        + [ToolCallDelta(place, extra=extra) for extra in cut_extra(draw, one.extra)]
        + [
            ToolCallDelta(place, function=FunctionCallDelta(extra=extra))
            for extra in cut_extra(draw, one.function.extra)
        ]
        for place, one in enumerate(message.tool_calls or (), start=first)
        for pieces in [cut(draw, one.function.arguments)]
    ]
    lines.append([Delta(tool_calls=[piece]) for call in pieces_sent for piece in call])
    return [Delta(role=message.role), *woven(draw, lines)]


def woven(draw: st.DrawFn, lines: list[list[Any]]) -> list[Any]:
    """Several sequences in one, each keeping its order."""
    order = draw(st.permutations([i for i, line in enumerate(lines) for _ in line]))
    rests = [iter(line) for line in lines]
    return [next(rests[i]) for i in order]


@st.composite
def streams(draw: st.DrawFn) -> tuple[ChatCompletion, list[ChatCompletionChunk]]:
    whole = draw(completions())
    lines: list[list[ChunkChoice]] = []
    for choice in whole.choices:
        pieces = [ChunkChoice(choice.index, d) for d in deltas_of(draw, choice.message)]
        if choice.logprobs is not None:
            content, refusal = choice.logprobs.content, choice.logprobs.refusal
            at = draw(st.integers(0, len(content or ())))
            halves = (None, None) if content is None else (content[:at], content[at:])
            pieces += [
                ChunkChoice(choice.index, logprobs=Logprobs(halves[0], refusal)),
                ChunkChoice(choice.index, logprobs=Logprobs(halves[1])),
            ]
        end = ChunkChoice(choice.index, finish_reason=choice.finish_reason, extra=choice.extra)
        lines.append([*pieces, end])
    head = {"id": whole.id, "model": whole.model, "created": whole.created}
    woven_deltas = woven(draw, lines)
    chunks: list[ChatCompletionChunk] = []
    while woven_deltas:  # one or more choices a chunk
        size = draw(st.integers(1, 3))
        chunks.append(ChatCompletionChunk(choices=woven_deltas[:size], **head))  # type: ignore[arg-type]
        woven_deltas = woven_deltas[size:]
    last = ChatCompletionChunk(usage=whole.usage, extra=whole.extra, **head)  # type: ignore[arg-type]
    return whole, [*chunks, last]


@settings(max_examples=300, deadline=None)
@given(streams())
def test_any_completion_cut_in_any_way_is_put_together_again(
    stream: tuple[ChatCompletion, list[ChatCompletionChunk]],
) -> None:
    whole, chunks = stream
    before = copy.deepcopy(chunks)
    accumulator = Accumulator()
    given_out: list[tuple[ChatCompletion, ChatCompletion]] = []
    for one in chunks:
        accumulator.add(one)
        value = accumulator.completion()
        given_out.append((value, copy.deepcopy(value)))
    assert accumulator.completion() == whole
    assert all(value == then for value, then in given_out)  # what was given never changes
    assert chunks == before  # and what was taken is not ours


@settings(max_examples=100, deadline=None)
@given(completions())
def test_a_whole_answer_as_one_chunk_is_the_completion(whole: ChatCompletion) -> None:
    assert accumulated(chunk_from_completion(to_dict(whole))) == whole


# --- tool calls as servers send them ----------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(
            [call(0, "a", "f", ""), call(0, None, None, "{"), call(0, None, None, "}")],
            [("a", "f", "{}")],
            id="as documented",
        ),
        pytest.param(
            [call(1, "a", "f", "{}"), call(2, "b", "g", "[]")],
            [("a", "f", "{}"), ("b", "g", "[]")],
            id="index from 1",
        ),
        pytest.param(
            [
                call(0, "a", "f", "{"),
                call(1, "b", "g", "["),
                call(0, None, None, "}"),
                call(1, None, None, "]"),
            ],
            [("a", "f", "{}"), ("b", "g", "[]")],
            id="interleaved",
        ),
        pytest.param(
            [call(None, "a", "f", "{"), call(None, None, None, "}"), call(None, "b", "g", "{}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="no index",
        ),
        pytest.param(
            [call(None, "a", "f", "{"), call(None, "a", None, "}")],
            [("a", "f", "{}")],
            id="no index, id with each piece",
        ),
        pytest.param(
            [call(None, None, "f", "{}"), call(None, None, "g", "{}")],
            [("", "f", "{}"), ("", "g", "{}")],
            id="neither index nor id",
        ),
        pytest.param(
            [call(None, None, "f", "{}"), call(None, None, "f", "{}")],
            [("", "f", "{}"), ("", "f", "{}")],
            id="neither index nor id, the same call twice",
        ),
        pytest.param(
            [call(0, "a", "f", "{}"), call(0, "b", "g", "{"), call(0, None, None, "}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="the same index, a new id",
        ),
        pytest.param(
            [
                call(0, "a", "f", "{"),
                call(0, "b", "g", "["),
                call(0, "a", None, "}"),
                call(0, "b", None, "]"),
            ],
            [("a", "f", "{}"), ("b", "g", "[]")],
            id="the same index, ids in turn",
        ),
        pytest.param(
            [call(0, "a", "f", "{"), call(0, "a", "f", "}")],
            [("a", "f", "{}")],
            id="id and name with each piece",
        ),
        pytest.param(
            [call(0, "a", "get_", None), call(0, None, "weather", "{}")],
            [("a", "get_weather", "{}")],
            id="the name in pieces",
        ),
        pytest.param(
            [call(0, None, "f", "{}"), call(0, "late", None, None)],
            [("late", "f", "{}")],
            id="the id behind",
        ),
        pytest.param([call(0, "", "f", None)], [("", "f", "")], id="an empty id"),
    ],
)
def test_tool_calls_are_kept_apart(
    chunks: list[ChatCompletionChunk], expected: list[tuple[str, str, str]]
) -> None:
    assert calls_of(*chunks) == expected


def test_several_whole_calls_in_one_delta_without_index_are_several() -> None:
    pieces = [
        ToolCallDelta(function=FunctionCallDelta("f", '{"a": 1}')),
        ToolCallDelta(function=FunctionCallDelta("f", '{"a": 2}')),
    ]
    assert calls_of(chunk(Delta(tool_calls=pieces))) == [
        ("", "f", '{"a": 1}'),
        ("", "f", '{"a": 2}'),
    ]


def test_calls_without_an_index_cost_the_same_for_each_piece() -> None:
    """A name with every piece must not make the arguments be read again and again."""
    joined: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ == "join":
            joined["join"] += 1

    accumulator = Accumulator()
    pieces = [call(None, None, "f", "{")] + [call(None, None, "f", " ")] * 500
    sys.setprofile(count)
    try:
        for one in pieces:
            accumulator.add(one)
    finally:
        sys.setprofile(None)
    assert joined["join"] < 50


def test_deep_arguments_do_no_harm() -> None:
    deep = "[" * 100_000
    assert calls_of(call(None, None, "f", deep), call(None, None, "f", "x"))


# --- the rest ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "usage"),
    [
        ([None, None], None),
        ([None, Usage(3, 1, 4), None], Usage(3, 1, 4)),
        ([Usage(3, 1, 4), Usage(3, 2, 5)], Usage(3, 2, 5)),
        ([Usage(3, 2, 5), Usage()], Usage(3, 2, 5)),
        ([Usage(prompt_tokens=3), Usage(completion_tokens=2)], Usage(3, 2, 0)),
        (
            [Usage(extra={"a": 1}), Usage(extra={"b": 2}, prompt_tokens_details={"c": 1})],
            Usage(extra={"a": 1, "b": 2}, prompt_tokens_details={"c": 1}),
        ),
    ],
)
def test_usage_sent_in_parts_is_put_together(
    parts: list[Usage | None], usage: Usage | None
) -> None:
    assert accumulated(*[ChatCompletionChunk(usage=part) for part in parts]).usage == usage


@pytest.mark.parametrize("role", [None, "", "assistant"])
def test_the_role_in_every_chunk_is_one_role(role: str | None) -> None:
    pieces = [chunk(Delta(role=role, content=text)) for text in "abc"]
    assert accumulated(*pieces).message == Message("assistant", "abc")


def test_an_empty_text_beside_a_call_or_a_refusal_is_none() -> None:
    opened = chunk(Delta(role="assistant", content=""))
    assert accumulated(opened).message.content == ""
    assert accumulated(opened, call(0, "a", "f", "{}")).message.content is None
    assert accumulated(opened, chunk(Delta(refusal="no"))).message.content is None
    assert accumulated(chunk()).message.content is None


def test_choices_come_in_the_order_of_their_index() -> None:
    whole = accumulated(chunk(Delta(content="b"), 1), chunk(Delta(content="a"), 0))
    assert [(choice.index, choice.message.text) for choice in whole.choices] == [(0, "a"), (1, "b")]


def test_thoughts_and_other_unknown_texts_grow() -> None:
    pieces = [chunk(Delta(extra={"reasoning_content": text})) for text in ("Let", " me", " see")]
    assert accumulated(*pieces).message.extra == {"reasoning_content": "Let me see"}


def test_unknown_logprobs_grow() -> None:
    pieces = [chunk(logprobs=Logprobs(extra={"tokens": [text]})) for text in "ab"]
    assert accumulated(*pieces).choices[0].logprobs == Logprobs(extra={"tokens": ["a", "b"]})


def test_the_cost_is_that_of_the_last_chunk_that_tells_one() -> None:
    priced = ChatCompletionChunk(extra={"meta": {"usage": {"credits_used": 7}}})
    assert accumulated(priced, ChatCompletionChunk(extra={"meta": {}})).cost == Cost(7.0)


def test_an_empty_head_is_filled_by_a_later_chunk() -> None:
    whole = accumulated(
        ChatCompletionChunk(),
        ChatCompletionChunk(id="a", model="m", created=5),
        ChatCompletionChunk(id="b", model="n", created=6),
    )
    assert (whole.id, whole.model, whole.created) == ("a", "m", 5)
    assert whole.object == "chat.completion"


def test_it_is_finished_when_every_choice_asked_for_is() -> None:
    accumulator = Accumulator()
    assert not accumulator.started
    assert not accumulator.finished()
    accumulator.add(chunk(finish_reason="stop"))
    assert accumulator.started
    assert accumulator.finished()
    assert not accumulator.finished(2)
    accumulator.add(chunk(index=1))
    assert not accumulator.finished()
    accumulator.add(chunk(index=1, finish_reason="length"))
    assert accumulator.finished(2)


@pytest.mark.parametrize(
    ("one", "has"),
    [
        (chunk(Delta(role="assistant", content="")), False),
        (chunk(finish_reason="stop"), False),
        (ChatCompletionChunk(usage=Usage()), False),
        (chunk(Delta(content="x")), True),
        (chunk(Delta(refusal="x"), 3), True),
        (call(0, "a", "f"), True),
    ],
)
def test_content_is_text_a_refusal_or_a_call(one: ChatCompletionChunk, has: bool) -> None:
    accumulator = Accumulator()
    accumulator.add(one)
    assert accumulator.has_content is has


def test_values_given_are_their_own() -> None:
    accumulator = Accumulator()
    accumulator.add(chunk(Delta(content="a", extra={"x": [1]})))
    first = accumulator.completion()
    first.choices[0].message.extra["x"].append(2)
    first.choices.clear()
    first.extra["y"] = 1
    second = accumulator.completion()
    assert second.text == "a"
    assert second.message.extra == {"x": [1]}
    assert second.extra == {}


def test_many_pieces_are_gathered_and_nothing_is_lost() -> None:
    accumulator = Accumulator()
    accumulator.add(ChatCompletionChunk(choices=[ChunkChoice(delta=Delta(content="begin"))]))
    known = accumulator.pieces(0)
    sizes = [accumulator.size]
    expected = "begin"
    for number in range(30):
        more = [f"{number} {place} " for place in range(1000)]
        pieces = accumulator.pieces(0)
        assert pieces is known  # who holds it may go on appending
        pieces += more
        expected += "".join(more)
        sizes.append(accumulator.size)
    assert len(known) < 10_000
    assert sizes == list(range(1, 30_002, 1000))
    assert accumulator.completion().text == expected
    known.clear()
    assert accumulator.has_content


def test_a_reason_after_thoughts_alone_ends_but_does_not_shorten_the_wait() -> None:
    """Some services write "stop" after the thoughts, and the text seconds later."""
    accumulator = Accumulator()
    accumulator.add(
        ChatCompletionChunk(choices=[ChunkChoice(delta=Delta(extra={"reasoning": "x"}))])
    )
    accumulator.add(chunk(finish_reason="stop"))
    assert accumulator.finished()
    assert not accumulator.settled()
    accumulator.add(ChatCompletionChunk(choices=[ChunkChoice(delta=Delta(content="y"))]))
    assert not accumulator.finished()
    accumulator.add(chunk(finish_reason="stop"))
    assert accumulator.settled()


def test_a_reason_with_text_does_not_shorten_the_wait() -> None:
    """It may be in every chunk."""
    accumulator = Accumulator()
    both = ChunkChoice(delta=Delta(content="y"), finish_reason="stop")
    accumulator.add(ChatCompletionChunk(choices=[both]))
    assert accumulator.finished()
    assert not accumulator.settled()
