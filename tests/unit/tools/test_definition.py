"""Tools from functions."""

from datetime import date
from typing import Annotated, Any, Literal

import pytest
from attrs import define

from laplas_async import ConfigError, ToolContext, tool
from laplas_async.structured.reading import Mismatch
from laplas_async.tools.definition import as_tools


@define
class Passenger:
    name: str
    age: int


async def find_flights(
    origin: Annotated[str, "an airport"],
    day: date,
    cabin: Literal["economy", "business"] = "economy",
    passengers: list[Passenger] | None = None,
) -> list[str]:
    """Find flights.

    More for programmers.

    Args:
        day: when to leave
    """
    return [origin, str(day), cabin, str(passengers)]


def test_name_description_and_parameters_come_from_the_function() -> None:
    made = tool(find_flights)
    function = made.definition.function
    assert (function.name, function.description) == ("find_flights", "Find flights.")
    assert function.strict is True
    assert function.parameters is not None
    properties = function.parameters["properties"]
    assert list(properties) == ["origin", "day", "cabin", "passengers"]
    assert properties["origin"] == {"type": "string", "description": "an airport"}
    assert properties["day"]["description"] == "when to leave"
    assert function.parameters["required"] == list(properties)
    assert made.is_async


def test_arguments_are_typed_and_null_means_the_default() -> None:
    made = tool(find_flights)
    values = made.read(
        {
            "origin": "HEL",
            "day": "2026-01-02",
            "cabin": None,
            "passengers": [{"name": "Ada", "age": 36}],
        }
    )
    assert values == {
        "origin": "HEL",
        "day": date(2026, 1, 2),
        "passengers": [Passenger("Ada", 36)],
    }


def test_every_problem_is_reported() -> None:
    with pytest.raises(Mismatch) as caught:
        tool(find_flights).read(
            {"origin": None, "cabin": "first", "passengers": [{"name": 1}], "to": "OUL"}
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "to: is not a parameter",
        "origin: must not be null",
        "day: is missing",
        "cabin: expected one of 'economy', 'business', got 'first'",
        "passengers[0].name: expected text, got 1",
        "passengers[0].age: is missing",
    ]


def test_a_nested_argument_that_is_encoded_twice_is_read() -> None:
    values = tool(find_flights).read(
        {"origin": "HEL", "day": "2026-01-02", "passengers": '[{"name": "Ada", "age": 36}]'}
    )
    assert values["passengers"] == [Passenger("Ada", 36)]


def test_a_context_parameter_is_hidden_from_the_model() -> None:
    def note(text: str, context: ToolContext) -> None:
        """Keep a note."""

    made = tool(note)
    assert made.schema.schema["required"] == ["text"]
    context = ToolContext("1", "note", 1, "data")
    assert made.bind({"text": "x"}, context) == ([], {"text": "x", "context": context})


def test_methods_partials_and_callable_objects_are_tools() -> None:
    class Shop:
        def price(self, sku: str) -> int:
            """Look up."""
            return len(sku)

        async def __call__(self, sku: str) -> int:
            """Order."""
            return len(sku)

    shop = Shop()
    assert list(tool(shop.price).schema.schema["properties"]) == ["sku"]
    assert tool(shop).is_async
    assert tool(shop).name == "Shop"


def test_positional_only_parameters_are_passed_by_position() -> None:
    def add(a: int, b: int, /) -> int:
        return a + b

    made = tool(add)
    assert made.bind(made.read({"a": 1, "b": 2}), ToolContext("1", "add", 1)) == ([1, 2], {})


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda *rest: rest, "name must be"),
        (lambda: None, "name must be"),
    ],
)
def test_a_lambda_needs_a_name(function: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tool(function)


def test_what_cannot_be_described_is_a_config_error() -> None:
    def star(*rest: int) -> None: ...
    def bare(x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
    def raw(x: bytes) -> None: ...
    def anything(x: dict[str, int]) -> None: ...

    for function, words in ((star, "rest"), (bare, "'x' has no annotation"), (raw, "bytes")):
        with pytest.raises(ConfigError, match=f"tool {function.__name__}.*{words}"):
            tool(function)
    assert not tool(anything).schema.strict
    with pytest.raises(ConfigError, match="arbitrary keys"):
        tool(anything, strict=True)
    with pytest.raises(ConfigError, match="timeout"):
        tool(find_flights, timeout=0)


def test_names_are_unique() -> None:
    with pytest.raises(ConfigError, match="two have the name"):
        as_tools([find_flights, find_flights])
    assert set(as_tools([find_flights, tool(find_flights, name="other")])) == {
        "find_flights",
        "other",
    }
    with pytest.raises(ConfigError, match="neither"):
        as_tools(["find_flights"])
