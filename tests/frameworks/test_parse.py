"""``parse`` and ``stream`` with pydantic's models: the same with openai's package and with ours."""

import importlib
from types import GenericAlias
from typing import Any

import pytest

from laplas_async.simulator import Simulator

KEY = "test-key-that-never-shows"
ASK = [{"role": "user", "content": "A river, please."}]


async def _outputs(openai: Any, pydantic: Any) -> list[Any]:
    city: Any = pydantic.create_model("City", name=(str, ...), country=(str | None, None))
    river = pydantic.create_model(
        "River", name=(str, ...), length=(int, ...), cities=(GenericAlias(list, (city,)), ...)
    )
    tool = openai.pydantic_function_tool(river, name="add_river")
    shown: list[Any] = []
    async with (
        Simulator(api_key=KEY) as sim,
        openai.AsyncOpenAI(api_key=KEY, base_url=sim.base_url) as client,
    ):
        completion = await client.chat.completions.parse(
            model="m", messages=ASK, response_format=river
        )
        shown += [type(completion).__name__, completion.choices[0].message.parsed.model_dump()]
        shown.append(sim.requests[-1].body["response_format"])
        completion = await client.beta.chat.completions.parse(
            model="m", messages=ASK, tools=[tool], tool_choice="required"
        )
        call = completion.choices[0].message.tool_calls[0]
        shown += [call.function.name, call.function.parsed_arguments.model_dump()]
        shown.append(sim.requests[-1].body["tools"])
        async with client.chat.completions.stream(
            model="m", messages=ASK, response_format=river
        ) as stream:
            async for event in stream:
                if event.type == "content.done":
                    shown.append(event.parsed.model_dump())
            final = await stream.get_final_completion()
        shown.append(final.choices[0].message.parsed.model_dump())
    return shown


async def test_pydantic_models_are_parsed_as_openai_parses_them() -> None:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    ours = importlib.import_module("laplas_async.openai")
    theirs, own = await _outputs(openai, pydantic), await _outputs(ours, pydantic)
    assert len(own) == 8
    assert own[1:] == theirs[1:]


async def test_results_are_fields_of_pydantic_models() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    ours = importlib.import_module("laplas_async.openai")
    async with (
        Simulator(api_key=KEY) as sim,
        ours.AsyncOpenAI(api_key=KEY, base_url=sim.base_url) as client,
    ):
        completion = await client.chat.completions.create(model="m", messages=ASK)
    chat = ours.types.chat
    record = pydantic.create_model(
        "Record",
        completion=(chat.ChatCompletion, ...),
        message=(chat.ChatCompletionMessage | None, None),
        embedding=(ours.types.Embedding | None, None),
    )
    made = record(completion=completion, message=completion.choices[0].message)
    again = record.model_validate_json(made.model_dump_json())
    assert again.completion == completion
    assert made.model_dump(exclude_none=True)["completion"] == completion.model_dump(
        exclude_none=True
    )
    assert record.model_json_schema()["properties"]["completion"]["title"] == "ChatCompletion"
    with pytest.raises(pydantic.ValidationError, match="must be an object"):
        record(completion=[])


async def test_a_pydantic_dataclass_is_parsed() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    dataclasses = importlib.import_module("pydantic.dataclasses")
    ours = importlib.import_module("laplas_async.openai")

    class River:
        name: str
        length: int

    made = dataclasses.dataclass(River)
    async with (
        Simulator(api_key=KEY) as sim,
        ours.AsyncOpenAI(api_key=KEY, base_url=sim.base_url) as client,
    ):
        completion = await client.chat.completions.parse(
            model="m", messages=ASK, response_format=made
        )
    assert pydantic
    assert isinstance(completion.choices[0].message.parsed, made)
