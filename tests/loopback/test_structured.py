"""Typed answers and tools over real sockets."""

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypedDict
from uuid import UUID

import pytest
from attrs import define, field, validators

from laplas_async import (
    ConfigError,
    InvalidJSONError,
    LaplasClient,
    OutputValidationError,
    RunLimitError,
    RunLimits,
    TruncatedOutputError,
)
from laplas_async.simulator import Fault, Simulator
from tests.loopback.test_stream_faults import chunk, event


class Currency(enum.Enum):
    EUR = "EUR"
    USD = "USD"


@define
class Line:
    sku: str
    price: float
    count: int = field(default=1, validator=[validators.ge(1), validators.le(99)])


@define
class Invoice:
    number: int
    day: date
    lines: list[Line]
    currency: Currency = Currency.EUR
    note: str | None = None


@define
class Node:
    name: str
    children: "list[Node]" = field(factory=list)


@define
class Circle:
    radius: float


@define
class Square:
    side: float
    at: datetime


@dataclass
class Mixed:
    pair: tuple[int, int]
    names: set[str]
    level: Literal["low", 1]
    id: UUID
    amount: Decimal
    shape: Circle | Square


class Movie(TypedDict):
    title: str
    year: int


TYPES = [Invoice, Node, Mixed, Movie, list[Line], Circle | Square, bool, dict[str, int]]


@pytest.fixture
async def client() -> AsyncIterator[LaplasClient]:
    async with Simulator() as simulator, LaplasClient("key", simulator.base_url) as client:
        yield client


@pytest.mark.parametrize("mode", ["json_schema", "tool"])
@pytest.mark.parametrize("tp", TYPES)
async def test_what_fits_the_schema_is_read_streamed_or_not(
    client: LaplasClient, tp: Any, mode: Any
) -> None:
    for number in range(10):
        prompt = f"letter {number}"
        result = await client.parse(prompt, into=tp, mode=mode, max_retries=0)
        async with client.stream(prompt, into=tp, mode=mode) as stream:
            streamed = await stream.parsed()
            assert stream.partial_output == result.output
        assert streamed.output == result.output
        assert streamed.usage == result.usage


async def test_items_arrive_while_the_stream_is_read(client: LaplasClient) -> None:
    async with client.stream("letter", into=Invoice) as stream:
        lines = [line async for line in stream.items("lines")]
        result = await stream.parsed()
    assert lines == result.output.lines
    assert lines
    assert all(isinstance(line, Line) for line in lines)


async def test_chunks_and_text_are_there_too(client: LaplasClient) -> None:
    async with client.stream("letter", into=Invoice) as stream:
        text = "".join([piece async for piece in stream.text()])
        assert (await stream.completion()).text == text
        assert stream.request_id


@define
class Picky:
    name: str = field()

    @name.validator
    def _refuse(self, attribute: object, value: str) -> None:
        raise ValueError("never good enough")


@define
class Picked:
    rows: list[Picky]


async def test_what_only_a_validator_knows_is_reported_with_its_path(client: LaplasClient) -> None:
    with pytest.raises(OutputValidationError) as caught:
        await client.parse("letter", into=Picked, max_retries=1)
    assert caught.value.path == "rows[0].name"
    assert caught.value.attempts
    async with client.stream("letter", into=Picked) as stream:
        with pytest.raises(OutputValidationError, match=r"rows\[0\].name: never good enough"):
            await anext(stream.items("rows"))


async def test_a_truncated_answer_raises_with_its_partial_object(client: LaplasClient) -> None:
    with pytest.raises(TruncatedOutputError) as caught:
        await client.parse("letter", into=Invoice, max_tokens=4)
    assert isinstance(caught.value.partial, dict)
    async with client.stream("letter", into=Invoice, max_tokens=4) as stream:
        with pytest.raises(TruncatedOutputError):
            await stream.parsed()


async def test_breaking_out_of_items_leaves_nothing(client: LaplasClient) -> None:
    async with client.stream("letter", into=Invoice) as stream:
        async for _ in stream.items("lines"):
            break
    assert client.pace.in_flight == 0


async def test_a_path_without_a_list_is_a_config_error(client: LaplasClient) -> None:
    stream = client.stream("letter", into=Invoice)
    with pytest.raises(ConfigError):
        stream.items("number")
    await stream.aclose()


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def greet(name: str) -> str:
    """Greet someone."""
    await asyncio.sleep(0)
    return f"Hello {name}"


