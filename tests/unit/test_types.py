"""The values: shortcuts, comparison, pickling, independence."""

import copy
import pickle
import typing
from typing import Any

import attrs
import pytest

from laplas_async import types
from laplas_async.types import (
    Attempt,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Cost,
    Delta,
    ImagePart,
    ImageURL,
    Message,
    RequestParameters,
    TextPart,
    ToolCall,
)

VALUES = [one for one in vars(types).values() if isinstance(one, type) and attrs.has(one)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ("plain", "plain"),
        ([], ""),
        ([TextPart("a"), TextPart("b")], "ab"),
        ([TextPart("a"), ImagePart(ImageURL("u")), TextPart("b")], "ab"),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}], "a"),
        ([{"type": "text", "text": None}], ""),
        ([{"type": "text"}, "not a part", None], ""),
    ],
)
def test_a_message_s_text_is_its_parts_joined(content: Any, text: str) -> None:
    assert Message("user", content).text == text


def test_a_completion_has_shortcuts_to_its_first_choice() -> None:
    call = ToolCall("c")
    first = Choice(0, Message(content="a", tool_calls=[call]), "stop")
    completion = ChatCompletion(choices=[first, Choice(1, Message(content="b"), "length")])
    assert completion.message is first.message
    assert completion.text == "a"
    assert completion.finish_reason == "stop"
    assert completion.tool_calls == [call]


def test_the_shortcuts_of_a_completion_without_choices_are_empty() -> None:
    completion = ChatCompletion()
    assert completion.message == Message()
    assert (completion.text, completion.finish_reason, completion.tool_calls) == ("", None, [])
    assert ChatCompletion(choices=[Choice()]).tool_calls == []


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ([], ""),
        ([ChunkChoice()], ""),
        ([ChunkChoice(delta=Delta(content="a"))], "a"),
        ([ChunkChoice(1, Delta(content="b"))], ""),
        ([ChunkChoice(1, Delta(content="b")), ChunkChoice(0, Delta(content="a"))], "a"),
        ([ChunkChoice(0, Delta(content="a")), ChunkChoice(0, Delta(content="b"))], "ab"),
    ],
)
def test_a_chunk_s_text_is_the_text_it_adds_to_choice_0(choices: Any, text: str) -> None:
    assert ChatCompletionChunk(choices=choices).text == text


def test_comparing_completions_ignores_how_they_were_obtained() -> None:
    one = ChatCompletion("i", request_id="a", cost=Cost(1.0), attempts=(Attempt(1.0),))
    assert one == ChatCompletion("i", request_id="b")
    assert one != ChatCompletion("j", request_id="a")


@pytest.mark.parametrize("cls", VALUES)
def test_a_value_survives_pickling_and_copying_and_is_documented(cls: Any) -> None:
    needed = [a.name for a in attrs.fields(cls) if a.default is attrs.NOTHING]
    value = cls(**dict.fromkeys(needed, "x"))
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value
    assert cls.__doc__
    assert "Method generated" not in cls.__doc__


@pytest.mark.parametrize("cls", [cls for cls in VALUES if "extra" in attrs.fields_dict(cls)])
def test_values_do_not_share_their_defaults(cls: Any) -> None:
    one, other = cls(), cls()
    one.extra["x"] = 1
    assert other.extra == {}


@pytest.mark.parametrize("value", [TextPart("a"), ImageURL("u"), Cost(1.0), Attempt(1.0)])
def test_records_are_immutable_and_hashable(value: Any) -> None:
    name = attrs.fields(type(value))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, "b")
    assert hash(value) == hash(copy.copy(value))


def test_setting_an_unknown_attribute_raises() -> None:
    with pytest.raises(AttributeError):
        Message().contents = "x"  # type: ignore[attr-defined]


def test_every_request_field_is_optional_and_may_be_none() -> None:
    assert not RequestParameters.__required_keys__
    for kind in typing.get_type_hints(RequestParameters).values():
        assert type(None) in typing.get_args(kind)


REASONING: dict[str, Any] = {
    "reasoning_content": "because",
    "reasoning": "because",
    "reasoning_text": "because",
    "thinking": "because",
    "reasoning_details": [
        {"type": "reasoning.text", "text": "be"},
        {"type": "reasoning.encrypted", "data": "x"},
        {"type": "reasoning.summary", "summary": "cause"},
    ],
}


@pytest.mark.parametrize("name", REASONING)
def test_reasoning_is_found_under_every_name_that_services_use(name: str) -> None:
    extra = {name: REASONING[name]}
    assert Delta(extra=extra).reasoning == Message(extra=extra).reasoning == "because"


def test_reasoning_sent_under_two_names_counts_once() -> None:
    assert Delta(extra=REASONING).reasoning == "because"
