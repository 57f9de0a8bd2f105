"""The limiter never admits more than its limit, and at most one request less."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator.limits import HiddenLimit, RequestLimiter

GAPS = st.lists(st.floats(0, 2), max_size=80)


@given(st.floats(0.1, 50), st.integers(1, 20), GAPS)
def test_never_more_than_burst_and_rate(rate: float, burst: int, gaps: list[float]) -> None:
    gate = RequestLimiter(HiddenLimit(rate=rate, burst=burst), 100.0)
    now, times = 100.0, []
    for gap in gaps:
        now += gap
        if gate.admit(now).admitted:
            times.append(now)
    for at, start in enumerate(times):
        for count, end in enumerate(times[at:], 1):
            assert count <= burst + rate * (end - start) + 1e-6


@given(st.floats(0.1, 50), st.integers(1, 5))
def test_a_patient_client_is_always_admitted(rate: float, burst: int) -> None:
    gate = RequestLimiter(HiddenLimit(rate=rate, burst=burst), 0.0)
    now = 0.0
    for _ in range(60):
        admission = gate.admit(now)
        if not admission.admitted:
            now += admission.retry_after
            assert gate.admit(now).admitted


@given(st.integers(1, 8), st.lists(st.booleans(), max_size=100))
def test_never_more_in_flight_than_the_concurrency(most: int, steps: list[bool]) -> None:
    gate = RequestLimiter(HiddenLimit(concurrency=most), 0.0)
    in_flight = 0
    for enters in steps:
        if enters:
            admitted = gate.admit(0.0).admitted
            assert admitted == (in_flight < most)
            in_flight += admitted
        elif in_flight:
            gate.leave()
            in_flight -= 1


def test_both_limits_apply_and_a_rejection_uses_no_tokens() -> None:
    gate = RequestLimiter(HiddenLimit(rate=1, burst=2, concurrency=1), 0.0)
    assert gate.admit(0.0).admitted
    assert gate.admit(0.0).reason == "concurrency"
    gate.leave()
    assert gate.admit(0.0).admitted
    gate.leave()
    assert gate.admit(0.0).reason == "rate"
    assert gate.admit(1.0).admitted


def test_without_a_limit_everything_is_admitted() -> None:
    gate = RequestLimiter(None, 0.0)
    assert all(gate.admit(0.0).admitted for _ in range(1000))


def test_changes_over_time_keep_the_level() -> None:
    limit = HiddenLimit(
        rate=10, burst=10, changes=((5, HiddenLimit(rate=1, burst=2)), (9, HiddenLimit()))
    )
    gate = RequestLimiter(limit, 50.0)
    assert sum(gate.admit(50.0).admitted for _ in range(20)) == 10
    assert sum(gate.admit(55.0).admitted for _ in range(20)) == 2
    assert sum(gate.admit(57.0).admitted for _ in range(20)) == 2
    assert sum(gate.admit(59.0).admitted for _ in range(20)) == 20


def test_a_replaced_limit_starts_full_and_counts_requests_in_flight() -> None:
    gate = RequestLimiter(HiddenLimit(concurrency=1), 0.0)
    gate.admit(0.0)
    gate.replace(HiddenLimit(rate=1, burst=3, concurrency=3), 1.0)
    assert [gate.admit(1.0).admitted for _ in range(3)] == [True, True, False]


def test_headers_only_when_configured() -> None:
    assert RequestLimiter(HiddenLimit(rate=1), 0.0).admit(0.0).headers == {}
    gate = RequestLimiter(HiddenLimit(rate=0.5, burst=1, headers=True), 0.0)
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
