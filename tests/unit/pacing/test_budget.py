"""A cap in dollars that concurrent calls cannot exceed together."""

import asyncio
import contextlib
import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.errors import BudgetError, ConfigError
from laplas_async.pacing.budget import Budget, Reservation, claims_of
from laplas_async.pacing.price import Price
from laplas_async.pacing.reservation import RequestSize
from laplas_async.types import Cost, Usage

# 100 bytes at $1 per million are $0.0001, 100 tokens at $9 are $0.0009: $0.001 per attempt.
PRICE = Price(input=1.0, output=9.0)
SIZE = RequestSize(100, max_tokens=100)
WORST = 0.001
USED = Usage(prompt_tokens=20, completion_tokens=20, total_tokens=40)
ACTUAL = 0.0002


async def settled(tasks: list[asyncio.Task[Reservation]]) -> list[asyncio.Task[Reservation]]:
    for _ in range(5):
        await asyncio.sleep(0)
    return [task for task in tasks if task.done()]


async def reserve(budget: Budget, size: RequestSize = SIZE, model: str = "m") -> Reservation:
    """Reserve the worst case of one attempt, as ``retrying`` does."""
    claim = budget.claim(size, model)
    return claim.take() or await claim.wait()


async def test_usage_replaces_the_reservation() -> None:
    budget = Budget(1.0, PRICE)
    reservation = await reserve(budget)
    assert budget.reserved == pytest.approx(WORST)
    reservation.settle(USED, None)
    reservation.settle(USED, None)  # a late second report changes nothing
    reservation.keep()
    assert budget.spent == pytest.approx(ACTUAL)
    assert budget.reserved == 0.0
    assert budget.may_be_billed == 0.0


async def test_the_reported_cost_goes_before_the_price() -> None:
    budget = Budget(1.0, PRICE)
    (await reserve(budget)).settle(USED, Cost(usd_spent=0.5))
    assert budget.spent == 0.5


async def test_a_negative_cost_gives_no_room() -> None:
    budget = Budget(1.0, PRICE)
    (await reserve(budget)).settle(USED, Cost(usd_spent=-5.0))
    (await reserve(budget)).settle(Usage(prompt_tokens=-1_000_000), None)
    assert (budget.spent, budget.reserved) == (0.0, 0.0)


@pytest.mark.parametrize("usage", [None, Usage()])
async def test_an_unknown_cost_counts_the_worst_case(usage: Usage | None) -> None:
    budget = Budget(1.0, PRICE)
    (await reserve(budget)).settle(usage, Cost())
    assert budget.spent == budget.may_be_billed == pytest.approx(WORST)


async def test_a_refused_request_leaves_the_budget_untouched() -> None:
    budget = Budget(1.0, PRICE)
    (await reserve(budget)).release()
    assert (budget.spent, budget.reserved) == (0.0, 0.0)


async def test_with_room_for_one_fifty_calls_never_exceed_the_cap() -> None:
    budget = Budget(1.5 * WORST, PRICE)
    most = 0.0

    async def call() -> None:
        nonlocal most
        reservation = await reserve(budget)
        most = max(most, budget.spent + budget.reserved)
        await asyncio.sleep(0)
        reservation.settle(USED, None)

    results = await asyncio.gather(*(call() for _ in range(50)), return_exceptions=True)
    refused = [error for error in results if isinstance(error, BudgetError)]
    assert len(refused) == 47  # $0.0015 pays for three of $0.0002, with room for a worst case
    assert most <= budget.limit + 1e-9
    assert budget.spent == pytest.approx(3 * ACTUAL)


async def test_a_call_waits_while_another_may_return_some() -> None:
    budget = Budget(1.5 * WORST, PRICE)
    first = await reserve(budget)
    waiting = [asyncio.create_task(reserve(budget))]
    assert not await settled(waiting)
    first.settle(USED, None)
    assert await settled(waiting) == waiting


async def test_if_none_can_come_it_raises_at_once() -> None:
    budget = Budget(0.5 * WORST, PRICE)
    with pytest.raises(BudgetError, match="raise the budget") as caught:
        await reserve(budget)
    assert (caught.value.spent, caught.value.limit) == (0.0, budget.limit)


