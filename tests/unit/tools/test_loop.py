"""The tool loop, against a service that is a list of responses."""

import asyncio
import contextvars
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define

from laplas_async import (
    BadRequestError,
    ChatCompletion,
    Choice,
    ConfigError,
    Cost,
    FunctionCall,
    Message,
    OutputType,
    OutputValidationError,
    PendingCall,
    Price,
    RunLimitError,
    RunLimits,
    ServerError,
    ToolCall,
    ToolContext,
    ToolRun,
    TruncatedOutputError,
    Usage,
    tool,
)
from laplas_async.tools.loop import new_loop, run_tools


def answer(text: str = "Done.", finish: str = "stop") -> ChatCompletion:
    return ChatCompletion(
        choices=[Choice(message=Message(content=text), finish_reason=finish)],
        usage=Usage(10, 5, 15),
    )


def calling(*calls: tuple[str, str], finish: str = "tool_calls") -> ChatCompletion:
    made = [ToolCall(f"id{i}", FunctionCall(*call)) for i, call in enumerate(calls)]
    message = Message(content=None, tool_calls=made)
    choices = [Choice(message=message, finish_reason=finish)]
    return ChatCompletion(choices=choices, usage=Usage(10, 5, 15))


class Service:
    """Gives its responses one after the other (the last one again and again)."""

    def __init__(self, *responses: ChatCompletion | Exception) -> None:
        self.responses = list(responses)
        self.requests: list[dict[str, Any]] = []

    async def complete(self, messages: Sequence[Any], **parameters: Any) -> ChatCompletion:
        self.requests.append({"messages": list(messages), **parameters})
        given = self.responses[0] if len(self.responses) == 1 else self.responses.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    async def run(self, *tools: Any, **options: Any) -> ToolRun[Any]:
        return await run_tools(new_loop(self.complete, "Go.", tools, {}, **options))


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


ADD = ("add", '{"a": 1, "b": 2}')


def contents(run: ToolRun[Any]) -> list[str]:
    return [result.content for result in run.results]


async def test_calls_are_run_and_answered_until_there_is_an_answer() -> None:
    service = Service(calling(ADD), answer())
    run = await service.run(add)
    assert (run.output, run.rounds, run.usage) == ("Done.", 2, Usage(20, 10, 30))
    assert [(result.content, result.value) for result in run.results] == [("3", 3)]
    assert [service.requests[1]["messages"][2].tool_call_id, run.messages[-1]] == [
        "id0",
        Message(content="Done."),
    ]
    assert service.requests[0]["tools"][0]["function"]["name"] == "add"


async def test_finish_reasons_do_not_decide() -> None:
    assert contents(await Service(calling(ADD, finish="stop"), answer()).run(add)) == ["3"]
    run = await Service(answer("Nothing to call.", "tool_calls")).run(add)
    assert run.output == "Nothing to call."


async def test_calls_of_one_turn_run_in_parallel_and_are_answered_in_order() -> None:
    both = asyncio.Event()
    running = 0

    async def meet(n: int) -> int:
        nonlocal running
        running += 1
        if running == 2:
            both.set()
        await both.wait()
        return n

    run = await Service(calling(("meet", '{"n": 1}'), ("meet", '{"n": 2}')), answer()).run(meet)
    assert contents(run) == ["1", "2"]


async def test_at_most_max_parallel_run_at_once() -> None:
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    calls = [("work", "")] * 9
    await Service(calling(*calls), answer()).run(work, max_parallel=3)
    assert most == 3


async def test_plain_functions_run_in_threads_with_the_context_of_the_run() -> None:
    request = contextvars.ContextVar("request", default="none")
    request.set("r1")
    seen: list[tuple[bool, str]] = []
    meeting = threading.Barrier(8, timeout=10)  # all eight run at once, or it breaks

    def look() -> None:
        meeting.wait()
        seen.append((threading.current_thread() is threading.main_thread(), request.get()))

    await Service(calling(*[("look", "")] * 8), answer()).run(look)
    assert seen == [(False, "r1")] * 8


