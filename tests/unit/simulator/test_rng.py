"""Seeded random numbers are reproducible everywhere and stay in range."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator.rng import SeededRandom


def test_numbers_are_the_same_in_another_process() -> None:
    code = (
        "from laplas_async.simulator.rng import SeededRandom;"
        "print(SeededRandom('a', 1, b'x').number())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert int(result.stdout) == SeededRandom("a", 1, b"x").number()


def test_the_parts_of_a_key_stay_apart() -> None:
    assert SeededRandom("ab", "c").number() != SeededRandom("a", "bc").number()


@given(st.integers(), st.integers(-50, 50), st.integers(0, 50))
def test_numbers_stay_in_range(key: int, low: int, span: int) -> None:
    random = SeededRandom(key)
    assert low <= random.between(low, low + span) <= low + span
    assert 0 <= random.below(span + 1) <= span
    assert 0 <= random.fraction() < 1
    assert random.one_of([low, span]) in (low, span)


def test_numbers_are_spread_evenly() -> None:
    """A splitmix64 generator: each tenth of the range gets about a tenth of the draws."""
    random = SeededRandom("spread")
    tenths = [0] * 10
    for _ in range(10_000):
        tenths[int(random.fraction() * 10)] += 1
    assert 900 < min(tenths) <= max(tenths) < 1100
