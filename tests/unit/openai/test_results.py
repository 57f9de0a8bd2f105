"""Results are read as openai's are: attributes, dumps, added fields, equality."""

import copy
import json
import pickle
from typing import Any

import pytest

from laplas_async.openai.results import ChatCompletion, ChatCompletionMessage, CompletionUsage

MESSAGE: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", "x": 1}}
    ],
    "reasoning_content": "thoughts",
}
COMPLETION: dict[str, Any] = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE, "stop_reason": 7}],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
    "provider": {"name": "p"},
}


def test_added_fields_are_attributes_and_absent_ones_are_none() -> None:
    made: Any = ChatCompletion(**COMPLETION)
    assert made.choices[0].stop_reason == 7
    assert made.choices[0].message.reasoning_content == "thoughts"
    assert made.usage.prompt_tokens_details.cached_tokens == 1
    assert made.usage.prompt_tokens_details.audio_tokens is None
    assert made.provider == {"name": "p"}
    assert made.model_extra == {"provider": {"name": "p"}}
    assert made.system_fingerprint is made.choices[0].logprobs is None
    assert getattr(made.choices[0].message, "reasoning", "none") == "none"


def test_what_was_sent_comes_back_as_it_was() -> None:
    made = ChatCompletion(**COMPLETION)
    assert made.to_dict() == COMPLETION
    assert json.loads(made.to_json()) == COMPLETION
    assert json.loads(made.model_dump_json(exclude_unset=True, indent=4)) == COMPLETION
    assert ChatCompletion.model_validate_json(made.model_dump_json()) == made
    assert ChatCompletion(**made.model_dump()) == made


def test_dumps_leave_out_what_is_named() -> None:
    made = ChatCompletionMessage(**MESSAGE)
    assert set(made.model_dump(exclude_none=True)) == {"role", "tool_calls", "reasoning_content"}
    assert set(made.model_dump(exclude={"audio", "refusal"})) == {
        *("content", "role", "annotations", "function_call", "tool_calls", "reasoning_content")
    }
    assert made.model_dump(include={"role": True}) == {"role": "assistant"}
    with pytest.raises(TypeError, match="names at the top"):
        made.model_dump(exclude={"tool_calls": {0: {"id": True}}})


def test_a_result_can_be_changed_copied_and_pickled() -> None:
    made: Any = ChatCompletionMessage(**MESSAGE)
    other = made.model_copy(update={"content": "text"}, deep=True)
    other.tool_calls[0].id = "d"
    assert (made.content, other.content, made.tool_calls[0].id) == (None, "text", "c")
    other.note = "mine"
    assert "note" in other.model_extra
    assert "note" in other.model_fields_set
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == copy.copy(made) == made
    assert made != other
    assert made != CompletionUsage(prompt_tokens=1)
    assert dict(made)["role"] == "assistant"


def test_what_is_no_object_is_a_value_error() -> None:
    for wrong in (None, [1], "text"):
        with pytest.raises(ValueError, match="ChatCompletion: must be an object"):
            ChatCompletion.model_validate(wrong)
    with pytest.raises(ValueError, match="must be an object"):
        ChatCompletion.parse_raw("[]")
    assert ChatCompletion.parse_obj(COMPLETION).copy(update={"model": "n"}).model == "n"
