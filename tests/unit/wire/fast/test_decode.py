"""The direct way from JSON to a chunk gives what cattrs gives, or nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.codec import DecodeError, structure
from laplas_async.wire.fast.decode import direct_chunk

CHOICE: dict[str, Any] = {"index": 0, "delta": {"content": "Rhine"}, "finish_reason": None}
BODY: dict[str, Any] = {
    "id": "c-1",
    "object": "chat.completion.chunk",
    "created": 17,
    "model": "m",
    "choices": [CHOICE],
}


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        BODY | {"usage": None, "obfuscation": "x7", "service_tier": None},
        BODY | {"choices": [CHOICE | {"text": "Rhine", "seed": None, "logprobs": None}]},
        BODY
        | {"choices": [CHOICE | {"delta": {"role": "assistant", "content": "", "token_id": 4}}]},
        BODY | {"choices": [CHOICE | {"delta": {"content": "a", "refusal": None, "x": {"y": 1}}}]},
        BODY | {"choices": [CHOICE | {"delta": {}, "finish_reason": "stop"}]},
        BODY | {"choices": [CHOICE | {"delta": {"content": None}, "finish_reason": "length"}]},
        BODY | {"choices": []},
        BODY
        | {"choices": [], "usage": {"prompt_tokens": 9, "total_tokens": 19, "x": 1, "y": None}},
    ],
)
def test_the_common_kind_is_read_directly(body: dict[str, Any]) -> None:
    chunk = direct_chunk(body)
    assert chunk is not None
    assert chunk == structure(body, ChatCompletionChunk)


_odd = st.sampled_from([None, "", "a", 0, 1, True, 1.0, 2.5, [], {}, "7", ["a"], {"a": 1}])
_delta = st.dictionaries(st.sampled_from(["role", "content", "refusal", "tool_calls", "x"]), _odd)
_choice = st.dictionaries(
    st.sampled_from(["index", "finish_reason", "logprobs", "x", "delta"]), _odd | _delta
)
_usage = st.dictionaries(
    st.sampled_from(["prompt_tokens", "total_tokens", "prompt_tokens_details", "x"]), _odd
)
_bodies = st.builds(
    lambda base, more, choice: base | more | {"choices": choice},
    st.sampled_from([BODY, {}]),
    st.dictionaries(st.sampled_from([*BODY, "usage", "x", "error"]), _odd | _usage, max_size=2),
    st.one_of(
        st.just([]),
        st.lists(_choice, max_size=2),
        st.builds(lambda change, delta: [CHOICE | change | {"delta": delta}], _choice, _delta),
        _odd,
    ),
)


@settings(deadline=None, max_examples=400)
@given(_bodies)
def test_it_gives_what_cattrs_gives_or_nothing(body: dict[str, Any]) -> None:
    chunk = direct_chunk(body)
    if chunk is None:
        return
    try:
        other = structure(body, ChatCompletionChunk)
    except DecodeError:
        other = None
    assert chunk == other
