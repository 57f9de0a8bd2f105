"""Percentiles, bins, the cut time axis, and that the sums over time are the sums of the rows."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from laplas_async.report.analysis import (
    BINS,
    Goals,
    analyze,
    distribution,
    make_timeline,
    percentile,
)
from laplas_async.report.rows import MISSING, Rows


def rows_of(*rows: tuple[float, float], waited: float = 0.0, tokens: float = 10) -> Rows:
    """Completed rows of (started, latency)."""
    found = Rows()
    for started, latency in rows:
        found.started.append(started)
        found.latency.append(latency)
        found.waited.append(waited)
        found.first_token.append(latency / 2)
        found.prompt_tokens.append(tokens)
        found.completion_tokens.append(tokens)
        found.attempts.append(1)
        found.completed.append(1)
    return found


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_nearest_rank_and_bars_hold_every_value(values: list[float]) -> None:
    found = distribution(values)
    assert found is not None
    order = sorted(values)
    assert found.p50 == order[math.ceil(0.5 * len(order)) - 1]
    assert (found.min, found.max, found.count) == (order[0], order[-1], len(order))
    assert found.min <= found.p50 <= found.p90 <= found.p95 <= found.p99 <= found.max
    assert sum(rows for _, _, rows in found.bars) == len(values)
    assert 1 <= len(found.bars) <= 45
    edges = [low for low, _, _ in found.bars] + [found.bars[-1][1]]
    assert edges == sorted(set(edges))
    assert edges[0] <= order[0] + 1e-9
    assert edges[-1] >= order[-1]


def test_percentiles_of_one_to_a_hundred() -> None:
    order = [float(n) for n in range(1, 101)]
    assert [percentile(order, p) for p in (0.01, 0.5, 0.9, 0.95, 0.99, 1.0)] == [
        1, 50, 90, 95, 99, 100,
    ]  # fmt: skip


def test_nothing_has_no_distribution_and_missing_values_do_not_count() -> None:
    assert distribution([]) is None
    assert distribution([MISSING, MISSING]) is None
    found = distribution([MISSING, 2.0])
    assert found is not None
    assert (found.count, found.mean) == (1, 2.0)


spans = st.lists(st.tuples(st.floats(1e9, 1e9 + 5000), st.floats(0, 120)), min_size=1, max_size=60)


@given(spans, st.floats(0, 60))
@example(  # 360.25 s in 180 intervals of 2 s: the last one is wider
    [
        *((1e9 + start, 0.0) for start in (1239.25, 3714.25, 4095.0)),
        *((1e9 + 318.75, 25.5), (1e9 + 2322.25, 58.5)),
    ],
    55.25,
)
@example([(1e9 + 4639.0, 0.0), (1e9 + 4639.5, 94.0)], 57.5)
def test_sums_over_time_are_the_sums_of_the_rows(
    spans: list[tuple[float, float]], waited: float
) -> None:
    rows = rows_of(*spans, waited=waited)
    line = make_timeline(rows)
    assert 1 <= len(line.intervals) <= BINS
    widths = [line.width] * (len(line.intervals) - 1)
    widths.append(max(line.seconds - sum(widths), line.width / 10))
    pairs = list(zip(line.intervals, widths, strict=True))
    assert sum(i.rows * w for i, w in pairs) == pytest.approx(len(spans))
    assert sum(i.tokens * w for i, w in pairs) == pytest.approx(20 * len(spans))
    assert sum(i.in_flight * w for i, w in pairs) == pytest.approx(
        sum(latency for _, latency in spans),
        abs=1e-3 * len(spans),
    )
    assert sum(i.waiting * w for i, w in pairs) == pytest.approx(
        waited * len(spans), abs=1e-3 * len(spans)
    )


def test_a_night_between_two_runs_is_left_out_of_the_axis() -> None:
    first = [(1000.0 + n, 1.0) for n in range(100)]
    second = [(60_000.0 + n, 1.0) for n in range(100)]
    line = make_timeline(rows_of(*first, *second))
    assert line.seconds == pytest.approx(200)
    assert line.gaps == ((100.0, 60_000.0 - 1_100.0),)
    numbers = analyze(rows_of(*first, *second))
    assert numbers.rows_per_second == pytest.approx(1.0)


def test_a_pause_within_a_run_stays() -> None:
    line = make_timeline(rows_of((1000.0, 1.0), (1030.0, 1.0)))
    assert line.gaps == ()
    assert line.seconds == pytest.approx(31)


def test_a_limit_holds_until_the_next_one() -> None:
    rows = rows_of(*((1000.0 + n, 1.0) for n in range(60)))
    rows.limits = [(1010.0, 5.0, 50), (1030.0, None, 20)]
    line = make_timeline(rows)
    rates = [i.limit_rate for i in line.intervals]
    at_once = [i.limit_concurrency for i in line.intervals]
    assert rates[0] is None
    assert rates[int(20 / line.width)] == 5.0
    assert (rates[-1], at_once[-1]) == (None, 20)


def test_without_start_times_there_is_no_rate_and_nothing_is_made_up() -> None:
    numbers = analyze(rows_of((MISSING, 1.0), (MISSING, 2.0)))
    assert numbers.timeline.intervals == ()
    assert (numbers.rows_per_second, numbers.usd, numbers.goodput) == (None, None, None)
    assert analyze(Rows()).rows == 0


def test_goodput_counts_rows_that_keep_every_goal() -> None:
    rows = rows_of((1000.0, 1.0), (1001.0, 2.0), (1002.0, 3.0))
    assert analyze(rows, Goals(latency=2.0)).good_rows == 2
    assert analyze(rows, Goals(first_token=0.6, latency=2.0)).good_rows == 1
    rows.first_token[0] = MISSING  # not streamed: it is not known to be good
    assert analyze(rows, Goals(first_token=9.0)).good_rows == 2
    numbers = analyze(rows, Goals(latency=9.0))
    assert numbers.goodput == pytest.approx(3 / numbers.timeline.seconds)


def test_time_per_output_token_leaves_out_the_first() -> None:
    found = analyze(rows_of((1000.0, 1.0), tokens=11)).time_per_output_token
    assert found is not None
    assert found.p50 == pytest.approx(0.05)
    assert analyze(rows_of((1000.0, 1.0), tokens=1)).time_per_output_token is None