async def test_tools_are_called_until_there_is_an_answer(client: LaplasClient) -> None:
    run = await client.run_tools("Please add and greet.", tools=[add, greet])
    assert run.rounds == 2
    assert run.results[0].call.function.name == "add"
    assert run.text
    assert run.usage is not None
    more = [*run.messages, {"role": "user", "content": "Thanks."}]
    assert (await client.complete(more)).text


async def test_the_final_answer_of_a_run_is_typed(client: LaplasClient) -> None:
    run = await client.run_tools("Please greet.", tools=[add, greet], into=Invoice)
    assert isinstance(run.output, Invoice)
    assert [result.error for result in run.results] == [False]


async def test_a_streamed_run_gives_calls_results_and_text(client: LaplasClient) -> None:
    async with client.stream_tools("Please greet.", tools=[add, greet]) as stream:
        events = [event async for event in stream]
        run = await stream.run()
    kinds = [event.kind for event in events]
    assert kinds[:2] == ["call", "result"]
    assert "".join(event.text for event in events) == run.text


async def test_leaving_a_streamed_run_ends_it(client: LaplasClient) -> None:
    async with client.stream_tools("Please greet.", tools=[add, greet]) as stream:
        async for event in stream:
            if event.kind == "text":
                break
    assert client.pace.in_flight == 0
    with pytest.raises(ConfigError, match="closed before its end"):
        await stream.run()


@pytest.mark.parametrize("limits", [RunLimits(rounds=1), RunLimits(tokens=1)])
async def test_a_run_ends_at_its_limit(client: LaplasClient, limits: RunLimits) -> None:
    with pytest.raises(RunLimitError) as caught:
        await client.run_tools("Please add.", tools=[add, greet], limits=limits)
    assert caught.value.usage is not None
    assert len(caught.value.messages) == 3


async def test_a_cost_limit_without_a_price_is_rejected_before_anything_is_sent() -> None:
    async with Simulator() as simulator, LaplasClient("key", simulator.base_url) as client:
        with pytest.raises(ConfigError, match="price"):
            await client.run_tools("Go.", tools=[add], limits=RunLimits(cost_usd=1))
        with pytest.raises(ConfigError, match="annotation"):
            client.stream_tools("Go.", tools=[without_types])
        assert simulator.requests == []


def without_types(x) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Nothing."""


FEATURES = {
    "all": ["openai/chat-completion.response-format", "openai/chat-completion.function"],
    "tools": ["openai/chat-completion.stream", "openai/chat-completion.function"],
    "neither": ["openai/chat-completion.stream"],
    "unpublished": [],
}


@pytest.mark.parametrize(
    ("model", "mode"),
    [("all", "json_schema"), ("tools", "tool"), ("neither", "prompt"), ("unlisted", "json_schema")],
)
async def test_auto_begins_with_what_the_service_publishes_about_the_model(
    model: str, mode: str
) -> None:
    models = [{"id": id_, "features": features} for id_, features in FEATURES.items()]
    async with Simulator(models=models) as simulator:
        for streamed in (False, True):
            async with LaplasClient("key", simulator.base_url, model=model) as client:
                if streamed:
                    async with client.stream("letter", into=Line) as stream:
                        with contextlib.suppress(InvalidJSONError):
                            await stream.parsed()
                else:
                    with contextlib.suppress(InvalidJSONError):
                        await client.parse("letter", into=Line, max_retries=0)
        bodies = [request.body for request in simulator.requests if request.body]
    for body in bodies:
        assert ("response_format" in body) == (mode == "json_schema")
        assert ("tools" in body) == (mode == "tool")


async def test_a_service_without_a_list_of_models_is_asked_for_json_schema() -> None:
    async with (
        Simulator(models="no list") as simulator,
        LaplasClient("key", simulator.base_url) as client,
    ):
        result = await client.parse("letter", into=Line)
    assert result.mode == "json_schema"


async def test_a_stream_of_white_space_is_closed_early() -> None:
    """Over a socket: the rest of the answer, which would never end, is not awaited."""
    start = [event(chunk({"content": text})) for text in ('{"sku": ', " " * 500)]
    async with Simulator() as simulator, LaplasClient("key", simulator.base_url) as client:
        simulator.script(Fault.raw(b"".join([start[0], *start[1:] * 5]), end="stall"))
        async with client.stream("letter", into=Line) as stream:
            with pytest.raises(InvalidJSONError, match="only white space") as caught:
                await stream.parsed()
        assert client.pace.in_flight == 0
    assert caught.value.text == '{"sku":'
