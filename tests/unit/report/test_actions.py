"""What is recommended, and that nothing is where nothing is needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from laplas_async.report.actions import recommend
from laplas_async.report.analysis import analyze
from laplas_async.report.page import render
from laplas_async.report.rows import read_rows

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def actions(output: Path) -> list[tuple[str, str, bool]]:
    rows = read_rows(output)
    return [(one.what, one.todo, one.urgent) for one in recommend(rows, analyze(rows))]


def test_a_run_without_failures_needs_nothing(write: Write, make: Make) -> None:
    assert actions(write(make(0), make(1))) == []


def test_failures_come_first_each_kind_with_advice(write: Write, make: Make) -> None:
    cut = {"choices": [{"finish_reason": "length"}]}
    found = actions(
        write(
            make(0, body=cut),
            make(1, status=401, failure="AuthenticationError"),
            make(2, status=401, failure="AuthenticationError"),
            make(3, status=None, code="invalid_json", attempts=0),
        )
    )
    assert [what for what, _, _ in found] == [
        "2 rows failed: AuthenticationError.",
        "1 row failed: bad row.",
        "1 answer was cut off by the token limit.",
    ]
    assert "LAPLAS_API_KEY" in found[0][1]
    assert [urgent for _, _, urgent in found] == [True, True, False]


def test_a_killed_run_is_to_be_resumed(write: Write, make: Make) -> None:
    [(what, todo, urgent)] = actions(write(make(0), b'{"id":"batch_req_'))
    assert "was stopped" in what
    assert "resumes" in todo
    assert urgent


def test_many_rejections_name_the_learned_limit(write: Write, make: Make) -> None:
    tries = [{"status": 429, "started": 999.0}, {"status": 200, "started": 1000.0}]
    limit = {"rate": 2.0, "concurrency": 5}
    [(what, todo, _)] = actions(write(make(0, attempts=2, tries=tries, limit=limit)))
    assert what.startswith("50 % of the attempts")
    assert "--rpm 120" in todo


def test_attempts_that_may_be_billed_and_rows_sent_twice_are_reported(
    write: Write, make: Make
) -> None:
    found = actions(write(make(0, may_be_billed=2, possibly_duplicated=True)))
    assert ["may be billed" in found[0][0], "sent twice" in found[1][0]] == [True, True]


def test_a_run_that_stopped_early_says_why_first(write: Write, make: Make) -> None:
    rows = read_rows(write(make(0)))
    rows.stopped = "the budget of $25.00 has no room for another row"
    [first] = recommend(rows, analyze(rows))
    assert first.what == f"The run stopped early: {rows.stopped}."
    assert first.urgent
    page = render(rows, analyze(rows))
    assert "1 of 1 row completed, the run stopped early." in page
    assert "$25.00 has no room" in page
