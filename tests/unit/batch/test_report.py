"""What is counted, and what is made of it."""

import random

import pytest

from laplas_async.batch.report import BatchReport, Counts, Tokens
from laplas_async.batch.stats import Spread, Tally
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
    spread = Spread()
    for value in values:
        spread.add(value)
    told = spread.quantiles()
    assert told is not None
    values.sort()
    for part, value in ((0.5, told.p50), (0.95, told.p95), (0.99, told.p99)):
        assert value == pytest.approx(values[round(part * len(values)) - 1], rel=0.0101)


def test_quantiles_of_little() -> None:
    spread = Spread()
    assert spread.quantiles() is None
    spread.add(0.0)
    told = spread.quantiles()
    assert told is not None
    assert told.p50 == told.p99 < 1e-5


def test_the_sums() -> None:
    clock = Clock()
    tally = Tally(clock)
    for _ in range(3):
        tally.answer(answer(), 0.25, 0.125)
    error = ServerError("503", status=503)
    error.attempts = (Attempt(0.0, status=503),)
    tally.fail(error)
    tally.refuse()
    tally.read = 5
    clock.now += 2
    report = tally.report()
    assert report.ending == "done"
    assert report.counts == Counts(answered=3, failed=2, bad=1)
    assert report.tokens == Tokens(prompt=9, completion=12)
    assert report.tokens.total == 21
    assert (report.usd, report.credits) == (1.5, 6.0)
    assert (report.tries, report.rejected, report.elapsed) == (7, 3, 2)
    assert report.failures == {"ServerError": 1, "bad row": 1}
    assert report.advice.keys() == report.failures.keys()
    assert report.first_token is not None
    assert report.latency is not None
    assert report.latency.p50 == pytest.approx(0.25, rel=0.01)
    assert not report.ok


def test_what_is_not_told_is_not_made_up() -> None:
    tally = Tally(Clock())
    tally.answer(ChatCompletion(), 0.1, None)
    report = tally.report()
    assert (report.usd, report.credits, report.first_token) == (None, None, None)
    assert report.ok


def test_an_earlier_failure_is_not_ok() -> None:
    def report(**counts: int) -> BatchReport:
        return BatchReport(
            ending="done", rows=1, counts=Counts(**counts), tokens=Tokens(), elapsed=0.0
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
    tally = Tally(Clock())
    for _ in range(9):
        tally.fail(kind("no"))
    tally.answer(answer(), 0.1, None)
    for _ in range(9):
        tally.fail(kind("no"))
    assert tally.ending is None
    tally.fail(kind("no, still"))
    if kind is ConfigError:  # of other words, so it may be another row's own
        assert tally.ending is None
        for _ in range(9):
            tally.fail(kind("no, still"))
    assert tally.ending == "same_failure"
    report = tally.report()
    assert "no, still; " in report.reason
    assert "run the same" in report.reason
    assert report.advice[kind.__name__] in report.reason


@pytest.mark.parametrize("kind", [BadRequestError, ServerError])
def test_other_failures_do_not_end_it(kind: type[LaplasError]) -> None:
    tally = Tally(Clock())
    for n in range(100):
        tally.fail(kind("no"))
        tally.fail((AuthenticationError if n % 2 else NotFoundError)("no"))
        tally.refuse()
    assert tally.ending is None


def test_too_many_failures() -> None:
    tally = Tally(Clock(), max_errors=3)
    tally.refuse()
    tally.fail(ServerError("no"))
    assert tally.ending is None
    tally.refuse()
    assert tally.ending == "max_errors"
    assert "3 rows failed" in tally.report().reason


def test_progress() -> None:
    clock = Clock()
    tally = Tally(clock)
    progress = tally.progress(PACE)
    assert (progress.rows, progress.left, progress.rows_per_second) == (None, None, 0)
    for _ in range(100):
        clock.now += 0.1
        tally.answer(answer(), 0.1, None)
        progress = tally.progress(PACE)
    assert progress.rows_per_second == pytest.approx(10)
    assert progress.tokens_per_second == pytest.approx(70)
    assert progress.left is None
    tally.read, tally.done = 150, 0.25  # of about 600
    assert tally.progress(PACE).left == pytest.approx(50)
    tally.resumed = tally.read = 100
    tally.is_read, tally.saved = True, 90
    tally.read = 400
    progress = tally.progress(PACE)
    assert (progress.rows, progress.saved) == (400, 190)
    assert progress.left == pytest.approx(20)
    clock.now += 100  # it stands: the rate is of the last seconds
    assert tally.progress(PACE).rows_per_second == pytest.approx(0)
