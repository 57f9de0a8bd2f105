"""Turns, their cost in tokens, and which of them fit: arithmetic, without a clock or a network."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.bots import history
from laplas_async.bots.history import Turn, count, excess, pair_tools, size, split_turns, tokens_of
from laplas_async.errors import BadRequestError
from laplas_async.types import ChatCompletion, Choice, Message, Usage


def user(text: str = "q") -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str | None = "a", *calls: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}}
            for one in calls
        ]
    return message


def result(call: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": "r"}


def turn(number: int, tokens: int | None) -> Turn:
    return Turn(number, (user(), assistant()), tokens=tokens)


# --- estimates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # As Llama 3 counts them.
        ("The quick brown fox jumps over the lazy dog near the river bank.", 14),
        ("def add(a: int, b: int) -> int:\n    return a + b\n", 18),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю.", 24),
        ("我今天去图书馆借了三本关于河流的书。", 18),
    ],
)
def test_the_first_estimate_is_on_the_high_side(text: str, tokens: int) -> None:
    """A history that is too small by a third is harmless; one that is too large is refused."""
    assert 0.75 * tokens <= size([user(text)]) <= 3 * tokens


def test_an_image_is_not_measured_by_its_bytes() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    assert size([{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}]) < 2_000


def test_a_measured_ratio_replaces_the_assumed_one() -> None:
    question = [user("x" * 1_000)]
    ratio = history.ratio_of(question, prompt_tokens=205)
    assert ratio == pytest.approx(0.2)
    assert size(question, ratio) == 205


@pytest.mark.parametrize("tokens", [0, 3])
def test_a_count_that_says_nothing_gives_no_ratio(tokens: int) -> None:
    assert history.ratio_of([user("hello")], tokens) is None


# --- trimming -----------------------------------------------------------------------------------


def test_the_oldest_turns_go_and_no_more_than_needed() -> None:
    turns = [turn(n, 100) for n in range(1, 6)]
    assert excess(turns, 50, 550) == 0
    assert excess(turns, 50, 549) == 1
    assert excess(turns, 50, 250) == 3


def test_a_question_larger_than_the_limit_is_sent_alone() -> None:
    turns = [turn(n, 100) for n in range(1, 6)]
    assert excess(turns, 10_000, 550) == 5


@given(
    tokens=st.lists(st.integers(0, 500), max_size=20),
    fixed=st.integers(0, 500),
    limit=st.integers(1, 3_000),
)
def test_what_is_kept_fits_and_one_turn_more_would_not(
    tokens: list[int], fixed: int, limit: int
) -> None:
    turns = [turn(n, one) for n, one in enumerate(tokens, 1)]
    dropped = excess(turns, fixed, limit)
    assert dropped == len(turns) or fixed + sum(tokens[dropped:]) <= limit
    if dropped:
        assert fixed + sum(tokens[dropped - 1 :]) > limit


# --- counting -----------------------------------------------------------------------------------


def test_the_first_count_is_shared_by_system_and_question() -> None:
    kept, done, system = count([], turn(1, None), Usage(300, 50), system=100, question=200)
    assert (kept, system, done.tokens) == ([], 100, 250)


def test_the_thoughts_of_an_answer_are_not_counted() -> None:
    usage = Usage(30, 500, completion_tokens_details={"reasoning_tokens": 450})
    _, done, _ = count([], turn(1, None), usage, system=0, question=10)
    assert done.tokens == 30 + 50


def test_a_previous_answer_that_was_counted_too_high_is_corrected() -> None:
    kept, done, system = count([turn(1, 900)], turn(2, None), Usage(200, 5), system=10, question=20)
    assert system == 10
    assert tokens_of(kept[0]) < 200
    assert system + tokens_of(kept[0]) + tokens_of(done) - 5 == 200


@given(
    before=st.lists(st.integers(1, 400) | st.none(), max_size=6),
    prompt=st.integers(1, 5_000),
    completion=st.integers(0, 500),
    system=st.integers(0, 300),
    question=st.integers(0, 300),
)
def test_the_sum_of_all_parts_is_what_the_service_counted(
    before: list[int | None], prompt: int, completion: int, system: int, question: int
) -> None:
    """Unless it counted less than all turns before the last one, whose counts are older."""
    turns = [turn(n, one) for n, one in enumerate(before, 1)]
    kept, done, now = count(
        turns, turn(9, None), Usage(prompt, completion), system=system, question=question
    )
    total = now + sum(map(tokens_of, kept)) + tokens_of(done)
    least = system + sum(map(tokens_of, turns[:-1])) + 2
    if prompt > least:
        assert total == prompt + completion
    assert all(tokens_of(one) >= 0 for one in [*kept, done])
    assert kept[:-1] == turns[:-1]


# --- tools --------------------------------------------------------------------------------------


def test_a_call_without_result_is_dropped_and_its_text_stays() -> None:
    messages = [user(), assistant("Let me see.", "c1"), user("never mind")]
    assert pair_tools(messages) == [user(), assistant("Let me see."), user("never mind")]


def test_an_assistant_that_only_made_unanswered_calls_is_dropped() -> None:
    assert pair_tools([user(), assistant(None, "c1"), user("2")]) == [user(), user("2")]


def test_a_result_without_call_is_dropped() -> None:
    assert pair_tools([result("c0"), user(), assistant(), result("c1")]) == [user(), assistant()]


def test_of_several_calls_those_with_results_stay() -> None:
    messages = [user(), assistant(None, "c1", "c2"), result("c2"), result("c3"), assistant("x")]
    assert pair_tools(messages) == [user(), assistant(None, "c2"), result("c2"), assistant("x")]


def test_a_result_that_is_repeated_is_sent_once() -> None:
    messages = [user(), assistant(None, "c1"), result("c1"), result("c1")]
    assert pair_tools(messages) == messages[:3]


SHAPES = st.sampled_from(
    [user(), assistant(), assistant(None, "c1"), assistant("t", "c1", "c2"), result("c1")]
)


@given(st.lists(SHAPES, max_size=12))
def test_whatever_the_shape_calls_and_results_are_paired(messages: list[dict[str, Any]]) -> None:
    paired = pair_tools(messages)
    open_calls: set[str] = set()
    for message in paired:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls
            open_calls.remove(message["tool_call_id"])
        else:
            assert not open_calls
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
    assert not open_calls
    assert pair_tools(paired) == paired
    plain = [one for one in messages if one["role"] == "user" or one.get("content") == "a"]
    assert [one for one in paired if one["role"] == "user" or one.get("content") == "a"] == plain


# --- turns --------------------------------------------------------------------------------------


def test_messages_are_cut_into_turns_at_questions() -> None:
    greeting, first = [assistant("Hello!")], [user(), assistant(None, "c"), result("c")]
    second = [user("photo"), user("what is it?"), assistant()]
    turns = split_turns([*greeting, *first, *second])
    assert turns == [tuple(greeting), tuple(first), tuple(second)]


@given(st.lists(SHAPES, max_size=12))
def test_no_message_is_lost_between_turns(messages: list[dict[str, Any]]) -> None:
    turns = split_turns(messages)
    assert [message for one in turns for message in one] == messages
    assert all(turns)


def test_the_answer_is_kept_without_thoughts() -> None:
    message = Message(content="Yes.", extra={"reasoning_content": "Hm.", "signature": "s"})
    kept = history.answer_message(ChatCompletion(choices=[Choice(message=message)]), [])
    assert kept == {"role": "assistant", "content": "Yes.", "signature": "s"}


def test_an_answer_of_content_parts_is_kept_as_text() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes."}]
    kept = history.answer_message(
        ChatCompletion(choices=[Choice(message=Message(content=parts))]), []
    )
    assert kept == {"role": "assistant", "content": "Yes."}


def test_half_of_a_surrogate_pair_is_not_kept() -> None:
    """No later prompt could be encoded."""
    message = Message(content="a\ud83d")
    kept = history.answer_message(ChatCompletion(choices=[Choice(message=message)]), [])
    assert kept["content"] == "a\ufffd"


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (400, "This model's maximum context length is 8192 tokens.", None, True),
        (400, "prompt is too long: 209113 tokens > 200000 maximum", None, True),
        (400, "the request exceeds the available context size, try increasing it", None, True),
        (422, "`inputs` tokens + `max_new_tokens` must be <= 4096", None, True),
        (413, "Please reduce the length of the messages.", None, True),
        (400, "", "context_length_exceeded", True),
        (400, "temperature: must be 0 to 2", None, False),
        (400, "Body validation error!", None, False),
        (400, "tools[0].function.name is too long", None, False),
        (500, "context length", None, False),
    ],
)
def test_a_prompt_refused_for_its_length_is_recognised(
    status: int, message: str, code: str | None, expected: bool
) -> None:
    error = BadRequestError(message, status=status, code=code)
    assert history.is_too_long(error) is expected


def test_an_empty_answer_is_kept_as_empty_text() -> None:
    """Services refuse an assistant message with neither text nor calls."""
    kept = history.answer_message(ChatCompletion(choices=[Choice()]), [])
    assert kept == {"role": "assistant", "content": ""}
