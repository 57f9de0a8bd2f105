import argparse
import json
import os
from pathlib import Path

import pytest
from attrs import evolve

from laplas_async import BatchReport, ConfigError
from laplas_async.batch.report import Ending, Quantiles, RowCounts, Tokens
from laplas_async.cli.batch import _Summary, exit_code, failure_lines, summary_lines, tell

DONE = BatchReport(
    ending="done",
    rows=1_000,
    counts=RowCounts(answered=1_000),
    tokens=Tokens(prompt=2_000, completion=3_000),
    elapsed=8.0,
    latency=Quantiles(p50=0.2, p95=0.5, p99=1.25),
    tries=1_003,
    rejected=3,
)
MIXED = evolve(
    DONE,
    counts=RowCounts(
        answered=700,
        failed=40,
        bad=5,
        resumed=260,
        changed=2,
        possibly_duplicated=4,
        failed_before=6,
        repaired=1,
    ),
    credits=12.5,
    usd=0.0315,
    first_token=Quantiles(p50=0.1, p95=0.2, p99=0.3),
    failures={"bad row": 5, "ServerError": 30, "AError": 5},
    advice={"bad row": "correct them", "ServerError": "wait a while"},
)


@pytest.mark.parametrize(
    ("ending", "failed", "code"),
    [
        ("done", 0, 0),
        ("done", 1, 1),
        ("max_errors", 1, 3),
        ("same_failure", 1, 3),
        ("interrupted", 0, 130),
        ("interrupted", 1, 130),
    ],
)
def test_exit_codes(ending: Ending, failed: int, code: int) -> None:
    assert exit_code(evolve(DONE, ending=ending, counts=RowCounts(failed=failed))) == code


def test_rows_that_failed_before_are_no_success() -> None:
    assert exit_code(evolve(DONE, counts=RowCounts(resumed=1_000, failed_before=1))) == 1


def test_the_summary_tells_only_what_there_is() -> None:
    assert summary_lines(DONE) == [
        "rows          1,000 in 8 s",
        "answered      1,000 (125.0 rows/s)",
        "tokens        2,000 prompt + 3,000 completion = 5,000",
        "latency       p50 0.200 s, p95 0.500 s, p99 1.250 s",
        "requests      1,003, 3 rejected",
        "failed        0",
    ]


def test_the_summary_tells_all_there_is() -> None:
    assert summary_lines(MIXED) == [
        "rows          1,000 in 8 s",
        "answered      700 (87.5 rows/s)",
        "from before   260 (6 of them failed: --retry-failed asks them again)",
        "changed       2 ask something else than before; asked anew",
        "maybe twice   4 were in flight when a run was killed",
        "repaired        1 cut lines of the output",
        "tokens        2,000 prompt + 3,000 completion = 5,000",
        "credits used  12.5",
        "USD spent     $0.0315",
        "latency       p50 0.200 s, p95 0.500 s, p99 1.250 s",
        "first token   p50 0.100 s, p95 0.200 s, p99 0.300 s",
        "requests      1,003, 3 rejected",
        "failed        40, 5 not asked",
    ]


def test_failures_are_told_by_number_each_with_what_to_do() -> None:
    assert failure_lines(MIXED) == [
        "  30 ServerError: wait a while",
        "  5 AError",
        "  5 bad row: correct them",
    ]


def test_nothing_is_divided_by_no_time() -> None:
    assert "answered      0 (0.0 rows/s)" in summary_lines(
        evolve(DONE, counts=RowCounts(), elapsed=0)
    )


def test_what_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell(MIXED, quiet=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [*summary_lines(MIXED), *failure_lines(MIXED)]
    tell(DONE, quiet=True)
    assert capsys.readouterr().err == ""
    tell(MIXED, quiet=True)
    assert capsys.readouterr().err.splitlines() == [
        "laplas: 6 of 1,000 rows failed before: --retry-failed asks them again",
        "laplas: 40 of 1,000 rows failed:",
        *failure_lines(MIXED),
    ]


def test_rows_that_failed_before_are_told_to_the_quiet_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell(evolve(DONE, counts=RowCounts(resumed=1_000, failed_before=7)), quiet=True)
    assert capsys.readouterr().err == (
        "laplas: 7 of 1,000 rows failed before: --retry-failed asks them again\n"
    )


@pytest.mark.parametrize("quiet", [True, False])
def test_why_it_ended_comes_first(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> None:
    tell(evolve(MIXED, ending="interrupted"), quiet=quiet)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "laplas: interrupted: 1,000 rows have a result; the same command goes on"
    tell(evolve(MIXED, ending="max_errors", reason="a \x1b[31mword\nof theirs"), quiet=quiet)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        "laplas: stopped early: a \N{REPLACEMENT CHARACTER}[31mword of theirs; "
        "what was saved stays, the same command goes on"
    )


# --- its file ---------------------------------------------------------------------------------


def summary_of(path: Path) -> _Summary:
    paths = {"input": str(path.parent / "in.jsonl"), "output": str(path.parent / "out.jsonl")}
    return _Summary(argparse.Namespace(summary=str(path), **paths))


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    summary_of(path).write(MIXED)
    summary_of(path).write(DONE)
    told = json.loads(path.read_bytes())
    assert told["ok"] is True
    assert told["counts"]["answered"] == 1_000
    assert told["latency"] == {"p50": 0.2, "p95": 0.5, "p99": 1.25}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "summary.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        summary_of(path).write(DONE)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / "summary.json"
    link.symlink_to(folder / "real.json")
    summary_of(link).write(DONE)
    assert link.is_symlink()
    assert json.loads((folder / "real.json").read_bytes())["ok"] is True


@pytest.mark.parametrize("name", [".", "missing/summary.json", "in.jsonl", "./out.jsonl"])
def test_what_cannot_be_its_place_is_told_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--summary"):
        summary_of(tmp_path / name)
