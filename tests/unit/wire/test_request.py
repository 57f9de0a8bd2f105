"""Every request field is sent as given, or refused before anything is sent."""

import ast
import copy
import inspect
import itertools
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.errors import ConfigError
from laplas_async.types import (
    FunctionCall,
    FunctionDefinition,
    ImagePart,
    ImageURL,
    JSONSchema,
    Message,
    RequestParameters,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)
from laplas_async.wire.request import _CHECKS, encode_request

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USER = {"role": "user", "content": "hi"}
NAN, INF = float("nan"), float("inf")


def sent(messages: Any = "hi", *, stream: bool = False, extra: Any = None, **fields: Any) -> Any:
    body = encode_request("m", messages, fields, stream=stream, extra_body=extra)
    return json.loads(body)


def refusal(messages: Any = "hi", *, extra: Any = None, **fields: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        encode_request("m", messages, fields, stream=False, extra_body=extra)
    return str(caught.value)


# --- fields -----------------------------------------------------------------------------------


def test_every_typed_keyword_has_a_check() -> None:
    assert _CHECKS.keys() == RequestParameters.__annotations__.keys()


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


ACCEPTED: dict[str, list[Any]] = {
    "max_tokens": [1, 512, 10**9],
    "stop": ["s", ["a"], ["a", "b", "c", "d"]],
    "stream_options": [{}, {"include_usage": True}, {"include_usage": False, "later": 1}],
    "n": [1, 8],
    "seed": [1, 2**53],
    "top_p": [0.01, 0.5, 1, 1.0],
    "top_k": [0, -1, 40, 1.5],
    "temperature": [0, 0.0, 1.3, 2],
    "repetition_penalty": [0, 1.1, -1],
    "logprobs": [True, False],
    "top_logprobs": [0, 20],
    "echo": [True, False],
    "min_p": [0, 0.001, 0.999, 1],
    "presence_penalty": [-2, 0, 2.0],
    "frequency_penalty": [-2.0, 0.5, 2],
    "logit_bias": [{}, {"50256": -100}, {"1": 100, "2": 0.5}],
    "tools": [[TOOL], [TOOL] * 128, [{"type": "function", "function": {"name": "-_" * 32}}]],
    "tool_choice": ["none", "auto", "required"],
    "parallel_tool_calls": [True, False],
    "response_format": [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "strict": True}},
    ],
}
NOT_NUMBERS: list[Any] = [True, False, "1", [], {}, NAN, INF, -INF, 1j, b"1", object()]
REFUSED: dict[str, tuple[str, list[Any]]] = {
    "max_tokens": ("at least 1", [0, -1, 1.5, *NOT_NUMBERS]),
    "stop": (
        "a list of 1 to 4 strings",
        ["", [], ["a"] * 5, [""], [1], 5, True, b"s", {"a": 1}, {"a"}],
    ),
    "stream_options": (
        "",
        [True, "x", [], {"include_usage": 1}, {"include_usage": None}],
    ),
    "n": ("at least 1", [0, -1, 1.5, *NOT_NUMBERS]),
    "seed": ("at least 1", [0, -1, 1.5, *NOT_NUMBERS]),
    "top_p": ("0.01 to 1", [0, 0.0099, 1.0001, -1, *NOT_NUMBERS]),
    "top_k": ("a number", NOT_NUMBERS),
    "temperature": ("0 to 2", [-0.01, 2.01, 10**400, -(10**400), *NOT_NUMBERS]),
    "repetition_penalty": ("a number", [10**400, *NOT_NUMBERS]),
    "logprobs": ("True or False", [0, 1, "true", [], NAN]),
    "top_logprobs": ("0 to 20", [-1, 21, 1.5, *NOT_NUMBERS]),
    "echo": ("True or False", [0, 1, "false", {}]),
    "min_p": ("0 to 1", [-0.001, 1.001, *NOT_NUMBERS]),
    "presence_penalty": ("-2 to 2", [-2.01, 2.01, *NOT_NUMBERS]),
    "frequency_penalty": ("-2 to 2", [-2.01, 2.01, *NOT_NUMBERS]),
    "logit_bias": (
        "-100",
        [[], "x", 5, {"1": 101}, {"1": -100.5}, {"1": True}, {"1": None}, {"1": NAN}],
    ),
    "tools": (
        "",
        [
            *([TOOL] * 129, "x", b"x", TOOL, 5, [5], [None], [{}], [[]]),
            *([{"type": "function"}], [{"type": "tool", "function": {"name": "f"}}]),
            *([named("")], [named("a" * 65)], [named("a b")], [named("é")], [named("f\n")]),
            [{"function": {"name": "f"}}],
            [{"type": "function", "function": {"name": 5}}],
            [{"type": "function", "function": {"name": "f", "description": 5}}],
            [{"type": "function", "function": {"name": "f", "parameters": []}}],
            [{"type": "function", "function": {"name": "f", "strict": 1}}],
        ],
    ),
    "tool_choice": (
        "",
        ["", "any", 5, True, [], {}, {"type": "function"}, {"type": "x", "function": {}}],
    ),
    "parallel_tool_calls": ("True or False", [0, "true", []]),
    "response_format": (
        "",
        [
            *("json", 5, [], {}, {"type": "xml"}, {"type": None}, {"type": []}),
            *({"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}),
            {"type": "json_schema", "json_schema": {"name": "s", "schema": []}},
            {"type": "json_schema", "json_schema": {"name": "s", "strict": "yes"}},
            {"type": "json_schema", "json_schema": {"name": "s p"}},
        ],
    ),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in ACCEPTED.items() for value in values]
)
def test_a_value_in_range_is_sent_unchanged(name: str, value: Any) -> None:
    assert sent(**{name: value})[name] == value


@pytest.mark.parametrize(
    ("name", "expected", "value"),
    [(name, message, value) for name, (message, values) in REFUSED.items() for value in values],
)
def test_a_value_out_of_range_is_refused_naming_field_value_and_range(
    name: str, expected: str, value: Any
) -> None:
    message = refusal(**{name: value})
    assert message.startswith(name)
    assert expected in message
    if isinstance(value, bool | float) or (isinstance(value, str | int) and len(repr(value)) < 40):
        assert repr(value) in message


def documented() -> dict[str, str]:
    """Return the docstring under each field of ``RequestParameters``."""
    (cls,) = ast.parse(inspect.getsource(RequestParameters)).body
    assert isinstance(cls, ast.ClassDef)
    return {
        field.target.id: doc.value.value
        for field, doc in itertools.pairwise(cls.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant)
        if isinstance(doc.value.value, str)
    }


@pytest.mark.parametrize("name", REFUSED)
def test_the_documented_range_is_the_one_that_is_checked(name: str) -> None:
    """``min_p`` was once documented as 0.001 to 0.999, and checked as 0 to 1."""
    expected = REFUSED[name][0]
    if re.search(r"\d", expected) and name not in ("stop", "logit_bias"):
        assert expected.lower() in documented()[name].lower()


@pytest.mark.parametrize("name", _CHECKS)
def test_none_is_not_sent(name: str) -> None:
    fields: dict[str, Any] = {name: None}
    assert sent(**fields).keys() == {"model", "messages", "stream"}


@pytest.mark.parametrize("table", [ACCEPTED, REFUSED])
def test_every_field_is_covered(table: Mapping[str, Any]) -> None:
    assert table.keys() == _CHECKS.keys()


@pytest.mark.parametrize("name", ["max_tokens", "n", "seed", "top_logprobs"])
def test_a_whole_float_counts_as_an_integer(name: str) -> None:
    fields: dict[str, Any] = {name: 2.0}
    assert type(sent(**fields)[name]) is int


@pytest.mark.parametrize("name", ["max_tokens", "n", "seed", "temperature", "top_k"])
@pytest.mark.parametrize(
    "value", [10**30, -(10**30), 10**5000, -(10**5000)], ids=["1e30", "-1e30", "1e5000", "-1e5000"]
)
def test_a_number_that_no_json_holds_is_refused(name: str, value: int) -> None:
    assert refusal(**{name: value}).startswith(name)


def test_token_ids_may_be_numbers() -> None:
    assert sent(logit_bias={50256: -100})["logit_bias"] == {"50256": -100}


def test_the_stream_is_asked_for_by_its_method_alone() -> None:
    assert sent(stream=True)["stream"] is True
    assert sent()["stream"] is False
    with pytest.raises(ConfigError, match=r"stream\(\) or complete\(\)"):
        encode_request("m", "hi", {"stream": True}, stream=False)
    assert "stream() or complete()" in refusal(extra={"stream": True})


@pytest.mark.parametrize(
    ("name", "hint"),
    [("max_token", "max_tokens"), ("temprature", "temperature"), ("toolchoice", "tool_choice")],
)
def test_an_unknown_keyword_gives_a_suggestion(name: str, hint: str) -> None:
    assert f"did you mean {hint!r}" in refusal(**{name: 1})


def test_an_unknown_keyword_without_a_similar_one_suggests_extra_body() -> None:
    message = refusal(zzz=1)
    assert message.startswith("zzz")
    assert "did you mean" not in message
    assert "extra_body={'zzz': ...}" in message


@pytest.mark.parametrize("model", ["", " ", None, 5, b"m", ["m"], True])
def test_an_invalid_model_is_refused(model: Any) -> None:
    with pytest.raises(ConfigError, match=r"^model="):
        encode_request(model, "hi", {}, stream=False)


def test_every_other_model_name_is_sent() -> None:
    assert json.loads(encode_request("vendor/é 1", "hi", {}, stream=False))["model"] == "vendor/é 1"


def test_the_example_of_the_service_s_page_is_sent_unchanged() -> None:
    page = {
        "model": "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo",
        "messages": [{"role": "system", "content": "text", "name": "text"}],
        "max_tokens": 512,
        "stop": "text",
        "stream_options": {"include_usage": True},
        "n": 1,
        "seed": 1,
        "top_p": 1,
        "top_k": 1,
        "temperature": 1,
        "repetition_penalty": 1,
        "logprobs": True,
        "echo": True,
        "min_p": 1,
        "presence_penalty": 1,
        "frequency_penalty": 1,
        "logit_bias": {"ANY_ADDITIONAL_PROPERTY": 1},
        "tools": [
            {
                "type": "function",
                "function": {"description": "text", "name": "text", "parameters": None},
            }
        ],
        "tool_choice": "none",
        "response_format": {"type": "text"},
    }
    fields = {name: page[name] for name in page if name not in ("model", "messages")}
    body = encode_request(str(page["model"]), page["messages"], fields, stream=False)  # type: ignore[arg-type]
    assert json.loads(body) == page | {"stream": False}


@pytest.mark.parametrize("stream", [False, True])
def test_whether_to_stream_is_always_sent(*, stream: bool) -> None:
    """Some servers stream unless ``"stream": false`` is in the body."""
    assert sent(stream=stream)["stream"] is stream


@pytest.mark.parametrize("tools", [[], ()])
def test_an_empty_list_of_tools_is_not_sent(tools: Any) -> None:
    assert "tools" not in sent(tools=tools)


@pytest.mark.parametrize(("name", "value"), [("seed", 0), ("top_p", 0), ("top_p", 0.0)])
def test_a_value_below_a_documented_minimum_says_whose_minimum_it_is(name: str, value: Any) -> None:
    assert "the minimum that the service documents" in refusal(**{name: value})


# --- tools and formats ------------------------------------------------------------------------


def test_a_tool_and_its_dict_are_sent_alike() -> None:
    tool = Tool(FunctionDefinition("f", parameters={"type": "object"}))
    assert sent(tools=[tool, TOOL])["tools"] == [TOOL, TOOL]


def test_a_tool_choice_must_name_one_of_the_tools() -> None:
    choice = {"type": "function", "function": {"name": "f"}}
    assert sent(tools=[TOOL], tool_choice=choice)["tool_choice"] == choice
    for tools in (None, [named("g")]):
        message = refusal(tools=tools, tool_choice=choice)
        assert message.startswith("tool_choice.function.name='f'")


def test_a_tool_choice_may_name_a_tool_in_extra_body() -> None:
    choice = {"type": "function", "function": {"name": "f"}}
    assert sent(tool_choice=choice, extra={"tools": [TOOL]})["tool_choice"] == choice


def test_a_response_format_and_its_dict_are_sent_alike() -> None:
    value = ResponseFormat("json_schema", JSONSchema("s", {"type": "object"}, strict=True))
    plain = {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
    }
    assert sent(response_format=value) == sent(response_format=plain)


CIRCLE: dict[str, Any] = {"type": "object"}
CIRCLE["properties"] = {"self": CIRCLE}
SCHEMAS = [
    pytest.param({"default": {1, 2}}, id="a set"),
    pytest.param({"default": object()}, id="an object"),
    pytest.param({"default": b"x"}, id="bytes"),
    pytest.param({"default": NAN}, id="NaN"),
    pytest.param({"type": str}, id="a class"),
    pytest.param({1: "x"}, id="a number as key"),
    pytest.param({"title": "\ud83d"}, id="a lone surrogate"),
    pytest.param(CIRCLE, id="a circle"),
]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("made", [Tool, dict])
def test_a_tool_schema_that_is_not_json_is_refused(schema: Any, made: type) -> None:
    plain = {"type": "function", "function": {"name": "f", "parameters": schema}}
    tool = Tool(FunctionDefinition("f", parameters=schema)) if made is Tool else plain
    assert refusal(tools=[tool]).startswith("tools")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_response_schema_that_is_not_json_is_refused(schema: Any) -> None:
    message = refusal(response_format=ResponseFormat("json_schema", JSONSchema("s", schema)))
    assert message.startswith("response_format")


MALFORMED: list[tuple[str, Any]] = [
    ("tools", [Tool({"name": "f"})]),  # type: ignore[arg-type]
    ("tools", [Tool("f")]),  # type: ignore[arg-type]
    ("tools", [Tool(None)]),  # type: ignore[arg-type]
    ("tools", [Tool(FunctionDefinition("f", parameters=5))]),  # type: ignore[arg-type]
    ("tools", [Tool(FunctionDefinition("f", parameters=[("a", 1)]))]),  # type: ignore[arg-type]
    ("tools", [Tool(FunctionDefinition(None))]),  # type: ignore[arg-type]
    ("response_format", ResponseFormat("json_schema", "s")),  # type: ignore[arg-type]
    ("response_format", ResponseFormat("json_schema", JSONSchema("s", 5))),  # type: ignore[arg-type]
    ("messages", [Message("user", [ImagePart("https://x/y.png")])]),  # type: ignore[arg-type]
    ("messages", [Message("user", [TextPart(None)])]),  # type: ignore[arg-type]
    ("messages", [Message("user", 5)]),  # type: ignore[arg-type]
    ("messages", [Message(tool_calls=5)]),  # type: ignore[arg-type]
    ("messages", [Message(tool_calls=["x"])]),  # type: ignore[list-item]
    ("messages", [Message(tool_calls=[ToolCall("c", "f")])]),  # type: ignore[arg-type]
    ("messages", [Message(tool_calls=[ToolCall(None)])]),  # type: ignore[arg-type]
    ("messages", [Message("user", "x", extra=5)]),  # type: ignore[arg-type]
    ("messages", [Message(5, "x")]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_value_with_a_field_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    message = refusal(value) if name == "messages" else refusal(**{name: value})
    assert message.startswith(name)


def test_tool_calls_given_as_dicts_inside_a_message_are_sent_or_refused() -> None:
    """Mixing attrs values and dicts never raises AttributeError."""
    message = Message(tool_calls=[CALL])  # type: ignore[list-item]
    try:
        body = sent([message])
    except ConfigError:
        return
    assert body["messages"][0]["tool_calls"] == [CALL]


# --- messages ---------------------------------------------------------------------------------

IMAGE = {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}}
MESSAGES: list[tuple[Any, Any]] = [
    (USER, USER),
    (Message("user", "hi"), USER),
    (MappingProxyType(USER), USER),
    ({"role": "user", "content": ""}, {"role": "user", "content": ""}),
    ({"role": "system", "content": "s", "name": "n"},) * 2,
    ({"role": "developer", "content": "s"},) * 2,
    ({"role": "user", "content": "s", "later": {"a": None}},) * 2,
    ({"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]},) * 2,
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},) * 2,
    (
        Message("user", [TextPart("a"), ImagePart(ImageURL("data:,x", "low")), IMAGE]),
        {"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE, IMAGE]},
    ),
    ({"role": "assistant", "content": None, "tool_calls": [CALL]},) * 2,
    ({"role": "assistant", "tool_calls": [CALL]},) * 2,
    ({"role": "assistant", "refusal": "no"},) * 2,
    ({"role": "assistant"}, {"role": "assistant", "content": ""}),
    ({"role": "assistant", "content": None}, {"role": "assistant", "content": ""}),
    ({"role": "assistant", "tool_calls": []}, {"role": "assistant", "content": ""}),
    (
        {"role": "assistant", "content": "x", "tool_calls": []},
        {"role": "assistant", "content": "x"},
    ),
    (Message(), {"role": "assistant", "content": ""}),
    (Message(extra={"thoughts": "hm"}), {"role": "assistant", "content": "", "thoughts": "hm"}),
    (
        Message(tool_calls=[ToolCall("c", FunctionCall("f", "{}"))]),
        {"role": "assistant", "tool_calls": [CALL]},
    ),
    ({"role": "tool", "content": "1", "tool_call_id": "c"},) * 2,
    (
        Message("tool", "1", tool_call_id="c"),
        {"role": "tool", "content": "1", "tool_call_id": "c"},
    ),
]


@pytest.mark.parametrize(("message", "plain"), MESSAGES)
def test_a_message_in_every_form_is_sent(message: Any, plain: Any) -> None:
    before = repr(message) if isinstance(message, MappingProxyType) else copy.deepcopy(message)
    assert sent([message])["messages"] == [plain]
    after = repr(message) if isinstance(message, MappingProxyType) else message
    assert after == before


def test_a_string_is_one_user_message() -> None:
    assert sent("hi")["messages"] == [USER]


def test_messages_may_be_a_tuple() -> None:
    assert sent((USER, Message("assistant", "x")))["messages"][1]["content"] == "x"


@pytest.mark.parametrize(
    ("messages", "name"),
    [
        ("", "messages"),
        ([], "messages"),
        ((), "messages"),
        (None, "messages"),
        (5, "messages"),
        (b"hi", "messages"),
        ({"role": "user"}, "messages"),
        ({"hi"}, "messages"),
        (iter([USER]), "messages"),
        ([USER, "hi"], "messages[1]"),
        ([USER, None], "messages[1]"),
        ([{}], "messages[0].role"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": b"x"}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}],
            "messages[0].content[0].image_url",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}],
            "messages[0].content[0].image_url.url",
        ),
        ([{"role": "user", "content": "x", "name": 5}], "messages[0].name"),
        ([{"role": "assistant", "content": []}], "messages[0].content"),
        ([{"role": "assistant", "content": 5}], "messages[0].content"),
        ([{"role": "tool", "content": None, "tool_call_id": "c"}], "messages[0].content"),
        ([{"role": "assistant", "refusal": 5}], "messages[0].refusal"),
        ([{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [5]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [{}]}], "messages[0].tool_calls[0].function"),
        (
            [{"role": "assistant", "tool_calls": [CALL | {"id": None}]}],
            "messages[0].tool_calls[0].id",
        ),
        (
            [{"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f"}}]}],
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{"role": "tool", "content": "1"}], "messages[0].tool_call_id"),
        ([{"role": "tool", "content": "1", "tool_call_id": 5}], "messages[0].tool_call_id"),
        ([{"role": "user", "content": "\ud83d"}], "messages"),
        ([{"role": "user", "content": "x", 5: 5}], "messages"),
        ([{"role": "user", "content": "x", "later": {1}}], "messages"),
    ],
)
def test_an_invalid_message_is_refused_by_its_position(messages: Any, name: str) -> None:
    message = refusal(messages)
    assert message.removeprefix(name)[:1] in ("=", ":")
    assert message.startswith(name)


