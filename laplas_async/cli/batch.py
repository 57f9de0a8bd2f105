"""``laplas batch``: a file of requests, and a file of their results.

``run_batch`` does the work; here are its options and the meaning of signals: the first SIGINT or
SIGTERM lets what is in flight end, the second stops at once. It refuses to write to stdout.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from laplas_async import Budget, ConfigError, JournalError, LaplasClient, Limits, Price
from laplas_async.batch.report import BatchReport
from laplas_async.cli.batch_summary import RESUMES, SummaryFile, print_report
from laplas_async.cli.batch_view import View, make_view
from laplas_async.cli.connect import check_key, make_client
from laplas_async.cli.exit_codes import DONE, FAILED, INTERRUPTED, STOPPED_EARLY
from laplas_async.cli.options import add_client_options, add_numbers, count, usd
from laplas_async.cli.report import check_target
from laplas_async.cli.terminal import complain, describe, end_line, make_runner

_DEFAULTS = ("max_tokens", "temperature")  # the model is set on the client


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``laplas batch`` to the command line."""
    batch = commands.add_parser(
        "batch",
        help="send the requests in a file; one result line for each",
        description="Send the request in each line of IN and write its result to OUT. However it "
        "was stopped, the same command resumes. The key is read from LAPLAS_API_KEY only.",
        epilog="Exit codes: 0, every row has a completion; 1, some failed; 2, wrong usage; 3, "
        "stopped early; 130, interrupted.",
        allow_abbrev=False,
    )
    batch.add_argument(
        "input",
        metavar="IN.jsonl",
        help="OpenAI Batch lines, or lines with messages or a prompt; .gz and .zst too; - is stdin",
    )
    batch.add_argument("output", metavar="OUT.jsonl", help="OpenAI Batch result lines")
    batch.add_argument("--ordered", action="store_true", help="results in the input's order")
    batch.add_argument(
        "--retry-failed", action="store_true", help="send rows that failed before again"
    )
    batch.add_argument("--max-errors", type=count, metavar="N", help="stop after N failed rows")
    batch.add_argument(
        "--stream",
        action="store_true",
        help="stream the responses, to measure the time to the first token",
    )
    shared = batch.add_argument_group("for all rows", "the fields of a row take precedence")
    add_client_options(shared)
    add_numbers(shared, ("--max-tokens", "N", "at least 1"), ("--temperature", "T", "0 to 2"))
    costs = batch.add_argument_group("costs", "what a response reports goes before the price")
    costs.add_argument(
        "--max-usd",
        type=usd,
        metavar="USD",
        help="stop before the batch, with all its runs, may cost more (exit code 3)",
    )
    costs.add_argument(
        "--price",
        nargs=2,
        type=usd,
        metavar=("INPUT", "OUTPUT"),
        help="US dollars per million tokens, where the service reports no cost",
    )
    limits = batch.add_argument_group("limits", "those not given are discovered")
    for option, explanation in (
        ("--rpm", "requests per minute"),
        ("--tpm", "tokens per minute"),
        ("--concurrency", "requests in flight"),
    ):
        limits.add_argument(option, type=count, metavar="N", help=explanation)
    limits.add_argument(
        "--shared",
        action="store_true",
        help="share what is discovered with the other processes of this user on this machine that "
        "also say so and use the same service, key and model; pass the same limits to all",
    )
    batch.add_argument(
        "--summary", metavar="FILE.json", help="also write the summary there, as JSON"
    )
    batch.add_argument("--report", metavar="FILE.html", help="also write a report there")
    batch.add_argument("--quiet", action="store_true", help="print only what went wrong")


