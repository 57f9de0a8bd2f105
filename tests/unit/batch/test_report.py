"""The values of progress and report."""

import pytest

from laplas_async.batch.report import BatchReport, Ending, RowCounts, Tokens


def report(ending: Ending, counts: RowCounts) -> BatchReport:
    return BatchReport(ending=ending, rows=1, counts=counts, tokens=Tokens(), elapsed=0.0)


@pytest.mark.parametrize(
    ("counts", "ok"),
    [
        (RowCounts(answered=1), True),
        (RowCounts(resumed=1), True),
        (RowCounts(resumed=1, failed_before=1), False),
        (RowCounts(failed=1), False),
        (RowCounts(), True),
    ],
)
def test_ok_means_that_every_row_has_a_completion(counts: RowCounts, *, ok: bool) -> None:
    assert report("done", counts).ok is ok
    assert not report("interrupted", counts).ok


def test_settled_rows_are_all_that_have_a_result() -> None:
    assert RowCounts(answered=3, failed=2, bad=1, resumed=4, failed_before=1).settled == 9


def test_tokens_have_a_total() -> None:
    assert Tokens(prompt=3, completion=4).total == 7
