"""Requests for typed output, against a service that is a list of responses."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define

from laplas_async import (
    BadRequestError,
    ChatCompletion,
    Choice,
    ConfigError,
    ContentFilterError,
    Cost,
    FunctionCall,
    InvalidJSONError,
    Message,
    OutputError,
    OutputType,
    OutputValidationError,
    Parsed,
    RefusalError,
    ToolCall,
    TruncatedOutputError,
    Usage,
)
from laplas_async.structured.parsing import modes_to_try, new_request, parse


@define
class Person:
    name: str
    age: int


ADA = '{"name": "Ada", "age": 36}'
WRONG = '{"name": "Ada", "age": "36"}'


def response(text: str | None = ADA, finish: str = "stop", **message: Any) -> ChatCompletion:
    return ChatCompletion(
        choices=[Choice(message=Message(content=text, **message), finish_reason=finish)],
        usage=Usage(10, 5, 15),
        cost=Cost(usd_spent=0.5),
    )


class Service:
    """Gives its responses one after the other, and keeps the requests."""

    def __init__(self, *responses: ChatCompletion | BadRequestError) -> None:
        self.responses = list(responses)
        self.requests: list[dict[str, Any]] = []

    async def complete(self, messages: Sequence[Any], **parameters: Any) -> ChatCompletion:
        self.requests.append({"messages": list(messages), **parameters})
        given = self.responses.pop(0)
        if isinstance(given, BadRequestError):
            raise given
        return given

    async def parse(self, tp: Any = Person, **options: Any) -> Parsed[Any]:
        parameters = options.pop("parameters", {})
        lenient = options.pop("lenient", False)
        output: OutputType[Any] = OutputType(tp, lenient=lenient)
        return await parse(self.complete, new_request("Who?", output, parameters, **options))


def rejection(message: str, **body: Any) -> BadRequestError:
    return BadRequestError(message, status=400, body={"message": message, **body})


async def test_a_fitting_answer_is_the_result() -> None:
    service = Service(response())
    result = await service.parse()
    assert result.output == Person("Ada", 36)
    assert (result.mode, result.requests, result.usage) == ("json_schema", 1, Usage(10, 5, 15))
    sent = service.requests[0]["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("Person", True)


async def test_problems_go_back_to_the_model_and_usage_is_summed() -> None:
    service = Service(response(WRONG), response("Sorry"), response())
    result = await service.parse()
    assert (result.requests, result.usage) == (3, Usage(30, 15, 45))
    assert result.cost == Cost(usd_spent=1.5)
    messages = service.requests[2]["messages"]
    assert messages[1] == {"role": "assistant", "content": WRONG}
    assert "age: expected an integer, got '36'" in messages[2]["content"]
    assert messages[3]["content"] == "Sorry"


async def test_after_the_retries_every_problem_is_in_the_error() -> None:
    service = Service(response(WRONG), response('{"name": 1, "age": "x"}'))
    with pytest.raises(OutputValidationError) as caught:
        await service.parse(max_retries=1)
    assert [problem.path for problem in caught.value.errors] == ["name", "age"]
    assert caught.value.path == "name"
    assert caught.value.usage == Usage(20, 10, 30)
    assert caught.value.completion is not None


@pytest.mark.parametrize("text", ["", None, "I would rather not.", '{"name": "Ada"', ADA + ADA])
async def test_no_json_broken_json_and_two_objects_are_invalid(text: str | None) -> None:
    with pytest.raises(InvalidJSONError):
        await Service(response(text)).parse(max_retries=0)


async def test_lenient_reads_what_strict_refuses() -> None:
    assert (await Service(response(WRONG)).parse(lenient=True)).output == Person("Ada", 36)


async def test_a_refusal_and_a_filter_are_not_retried() -> None:
    with pytest.raises(RefusalError, match="No!"):
        await Service(response(None, refusal="No!")).parse()
    with pytest.raises(ContentFilterError):
        await Service(response("", "content_filter")).parse()


async def test_a_truncated_answer_raises_with_the_partial_object() -> None:
    with pytest.raises(TruncatedOutputError) as caught:
        await Service(response('{"name": "Ada", "age": 3', "length")).parse()
    assert caught.value.partial == {"name": "Ada"}


async def test_a_truncated_answer_is_requested_once_more_with_twice_the_tokens() -> None:
    service = Service(response("{", "length"), response())
    result = await service.parse(retry_truncated=True, parameters={"max_tokens": 20})
    assert result.requests == 2
    assert [one["max_tokens"] for one in service.requests] == [20, 40]
    with pytest.raises(TruncatedOutputError):
        await Service(response("{", "length"), response("{", "length")).parse(retry_truncated=True)


async def test_a_rejected_mode_falls_back_step_by_step() -> None:
    service = Service(
        rejection("response_format: json_schema is not supported"),
        rejection("This model does not support response_format"),
        rejection("tool_choice is not available"),
        response(),
    )
    result = await service.parse()
    assert (result.mode, result.requests) == ("prompt", 1)
    kinds = [
        one["response_format"]["type"] if "response_format" in one else "tools" in one
        for one in service.requests
    ]
    assert kinds == ["json_schema", "json_object", True, False]
    for at in (1, 3):
        system = service.requests[at]["messages"][0]
        assert system["role"] == "system"
        assert "JSON" in system["content"]
        assert '"age"' in system["content"]


async def test_another_400_is_raised() -> None:
    service = Service(rejection("max_tokens is too large"))
    with pytest.raises(BadRequestError):
        await service.parse()
    assert len(service.requests) == 1


async def test_a_fixed_mode_does_not_fall_back() -> None:
    with pytest.raises(BadRequestError):
        await Service(rejection("response_format")).parse(mode="json_schema")


async def test_a_failed_generation_is_read_as_the_text() -> None:
    fitting = rejection("json_validate_failed", error={"failed_generation": ADA})
    assert (await Service(fitting).parse()).output == Person("Ada", 36)
    service = Service(rejection("failed", failed_generation=WRONG), response())
    assert (await service.parse()).requests == 1
    assert service.requests[1]["messages"][1]["content"] == WRONG


async def test_a_tool_is_another_way_to_answer() -> None:
    call = ToolCall("1", FunctionCall("Person", ADA))
    service = Service(response(None, "tool_calls", tool_calls=[call]))
    assert (await service.parse(mode="tool")).output == Person("Ada", 36)
    assert service.requests[0]["tool_choice"]["function"] == {"name": "Person"}


async def test_instructions_join_an_existing_system_message() -> None:
    service = Service(response())
    output: OutputType[Person] = OutputType(Person)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    await parse(service.complete, new_request(messages, output, {}, mode="prompt"))
    sent = service.requests[0]["messages"]
    assert len(sent) == 2
    assert sent[0]["content"].startswith("Be brief.\n\nAnswer with one JSON object")


def test_published_features_decide_where_auto_begins() -> None:
    chat = "openai/chat-completion"
    assert modes_to_try("auto", features=[f"{chat}.function"]) == ["tool", "prompt"]
    assert modes_to_try("auto", features=[f"{chat}.stream"]) == ["prompt"]
    assert modes_to_try("auto", features=[f"{chat}.response-format"])[0] == "json_schema"
    assert modes_to_try("auto", "tool") == ["tool", "prompt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "xml"}, "mode="),
        ({"max_retries": -1}, "max_retries"),
        ({"parameters": {"n": 2}}, "n: parse"),
        ({"parameters": {"response_format": {"type": "text"}}}, "response_format"),
    ],
)
async def test_wrong_arguments_are_config_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await Service().parse(**options)


async def test_errors_survive_pickling() -> None:
    import pickle

    with pytest.raises(OutputError) as caught:
        await Service(response(WRONG)).parse(max_retries=0)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.errors, copy.text, copy.usage) == (caught.value.errors, WRONG, Usage(10, 5, 15))
    assert json.loads(copy.text)["age"] == "36"
