"""The output of a batch, read back: every kind of line, and what a kill leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from laplas_async.batch.inflight import InFlight
from laplas_async.errors import ConfigError, JournalError
from laplas_async.report.rows import MISSING, Failure, read_rows

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def test_the_columns_have_the_numbers_of_each_row(write: Write, make: Make) -> None:
    rows = read_rows(write(make(0, first_token=0.25, usd=0.5, credits=2), make(1, status=400)))
    assert len(rows) == 2
    assert [*rows.completed] == [1, 0]
    assert [*rows.started] == [1000.0, 1001.0]
    assert [*rows.first_token] == [0.25, MISSING]
    assert [*rows.completion_tokens] == [5, MISSING]
    assert (rows.usd, rows.credits, rows.priced) == (0.5, 2, 1)
    assert dict(rows.finish_reasons) == {"stop": 1}


def test_usage_of_zero_is_zero_and_no_usage_is_missing(write: Write, make: Make) -> None:
    zero = {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    rows = read_rows(write(make(0, body=zero), make(1, body={"usage": None})))
    assert [*rows.completion_tokens] == [0, MISSING]
    assert rows.usd is None


def test_failures_are_grouped_with_the_first_lines_and_one_example(
    write: Write, make: Make
) -> None:
    bad = make(99, status=None, code="invalid_json", attempts=0, started=..., latency=...)
    lines = [*(make(n, status=400, failure="BadRequestError") for n in range(20)), bad]
    rows = read_rows(write(*lines, make(50, status=None), make(51, status=503)))
    first = rows.failures["BadRequestError", "400"]
    assert first == Failure("BadRequestError", "400", 20, list(range(1, 13)), "r0", "no: SECRET")
    assert rows.failures.keys() == {
        ("BadRequestError", "400"),
        ("bad row", "invalid_json"),
        ("RequestTimeoutError", "request_timeout"),
        ("ServerError", "503"),
    }


def test_endless_kinds_of_failures_and_finish_reasons_are_bounded(write: Write, make: Make) -> None:
    lines = (make(n, status=None, code=f"kind_{n}", failure=f"Kind{n}") for n in range(0, 400, 2))
    reasons = (
        make(n, body={"choices": [{"finish_reason": f"reason {n}"}]}) for n in range(1, 400, 2)
    )
    rows = read_rows(write(*lines, *reasons))
    assert len(rows.failures) <= 51
    assert len(rows.finish_reasons) <= 51
    assert sum(one.count for one in rows.failures.values()) == 200
    assert rows.finish_reasons.total() == 200


def test_rejections_and_retries_come_from_the_attempts(write: Write, make: Make) -> None:
    tries = [
        {"status": 429, "started": 990.0, "waited": 0, "error": "RateLimitError: 429: slow down"},
        {"status": 503, "started": 995.0, "waited": 1, "error": "ServerError: 503: oh"},
        {"status": 200, "started": 1000.0, "waited": 1},
    ]
    rows = read_rows(write(make(0, attempts=3, tries=tries), make(1, status=429)))
    assert rows.rejected == 2
    assert [*rows.rejections] == [990.0]
    assert dict(rows.retries) == {"RateLimitError": 1, "ServerError": 1}


def test_the_last_line_of_a_row_counts_and_all_its_costs(write: Write, make: Make) -> None:
    rows = read_rows(
        write(make(0, usd=1.0, status=500, failure="ServerError"), make(1), make(0, usd=2.0))
    )
    assert (len(rows), rows.superseded, rows.usd) == (2, 1, 3.0)
    assert not rows.failures


def test_a_killed_run_leaves_rows_in_flight_and_half_a_line(write: Write, make: Make) -> None:
    path = write(make(0), b'{"id":"batch_req_00')
    in_flight = InFlight(str(path))
    for number in range(3):
        in_flight.take(number.to_bytes(16) if number else b"k" * 16)
    in_flight.close()
    rows = read_rows(path)
    assert (len(rows), rows.incomplete_lines, rows.left_in_flight) == (1, 1, 3)


def test_lines_of_earlier_versions_are_read(write: Write, make: Make) -> None:
    old = make(0, started=..., maybe_twice=True, tries=[{"status": None, "may_be_billed": True}])
    rows = read_rows(write(old))
    assert [*rows.started] == [MISSING]
    assert (rows.possibly_duplicated, rows.may_be_billed) == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"latency": "fast", "waited": None, "attempts": True, "line": -3, "first_token": [1]},
        {"limit": 3, "tries": 7},
        {"limit": {"rate": "x"}, "tries": [3, None, {}]},
        {"body": {"choices": "none", "usage": []}},
        {"body": {"choices": [3], "model": {"a": 1}}},
        {"usd": "free", "credits": None, "may_be_billed": "yes"},
    ],
)
def test_strange_values_are_missing_and_never_an_exception(
    write: Write, make: Make, changes: dict[str, Any]
) -> None:
    assert len(read_rows(write(make(0, **changes)))) == 1


@pytest.mark.parametrize("data", [b"my notes\n", b"{}\n", b'{"custom_id":"a"}'])
def test_another_file_is_refused_with_its_line(write: Write, data: bytes) -> None:
    with pytest.raises(JournalError, match="line 1: ") as caught:
        read_rows(write(data))
    assert caught.value.line == 1


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_rows(tmp_path / "none")


def test_an_empty_output_has_no_rows(write: Write) -> None:
    assert len(read_rows(write())) == 0
