import argparse
import json
import os
from pathlib import Path

import pytest
from attrs import evolve

from laplas_async import BatchReport, ConfigError
from laplas_async.batch.report import Quantiles, RowCounts, Tokens
from laplas_async.cli.batch_summary import (
    SummaryFile,
    failure_lines,
    print_report,
    summary_lines,
)

DONE = BatchReport(
    ending="done",
    rows=1_000,
    counts=RowCounts(answered=1_000),
    tokens=Tokens(prompt=2_000, completion=3_000),
    elapsed=8.0,
    latency=Quantiles(p50=0.2, p90=0.4, p95=0.5, p99=1.25),
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
    usd_by_source={"reported": 0.03, "price": 0.0015},
    usd_may_be_billed=0.002,
    usd_before=1.25,
    first_token=Quantiles(p50=0.1, p90=0.15, p95=0.2, p99=0.3),
    failures={"bad row": 5, "ServerError": 30, "AError": 5},
    advice={"bad row": "correct them", "ServerError": "wait a while"},
)


def test_lines_without_a_value_are_left_out() -> None:
    assert summary_lines(DONE) == [
        "rows      1,000 in 8 s",
        "answered  1,000 (125.0 rows/s)",
        "tokens    2,000 prompt + 3,000 completion = 5,000",
        "latency   p50 0.200 s, p90 0.400 s, p95 0.500 s, p99 1.250 s",
        "requests  1,003, 3 rejected",
        "failed    0",
    ]


def test_the_summary_has_a_line_for_every_value() -> None:
    assert summary_lines(MIXED) == [
        "rows                 1,000 in 8 s",
        "answered             700 (87.5 rows/s)",
        "from before          260 (6 of them failed: --retry-failed sends them again)",
        "changed              2 have another request than before; sent again",
        "possibly duplicated  4 were in flight when a run was killed",
        "repaired             1 incomplete lines of the output",
        "tokens               2,000 prompt + 3,000 completion = 5,000",
        "credits used         12.5",
        (
            "USD spent            $0.0300 reported by the service, $0.0015 by the price given, "
            "up to $0.0020 more may be billed, $1.25 in earlier runs"
        ),
        "latency              p50 0.200 s, p90 0.400 s, p95 0.500 s, p99 1.250 s",
        "first token          p50 0.100 s, p90 0.150 s, p95 0.200 s, p99 0.300 s",
        "requests             1,003, 3 rejected",
        "failed               40, 5 not sent",
    ]


def test_failures_are_ordered_by_number_each_with_advice() -> None:
    assert failure_lines(MIXED) == [
        "  30 ServerError: wait a while",
        "  5 AError",
        "  5 bad row: correct them",
    ]


def test_nothing_is_divided_by_no_time() -> None:
    assert "answered  0 (0.0 rows/s)" in summary_lines(evolve(DONE, counts=RowCounts(), elapsed=0))


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(MIXED, quiet=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [*summary_lines(MIXED), *failure_lines(MIXED)]
    print_report(DONE, quiet=True)
    assert capsys.readouterr().err == ""
    print_report(MIXED, quiet=True)
    assert capsys.readouterr().err.splitlines() == [
        "laplas: 6 of 1,000 rows failed before: --retry-failed sends them again",
        "laplas: 40 of 1,000 rows failed:",
        *failure_lines(MIXED),
    ]


def test_quiet_still_reports_rows_that_failed_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_report(evolve(DONE, counts=RowCounts(resumed=1_000, failed_before=7)), quiet=True)
    assert capsys.readouterr().err == (
        "laplas: 7 of 1,000 rows failed before: --retry-failed sends them again\n"
    )


@pytest.mark.parametrize("quiet", [True, False])
def test_why_it_ended_comes_first(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> None:
    print_report(evolve(MIXED, ending="interrupted"), quiet=quiet)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "laplas: interrupted: 1,000 rows have a result; the same command resumes"
    print_report(
        evolve(MIXED, ending="max_errors", reason="a \x1b[31mreason\nof the service"), quiet=quiet
    )
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        "laplas: stopped early: a \N{REPLACEMENT CHARACTER}[31mreason of the service; "
        "what was saved stays, the same command resumes"
    )


# --- its file ---------------------------------------------------------------------------------


def summary_of(path: Path) -> SummaryFile:
    paths = {"input": str(path.parent / "in.jsonl"), "output": str(path.parent / "out.jsonl")}
    return SummaryFile(argparse.Namespace(summary=str(path), **paths))


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    summary_of(path).write(MIXED)
    summary_of(path).write(DONE)
    summary = json.loads(path.read_bytes())
    assert summary["ok"] is True
    assert summary["counts"]["answered"] == 1_000
    assert summary["latency"] == {"p50": 0.2, "p90": 0.4, "p95": 0.5, "p99": 1.25}
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
def test_an_unusable_path_is_rejected_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--summary"):
        summary_of(tmp_path / name)