async def test_a_tool_that_fails_is_an_error_result_and_its_siblings_continue() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    def fail() -> None:
        raise ValueError("no such city")

    async def cancel() -> None:
        raise asyncio.CancelledError

    def stop() -> None:
        raise StopIteration

    service = Service(
        calling(("hang", ""), ("fail", "null"), ("cancel", "{}"), ("stop", ""), ADD), answer()
    )
    run = await service.run(tool(hang, timeout=0.01), fail, cancel, stop, add)
    assert contents(run) == [
        "Error: the tool took longer than 0.01 s",
        "Error: ValueError: no such city",
        "Error: the tool was cancelled",
        "Error: RuntimeError: the tool raised StopIteration",
        "3",
    ]
    assert [result.error for result in run.results] == [True, True, True, True, False]


async def test_a_call_that_cannot_be_made_goes_back_to_the_model() -> None:
    service = Service(
        calling(("rm", "{}"), ("add", '{"a": 1}}'), ("add", '{"a": "x", "c": 1}')), answer()
    )
    unknown, trailing, wrong = contents(await service.run(add))
    assert unknown == "Error: there is no tool 'rm'; the tools are: add"
    assert "behind the JSON: '}'" in trailing
    assert "a: expected an integer, got 'x'" in wrong
    assert "b: is missing" in wrong
    assert "c: is not a parameter" in wrong


async def test_truncated_calls_are_never_executed() -> None:
    run = await Service(calling(ADD, finish="length"), answer()).run(add)
    assert "max_tokens cut" in contents(run)[0]


async def test_a_call_in_the_text_is_run() -> None:
    service = Service(answer('{"name": "add", "parameters": {"a": 1, "b": 2}}'), answer())
    assert contents(await service.run(add)) == ["3"]


async def test_tools_are_given_a_context_that_the_model_does_not_see() -> None:
    def show(context: ToolContext) -> str:
        return f"{context.data} {context.name} {context.call_id} {context.round}"

    run = await Service(calling(("show", "")), answer()).run(show, context="me")
    assert contents(run) == ["me show id0 1"]


async def test_results_become_text() -> None:
    @define
    class City:
        name: str
        size: set[int]

    def city() -> City:
        return City("Oulu", {1})

    run = await Service(calling(("city", "")), answer()).run(city)
    assert contents(run) == ['{"name":"Oulu","size":[1]}']


async def test_the_approval_hook_decides_before_each_call() -> None:
    asked: list[PendingCall] = []

    async def approve(pending: PendingCall) -> bool | str:
        asked.append(pending)
        return "not today" if pending.arguments["a"] == 2 else pending.arguments["a"] == 1

    calls = [("add", f'{{"a": {a}, "b": 0}}') for a in (1, 2, 3)]
    run = await Service(calling(*calls), answer()).run(add, approve=approve)
    assert contents(run) == ["1", "Error: not today", "Error: the user did not approve this call"]
    assert [one.tool for one in asked] == ["add"] * 3


async def test_a_hook_that_raises_ends_the_run_and_its_tools() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("wait")

    async def approve(pending: PendingCall) -> bool:
        if pending.tool == "add":
            await asyncio.sleep(0)
            raise RuntimeError("hook")
        return True

    with pytest.raises(RuntimeError, match="hook"):
        await Service(calling(("wait", ""), ADD)).run(wait, add, approve=approve)
    assert ended == ["wait"]