def run(arguments: argparse.Namespace) -> int:
    """Run the batch, or resume it. Raises ``ConfigError``, and ``OSError`` for the summary."""
    check_key()
    rows = _input(arguments)
    summary = None if arguments.summary is None else SummaryFile(arguments)
    if arguments.report is not None:
        check_target(Path(arguments.report), Path(arguments.output))
    limits = Limits(
        concurrency=arguments.concurrency,
        requests_per_minute=arguments.rpm,
        tokens_per_minute=arguments.tpm,
    )
    price = None if arguments.price is None else Price(*arguments.price)
    budget = None if arguments.max_usd is None else Budget(arguments.max_usd, price)
    client = make_client(arguments, limits=limits, shared=arguments.shared)
    view = make_view(f"laplas batch {arguments.input}", quiet=arguments.quiet)
    with make_runner() as runner:
        try:
            report = runner.run(_run(rows, arguments, client, view, budget=budget, price=price))
        except JournalError as error:
            complain(f"{describe(error)}; what was saved before stays, {RESUMES}")
            return STOPPED_EARLY
    if report is None:
        end_line()
        complain(f"stopped at once: rows in flight may be sent twice; {RESUMES}")
        return INTERRUPTED
    print_report(report, quiet=arguments.quiet)
    if arguments.report is not None or summary is not None:
        from laplas_async.report import read_run  # noqa: PLC0415 - not for ``laplas --help``

        run_report = read_run(arguments.output)
        run_report.rows.stopped = why_stopped(report)
        if arguments.report is not None:
            run_report.write(arguments.report)
        if summary is not None:
            summary.write(report, run_report.as_dict())
    return exit_code(report)


def why_stopped(report: BatchReport) -> str:
    """Why a run stopped early, without messages of errors, which may quote a request."""
    match report.ending:
        case "done":
            return ""
        case "interrupted":
            return "it was interrupted"
        case "same_failure":
            return "consecutive rows failed for the same reason"
    return report.reason


def exit_code(report: BatchReport) -> int:
    """0 only if every row has a completion."""
    if report.ending == "done":
        return DONE if report.ok else FAILED
    return INTERRUPTED if report.ending == "interrupted" else STOPPED_EARLY


def _input(arguments: argparse.Namespace) -> str | BinaryIO:
    if arguments.output == "-":
        raise ConfigError("the output must be a file: a batch resumes from what is in it")
    if arguments.input != "-":
        path: str = arguments.input
        return path
    if sys.stdin is None:
        raise ConfigError("stdin is closed: name a file")
    return sys.stdin.buffer


async def _run(
    rows: str | BinaryIO,
    arguments: argparse.Namespace,
    client: LaplasClient,
    view: View,
    *,
    budget: Budget | None,
    price: Price | None,
) -> BatchReport | None:
    """The report; None if it was stopped at once."""
    from laplas_async.batch.run import run_batch  # noqa: PLC0415 - not for ``laplas --help``

    stop = asyncio.Event()
    values = (getattr(arguments, name) for name in _DEFAULTS)
    async with client:
        with view, _handle_signals(stop, client, view) as signals:
            try:
                return await run_batch(
                    rows,
                    arguments.output,
                    client=client,
                    defaults={
                        name: value
                        for name, value in zip(_DEFAULTS, values, strict=True)
                        if value is not None
                    },
                    system=arguments.system,
                    ordered=arguments.ordered,
                    retry_failed=arguments.retry_failed,
                    max_errors=arguments.max_errors,
                    stream=arguments.stream,
                    budget=budget,
                    price=price,
                    on_progress=view.update,
                    progress_interval=view.interval,
                    stop=stop,
                )
            except asyncio.CancelledError:
                if not signals.at_once:
                    raise
                return None


class _Signals:
    """SIGINT and SIGTERM: the first sets ``stop``, the second cancels the task, more do nothing."""

    def __init__(self, stop: asyncio.Event, client: LaplasClient, view: View) -> None:
        self.at_once = False
        self._stop = stop
        self._client = client
        self._view = view
        self._task = asyncio.current_task()

    def receive(self) -> None:
        """Handle one."""
        if not self._stop.is_set():
            self._stop.set()
            pace = self._client.pace
            waiting = f" and {pace.waiting:,} waiting" if pace.waiting else ""
            self._view.say(
                f"finishing {pace.in_flight:,} in flight{waiting}; Ctrl-C again to stop at once "
                f"({RESUMES})"
            )
        elif not self.at_once and self._task is not None:
            self.at_once = True
            self._task.cancel()


@contextmanager
def _handle_signals(stop: asyncio.Event, client: LaplasClient, view: View) -> Iterator[_Signals]:
    signals = _Signals(stop, client, view)
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        handler = signal.getsignal(number)
        # Not on Windows, where Ctrl-C cancels the task; nor in a thread, which gets no signals.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, signals.receive)
            before[number] = handler
    try:
        yield signals
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
