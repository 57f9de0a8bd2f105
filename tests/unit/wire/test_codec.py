"""JSON to values and back: tolerant where that loses nothing, and no error but DecodeError."""

import json
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.types import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    Cost,
    Delta,
    FunctionDefinition,
    ImagePart,
    ImageURL,
    Logprobs,
    Message,
    TextPart,
    Tool,
    ToolCall,
    Usage,
)
from laplas_async.wire.chunks import ChunkDecoder, FailureEvent, chunk_from_completion
from laplas_async.wire.codec import (
    DecodeError,
    completion_from,
    cost_from,
    decode_completion,
    dumps,
    loads,
    repair_text,
    structure,
    to_dict,
)

PAGE = {  # the response on the service's page
    "id": "npQhshu-3NKUce-92da9f512c0f70b9",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": "Hello.  How can I assist you today?",
                "tool_calls": [],
            },
        }
    ],
    "created": 1744208187,
    "model": "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo",
    "usage": {"prompt_tokens": 265, "completion_tokens": 81, "total_tokens": 346},
}


def body_of(**choice: Any) -> bytes:
    return json.dumps({"choices": [choice]}).encode()


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_of(key)
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


def can_be_encoded(value: Any) -> bool:
    """Whether every text in a value can be, unknown fields included."""
    return all(text.encode() is not None for text in texts_of(to_dict(value)))


# --- generated bodies -------------------------------------------------------------------------

INTS = st.integers(0, 2**53)
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=5)  # lone surrogates too
ODD: list[Any] = [
    *(10**400, -(10**400), 2**64, float("nan"), float("inf"), 1e308, 1.0, True, None),
    *("", "1", "nan", "\ud83d", "\ude00", "é", [], {}, [[]], [None], {"": None}),
]
ANY_JSON = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
UNKNOWN = st.recursive(
    st.none() | st.booleans() | INTS | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def object_of(
    needed: dict[str, st.SearchStrategy[Any]], **maybe: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    known = st.fixed_dictionaries(
        needed, optional={name: st.none() | value for name, value in maybe.items()}
    )
    unknown = st.dictionaries(st.sampled_from(["x_a", "x_b"]), UNKNOWN, max_size=1)
    return st.builds(lambda a, b: a | b, known, unknown)


TOP = {"token": st.text(max_size=3), "logprob": st.floats(-50, 0)}
BYTES = st.lists(st.integers(0, 255), max_size=3)
TOKENS = st.lists(
    object_of(
        TOP | {"top_logprobs": st.lists(object_of(TOP, bytes=BYTES), max_size=2)}, bytes=BYTES
    ),
    max_size=2,
)
LOGPROBS = object_of({}, content=TOKENS, refusal=TOKENS)
FUNCTION = object_of({"name": st.text(max_size=3), "arguments": st.text(max_size=5)})
CALLS = st.lists(
    object_of({"id": st.text(max_size=3), "type": st.just("function"), "function": FUNCTION}),
    max_size=2,
)
PARTS = st.lists(object_of({"type": st.just("text"), "text": st.text(max_size=3)}), max_size=2)
MESSAGE = object_of(
    {"role": st.text(max_size=9)},
    content=st.text() | PARTS,
    refusal=st.text(max_size=3),
    tool_calls=CALLS,
)
CHOICE = object_of(
    {"index": INTS, "message": MESSAGE},
    finish_reason=st.text(min_size=1, max_size=5),
    logprobs=LOGPROBS,
)
DETAILS = st.dictionaries(st.text(max_size=3), INTS, max_size=2)
USAGE = object_of(
    dict.fromkeys(["prompt_tokens", "completion_tokens", "total_tokens"], INTS),
    prompt_tokens_details=DETAILS,
    completion_tokens_details=DETAILS,
)
HEAD = {"id": st.text(max_size=3), "created": INTS, "model": st.text(max_size=3)}
COMPLETION = object_of(
    HEAD | {"object": st.just("chat.completion"), "choices": st.lists(CHOICE, max_size=2)},
    usage=USAGE,
)
CALL_DELTAS = st.lists(
    object_of(
        {},
        index=INTS,
        id=st.text(max_size=3),
        type=st.just("function"),
        function=object_of({}, name=st.text(max_size=3), arguments=st.text(max_size=5)),
    ),
    max_size=2,
)
DELTA = object_of(
    {}, role=st.text(max_size=9), content=st.text(), refusal=st.text(), tool_calls=CALL_DELTAS
)
CHUNK = object_of(
    HEAD
    | {
        "object": st.just("chat.completion.chunk"),
        "choices": st.lists(
            object_of(
                {"index": INTS, "delta": DELTA},
                finish_reason=st.text(min_size=1, max_size=5),
                logprobs=LOGPROBS,
            ),
            max_size=2,
        ),
    },
    usage=USAGE,
)


def without_nulls(value: Any, *, known: bool = True) -> Any:
    """A body without nulls, except those inside unknown fields."""
    if isinstance(value, dict) and known:
        return {
            name: without_nulls(item, known=not name.startswith("x_"))
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, list) and known:
        return [without_nulls(item) for item in value]
    return value


def keep_parts(body: dict[str, Any]) -> dict[str, Any]:
    """Content parts are kept as plain values, so their nulls remain."""
    expected: dict[str, Any] = without_nulls(body)
    for plain, choice in zip(body["choices"], expected["choices"], strict=True):
        if isinstance(plain.get("message", {}).get("content"), list):
            choice["message"]["content"] = plain["message"]["content"]
    return expected


@settings(max_examples=200, deadline=None)
@given(COMPLETION)
def test_a_completion_is_encoded_as_it_was_decoded(body: dict[str, Any]) -> None:
    assert to_dict(structure(body, ChatCompletion)) == keep_parts(body)


@settings(max_examples=200, deadline=None)
@given(CHUNK)
def test_a_chunk_is_encoded_as_it_was_decoded(body: dict[str, Any]) -> None:
    assert to_dict(structure(body, ChatCompletionChunk)) == without_nulls(body)


@st.composite
def mutated(draw: st.DrawFn, bodies: st.SearchStrategy[Any]) -> bytes:
    """A valid body with an arbitrary value in one place."""
    body = draw(bodies)
    holder, key = draw(st.sampled_from(list(places(body))))
    holder[key] = draw(ANY_JSON)
    return json.dumps(body).encode()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    items: Any = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield value, key
        yield from places(item)


@settings(max_examples=300, deadline=None)
@given(mutated(COMPLETION) | ANY_JSON.map(lambda v: json.dumps(v).encode()) | st.binary())
def test_every_body_is_a_completion_or_a_decode_error(data: bytes) -> None:
    try:
        completion = decode_completion(data)
    except DecodeError:
        return
    assert can_be_encoded(completion)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(mutated(CHUNK) | ANY_JSON.map(lambda v: json.dumps(v).encode()), max_size=3),
    st.sampled_from(["", "message", "error", "ping"]),
)
def test_every_event_is_a_chunk_an_error_or_nothing(events: list[bytes], kind: str) -> None:
    decoder = ChunkDecoder()
    for data in events:
        try:
            chunk = decoder.decode(data, kind)
        except DecodeError:
            return
        except FailureEvent as failure:
            body = failure.body
        else:
            body = None if chunk is None else to_dict(chunk)
        assert all(text.encode() is not None for text in texts_of(body))


@settings(max_examples=200, deadline=None)
@given(mutated(COMPLETION).map(json.loads))
def test_every_json_body_instead_of_a_stream_is_a_chunk_or_a_decode_error(body: Any) -> None:
    if isinstance(body, dict):
        try:
            chunk_from_completion(body)
        except DecodeError:
            return


# --- tolerance --------------------------------------------------------------------------------


def test_the_response_of_the_service_s_page_is_decoded() -> None:
    completion = decode_completion(json.dumps(PAGE).encode())
    assert completion.text == "Hello.  How can I assist you today?"
    assert completion.finish_reason == "stop"
    assert completion.usage == Usage(265, 81, 346)
    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].extra == completion.extra == {}