async def test_cancelling_the_run_cancels_and_awaits_its_tools() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    task = asyncio.create_task(Service(calling(("wait", ""))).run(wait))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    ("limits", "name", "rounds"),
    [
        (RunLimits(rounds=3), "rounds", 3),
        (RunLimits(tool_calls=2), "tool_calls", 3),
        (RunLimits(tokens=30), "tokens", 2),
        (RunLimits(cost_usd=0.0001), "cost_usd", 2),
    ],
)
async def test_each_limit_ends_the_run_with_all_calls_answered(
    limits: RunLimits, name: str, rounds: int
) -> None:
    service = Service(calling(ADD))
    with pytest.raises(RunLimitError) as caught:
        await service.run(add, limits=limits, price=Price(5.0, 0.0))
    error = caught.value
    assert (error.limit, len(service.requests)) == (name, rounds)
    assert error.usage == Usage(10 * rounds, 5 * rounds, 15 * rounds)
    assert error.cost is not None
    assert error.cost.usd_spent == pytest.approx(0.00005 * rounds)
    assert isinstance(error.messages[-1], Message)
    assert error.messages[-1].tool_call_id == "id0"


async def test_the_seconds_of_a_run_end_requests_and_tools() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RunLimitError) as caught:
        await Service(calling(("hang", ""))).run(hang, limits=RunLimits(seconds=0.02))
    assert caught.value.limit == "seconds"
    last = caught.value.messages[-1]
    assert isinstance(last, Message)
    assert "time of the run is over" in last.text


async def test_a_cost_limit_needs_a_price() -> None:
    limits = RunLimits(cost_usd=1.0)
    with pytest.raises(ConfigError, match="the price is unknown"):
        await Service(answer()).run(add, limits=limits)
    with pytest.raises(RunLimitError, match="reports no cost"):
        await Service(calling(ADD)).run(add, limits=limits, cost_is_known=True)


async def test_a_reported_cost_counts_before_a_price() -> None:
    response = calling(ADD)
    response.cost = Cost(usd_spent=0.6)
    with pytest.raises(RunLimitError) as caught:
        await Service(response).run(add, price=Price(0.1, 0.1))
    assert caught.value.cost == Cost(usd_spent=1.2)


@define
class Sum:
    total: int


async def test_the_final_answer_can_be_typed() -> None:
    service = Service(calling(ADD), answer('{"total": "3"}'), answer('{"total": 3}'))
    run = await service.run(add, output=OutputType(Sum))
    assert (run.output, run.rounds) == (Sum(3), 3)
    assert service.requests[0]["response_format"]["type"] == "json_schema"
    with pytest.raises(OutputValidationError):
        await Service(answer('{"total": "3"}')).run(add, output=OutputType(Sum), max_retries=1)
    with pytest.raises(TruncatedOutputError):
        await Service(answer('{"tot', "length")).run(add, output=OutputType(Sum))


async def test_where_tools_and_formats_exclude_each_other_the_answer_is_a_tool() -> None:
    service = Service(
        BadRequestError("response_format cannot be used with tools", status=400),
        calling(ADD),
        calling(("Sum", '{"total": "x"}'), ADD),
        calling(("Sum", '{"total": 3}')),
    )
    run = await service.run(add, output=OutputType(Sum))
    assert (run.output, len(run.results)) == (Sum(3), 1)
    assert "response_format" not in service.requests[1]
    assert [one["function"]["name"] for one in service.requests[1]["tools"]] == ["add", "Sum"]
    answered = {one.tool_call_id for one in run.messages[5:] if isinstance(one, Message)}
    assert answered >= {"id0", "id1"}


async def test_a_failing_request_does_not_repeat_a_tool() -> None:
    ran: list[int] = []

    def count() -> None:
        ran.append(1)

    with pytest.raises(ServerError):
        await Service(calling(("count", "")), ServerError("down", status=503)).run(count)
    assert ran == [1]


async def test_the_messages_of_a_run_seed_another() -> None:
    run = await Service(calling(ADD), answer()).run(add)
    service = Service(answer("More."))
    messages = [*run.messages, {"role": "user", "content": "And?"}]
    again = await run_tools(new_loop(service.complete, messages, [add], {}))
    assert again.output == "More."
    assert len(service.requests[0]["messages"]) == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limits": {"rounds": 3}}, "must be RunLimits"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"tool_timeout": 0}, "tool_timeout"),
    ],
)
async def test_wrong_options_are_config_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await Service(answer()).run(add, **options)