@pytest.mark.parametrize("name", ["stop", "tools", "logit_bias", "response_format"])
def test_the_caller_s_values_are_not_modified(name: str) -> None:
    value = copy.deepcopy(ACCEPTED[name][-1])
    sent(**{name: value})
    assert value == ACCEPTED[name][-1]


# --- extra_body -------------------------------------------------------------------------------


def test_extra_body_is_sent_unchanged_and_takes_precedence() -> None:
    body = sent(extra={"later": {"a": None}, "max_tokens": 0}, max_tokens=5)
    assert body["later"] == {"a": None}
    assert body["max_tokens"] == 0


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ([], "extra_body"),
        ("x", "extra_body"),
        ([("a", 1)], "extra_body"),
        ({"later": {1}}, "later"),
        ({"later": "\ud83d"}, "later"),
        ({"later": b"x"}, "later"),
        ({"later": NAN}, "later"),
        ({5: 5}, ""),
    ],
)
def test_an_extra_body_that_is_not_a_json_object_is_refused(extra: Any, name: str) -> None:
    assert refusal(extra=extra).startswith(name)


def test_a_long_value_is_shortened_in_the_message() -> None:
    assert len(refusal(stop=["x" * 100_000, ""])) < 600
    assert len(refusal(temperature="x" * 100_000)) < 600


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("name", _CHECKS)
def test_a_value_whose_repr_raises_is_refused(name: str) -> None:
    assert refusal(**{name: Unprintable()}).startswith(name)


