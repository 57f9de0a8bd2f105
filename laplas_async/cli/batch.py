"""``laplas batch``: a file of questions, and a file of their results.

The work is ``run_batch``'s; here are its options, what signals mean, and the summary. It refuses
to write anything to stdout, so that nothing can be mixed up with results.

The first SIGINT or SIGTERM lets what is in flight end, the second stops at once.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from attrs import asdict

from laplas_async import ConfigError, JournalError, LaplasClient, Limits
from laplas_async.batch.report import BatchReport, Quantiles, RowCounts
from laplas_async.batch.run import run_batch
from laplas_async.cli import FAILED, INTERRUPTED, STOPPED_EARLY
from laplas_async.cli.batch_view import View, make_view, money, span
from laplas_async.cli.connect import check_key, make_client
from laplas_async.cli.terminal import complain, describe, end_line, make_runner, note

_DEFAULTS = ("max_tokens", "temperature")  # the model is the client's
_GOES_ON = "the same command goes on"


def run(arguments: argparse.Namespace) -> int:
    """Run the batch, or go on with it. Raises ``ConfigError``, and ``OSError`` for the summary."""
    check_key()
    rows = _input(arguments)
    summary = None if arguments.summary is None else _Summary(arguments)
    limits = Limits(
        concurrency=arguments.concurrency,
        requests_per_minute=arguments.rpm,
        tokens_per_minute=arguments.tpm,
    )
    client = make_client(arguments, limits=limits)
    view = make_view(f"laplas batch {arguments.input}", quiet=arguments.quiet)
    with make_runner() as runner:
        try:
            report = runner.run(_run(rows, arguments, client, view))
        except JournalError as error:
            complain(f"{describe(error)}; what was saved before stays, {_GOES_ON}")
            return STOPPED_EARLY
    if report is None:
        end_line()
        complain(f"stopped at once: what was in flight may be asked twice; {_GOES_ON}")
        return INTERRUPTED
    tell(report, quiet=arguments.quiet)
    if summary is not None:
        summary.write(report)
    return exit_code(report)


def exit_code(report: BatchReport) -> int:
    """0 only if every row is answered."""
    if report.ending == "done":
        return 0 if report.ok else FAILED
    return INTERRUPTED if report.ending == "interrupted" else STOPPED_EARLY


def _input(arguments: argparse.Namespace) -> str | BinaryIO:
    if arguments.output == "-":
        raise ConfigError("the output must be a file: what is in it tells where to go on")
    if arguments.input != "-":
        path: str = arguments.input
        return path
    if sys.stdin is None:
        raise ConfigError("there is no stdin to read: name a file")
    return sys.stdin.buffer


async def _run(
    rows: str | BinaryIO, arguments: argparse.Namespace, client: LaplasClient, view: View
) -> BatchReport | None:
    """The report; None if it was stopped at once."""
    stop = asyncio.Event()
    asked = (getattr(arguments, name) for name in _DEFAULTS)
    async with client:
        with view, _signals_heeded(stop, client, view) as heeded:
            try:
                return await run_batch(
                    rows,
                    arguments.output,
                    client=client,
                    defaults={
                        name: value
                        for name, value in zip(_DEFAULTS, asked, strict=True)
                        if value is not None
                    },
                    system=arguments.system,
                    ordered=arguments.ordered,
                    retry_failed=arguments.retry_failed,
                    max_errors=arguments.max_errors,
                    stream=arguments.stream,
                    on_progress=view.update,
                    progress_interval=view.interval,
                    stop=stop,
                )
            except asyncio.CancelledError:
                if not heeded.at_once:
                    raise
                return None


class _Heeded:
    """Signals that came: the first sets ``stop``, the second cancels the task, more do nothing."""

    def __init__(self, stop: asyncio.Event, client: LaplasClient, view: View) -> None:
        self.at_once = False
        self._stop = stop
        self._client = client
        self._view = view
        self._task = asyncio.current_task()

    def heed(self) -> None:
        """One came."""
        if not self._stop.is_set():
            self._stop.set()
            pace = self._client.pace
            waiting = f" and {pace.waiting:,} waiting" if pace.waiting else ""
            self._view.say(
                f"finishing {pace.in_flight:,} in flight{waiting}; Ctrl-C again to stop at once "
                f"({_GOES_ON})"
            )
        elif not self.at_once and self._task is not None:
            self.at_once = True
            self._task.cancel()


@contextmanager
def _signals_heeded(stop: asyncio.Event, client: LaplasClient, view: View) -> Iterator[_Heeded]:
    heeded = _Heeded(stop, client, view)
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        handler = signal.getsignal(number)
        # Not on Windows, where Ctrl-C cancels the task; nor in a thread, which gets no signals.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, heeded.heed)
            before[number] = handler
    try:
        yield heeded
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


# --- the summary ------------------------------------------------------------------------------


class _Summary:
    """The file of ``--summary``. Raises ``ConfigError`` for one that can't be, before the work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        path = Path(arguments.summary)
        for other in (arguments.input, arguments.output):
            if other != "-" and Path(other).resolve() == path.resolve():
                raise ConfigError(f"--summary {path}: that is {other} itself")
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigError(f"--summary {path}: no file can be there")
        self._is_file = path.is_file() or not path.exists()  # and no pipe, nor /dev/stderr
        self._path = path.resolve() if self._is_file else path  # a link stays one

    def write(self, report: BatchReport) -> None:
        """All of it or nothing, in place of what is there. Raises ``OSError``."""
        text = json.dumps({"ok": report.ok, **asdict(report)}, indent=1) + "\n"
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


