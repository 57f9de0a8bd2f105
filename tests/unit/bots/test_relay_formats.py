"""How an answer is written for its reader: pure, chunk by chunk, and each way in which it ends."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.bots.relay_formats import (
    Failure,
    Format,
    ServerEvent,
    chunk_of,
    failure_of,
    new_format,
)
from laplas_async.errors import ConfigError, RateLimitError, StreamTruncatedError
from laplas_async.types import (
    ChatCompletionChunk,
    ChunkChoice,
    Delta,
    FunctionCallDelta,
    ToolCallDelta,
    Usage,
)
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.codec import structure

NAMES = ("sse", "text", "ui", "openai", "json")
FAILURE = Failure("it broke", "StreamTruncatedError", None)


def text(content: str | None, reason: str | None = None, index: int = 0) -> ChatCompletionChunk:
    return ChatCompletionChunk(
        id="c1", model="m", choices=[ChunkChoice(index, Delta(content=content), reason)]
    )


def thought(content: str) -> ChatCompletionChunk:
    return ChatCompletionChunk(choices=[ChunkChoice(0, Delta(extra={"reasoning": content}))])


def call(*deltas: ToolCallDelta) -> ChatCompletionChunk:
    return ChatCompletionChunk(choices=[ChunkChoice(0, Delta(tool_calls=list(deltas)))])


def arguments(index: int | None, piece: str, *, id_: str = "", name: str = "") -> ToolCallDelta:
    return ToolCallDelta(index, id_ or None, None, FunctionCallDelta(name or None, piece or None))


USAGE = ChatCompletionChunk(id="c1", usage=Usage(3, 2, 5))


def written(
    name: str, chunks: Sequence[ChatCompletionChunk], failure: Failure | None = None
) -> list[ServerEvent]:
    form: Format = new_format(name, NAMES)
    events = form.begin()
    for chunk in chunks:
        events += form.add(chunk)
    return events + (form.end() if failure is None else form.fail(failure))


def parts(events: Sequence[ServerEvent]) -> list[Any]:
    return [event.data if event.data == "[DONE]" else json.loads(event.data) for event in events]


@pytest.mark.parametrize("name", NAMES)
def test_only_a_complete_answer_has_an_end_marker(name: str) -> None:
    chunks = [text("one"), text(" two", "stop"), USAGE]
    whole, broken = written(name, chunks), written(name, chunks, FAILURE)
    marks = [event for event in whole if event not in broken]
    if name != "text":  # whose end is that of the body
        assert marks
        assert whole[-1] not in broken
        assert sum("it broke" in event.data for event in broken) == 1
        assert "it broke" in broken[-1].data


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_without_any_text_has_an_end_too(name: str) -> None:
    events = written(name, [text(None), text("", "stop")])
    assert [event for event in events if event.event == "text"] == []
    assert bool(events) == (name != "text")


def test_events_for_event_source() -> None:
    events = written("sse", [text("a\nb"), text(""), text(" é\u2028"), text(None, "stop"), USAGE])
    assert events == [
        ServerEvent('"a\\nb"', "text", "1"),
        ServerEvent('" é\u2028"', "text", "2"),
        ServerEvent(
            '{"finish_reason":"stop",'
            '"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}',
            "done",
        ),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_half_of_a_surrogate_pair_can_be_sent(name: str) -> None:
    """Some servers cut a pair in two; the halves arrive in two chunks."""
    for event in written(name, [text("a\ud83d"), text("\ude00", "stop")]):
        event.data.encode()


@pytest.mark.parametrize("name", ["sse", "ui", "openai", "json"])
def test_a_text_that_names_the_end_marker_is_not_taken_for_it(name: str) -> None:
    """Many a client looks for it anywhere in a line."""
    events = written(name, [text("It ends with [DONE].")], Failure("no [DONE]"))
    assert not any("[DONE]" in event.data for event in events)
    assert "It ends with [DONE]." in json.dumps(parts(events))


def test_other_choices_are_no_text_of_the_answer() -> None:
    assert [event.data for event in written("text", [text("a"), text("x", index=1)])] == ["a"]


def test_objects_for_web_sockets() -> None:
    assert parts(written("json", [text("a"), text(None, "length")])) == [
        {"type": "text", "text": "a"},
        {"type": "done", "finish_reason": "length", "usage": None},
    ]
    assert parts(written("json", [], FAILURE)) == [{"type": "error", "error": FAILURE.to_dict()}]


# --- OpenAI ---------------------------------------------------------------------------------------


def test_the_usage_is_in_the_chunk_with_the_finish_reason() -> None:
    *_, last, done = parts(written("openai", [text("a"), text(None, "stop"), USAGE]))
    assert done == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["total_tokens"] == 5
    assert all(one["choices"] for one in parts(written("openai", [text("a")]))[:-1])


def test_a_finish_reason_is_not_lost_if_no_usage_follows() -> None:
    for end in ([text(None, "stop")], [text(None, "stop"), text("more")]):
        reasons = [
            choice["finish_reason"]
            for one in parts(written("openai", [text("a"), *end]))[:-1]
            for choice in one["choices"]
        ]
        assert "stop" in reasons


def test_a_usage_without_any_finish_reason_is_sent_by_itself() -> None:
    usage, done = parts(written("openai", [USAGE]))
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 5, "[DONE]")


def test_each_chunk_has_the_fields_that_clients_read() -> None:
    [chunk, _] = parts(written("openai", [chunk_of("a")]))
    assert chunk["id"].startswith("chatcmpl-")
    assert chunk["object"] == "chat.completion.chunk"
    assert chunk["choices"] == [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]


CHUNKS = st.lists(
    st.one_of(
        st.builds(text, st.text(max_size=5)),
        st.builds(thought, st.text(min_size=1, max_size=5)),
        st.builds(lambda piece: call(arguments(0, piece, id_="t", name="f")), st.text(max_size=5)),
    ),
    max_size=8,
)


@given(CHUNKS)
def test_what_is_sent_on_adds_up_to_the_same_completion(chunks: list[ChatCompletionChunk]) -> None:
    sent, received = Accumulator(), Accumulator()
    chunks = [*chunks, text(None, "stop"), USAGE]
    for chunk in chunks:
        sent.add(chunk)
    for part in parts(written("openai", chunks))[:-1]:
        received.add(structure(part, ChatCompletionChunk))
    first, second = sent.completion(partial=False), received.completion(partial=False)
    assert first.choices == second.choices
    assert first.usage == second.usage


# --- the AI SDK -----------------------------------------------------------------------------------

# The parts that every version since 5.0 knows, with all fields that they may have.
SCHEMA = {
    "start": {"messageId"},
    "start-step": set(),
    "text-start": {"id"},
    "text-delta": {"id", "delta"},
    "text-end": {"id"},
    "reasoning-start": {"id"},
    "reasoning-delta": {"id", "delta"},
    "reasoning-end": {"id"},
    "tool-input-start": {"toolCallId", "toolName"},
    "tool-input-delta": {"toolCallId", "inputTextDelta"},
    "tool-input-available": {"toolCallId", "toolName", "input"},
    "tool-input-error": {"toolCallId", "toolName", "input", "errorText"},
    "error": {"errorText"},
    "finish-step": set(),
    "finish": {"messageMetadata"},
}


def check_ui(found: list[Any]) -> None:
    """Each part is known, and every delta lies between its start and its end."""
    open_parts: set[str] = set()
    calls: set[str] = set()
    for part in found:
        kind = part["type"]
        assert set(part) - {"type"} == SCHEMA[kind]
        begun = kind.split("-")[0]
        if kind in ("text-start", "reasoning-start"):
            assert not open_parts
            open_parts.add(f"{begun}:{part['id']}")
        elif kind in ("text-delta", "reasoning-delta"):
            assert f"{begun}:{part['id']}" in open_parts
            assert part["delta"]
        elif kind in ("text-end", "reasoning-end"):
            open_parts.remove(f"{begun}:{part['id']}")
        elif kind == "tool-input-start":
            assert part["toolCallId"] not in calls
            calls.add(part["toolCallId"])
        elif kind.startswith("tool-"):
            assert part["toolCallId"] in calls
    if found[-1]["type"] == "finish":
        assert not open_parts


def test_reasoning_text_and_calls_become_parts() -> None:
    events = written(
        "ui",
        [
            thought("Hm."),
            text("Let "),
            text("me see."),
            call(arguments(0, '{"city":', id_="c1", name="weather")),
            call(arguments(0, '"Oulu"}'), arguments(1, "{", id_="c2", name="clock")),
            text(None, "tool_calls"),
            USAGE,
        ],
    )
    *found, done = parts(events)
    assert done == "[DONE]"
    check_ui(found)
    assert [part["type"] for part in found] == [
        *("start", "start-step"),
        *("reasoning-start", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-delta", "text-end"),
        *("tool-input-start", "tool-input-delta", "tool-input-delta"),
        *("tool-input-start", "tool-input-delta"),
        *("tool-input-available", "tool-input-error", "finish-step", "finish"),
    ]
    assert found[-4]["input"] == {"city": "Oulu"}
    assert found[-1]["messageMetadata"]["finish_reason"] == "tool_calls"


def test_calls_without_index_or_id_stay_apart() -> None:
    events = written(
        "ui",
        [
            call(arguments(None, "{}", id_="a", name="f")),
            call(arguments(None, "{", id_="b", name="g")),
            call(arguments(None, "}")),
            call(arguments(7, "", name="h")),
        ],
    )
    found = parts(events)[:-1]
    check_ui(found)
    ready = [part for part in found if part["type"] == "tool-input-available"]
    assert [(part["toolName"], part["input"]) for part in ready] == [
        *(("f", {}), ("g", {}), ("h", {}))
    ]
    assert ready[2]["toolCallId"].startswith("call_")


@given(CHUNKS, st.booleans())
def test_every_answer_is_a_valid_message_stream(
    chunks: list[ChatCompletionChunk], fails: bool
) -> None:
    found = parts(written("ui", chunks, FAILURE if fails else None))
    assert (found[-1] == "[DONE]") is not fails
    check_ui(found if fails else found[:-1])
    deltas = [part["delta"] for part in found if part != "[DONE]" and part["type"] == "text-delta"]
    assert "".join(deltas) == "".join(chunk.text for chunk in chunks)


def test_the_header_names_the_protocol() -> None:
    assert new_format("ui", NAMES).headers == {"x-vercel-ai-ui-message-stream": "v1"}


# --- arguments and errors -------------------------------------------------------------------------


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="as_='xml': must be one of sse, text"):
        new_format("xml", ("sse", "text"))


def test_what_is_no_chunk_is_refused() -> None:
    with pytest.raises(ConfigError, match="gave a dict"):
        chunk_of({"text": "a"})


def test_a_foreign_error_shows_nothing() -> None:
    assert failure_of(KeyError("secret")).message == "internal error"
    assert failure_of(StreamTruncatedError("cut")) == Failure("cut", "StreamTruncatedError")
    assert failure_of(RateLimitError("x", status=429), "busy") == Failure(
        "busy", "RateLimitError", 429
    )