# --- arbitrary values --------------------------------------------------------------------------


LEAVES: list[Any] = [
    *(None, True, 0, 1, -1, 1.0, 0.5, NAN, INF, 10**30, 10**400, -(10**400), 2**64),
    *("", "x", "auto", "function", "\ud83d", b"x", bytearray(b"x"), 1j, object()),
    *(range(3), {1}, frozenset(), TOOL, CALL, USER, CIRCLE, Message(), Tool, len),
    *(value for values in ACCEPTED.values() for value in values),
]
leaves = st.sampled_from(LEAVES)
KEYS = st.sampled_from(["type", "function", "name", "role", "content", "text", "json_schema", "x"])
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            KEYS | leaves.filter(lambda v: type(v) in (int, float)), inner, max_size=4
        )
        | st.builds(Message, inner, inner, tool_calls=inner, extra=inner)
        | st.builds(Tool, inner)
        | st.builds(FunctionDefinition, inner, parameters=inner)
        | st.builds(ResponseFormat, inner, inner)
        | st.builds(ToolCall, inner, inner)
        | st.builds(ImagePart, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([*_CHECKS, "unknown"]), anything)
def test_every_value_of_every_field_is_sent_or_refused(name: str, value: Any) -> None:
    try:
        assert isinstance(encode_request("m", "hi", {name: value}, stream=False), bytes)
    except ConfigError as error:
        assert name in str(error)  # noqa: PT017 - both are valid outcomes


@settings(max_examples=500, deadline=None)
@given(anything | st.lists(anything, max_size=2), anything, anything)
def test_every_messages_model_and_extra_body_are_sent_or_refused(
    messages: Any, model: Any, extra: Any
) -> None:
    for asked_model, asked_extra in (("m", None), (model, extra)):
        try:
            encode_request(asked_model, messages, {}, stream=False, extra_body=asked_extra)
        except ConfigError:
            continue