@pytest.mark.parametrize("name", [name for name in PAGE if name != "choices"])
def test_null_means_absent(name: str) -> None:
    without = {key: value for key, value in PAGE.items() if key != name}
    assert completion_from(PAGE | {name: None}) == completion_from(without)


def test_an_unknown_field_is_kept_in_the_extra_of_its_object() -> None:
    body = json.loads(json.dumps(PAGE))
    body["choices"][0]["message"]["reasoning_content"] = "hm"
    body["choices"][0]["stop_reason"] = 128009
    body["usage"]["cached"] = {"tokens": None}
    body["system_fingerprint"] = "fp"
    completion = completion_from(body)
    assert completion.message.extra == {"reasoning_content": "hm"}
    assert completion.choices[0].extra == {"stop_reason": 128009}
    assert completion.usage is not None
    assert completion.usage.extra == {"cached": {"tokens": None}}
    assert completion.extra == {"system_fingerprint": "fp"}


@pytest.mark.parametrize("name", ["id", "created", "model", "object", "usage"])
@pytest.mark.parametrize("odd", [[], {"a": 1}, True, "x", 1.5, 7])
def test_metadata_of_an_unexpected_type_is_kept_and_loses_no_text(name: str, odd: Any) -> None:
    body = PAGE | {name: odd}
    completion = completion_from(body)
    assert completion.text == "Hello.  How can I assist you today?"
    kept = to_dict(completion).get(name)
    fits = {"created": (1.5, 7), "usage": ({"a": 1},)}.get(name, ("x",))
    assert kept == odd or odd in fits


