"""The table of the GenAI conventions: what is recorded of a call, and what is absent."""

import json
from typing import Any

import pytest
from attrs import evolve

from laplas_async.observe import genai
from laplas_async.observe.records import GAP_BOUNDS, CallRecord
from laplas_async.types import (
    ChatCompletion,
    Choice,
    Cost,
    FunctionCall,
    ImagePart,
    ImageURL,
    Message,
    TextPart,
    ToolCall,
    Usage,
)

CALL = CallRecord(
    id="1",
    model="m",
    server="host",
    port=443,
    streaming=True,
    parameters={"max_tokens": 7, "n": 1, "logprobs": True},
    outcome="ok",
)


def of_request(call: CallRecord) -> dict[str, Any]:
    return dict(genai.attributes(genai.REQUEST, call))


def of_response(call: CallRecord) -> dict[str, Any]:
    return dict(genai.attributes(genai.RESPONSE, call))


def test_a_request_has_the_attributes_of_the_conventions() -> None:
    assert of_request(CALL) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 7,
        "server.address": "host",
        "server.port": 443,
    }


def test_what_was_not_requested_is_absent() -> None:
    plain = of_request(evolve(CALL, streaming=False, parameters={}))
    assert "gen_ai.request.stream" not in plain
    assert "gen_ai.request.max_tokens" not in plain


@pytest.mark.parametrize(("n", "count"), [(3, 3), (1, None), (None, None)])
def test_the_number_of_choices_is_recorded_unless_it_is_one(n: Any, count: int | None) -> None:
    call = evolve(CALL, parameters={} if n is None else {"n": n})
    assert of_request(call).get("gen_ai.request.choice.count") == count


def test_no_usage_is_absent_and_a_usage_of_zero_is_zero() -> None:
    assert not [name for name in of_response(CALL) if name.startswith("gen_ai.usage")]
    zero = of_response(evolve(CALL, usage=Usage()))
    assert zero["gen_ai.usage.input_tokens"] == zero["gen_ai.usage.output_tokens"] == 0
    assert list(genai.token_counts(CALL)) == []
    counts = genai.token_counts(evolve(CALL, usage=Usage(3, 0, 3)))
    assert list(counts) == [("input", 3), ("output", 0)]


def test_details_of_usage_are_recorded_where_they_are_reported() -> None:
    usage = Usage(9, 8, 17, {"cached_tokens": 5}, {"reasoning_tokens": 0})
    known = of_response(evolve(CALL, usage=usage))
    assert known["gen_ai.usage.cache_read.input_tokens"] == 5
    assert known["gen_ai.usage.reasoning.output_tokens"] == 0


@pytest.mark.parametrize(
    ("outcome", "kind", "recorded"),
    [
        ("ok", None, None),
        ("abandoned", None, None),
        ("error", "ServerError", "ServerError"),
        ("truncated", "StreamTruncatedError", "StreamTruncatedError"),
        ("cancelled", "CancelledError", "CancelledError"),
        ("cancelled", None, "cancelled"),
    ],
)
def test_an_error_is_recorded_by_its_type(
    outcome: Any, kind: str | None, recorded: str | None
) -> None:
    call = evolve(CALL, outcome=outcome, error_type=kind, error="the prompt was: secret")
    assert of_response(call).get("error.type") == recorded
    assert "secret" not in str(of_response(call))


def test_a_cost_that_was_not_reported_is_absent() -> None:
    assert "laplas.cost_usd" not in of_response(evolve(CALL, cost=Cost(credits_used=3.0)))
    assert of_response(evolve(CALL, cost_usd=0.0))["laplas.cost_usd"] == 0.0


def test_gaps_are_counted_in_the_buckets_of_the_conventions() -> None:
    assert GAP_BOUNDS == genai.SECONDS


def test_messages_are_recorded_in_the_form_of_the_conventions() -> None:
    call = ToolCall("c-1", FunctionCall("get_weather", '{"city": "Paris"}'))
    broken = ToolCall("c-2", FunctionCall("get_weather", "{"))
    messages = [
        {"role": "system", "content": "Be brief."},
        Message("user", [TextPart("What?"), ImagePart(ImageURL("https://host/a.png"))]),
        Message("assistant", tool_calls=[call, broken]),
        Message("tool", "rain", tool_call_id="c-1"),
    ]
    system, user, assistant, tool = json.loads(genai.input_messages(messages))
    assert system == {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}
    assert [part["type"] for part in user["parts"]] == ["text", "image_url"]
    arguments = [part["arguments"] for part in assistant["parts"]]
    assert arguments == [{"city": "Paris"}, "{"]
    assert tool["parts"] == [{"type": "tool_call_response", "id": "c-1", "response": "rain"}]


def test_a_completion_is_recorded_with_its_finish_reasons() -> None:
    choices = [Choice(message=Message("assistant", "Nile"), finish_reason="stop"), Choice()]
    first, second = json.loads(genai.output_messages(ChatCompletion(choices=choices)))
    assert first["parts"] == [{"type": "text", "content": "Nile"}]
    assert (first["finish_reason"], second["finish_reason"]) == ("stop", "")
