"""Timing stays in its range, is reproducible, and mostly fast with a slow tail."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator.timing import Timing


@given(st.integers(0, 10**6), st.integers(0, 99))
def test_draws_stay_in_range_and_repeat(number: int, seed: int) -> None:
    timing = Timing(first_token=(0, 2), tokens_per_second=(5, 50), plain=(1, 20), seed=seed)
    schedule: Any = timing.schedule(number)
    assert schedule == timing.schedule(number)
    assert 0 <= schedule.first_token <= 2
    assert 5 <= schedule.tokens_per_second <= 50
    assert 1 <= schedule.plain <= 20


def test_the_tail_is_heavy() -> None:
    timing: Any = Timing(plain=(1.0, 20.0))
    drawn = sorted(timing.schedule(number).plain for number in range(2000))
    assert drawn[1000] < 3
    assert drawn[1980] > 10


def test_when_tokens_are_due() -> None:
    schedule = Timing(first_token=1, tokens_per_second=10).schedule(1)
    assert [schedule.due(at) for at in (0, 5)] == [1, 1.5]
    assert schedule.whole(20) == 3
    assert Timing(first_token=1, plain=9).schedule(1).whole(20) == 9
    assert Timing().schedule(1).whole(20) == 0


@pytest.mark.parametrize(
    "options",
    [{"first_token": -1}, {"tokens_per_second": 0}, {"plain": (2, 1)}, {"plain": float("inf")}],
)
def test_impossible_timings(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Timing(**options)
