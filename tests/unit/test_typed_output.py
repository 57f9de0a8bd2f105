"""``TypedOutput``: which mode is requested first, and what is remembered."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define

from laplas_async.errors import BadRequestError, ConfigError, ServerError
from laplas_async.typed_output import TypedOutput
from laplas_async.types import ChatCompletion, Choice, Message, Model


@define
class Line:
    sku: str


class Service:
    """Lists models and completes, as ``LaplasClient`` does; rejects some modes."""

    def __init__(self, *models: Model, rejects: Sequence[str] = (), status: int = 400) -> None:
        self.listed = 0
        self.requests: list[dict[str, Any]] = []
        self.fails = False
        self._models = models
        self._rejects = rejects
        self._status = status

    async def models(self) -> Sequence[Model]:
        self.listed += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ServerError("no list today", status=500)
        return self._models

    async def complete(self, messages: Any, **parameters: Any) -> ChatCompletion:
        self.requests.append(parameters)
        await asyncio.sleep(0)
        for name in self._rejects:
            if name in parameters:
                raise BadRequestError(f"{name} is not supported", status=self._status)
        return ChatCompletion(choices=[Choice(message=Message(content='{"sku": "a"}'))])


async def parse(output: TypedOutput, service: Service, **options: Any) -> Any:
    options = {"model": "m", "mode": "auto"} | options
    return await output.parse(service.complete, "letter", Line, {}, **options)


@pytest.mark.parametrize(
    ("features", "mode"),
    [
        (("openai/chat-completion.response-format",), "json_schema"),
        (("openai/chat-completion.function",), "tool"),
        (("openai/chat-completion.stream",), "prompt"),
        ((), "json_schema"),
    ],
)
async def test_the_first_mode_is_the_best_that_the_model_publishes(
    features: tuple[str, ...], mode: str
) -> None:
    service = Service(Model("m", features=features))
    result = await parse(TypedOutput(service.models), service)
    assert result.mode == mode
    assert len(service.requests) == 1


async def test_a_model_that_is_not_listed_is_asked_for_json_schema() -> None:
    service = Service(Model("other", features=("x.function",)))
    assert (await parse(TypedOutput(service.models), service)).mode == "json_schema"


async def test_many_calls_list_the_models_once() -> None:
    service = Service(Model("m", features=("x.function",)))
    output = TypedOutput(service.models)
    results = await asyncio.gather(*(parse(output, service) for _ in range(5)))
    assert {result.mode for result in results} == {"tool"}
    assert service.listed == 1


async def test_a_list_that_fails_is_not_asked_for_again() -> None:
    service = Service()
    service.fails = True
    output = TypedOutput(service.models)
    for model in ("a", "b"):
        assert (await parse(output, service, model=model)).mode == "json_schema"
    assert service.listed == 1


async def test_a_mode_of_the_caller_s_choice_needs_no_list() -> None:
    service = Service(Model("m", features=("x.function",)))
    assert (await parse(TypedOutput(service.models), service, mode="prompt")).mode == "prompt"
    assert service.listed == 0


async def test_the_mode_that_worked_is_remembered_for_the_model() -> None:
    service = Service(rejects=["response_format"])
    output = TypedOutput(service.models)
    assert (await parse(output, service)).mode == "tool"
    before = len(service.requests)
    assert (await parse(output, service)).mode == "tool"
    assert len(service.requests) == before + 1
    assert (await parse(output, service, model="other")).mode == "tool"
    assert len(service.requests) > before + 2  # nothing is known about that one


async def test_a_mode_rejected_with_another_status_is_left_too() -> None:
    """llama-cpp-python's server answers 500 to a response_format that it does not know."""
    service = Service(rejects=["response_format"], status=500)
    assert (await parse(TypedOutput(service.models), service)).mode == "tool"


async def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    service = Service()
    with pytest.raises(ConfigError, match="max_retries"):
        await parse(TypedOutput(service.models), service, max_retries=-1)
    assert (service.listed, service.requests) == (0, [])