@pytest.mark.parametrize(
    "created", [float("inf"), float("nan"), -float("inf"), 1e999, 10**400, "1", True]
)
def test_an_unexpected_creation_time_loses_no_text(created: Any) -> None:
    completion = decode_completion(json.dumps(PAGE | {"created": created}).encode())
    assert completion.text == "Hello.  How can I assist you today?"


@pytest.mark.parametrize(
    "logprobs",
    [
        {"tokens": ["a"], "token_logprobs": [-1.0], "text_offset": [0]},
        {"content": "x"},
        {"content": [{"token": 5}]},
        {"content": [{"token": "a", "logprob": 10**400}]},
        {"content": [{"token": "a", "logprob": "-1"}]},
        [],
        "x",
    ],
)
def test_logprobs_of_another_shape_are_kept(logprobs: Any) -> None:
    data = body_of(message={"content": "a"}, logprobs=logprobs)
    completion = decode_completion(data)
    assert completion.text == "a"
    assert to_dict(completion)["choices"][0]["logprobs"] == logprobs or isinstance(logprobs, dict)
    assert completion.choices[0].extra or completion.choices[0].logprobs


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": 5}},
        {"message": {"content": True}},
        {"message": {"content": {"text": "x"}}},
        {"message": "x"},
        {"message": []},
        {"message": {"refusal": 5}},
        {"message": {"tool_calls": "x"}},
        {"message": {"tool_calls": [5]}},
        {"message": {"tool_calls": [{"function": "f"}]}},
        {"message": {"tool_calls": [{"function": {"arguments": 5}}]}},
        {"message": {}, "finish_reason": 5},
        5,
        None,
        [],
    ],
)
def test_text_of_an_unexpected_type_is_refused(choice: Any) -> None:
    with pytest.raises(DecodeError):
        decode_completion(json.dumps({"choices": [choice]}).encode())


@pytest.mark.parametrize("index", ["1", [], {}, 1.5, True])
def test_a_choice_is_never_mistaken_for_another(index: Any) -> None:
    """An index of an unexpected type is not 0: two choices would be mixed into one text."""
    body = json.dumps({"choices": [{"index": index, "delta": {"content": "b"}}]}).encode()
    try:
        chunk = ChunkDecoder().decode(body)
    except DecodeError:
        return
    assert chunk is not None
    assert chunk.choices[0].index != 0


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"null", b"{}", b'{"choices":{}}', b""])
def test_a_body_without_choices_is_not_a_completion(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_completion(body)


def test_arguments_sent_as_an_object_become_json_text() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": {"city": "Genève", "n": 1}}}
    completion = decode_completion(body_of(message={"tool_calls": [call]}))
    arguments = completion.tool_calls[0].function.arguments
    assert json.loads(arguments) == {"city": "Genève", "n": 1}


def test_a_delta_s_content_parts_are_their_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking"}, {"type": "text", "text": "b"}]
    assert structure({"content": parts}, Delta).text == "ab"


def test_an_empty_list_of_tool_calls_is_none() -> None:
    assert completion_from(PAGE).message.tool_calls is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"choices":[{"message":{"content":"a\\ud83d"}}]}', "a\ufffd"),
        (b'{"choices":[{"message":{"content":"\\ude00a"}}]}', "\ufffda"),
        (b'{"choices":[{"message":{"content":"\\ud83d\\ude00"}}]}', "\U0001f600"),
        (b'{"choices":[{"message":{"content":"a\xff"}}]}', "a\ufffd"),
        (b'{"choices":[{"message":{"content":"\xed\xa0\xbd"}}]}', "\ufffd\ufffd\ufffd"),
    ],
)
def test_text_that_cannot_be_encoded_is_repaired(data: bytes, text: str) -> None:
    assert decode_completion(data).text == text


def _deep_list(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


DEPTHS = [300, 480, 600, 900, 990, 1000, 1020, 1100, 100_000]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    "shape",
    [
        b"%s",
        b'{"choices":%s}',
        b'{"choices":[],"x":%s}',
        b'{"choices":[],"usage":%s}',
        b'{"choices":[],"id":%s}',
        b'{"choices":[],"s":"\\ud83d","x":%s}',
        b'{"choices":[{"message":%s}]}',
        b'{"choices":[{"message":{"content":%s}}]}',
        b'{"error":%s}',
    ],
)
@pytest.mark.parametrize("read", [decode_completion, lambda data: ChunkDecoder().decode(data)])
def test_deep_nesting_is_decoded_or_refused(
    read: Callable[[bytes], Any], shape: bytes, depth: int
) -> None:
    try:
        read(shape % _deep_list(depth))
    except (DecodeError, FailureEvent):
        return