async def test_a_budget_that_turns_out_spent_refuses_the_waiting() -> None:
    budget = Budget(1.5 * WORST, PRICE)
    first = await reserve(budget)
    waiting = [asyncio.create_task(reserve(budget)) for _ in range(3)]
    assert not await settled(waiting)
    first.keep()
    for task in await settled(waiting):
        assert isinstance(task.exception(), BudgetError)
    assert all(task.done() for task in waiting)


async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    budget = Budget(1.5 * WORST, PRICE)
    first = await reserve(budget)
    large = asyncio.create_task(reserve(budget))
    small = asyncio.create_task(reserve(budget, RequestSize(1, max_tokens=1)))
    assert not await settled([large, small])
    first.release()
    assert large in await settled([large, small])


async def test_cancelling_a_waiting_call_reserves_nothing() -> None:
    budget = Budget(1.5 * WORST, PRICE)
    first = await reserve(budget)
    waiting = [asyncio.create_task(reserve(budget)) for _ in range(2)]
    await settled(waiting)
    waiting[0].cancel()
    await settled(waiting)
    first.release()
    waiting[1].cancel()  # admitted at this very moment
    await settled(waiting)
    assert all(task.cancelled() for task in waiting)
    assert budget.reserved == 0.0
    (await reserve(budget)).release()


async def test_prices_are_found_by_model() -> None:
    budget = Budget(1.0, {"a": PRICE, "b": Price(0, 0)})
    assert budget.claim(SIZE, "a").amount == pytest.approx(WORST)
    (await reserve(budget, model="b")).keep()
    assert budget.spent == 0.0


def test_a_call_claims_each_of_its_budgets_once_and_always_in_the_same_order() -> None:
    one, two = Budget(1.0, PRICE), Budget(2.0, PRICE)
    claims = claims_of((one, two), SIZE, "m")
    assert {claim.budget.limit for claim in claims} == {1.0, 2.0}
    assert claims_of((two, one), SIZE, "m") == claims
    assert len(claims_of((one, one, None), SIZE, "m")) == 1


async def test_an_unknown_price_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    budget = Budget(1.0, {"a": PRICE})
    with pytest.raises(ConfigError, match="no price is known for 'other'"):
        await reserve(budget, model="other")
    assert budget.reserved == 0.0


@pytest.mark.parametrize("usd", [-1, True, None, "5", float("nan"), float("inf")])
def test_a_cap_must_be_an_amount(usd: Any) -> None:
    with pytest.raises(ConfigError, match=r"Budget\.usd="):
        Budget(usd)


def test_a_job_that_is_resumed_counts_once() -> None:
    budget = Budget(1.0, PRICE)
    budget.count_job("out.jsonl", 0.25)
    budget.count_job("out.jsonl", 0.25)
    assert budget.spent == 0.25
    budget.settle(0.0, 0.5)  # its calls, in this run
    budget.count_job("out.jsonl", 0.75, is_counted=True)
    budget.count_job("out.jsonl", 0.75)  # it is resumed once more
    budget.count_job("other.jsonl", 0.1)
    assert budget.spent == pytest.approx(0.85)
    assert budget.left == pytest.approx(0.15)


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(BudgetError("x", spent=1.0, reserved=2.0, limit=3.0)))
    assert (error.message, error.spent, error.reserved, error.limit) == ("x", 1.0, 2.0, 3.0)


@given(st.lists(st.sampled_from(["settle", "release", "keep"]), max_size=30), st.integers(1, 9))
def test_whatever_happens_the_cap_holds_and_nothing_stays_reserved(
    ends: list[str], room: int
) -> None:
    async def run() -> None:
        budget = Budget(room * WORST, PRICE)
        opened: list[Reservation] = []
        for end in ends:
            with contextlib.suppress(BudgetError, TimeoutError):
                opened.append(await asyncio.wait_for(reserve(budget), 0))
            assert budget.spent + budget.reserved <= budget.limit + 1e-9
            if opened and len(opened) > room // 2:
                reservation = opened.pop(0)
                if end == "settle":
                    reservation.settle(USED, None)
                else:
                    getattr(reservation, end)()
        for reservation in opened:
            reservation.release()
        assert budget.reserved == pytest.approx(0.0, abs=1e-12)
        assert budget.spent <= budget.limit + 1e-9

    asyncio.run(run())
