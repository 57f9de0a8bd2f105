"""A cap in dollars over sockets: it holds whatever happens, and what was free counts nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from laplas_async import (
    Budget,
    BudgetError,
    CallRecord,
    ConfigError,
    LaplasClient,
    LaplasError,
    Limits,
    Price,
    RetryPolicy,
)
from laplas_async.simulator import Fault, Simulator, Timing

PRICE = Price(input=1.0, output=10.0)
PROMPT = "Name a river."
# About 120 bytes of body and 100 tokens: $0.0011 at most. The simulator then uses a few of them.
MAX_TOKENS = 100


@pytest.fixture
async def slow(key: str) -> AsyncIterator[Simulator]:
    """A simulator whose responses take a moment, so that calls overlap."""
    async with Simulator(api_key=key, timing=Timing(first_token=0.02)) as simulator:
        yield simulator


def client_of(simulator: Simulator, key: str, policy: RetryPolicy, **settings: Any) -> LaplasClient:
    return LaplasClient(key, simulator.base_url, retry=policy, **settings)


async def worst_case(client: LaplasClient) -> float:
    """What one of these calls reserves: a budget just below it refuses the call, and says so."""
    budget = Budget(0.0, PRICE)
    with pytest.raises(BudgetError) as caught:
        await client.complete(PROMPT, max_tokens=MAX_TOKENS, budget=budget)
    return float(caught.value.message.split("$")[1].split(",")[0])


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_with_room_for_one_fifty_concurrent_calls_keep_the_cap(
    key: str, slow: Simulator, policy: RetryPolicy, *, streamed: bool
) -> None:
    async with asyncio.timeout(60), client_of(slow, key, policy) as client:
        worst = await worst_case(client)
        budget = Budget(1.5 * worst, PRICE)
        most: list[float] = []

        async def call() -> str:
            if not streamed:
                most.append(budget.spent + budget.reserved)
                return (await client.complete(PROMPT, max_tokens=MAX_TOKENS, budget=budget)).text
            async with client.stream(PROMPT, max_tokens=MAX_TOKENS, budget=budget) as stream:
                most.append(budget.spent + budget.reserved)
                return (await stream.completion()).text

        results = await asyncio.gather(*(call() for _ in range(50)), return_exceptions=True)
        assert client.pace.in_flight == client.pace.waiting == 0
    answered = [one for one in results if isinstance(one, str)]
    refused = [one for one in results if isinstance(one, BudgetError)]
    assert len(answered) + len(refused) == 50
    assert len(answered) >= 1
    assert len(refused) >= 1
    assert max(most) <= budget.limit + 1e-9
    assert 0 < budget.spent <= budget.limit
    assert (budget.reserved, budget.may_be_billed) == (0.0, 0.0)
    assert refused[0].limit == budget.limit


async def test_usage_replaces_the_worst_case(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> None:
    budget = Budget(1.0, PRICE)
    async with client_of(simulator, key, policy, budget=budget) as client:
        completion = await client.complete(PROMPT, max_tokens=MAX_TOKENS)
    assert completion.usage is not None
    assert budget.spent == pytest.approx(PRICE.of(completion.usage))


async def test_a_reported_cost_goes_before_the_price(key: str, policy: RetryPolicy) -> None:
    budget = Budget(1.0, PRICE)
    async with (
        Simulator(api_key=key, costs=True) as simulator,
        client_of(simulator, key, policy, budget=budget) as client,
    ):
        completion = await client.complete(PROMPT)
    assert completion.cost is not None
    assert budget.spent == completion.cost.usd_spent


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
async def test_a_refused_request_leaves_the_budget_untouched(
    key: str, simulator: Simulator, status: int
) -> None:
    budget = Budget(1.0, PRICE)
    simulator.script_always(Fault.status(status))
    retry = RetryPolicy(max_attempts=1)
    async with client_of(simulator, key, retry, budget=budget) as client:
        with pytest.raises(LaplasError):
            await client.complete(PROMPT)
    assert (budget.spent, budget.reserved, budget.may_be_billed) == (0.0, 0.0, 0.0)


async def test_a_request_that_was_not_sent_leaves_the_budget_untouched(
    key: str, unused_port: int
) -> None:
    budget = Budget(1.0, PRICE)
    url, retry = f"http://127.0.0.1:{unused_port}/v1", RetryPolicy(max_attempts=1)
    async with LaplasClient(key, url, retry=retry, budget=budget) as client:
        with pytest.raises(LaplasError):
            await client.complete(PROMPT)
    assert (budget.spent, budget.reserved) == (0.0, 0.0)


async def test_attempts_that_may_be_billed_count_in_full(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> None:
    budget = Budget(1.0, PRICE)
    simulator.script(Fault.status(503))
    async with client_of(simulator, key, policy, budget=budget) as client:
        worst = await worst_case(client)
        completion = await client.complete(PROMPT, max_tokens=MAX_TOKENS)
    assert completion.usage is not None
    assert completion.attempts[0].may_be_billed
    assert budget.may_be_billed == pytest.approx(worst)
    assert budget.spent == pytest.approx(worst + PRICE.of(completion.usage))


@pytest.mark.parametrize("way", ["break", "cut", "cancel"])
async def test_a_stream_without_usage_counts_in_full(
    key: str, simulator: Simulator, policy: RetryPolicy, way: str
) -> None:
    budget = Budget(1.0, PRICE)
    simulator.script(Fault.cut(after=3) if way == "cut" else Fault.stall(after=2))
    async with asyncio.timeout(60), client_of(simulator, key, policy, budget=budget) as client:
        reading = asyncio.Event()

        async def read() -> None:
            async with client.stream(PROMPT, max_tokens=MAX_TOKENS) as stream:
                await anext(stream)
                reading.set()
                if way != "break":
                    await stream.completion()

        task = asyncio.create_task(read())
        await reading.wait()
        if way == "cancel":
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert budget.reserved == 0.0
    assert budget.spent == budget.may_be_billed > 0


async def test_a_call_that_gives_up_at_the_gate_returns_its_reservation(
    key: str, simulator: Simulator
) -> None:
    budget = Budget(1.0, PRICE)
    simulator.script_always(Fault.stall())
    limits = Limits(concurrency=1, max_wait=0.02)
    async with (
        asyncio.timeout(60),
        LaplasClient(key, simulator.base_url, limits=limits, budget=budget) as client,
    ):
        first = asyncio.create_task(client.complete(PROMPT))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=30)
        reserved = budget.reserved
        with pytest.raises(LaplasError):
            await client.complete(PROMPT)
        assert budget.reserved == reserved
        assert budget.spent == 0.0
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert budget.reserved == 0.0


async def test_without_a_price_nothing_is_sent(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> None:
    budget = Budget(1.0, {"another": PRICE})
    async with client_of(simulator, key, policy, budget=budget) as client:
        with pytest.raises(ConfigError, match="no price is known"):
            await client.complete(PROMPT)
        with pytest.raises(ConfigError, match="no price is known"):
            client.stream(PROMPT)
        with pytest.raises(ConfigError, match="must be a Budget"):
            await client.complete(PROMPT, budget=25)  # type: ignore[arg-type]
    assert simulator.counts.requests == 0
    with pytest.raises(ConfigError, match="must be a Budget"):
        LaplasClient(key, simulator.base_url, budget=25)  # type: ignore[arg-type]


async def test_a_bound_in_the_extra_body_is_reserved_too(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> None:
    budget = Budget(0.05, PRICE)  # 5,000 tokens
    async with client_of(simulator, key, policy, budget=budget) as client:
        with pytest.raises(BudgetError):
            await client.complete(PROMPT, extra_body={"max_completion_tokens": 6000})
        await client.complete(PROMPT, extra_body={"max_completion_tokens": 400})


async def test_a_map_stops_at_its_cap_and_waits_in_bounded_number(
    key: str, slow: Simulator, policy: RetryPolicy
) -> None:
    async with asyncio.timeout(60), client_of(slow, key, policy) as client:
        worst = await worst_case(client)
        budget = Budget(1.5 * worst, PRICE)
        waiting: list[int] = []

        def requests() -> Any:
            for _ in range(200):
                waiting.append(client.pace.waiting)
                yield {"messages": PROMPT, "max_tokens": MAX_TOKENS}

        outcomes = [outcome async for outcome in client.map(requests(), budget=budget)]
    assert len(outcomes) == 200
    assert all(one.ok or isinstance(one.error, BudgetError) for one in outcomes)
    assert any(one.ok for one in outcomes)
    assert max(waiting) <= 2  # the scheduler reads no more than can soon be sent
    assert budget.spent <= budget.limit


async def test_a_client_s_and_a_call_s_budget_both_hold(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> None:
    large, small = Budget(1.0, PRICE), Budget(0.0, PRICE)
    async with client_of(simulator, key, policy, budget=large) as client:
        with pytest.raises(BudgetError):
            await client.complete(PROMPT, budget=small)
        assert large.reserved == large.spent == 0.0
        await client.complete(PROMPT, budget=large)  # the same one: once
        once = large.spent
        await client.complete(PROMPT)
    assert large.spent == pytest.approx(2 * once)


async def test_the_record_of_a_call_has_its_cost_and_where_it_is_known_from(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> None:
    ended: list[CallRecord] = []

    class Recorder:
        def call_started(self, call: CallRecord) -> None:
            pass

        def attempt_ended(self, call: CallRecord, attempt: Any) -> None:
            pass

        def call_ended(self, call: CallRecord) -> None:
            ended.append(call)

    async with client_of(simulator, key, policy, observers=[Recorder()]) as client:
        await client.complete(PROMPT)
        completion = await client.complete(PROMPT, budget=Budget(1.0, PRICE))
        with pytest.raises(BudgetError):
            await client.complete(PROMPT, budget=Budget(0.0, PRICE))
    assert completion.usage is not None
    costs = [(call.outcome, call.cost_usd, call.cost_source) for call in ended]
    expected = pytest.approx(PRICE.of(completion.usage))
    assert costs == [("ok", None, None), ("ok", expected, "price"), ("not_admitted", None, None)]