@pytest.mark.parametrize("depth", [600, 900, 1000])
def test_deep_nesting_instead_of_a_stream_is_decoded_or_refused(depth: int) -> None:
    try:
        chunk_from_completion({"choices": loads(_deep_list(depth))})
    except DecodeError:
        return


@pytest.mark.parametrize("number", ["1" + "0" * 30, "1" + "0" * 400, "9" * 5000, "1e400", "-0.0"])
@pytest.mark.parametrize("name", ["created", "n", "usage", "id"])
def test_huge_numbers_are_decoded_or_refused(number: str, name: str) -> None:
    try:
        decode_completion(f'{{"choices":[],"{name}":{number}}}'.encode())
    except DecodeError:
        return


def test_a_decode_error_quotes_the_beginning() -> None:
    with pytest.raises(DecodeError, match="not JSON") as caught:
        loads(b"<html>" + b"x" * 10_000)
    assert "<html>" in str(caught.value)
    assert len(str(caught.value)) < 400


# --- cost -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "headers", "cost"),
    [
        ({"usage": {"credits_used": 12, "usd_spent": 0.5}}, None, Cost(12.0, 0.5)),
        ({"usage": {"credits_used": "12"}}, None, Cost(12.0, None)),
        ({"usage": {}}, None, None),
        ({"usage": {"credits_used": True}}, None, None),
        ({"usage": {"credits_used": []}}, None, None),
        ({"usage": 5}, None, None),
        (None, None, None),
        ("x", None, None),
        (None, {"x-aimlapi-credits-used": "3", "x-aimlapi-usd-spent": "0.1"}, Cost(3.0, 0.1)),
        (None, {"x-aimlapi-credits-used": "many"}, None),
        (None, {}, None),
    ],
)
def test_the_cost_is_the_reported_one(meta: Any, headers: Any, cost: Cost | None) -> None:
    assert cost_from(meta, headers) == cost


@pytest.mark.parametrize("number", [10**400, float("nan"), float("inf"), "nan", "inf"])
def test_a_cost_that_is_not_a_number_is_none(number: Any) -> None:
    data = json.dumps({"choices": [], "meta": {"usage": {"credits_used": number}}}).encode()
    assert decode_completion(data).cost is None


# --- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Message("user", "x"), {"role": "user", "content": "x"}),
        (
            Message("user", [TextPart("a"), ImagePart(ImageURL("u"))]),
            {
                "role": "user",
                "content": [
                    {"text": "a", "type": "text"},
                    {"image_url": {"url": "u"}, "type": "image_url"},
                ],
            },
        ),
        (
            Message(tool_calls=[ToolCall("c")], extra={"x": None}),
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "", "arguments": ""}}
                ],
                "x": None,
            },
        ),
        (
            Tool(FunctionDefinition("f", parameters={"type": "object", "default": None})),
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object", "default": None}},
            },
        ),
        (
            Choice(logprobs=Logprobs()),
            {"index": 0, "message": {"role": "assistant"}, "logprobs": {}},
        ),
    ],
)
def test_none_is_left_out_and_extra_is_put_back(value: Any, plain: dict[str, Any]) -> None:
    assert to_dict(value) == plain


def test_how_a_completion_was_obtained_is_not_encoded() -> None:
    completion = ChatCompletion(request_id="r", cost=Cost(1.0), extra={"x": 1})
    assert to_dict(completion) == {
        "id": "",
        "choices": [],
        "created": 0,
        "model": "",
        "object": "chat.completion",
        "x": 1,
    }


def test_dumps_encodes_attrs_values_and_other_mappings_and_sequences() -> None:
    value = {"a": Message("user", "x"), "b": MappingProxyType({"c": 1}), "d": (1, range(2))}
    written = orjson.loads(dumps(value))
    assert written == {"a": {"role": "user", "content": "x"}, "b": {"c": 1}, "d": [1, [0, 1]]}


CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({1, 2}, id="set"),
        pytest.param(object(), id="object"),
        pytest.param(1j, id="complex"),
        pytest.param({1: 2}, id="number as key"),
        pytest.param("\ud83d", id="lone surrogate"),
        pytest.param({"\ud83d": 1}, id="lone surrogate as key"),
        pytest.param(2**64, id="huge integer"),
        pytest.param(CIRCULAR, id="circle"),
        pytest.param(b"abc", id="bytes"),
        pytest.param(bytearray(b"abc"), id="bytearray"),
        pytest.param(float("nan"), id="NaN"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param(Message("user", content=object()), id="odd message"),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_json_cannot_represent_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        dumps({"value": value})


@settings(deadline=None)
@given(ANY_TEXT)
def test_repaired_text_can_be_encoded_and_valid_text_is_unchanged(text: str) -> None:
    fixed = repair_text(text)
    assert fixed.encode().decode() == fixed
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert fixed == text
