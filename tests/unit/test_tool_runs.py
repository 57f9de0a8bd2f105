"""``ToolRuns``: which arguments are the run's own, and whether a limit on cost can hold."""

from typing import Any

import pytest

from laplas_async import RunLimits
from laplas_async.errors import ConfigError
from laplas_async.tool_runs import ToolRuns
from laplas_async.types import ChatCompletion, Choice, Cost, Message


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Service:
    """Completes as ``LaplasClient`` does, and remembers what it was given."""

    def __init__(self, cost: Cost | None = None) -> None:
        self.given: list[dict[str, Any]] = []
        self._cost = cost

    async def complete(self, messages: Any, **given: Any) -> ChatCompletion:
        self.given.append(given)
        message = Message(content="done")
        return ChatCompletion(choices=[Choice(0, message, "stop")], cost=self._cost)


async def run(runs: ToolRuns, service: Service, limits: Any = None, **arguments: Any) -> Any:
    return await runs.run(service.complete, "Go.", [add], arguments, limits=limits, into=None)


async def test_the_run_s_own_arguments_are_not_sent() -> None:
    service = Service()
    runs = ToolRuns(cost_is_known=False)
    await run(runs, service, max_parallel=2, tool_timeout=1.0, temperature=0.5, model="m")
    (given,) = service.given
    assert (given["temperature"], given["model"]) == (0.5, "m")
    assert not {"max_parallel", "tool_timeout", "approve", "context"} & set(given)
    assert [tool["function"]["name"] for tool in given["tools"]] == ["add"]


async def test_a_cost_limit_needs_a_service_that_reports_its_cost() -> None:
    limits = RunLimits(cost_usd=1.0)
    with pytest.raises(ConfigError, match="price"):
        await run(ToolRuns(cost_is_known=False), Service(), limits)
    await run(ToolRuns(cost_is_known=True), Service(Cost(usd_spent=0.1)), limits)


async def test_a_response_with_its_cost_is_remembered() -> None:
    runs = ToolRuns(cost_is_known=False)
    service = Service(Cost(usd_spent=0.1))
    await run(runs, service)
    result = await run(runs, service, RunLimits(cost_usd=1.0))
    assert result.cost == Cost(usd_spent=0.1)


async def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    service = Service()
    with pytest.raises(ConfigError, match="max_parallel"):
        await run(ToolRuns(cost_is_known=False), service, max_parallel=0)
    assert service.given == []
