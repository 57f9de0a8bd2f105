"""Pace: within its range, the same each time, mostly quick with a slow tail."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator.pace import Pace


@given(st.integers(0, 10**6), st.integers(0, 99))
def test_draws_stay_in_range_and_repeat(number: int, seed: int) -> None:
    pace = Pace(first_token=(0, 2), tokens_per_second=(5, 50), plain=(1, 20), seed=seed)
    beat: Any = pace.beat(number)
    assert beat == pace.beat(number)
    assert 0 <= beat.first_token <= 2
    assert 5 <= beat.tokens_per_second <= 50
    assert 1 <= beat.plain <= 20


def test_the_tail_is_heavy() -> None:
    pace: Any = Pace(plain=(1.0, 20.0))
    drawn = sorted(pace.beat(number).plain for number in range(2000))
    assert drawn[1000] < 3
    assert drawn[1980] > 10


def test_when_tokens_are_due() -> None:
    beat = Pace(first_token=1, tokens_per_second=10).beat(1)
    assert [beat.due(at) for at in (0, 5)] == [1, 1.5]
    assert beat.whole(20) == 3
    assert Pace(first_token=1, plain=9).beat(1).whole(20) == 9
    assert Pace().beat(1).whole(20) == 0


@pytest.mark.parametrize(
    "options",
    [{"first_token": -1}, {"tokens_per_second": 0}, {"plain": (2, 1)}, {"plain": float("inf")}],
)
def test_impossible_paces(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Pace(**options)
