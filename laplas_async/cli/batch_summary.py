"""The summary of a batch at its end: on stderr, and as a JSON file.

It refuses to count, which the batch does, and to write to stdout.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from laplas_async import ConfigError
from laplas_async.batch.report import BatchReport, Quantiles, RowCounts
from laplas_async.cli.batch_view import money, span
from laplas_async.cli.terminal import complain, note

RESUMES: Final = "the same command resumes"


class SummaryFile:
    """The file of ``--summary``. Raises ``ConfigError`` for an unusable path, before the work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        path = Path(arguments.summary)
        for other in (arguments.input, arguments.output):
            if other != "-" and Path(other).resolve() == path.resolve():
                raise ConfigError(f"--summary {path}: is {other} itself; name another file")
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigError(f"--summary {path}: is a directory, or in none that exists")
        self._is_file = path.is_file() or not path.exists()  # not a pipe, nor /dev/stderr
        self._path = path.resolve() if self._is_file else path  # a symbolic link stays one

    def write(self, report: BatchReport, numbers: dict[str, Any] | None = None) -> None:
        """Replace the file, all of it or nothing. Raises ``OSError``.

        ``numbers``: those of the HTML report, which become its ``run``.
        """
        run = {} if numbers is None else {"run": numbers}
        text = json.dumps({"ok": report.ok, **asdict(report), **run}, indent=1) + "\n"
        if not self._is_file:
            self._path.write_text(text, encoding="utf-8")
            return
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            with new.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def print_report(report: BatchReport, *, quiet: bool) -> None:
    """Print the summary to stderr; ``quiet``: only what went wrong."""
    counts = report.counts
    if report.ending == "interrupted":
        complain(f"interrupted: {counts.settled:,} rows have a result; {RESUMES}")
    elif report.ending != "done":
        complain(f"stopped early: {report.reason}; what was saved stays, {RESUMES}")
    if not quiet:
        for line in summary_lines(report):
            note(line)
    else:
        if counts.failed_before:
            again = "--retry-failed sends them again"
            complain(f"{counts.failed_before:,} of {report.rows:,} rows failed before: {again}")
        if counts.failed:
            complain(f"{counts.failed:,} of {report.rows:,} rows failed:")
    for line in failure_lines(report):
        note(line)


def failure_lines(report: BatchReport) -> list[str]:
    """The failures by kind, most frequent first, each with what to do."""
    kinds = sorted(report.failures.items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        f"  {number:,} {kind}" + (f": {advice}" if (advice := report.advice.get(kind)) else "")
        for kind, number in kinds
    ]


def summary_lines(report: BatchReport) -> list[str]:
    """The numbers, one per line, with their names."""
    counts = report.counts
    tokens = report.tokens
    speed = counts.answered / report.elapsed if report.elapsed > 0 else 0.0
    rows = {
        "rows": f"{report.rows:,} in {span(report.elapsed)}",
        "answered": f"{counts.answered:,} ({speed:,.1f} rows/s)",
        "from before": _unless_zero(counts.resumed, _failed_before(counts)),
        "changed": _unless_zero(counts.changed, "have another request than before; sent again"),
        "possibly duplicated": _unless_zero(
            counts.possibly_duplicated, "were in flight when a run was killed"
        ),
        "repaired": _unless_zero(counts.repaired, "incomplete lines of the output"),
        "tokens": f"{tokens.prompt:,} prompt + {tokens.completion:,} completion = {tokens.total:,}",
        "credits used": None if report.credits is None else f"{report.credits:,g}",
        "USD spent": _cost(report),
        "latency": _quantiles(report.latency),
        "first token": _quantiles(report.first_token),
        "requests": f"{report.tries:,}, {report.rejected:,} rejected",
        "failed": f"{counts.failed:,}" + (f", {counts.bad:,} not sent" if counts.bad else ""),
    }
    shown = {name: value for name, value in rows.items() if value is not None}
    width = max(map(len, shown))
    return [f"{name:<{width}}  {value}" for name, value in shown.items()]


def _cost(report: BatchReport) -> str | None:
    """The cost by where it is known from, with what may be billed besides."""
    sources = {"reported": "reported by the service", "price": "by the price given"}
    parts = [
        f"{money(usd)} {sources.get(source, f'by {source}')}"
        for source, usd in report.usd_by_source.items()
    ]
    if report.usd is not None and not parts:
        parts.append(money(report.usd))
    if report.usd_may_be_billed:
        parts.append(f"up to {money(report.usd_may_be_billed)} more may be billed")
    if report.usd_before:
        parts.append(f"{money(report.usd_before)} in earlier runs")
    return ", ".join(parts) or None


def _unless_zero(number: int, explanation: str) -> str | None:
    return f"{number:,} {explanation}".rstrip() if number else None


def _failed_before(counts: RowCounts) -> str:
    failed = counts.failed_before
    return f"({failed:,} of them failed: --retry-failed sends them again)" if failed else ""


def _quantiles(seconds: Quantiles | None) -> str | None:
    if seconds is None:
        return None
    shares = {"p50": seconds.p50, "p90": seconds.p90, "p95": seconds.p95, "p99": seconds.p99}
    return ", ".join(f"{name} {value:.3f} s" for name, value in shares.items())
