"""Completions and streams: a streamed answer accumulates to the plain one."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.simulator.answers import make_answer
from laplas_async.simulator.encode import completion, cost, events, frame, usage
from laplas_async.simulator.validation import validation_errors

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "clock", "description": "the time"}},
]


def answered(body: Any, **options: Any) -> Any:
    return make_answer(body, **options)


def body_of(text: str = "Name a river.", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def accumulated(result: Any) -> dict[str, Any]:
    """Accumulate the events of a stream in the simplest way."""
    whole: dict[str, Any] = {}
    choices: dict[int, Any] = {}
    assert result[-1].data == b"[DONE]"
    for one in result[:-1]:
        chunk = orjson.loads(one.data)
        assert chunk["object"] == "chat.completion.chunk"
        whole |= {name: chunk[name] for name in ("id", "created", "model")}
        for extra in ("usage", "meta"):
            if chunk.get(extra):
                whole[extra] = chunk[extra]
        for part in chunk["choices"]:
            fresh: dict[str, Any] = {"role": None, "content": None, "tool_calls": []}
            choice = choices.setdefault(
                part["index"],
                {"index": part["index"], "finish_reason": None, "logprobs": None, "message": fresh},
            )
            message, delta = choice["message"], part["delta"]
            message["role"] = delta.get("role", message["role"])
            if delta.get("content") is not None:
                message["content"] = (message["content"] or "") + delta["content"]
            for call in delta.get("tool_calls", ()):
                if call["index"] == len(message["tool_calls"]):
                    first = {"name": call["function"]["name"], "arguments": ""}
                    message["tool_calls"].append(
                        {"id": call["id"], "type": "function", "function": first}
                    )
                at = message["tool_calls"][call["index"]]["function"]
                at["arguments"] += call["function"]["arguments"]
            if part["logprobs"]:
                choice["logprobs"] = choice["logprobs"] or {"content": []}
                choice["logprobs"]["content"] += part["logprobs"]["content"]
            choice["finish_reason"] = part["finish_reason"] or choice["finish_reason"]
    return {
        "object": "chat.completion",
        "choices": [choices[at] for at in sorted(choices)],
        **whole,
    }


BODIES = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "meta/é"]),
        "messages": st.lists(
            st.one_of(
                st.text(max_size=30).map(lambda text: {"role": "user", "content": text}),
                st.just({"role": "user", "content": [{"type": "text", "text": "a story"}]}),
                st.just({"role": "tool", "content": "21", "tool_call_id": "call_1"}),
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional={
        "max_tokens": st.integers(1, 60),
        "stop": st.one_of(st.none(), st.just(" the"), st.lists(st.text(max_size=3), max_size=4)),
        "n": st.one_of(st.none(), st.integers(1, 4)),
        "seed": st.integers(1, 99),
        "logprobs": st.sampled_from([True, False, None]),
        "top_logprobs": st.integers(0, 20),
        "echo": st.booleans(),
        "tools": st.just(TOOLS),
        "tool_choice": st.sampled_from(["none", "auto"]),
        "parallel_tool_calls": st.booleans(),
        "response_format": st.sampled_from(
            [
                {"type": "text"},
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER}},
            ]
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(BODIES, st.booleans())
def test_streamed_and_plain_answers_are_equal(body: Any, costs: bool) -> None:
    assert validation_errors(body) == []
    options = {"stream": True, "stream_options": {"include_usage": True}}
    whole = completion(answered(body, costs=costs))
    result = events(answered(body | options, costs=costs), include_usage=True)
    assert accumulated(result) == whole
    assert completion(answered(body, costs=costs)) == whole


def test_each_token_has_logprobs_most_likely_first() -> None:
    result = answered(body_of(logprobs=True, top_logprobs=3, max_tokens=20))
    content = completion(result)["choices"][0]["logprobs"]["content"]
    assert [one["token"] for one in content] == list(result.choices[0].tokens)
    for one in content:
        assert bytes(one["bytes"]).decode() == one["token"]
        top = one["top_logprobs"]
        assert len(top) == 3
        assert top[0] == {name: one[name] for name in ("token", "logprob", "bytes")}
        assert top == sorted(top, key=lambda each: -each["logprob"])


def test_choices_are_interleaved() -> None:
    result = events(answered(body_of(n=2)))
    indexes = [orjson.loads(one.data)["choices"][0]["index"] for one in result[:-1]]
    assert indexes[:6] == [0, 1, 0, 1, 0, 1]


def test_a_frame_is_one_event() -> None:
    assert frame(b"{}") == b"data: {}\n\n"


def test_usage_adds_up_and_sets_the_cost() -> None:
    answer = answered(body_of())
    counts = usage(answer)
    assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"]
    assert cost(answer)["usd_spent"] > 0
