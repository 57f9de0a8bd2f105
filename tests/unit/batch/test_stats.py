"""The sums of a run, and the progress and the report that follow from them."""

import random

import pytest

from laplas_async.batch.report import BatchReport, RowCounts, Tokens
from laplas_async.batch.results import RowCost
from laplas_async.batch.stats import Histogram, RunStats
from laplas_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    LaplasError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    QuotaExceededError,
    ServerError,
)
from laplas_async.pacing.gate import Pace
from laplas_async.types import Attempt, ChatCompletion, Cost, Usage

PACE = Pace(None, 10, 0, 0, 0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def answer() -> ChatCompletion:
    attempts = (Attempt(0.0, status=429), Attempt(1.0, status=200))
    usage = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    return ChatCompletion(usage=usage, cost=Cost(2.0, 0.5), attempts=attempts)


def test_quantiles_are_a_percent_wide() -> None:
    values = [random.Random(n).lognormvariate(0, 1.5) for n in range(5000)]
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    quantiles = histogram.quantiles()
    assert quantiles is not None
    values.sort()
    for part, value in ((0.5, quantiles.p50), (0.95, quantiles.p95), (0.99, quantiles.p99)):
        assert value == pytest.approx(values[round(part * len(values)) - 1], rel=0.0101)


def test_quantiles_of_little() -> None:
    histogram = Histogram()
    assert histogram.quantiles() is None
    histogram.add(0.0)
    quantiles = histogram.quantiles()
    assert quantiles is not None
    assert quantiles.p50 == quantiles.p99 < 1e-5


def test_the_sums() -> None:
    clock = Clock()
    stats = RunStats(clock)
    for _ in range(3):
        stats.add_completion(answer(), 0.25, 0.125, RowCost(0.5, "reported", 0.25))
    error = ServerError("503", status=503)
    error.attempts = (Attempt(0.0, status=503),)
    stats.add_failure(error)
    stats.add_bad_row()
    stats.read = 5
    clock.now += 2
    report = stats.report()
    assert report.ending == "done"
    assert report.counts == RowCounts(answered=3, failed=2, bad=1)
    assert report.tokens == Tokens(prompt=9, completion=12)
    assert report.tokens.total == 21
    assert (report.usd, report.credits) == (1.5, 6.0)
    assert (report.usd_by_source, report.usd_may_be_billed) == ({"reported": 1.5}, 0.75)
    assert (report.tries, report.rejected, report.elapsed) == (7, 3, 2)
    assert report.failures == {"ServerError": 1, "bad row": 1}
    assert report.advice.keys() == report.failures.keys()
    assert report.first_token is not None
    assert report.latency is not None
    assert report.latency.p50 == pytest.approx(0.25, rel=0.01)
    assert not report.ok


def test_what_is_not_reported_is_none() -> None:
    stats = RunStats(Clock())
    stats.add_completion(ChatCompletion(), 0.1, None)
    report = stats.report()
    assert (report.usd, report.credits, report.first_token) == (None, None, None)
    assert report.ok


def test_an_earlier_failure_is_not_ok() -> None:
    def report(**counts: int) -> BatchReport:
        return BatchReport(
            ending="done", rows=1, counts=RowCounts(**counts), tokens=Tokens(), elapsed=0.0
        )

    assert report(resumed=1).ok
    assert not report(resumed=1, failed_before=1).ok
    assert not report(failed=1).ok


@pytest.mark.parametrize(
    "kind",
    [
        AuthenticationError,
        PermissionDeniedError,
        OutOfCreditsError,
        NotFoundError,
        QuotaExceededError,
        ConfigError,
    ],
)
def test_ten_failures_in_a_row_for_the_account_are_enough(kind: type[LaplasError]) -> None:
    stats = RunStats(Clock())
    for _ in range(9):
        stats.add_failure(kind("no"))
    stats.add_completion(answer(), 0.1, None)
    for _ in range(9):
        stats.add_failure(kind("no"))
    assert stats.ending is None
    stats.add_failure(kind("no, still"))
    if kind is ConfigError:  # another message may be about another row
        assert stats.ending is None
        for _ in range(9):
            stats.add_failure(kind("no, still"))
    assert stats.ending == "same_failure"
    report = stats.report()
    assert "no, still; " in report.reason
    assert "run the same" in report.reason
    assert report.advice[kind.__name__] in report.reason


@pytest.mark.parametrize("kind", [BadRequestError, ServerError])
def test_other_failures_do_not_end_it(kind: type[LaplasError]) -> None:
    stats = RunStats(Clock())
    for n in range(100):
        stats.add_failure(kind("no"))
        stats.add_failure((AuthenticationError if n % 2 else NotFoundError)("no"))
        stats.add_bad_row()
    assert stats.ending is None


def test_too_many_failures() -> None:
    stats = RunStats(Clock(), max_errors=3)
    stats.add_bad_row()
    stats.add_failure(ServerError("no"))
    assert stats.ending is None
    stats.add_bad_row()
    assert stats.ending == "max_errors"
    assert "3 rows failed" in stats.report().reason


def test_progress() -> None:
    clock = Clock()
    stats = RunStats(clock)
    progress = stats.progress(PACE)
    assert (progress.rows, progress.left, progress.rows_per_second) == (None, None, 0)
    for _ in range(100):
        clock.now += 0.1
        stats.add_completion(answer(), 0.1, None)
        progress = stats.progress(PACE)
    assert progress.rows_per_second == pytest.approx(10)
    assert progress.tokens_per_second == pytest.approx(70)
    assert progress.left is None
    stats.read, stats.done = 150, 0.25  # of about 600
    assert stats.progress(PACE).left == pytest.approx(50)
    stats.rows.resumed = stats.read = 100
    stats.is_read, stats.saved = True, 90
    stats.read = 400
    progress = stats.progress(PACE)
    assert (progress.rows, progress.saved) == (400, 190)
    assert progress.left == pytest.approx(20)
    clock.now += 100  # a pause: the rate is that of the last seconds
    assert stats.progress(PACE).rows_per_second == pytest.approx(0)