def tell(report: BatchReport, *, quiet: bool) -> None:
    """The summary on stderr; ``quiet``: what went wrong alone."""
    counts = report.counts
    if report.ending == "interrupted":
        complain(f"interrupted: {counts.settled:,} rows have a result; {_GOES_ON}")
    elif report.ending != "done":
        complain(f"stopped early: {report.reason}; what was saved stays, {_GOES_ON}")
    if not quiet:
        for told in summary_lines(report):
            note(told)
    else:
        if counts.failed_before:
            again = "--retry-failed asks them again"
            complain(f"{counts.failed_before:,} of {report.rows:,} rows failed before: {again}")
        if counts.failed:
            complain(f"{counts.failed:,} of {report.rows:,} rows failed:")
    for told in failure_lines(report):
        note(told)


def failure_lines(report: BatchReport) -> list[str]:
    """The failures by kind, the most frequent first, each with what to do."""
    kinds = sorted(report.failures.items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        f"  {number:,} {kind}" + (f": {advice}" if (advice := report.advice.get(kind)) else "")
        for kind, number in kinds
    ]


def summary_lines(report: BatchReport) -> list[str]:
    """The numbers, each in a line with its name."""
    counts = report.counts
    tokens = report.tokens
    speed = counts.answered / report.elapsed if report.elapsed > 0 else 0.0
    rows = {
        "rows": f"{report.rows:,} in {span(report.elapsed)}",
        "answered": f"{counts.answered:,} ({speed:,.1f} rows/s)",
        "from before": _unless_zero(counts.resumed, _failed_before(counts)),
        "changed": _unless_zero(counts.changed, "ask something else than before; asked anew"),
        "maybe twice": _unless_zero(
            counts.possibly_duplicated, "were in flight when a run was killed"
        ),
        "repaired": _unless_zero(counts.repaired, "cut lines of the output"),
        "tokens": f"{tokens.prompt:,} prompt + {tokens.completion:,} completion = {tokens.total:,}",
        "credits used": None if report.credits is None else f"{report.credits:,g}",
        "USD spent": None if report.usd is None else money(report.usd),
        "latency": _quantiles(report.latency),
        "first token": _quantiles(report.first_token),
        "requests": f"{report.tries:,}, {report.rejected:,} rejected",
        "failed": f"{counts.failed:,}" + (f", {counts.bad:,} not asked" if counts.bad else ""),
    }
    width = max(map(len, rows))
    return [f"{name:<{width}}  {told}" for name, told in rows.items() if told is not None]


def _unless_zero(number: int, words: str) -> str | None:
    return f"{number:,} {words}".rstrip() if number else None


def _failed_before(counts: RowCounts) -> str:
    failed = counts.failed_before
    return f"({failed:,} of them failed: --retry-failed asks them again)" if failed else ""


def _quantiles(seconds: Quantiles | None) -> str | None:
    if seconds is None:
        return None
    return f"p50 {seconds.p50:.3f} s, p95 {seconds.p95:.3f} s, p99 {seconds.p99:.3f} s"
