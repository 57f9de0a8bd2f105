"""The turnstile never lets more through than its limit says, and less only by less than one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator.limits import HiddenLimit, Turnstile

GAPS = st.lists(st.floats(0, 2), max_size=80)


@given(st.floats(0.1, 50), st.integers(1, 20), GAPS)
def test_never_more_than_burst_and_rate(rate: float, burst: int, gaps: list[float]) -> None:
    gate = Turnstile(HiddenLimit(rate=rate, burst=burst), 100.0)
    now, times = 100.0, []
    for gap in gaps:
        now += gap
        if gate.admit(now).admitted:
            times.append(now)
    for at, start in enumerate(times):
        for count, end in enumerate(times[at:], 1):
            assert count <= burst + rate * (end - start) + 1e-6


@given(st.floats(0.1, 50), st.integers(1, 5))
def test_a_patient_client_is_always_let_in(rate: float, burst: int) -> None:
    gate = Turnstile(HiddenLimit(rate=rate, burst=burst), 0.0)
    now = 0.0
    for _ in range(60):
        verdict = gate.admit(now)
        if not verdict.admitted:
            now += verdict.retry_after
            assert gate.admit(now).admitted


@given(st.integers(1, 8), st.lists(st.booleans(), max_size=100))
def test_never_more_inside_than_the_concurrency(most: int, steps: list[bool]) -> None:
    gate = Turnstile(HiddenLimit(concurrency=most), 0.0)
    inside = 0
    for enters in steps:
        if enters:
            admitted = gate.admit(0.0).admitted
            assert admitted == (inside < most)
            inside += admitted
        elif inside:
            gate.leave()
            inside -= 1


def test_both_and_a_rejection_costs_nothing() -> None:
    gate = Turnstile(HiddenLimit(rate=1, burst=2, concurrency=1), 0.0)
    assert gate.admit(0.0).admitted
    assert gate.admit(0.0).reason == "concurrency"
    gate.leave()
    assert gate.admit(0.0).admitted
    gate.leave()
    assert gate.admit(0.0).reason == "rate"
    assert gate.admit(1.0).admitted


def test_no_limit_lets_all_in() -> None:
    gate = Turnstile(None, 0.0)
    assert all(gate.admit(0.0).admitted for _ in range(1000))


def test_changes_over_time_keep_the_level() -> None:
    limit = HiddenLimit(
        rate=10, burst=10, changes=((5, HiddenLimit(rate=1, burst=2)), (9, HiddenLimit()))
    )
    gate = Turnstile(limit, 50.0)
    assert sum(gate.admit(50.0).admitted for _ in range(20)) == 10
    assert sum(gate.admit(55.0).admitted for _ in range(20)) == 2
    assert sum(gate.admit(57.0).admitted for _ in range(20)) == 2
    assert sum(gate.admit(59.0).admitted for _ in range(20)) == 20


def test_a_replaced_limit_starts_full_and_keeps_who_is_inside() -> None:
    gate = Turnstile(HiddenLimit(concurrency=1), 0.0)
    gate.admit(0.0)
    gate.replace(HiddenLimit(rate=1, burst=3, concurrency=3), 1.0)
    assert [gate.admit(1.0).admitted for _ in range(3)] == [True, True, False]


def test_headers_only_when_told() -> None:
    assert Turnstile(HiddenLimit(rate=1), 0.0).admit(0.0).headers == {}
    gate = Turnstile(HiddenLimit(rate=0.5, burst=1, headers=True), 0.0)
    assert gate.admit(0.0).headers["x-ratelimit-remaining-requests"] == "0"
    assert gate.admit(0.5).headers["retry-after"] == "2"


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"burst": 0, "rate": 1},
        {"burst": 3},
        {"concurrency": -1},
        {"changes": ((2, HiddenLimit()), (1, HiddenLimit()))},
        {"changes": ((1, HiddenLimit(changes=((1, HiddenLimit()),))),)},
    ],
)
def test_impossible_limits(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        HiddenLimit(**options)
