"""The exit codes of ``laplas batch``, its input, and the meaning of signals."""

import asyncio
import signal
import sys

import pytest
from attrs import evolve

from laplas_async import BatchReport, ConfigError, LaplasClient
from laplas_async.batch.report import Ending, RowCounts, Tokens
from laplas_async.cli import make_parser
from laplas_async.cli.batch import _handle_signals, _input, exit_code, why_stopped
from laplas_async.cli.batch_view import QuietLook, View

DONE = BatchReport(ending="done", rows=1, counts=RowCounts(), tokens=Tokens(), elapsed=1.0)


@pytest.mark.parametrize(
    ("ending", "failed", "code"),
    [
        ("done", 0, 0),
        ("done", 1, 1),
        ("max_errors", 1, 3),
        ("same_failure", 1, 3),
        ("budget", 0, 3),
        ("interrupted", 0, 130),
        ("interrupted", 1, 130),
    ],
)
def test_exit_codes(ending: Ending, failed: int, code: int) -> None:
    assert exit_code(evolve(DONE, ending=ending, counts=RowCounts(failed=failed))) == code


def test_rows_that_failed_before_are_no_success() -> None:
    assert exit_code(evolve(DONE, counts=RowCounts(resumed=1_000, failed_before=1))) == 1


def test_the_output_must_be_a_file() -> None:
    with pytest.raises(ConfigError, match="must be a file"):
        _input(make_parser().parse_args(["batch", "in.jsonl", "-"]))


def test_a_closed_stdin_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="stdin is closed"):
        _input(make_parser().parse_args(["batch", "-", "out.jsonl"]))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
async def test_the_first_signal_stops_and_the_second_cancels() -> None:
    stop = asyncio.Event()
    before = signal.getsignal(signal.SIGTERM)
    async with LaplasClient("key", "http://127.0.0.1:9/v1") as client:

        async def run() -> bool:
            with _handle_signals(stop, client, View(QuietLook())) as signals:
                signal.raise_signal(signal.SIGTERM)
                await stop.wait()
                assert not signals.at_once
                signal.raise_signal(signal.SIGTERM)
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.Event().wait()
                return signals.at_once

        assert await asyncio.create_task(run())
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        ("done", ""),
        ("interrupted", "it was interrupted"),
        ("budget", "the reason"),
        ("max_errors", "the reason"),
        ("same_failure", "consecutive rows failed for the same reason"),
    ],
)
def test_a_report_says_why_the_run_stopped_without_messages(ending: Ending, why: str) -> None:
    assert why_stopped(evolve(DONE, ending=ending, reason="the reason")) == why
