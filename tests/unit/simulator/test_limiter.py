"""The limiter never admits more than its limit, and a client that waits is always admitted."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.simulator.limiter import RequestLimiter
from laplas_async.simulator.limits import HiddenLimit, Rival

GAPS = st.lists(st.floats(0, 2), max_size=80)


def admitted_times(limiter: RequestLimiter, gaps: list[float], now: float = 100.0) -> list[float]:
    times = []
    for gap in gaps:
        now += gap
        if limiter.admit(now).admitted:
            times.append(now)
    return times


def burst(limiter: RequestLimiter, now: float, attempts: int = 20, **options: Any) -> int:
    """Return how many of the requests that arrive at the same moment are admitted."""
    return sum(limiter.admit(now, **options).admitted for _ in range(attempts))


@given(st.floats(0.1, 50), st.integers(1, 20), GAPS)
def test_a_bucket_never_admits_more_than_burst_and_rate(
    rate: float, size: int, gaps: list[float]
) -> None:
    times = admitted_times(RequestLimiter(HiddenLimit(rate=rate, burst=size), 100.0), gaps)
    for at, start in enumerate(times):
        for count, end in enumerate(times[at:], 1):
            assert count <= size + rate * (end - start) + 1e-6


@given(st.floats(0.1, 50), GAPS)
def test_a_burst_of_one_spaces_requests_evenly(rate: float, gaps: list[float]) -> None:
    times = admitted_times(RequestLimiter(HiddenLimit(rate=rate, burst=1), 100.0), gaps)
    for earlier, later in pairwise(times):
        assert later - earlier >= 1 / rate - 1e-6


@given(st.integers(1, 9), st.floats(0.1, 20), st.floats(0, 0.999), GAPS)
def test_a_fixed_window_never_admits_more_than_its_number(
    number: int, per: float, phase: float, gaps: list[float]
) -> None:
    limit = HiddenLimit(requests=number, per=per, phase=phase * per)
    times = admitted_times(RequestLimiter(limit, 100.0), gaps)
    windows = [int((at - 100.0) / per + phase + 1e-9) for at in times]
    assert all(windows.count(window) <= number for window in set(windows))


@given(st.integers(1, 9), st.floats(0.1, 20), GAPS)
def test_a_sliding_window_never_admits_more_in_any_period(
    number: int, per: float, gaps: list[float]
) -> None:
    limiter = RequestLimiter(HiddenLimit(requests=number, per=per, sliding=True), 100.0)
    times = admitted_times(limiter, gaps)
    for earlier, later in zip(times, times[number:], strict=False):
        assert later - earlier >= per - 1e-6


def test_a_fixed_window_starts_anew_at_its_boundary() -> None:
    """Up to twice the number in a short time: what clients must expect of fixed windows."""
    limiter = RequestLimiter(HiddenLimit(requests=5, per=60, phase=45), 1000.0)
    assert burst(limiter, 1014.9) == 5
    assert limiter.admit(1014.9).retry_after == pytest.approx(0.1)
    assert burst(limiter, 1015.0) == 5
    assert burst(limiter, 1074.9) == 0
    assert burst(limiter, 1075.0) == 5


def test_a_sliding_window_frees_each_request_after_its_period() -> None:
    limiter = RequestLimiter(HiddenLimit(requests=2, per=10, sliding=True), 0.0)
    assert [limiter.admit(at).admitted for at in (0.0, 4.0, 5.0)] == [True, True, False]
    assert limiter.admit(5.0).retry_after == 5.0
    assert [limiter.admit(at).admitted for at in (10.0, 10.1, 14.0)] == [True, False, True]


@pytest.mark.parametrize("sliding", [True, False])
def test_tokens_are_counted_in_their_window(sliding: bool) -> None:
    limiter = RequestLimiter(HiddenLimit(tokens=1000, per=60, sliding=sliding), 0.0)
    assert limiter.admit(1.0, tokens=700).admitted
    rejection = limiter.admit(2.0, tokens=301)
    assert (rejection.admitted, rejection.reason) == (False, "tokens")
    assert rejection.retry_after == (59.0 if sliding else 58.0)
    assert limiter.admit(2.0, tokens=300).admitted
    assert limiter.admit(2.0 + rejection.retry_after, tokens=301).admitted
    assert not limiter.admit(300.0, tokens=1001).admitted


LIMITS = [
    HiddenLimit(rate=3, burst=2),
    HiddenLimit(rate=0.7, burst=1),
    HiddenLimit(requests=4, per=7),
    HiddenLimit(requests=4, per=0.3, phase=0.2),
    HiddenLimit(requests=3, per=5, sliding=True),
    HiddenLimit(tokens=100, per=9),
    HiddenLimit(tokens=100, per=9, sliding=True),
    HiddenLimit(requests=2, tokens=150, per=4, rate=2),
    HiddenLimit(rate=10, also=(HiddenLimit(requests=20, per=60),)),
    HiddenLimit(rate=3, rival=Rival(share=0.5, on=2, off=1)),
    HiddenLimit(requests=4, per=7, rival=Rival(share=0.25, on=2, off=1)),
]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@settings(max_examples=30)
@given(st.floats(0, 10**6), st.lists(st.integers(1, 100), min_size=20, max_size=20))
def test_a_patient_client_is_always_admitted(
    limit: HiddenLimit, start: float, costs: list[int]
) -> None:
    """Waiting exactly ``retry_after`` suffices: no wait is reported that is too short."""
    limiter = RequestLimiter(limit, start)
    now = start
    for cost in costs:
        admission = limiter.admit(now, tokens=cost)
        if not admission.admitted:
            now += admission.retry_after
            assert limiter.admit(now, tokens=cost).admitted


@given(st.integers(1, 8), st.lists(st.booleans(), max_size=100))
def test_never_more_in_flight_than_the_concurrency(most: int, steps: list[bool]) -> None:
    limiter = RequestLimiter(HiddenLimit(concurrency=most), 0.0)
    in_flight = 0
    for enters in steps:
        if enters:
            admitted = limiter.admit(0.0).admitted
            assert admitted == (in_flight < most)
            in_flight += admitted
        elif in_flight:
            limiter.leave()
            in_flight -= 1


def test_a_rejection_uses_nothing_of_any_limit() -> None:
    limiter = RequestLimiter(HiddenLimit(rate=1, burst=2, concurrency=1), 0.0)
    assert limiter.admit(0.0).admitted
    assert limiter.admit(0.0).reason == "concurrency"
    limiter.leave()
    assert limiter.admit(0.0).admitted
    limiter.leave()
    assert limiter.admit(0.0).reason == "rate"
    assert limiter.admit(1.0).admitted


def test_several_limits_apply_at_the_same_time() -> None:
    per_second = HiddenLimit(rate=10, burst=10)
    per_minute = HiddenLimit(requests=25, per=60)
    limiter = RequestLimiter([per_second, per_minute], 0.0)
    assert limiter.limit == HiddenLimit.all_of(per_second, per_minute)
    assert [burst(limiter, at) for at in (0.0, 1.0, 2.0, 3.0)] == [10, 10, 5, 0]
    rejection = limiter.admit(3.0)
    assert (rejection.reason, rejection.retry_after) == ("window", 57.0)


def test_without_a_limit_everything_is_admitted() -> None:
    assert burst(RequestLimiter(None, 0.0), 0.0, 1000) == 1000


def test_changes_keep_the_level_of_the_bucket() -> None:
    limit = HiddenLimit(
        rate=10, burst=10, changes=((5, HiddenLimit(rate=1, burst=2)), (9, HiddenLimit()))
    )
    limiter = RequestLimiter(limit, 50.0)
    assert [burst(limiter, at) for at in (50.0, 55.0, 57.0, 59.0)] == [10, 2, 2, 20]


def test_changes_keep_the_count_of_the_window() -> None:
    limit = HiddenLimit(requests=10, per=60, changes=((30, HiddenLimit(requests=4, per=60)),))
    limiter = RequestLimiter(limit, 0.0)
    assert [burst(limiter, at, 6) for at in (29.0, 31.0, 60.0)] == [6, 0, 4]


def test_a_window_that_begins_later_counts_what_came_before() -> None:
    limit = HiddenLimit(changes=((10, HiddenLimit(requests=5, per=20, sliding=True)),))
    limiter = RequestLimiter(limit, 0.0)
    assert burst(limiter, 9.0, 3) == 3
    assert burst(limiter, 11.0) == 2
    assert burst(limiter, 29.0) == 3


def test_a_rival_takes_its_share_while_it_is_active() -> None:
    rival = Rival(share=0.5, on=10, off=10)
    limiter = RequestLimiter(HiddenLimit(rate=10, burst=1, rival=rival), 0.0)
    counts = [0, 0, 0, 0]
    for step in range(4000):
        counts[step // 1000] += limiter.admit(step / 100).admitted
    assert counts == pytest.approx([50, 100, 50, 100], abs=2)

    limiter = RequestLimiter(HiddenLimit(requests=40, per=10, rival=rival), 0.0)
    assert [burst(limiter, at, 50) for at in (9.999, 19.999, 20.0)] == [20, 40, 40]

    limiter = RequestLimiter(HiddenLimit(concurrency=5, rival=rival), 0.0)
    assert [burst(limiter, at) for at in (0.0, 10.0)] == [3, 2]


def test_a_replaced_limit_is_unused_and_counts_requests_in_flight() -> None:
    limiter = RequestLimiter(HiddenLimit(concurrency=1), 0.0)
    limiter.admit(0.0)
    limiter.replace(HiddenLimit(rate=1, burst=3, concurrency=3), 1.0)
    assert [limiter.admit(1.0).admitted for _ in range(3)] == [True, True, False]


def test_headers_only_when_configured() -> None:
    assert RequestLimiter(HiddenLimit(rate=1), 0.0).admit(0.0).headers == {}
    limiter = RequestLimiter(HiddenLimit(rate=0.5, burst=1, headers=True), 0.0)
    assert limiter.admit(0.0).headers["x-ratelimit-remaining-requests"] == "0"
    assert limiter.admit(0.5).headers["retry-after"] == "2"


def test_each_kind_of_header_can_be_configured_alone() -> None:
    limiter = RequestLimiter(HiddenLimit(requests=1, per=60, headers="retry-after"), 0.0)
    assert limiter.admit(12.5).headers == {}
    assert limiter.admit(12.5).headers == {"retry-after": "48"}
    limiter = RequestLimiter(HiddenLimit(requests=1, per=60, headers="x-ratelimit"), 0.0)
    limiter.admit(12.5)
    assert limiter.admit(12.5).headers == {
        "x-ratelimit-limit-requests": "1",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "47.500s",
    }


def test_headers_report_requests_and_tokens_and_the_tightest_limit() -> None:
    limit = HiddenLimit(
        requests=30, tokens=6000, headers=True, also=(HiddenLimit(rate=2, burst=2),)
    )
    headers = RequestLimiter(limit, 0.0).admit(1.0, tokens=1500).headers
    assert headers["x-ratelimit-remaining-requests"] == "1"
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-tokens"] == "4500"
    assert headers["x-ratelimit-reset-tokens"] == "59.000s"


def test_which_tokens_are_charged() -> None:
    assert RequestLimiter(HiddenLimit(rate=1), 0.0).charge is None
    assert RequestLimiter(HiddenLimit(tokens=9), 0.0).charge == "used"
    later = HiddenLimit(changes=((5, HiddenLimit(tokens=9, charge="requested")),))
    assert RequestLimiter([HiddenLimit(rate=1), later], 0.0).charge == "requested"


@pytest.mark.parametrize("sliding", [True, False])
def test_memory_is_bounded_by_the_limit(sliding: bool) -> None:
    limiter = RequestLimiter(HiddenLimit(requests=50, per=10, sliding=sliding), 0.0)
    for step in range(20_000):
        limiter.admit(step / 100)
    assert len(limiter._parts[0].log) <= 50
