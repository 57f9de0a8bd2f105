"""``laplas batch`` as a process of its own against a simulator in a thread."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import pytest

from laplas_async.cli import main
from laplas_async.simulator import Counts, Fault, Simulator

PATIENCE = 20.0
# A shell's background jobs, and so their children, ignore SIGINT: the test's own must not.
COMMAND = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from laplas_async.__main__ import main\n"
    "sys.exit(main())\n"
)
DONE, FAILED, WRONG_USAGE, STOPPED_EARLY, INTERRUPTED = 0, 1, 2, 3, 130
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


class Job:
    """An input, where its output goes, and the command for both."""

    def __init__(self, folder: Path) -> None:
        self.input = folder / "in.jsonl"
        self.output = folder / "out.jsonl"
        self.summary = folder / "summary.json"

    def ask(self, *rows: str | dict[str, Any]) -> None:
        """The input: prompts, or whole lines."""
        lines = (row if isinstance(row, dict) else {"prompt": row} for row in rows)
        self.input.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def command(self, *arguments: str, source: str | None = None) -> list[str]:
        paths = (str(self.input) if source is None else source, str(self.output))
        # Not -X dev: then asyncio logs each slow turn of the loop, and a busy machine has many.
        python = [sys.executable, "-W", "error", "-c", COMMAND]
        return [*python, "batch", *paths, *arguments]

    def run(
        self, *arguments: str, source: str | None = None, stdin: bytes = b""
    ) -> tuple[int, str, str]:
        """Its exit code, stdout and stderr."""
        done = subprocess.run(
            self.command(*arguments, source=source),
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    @property
    def results(self) -> list[dict[str, Any]]:
        if not self.output.exists():
            return []
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    @property
    def answers(self) -> list[str]:
        """The ids of the rows that have an answer, each as often as it has one."""
        return sorted(
            row["custom_id"]
            for row in self.results
            if row["response"] and row["response"]["status_code"] == 200
        )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    job.ask(*(f"Name river number {number}." for number in range(10)))
    return job


@contextmanager
def started(
    command: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stderr: int = subprocess.PIPE,
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed if the test did not see it end."""
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


def read_until(number: int, mark: str) -> str:
    """The output of a pipe or a terminal up to the mark."""
    received = b""
    until = monotonic() + PATIENCE
    while mark.encode() not in received:
        ready, _, _ = select.select([number], [], [], max(0.0, until - monotonic()))
        assert ready, received
        data = os.read(number, 4096)
        assert data, received
        received += data
    return received.decode()


def in_flight(number: int) -> Callable[[Counts], bool]:
    def reached(counts: Counts) -> bool:
        return bool(counts.in_flight == number)

    return reached


# --- what it does -----------------------------------------------------------------------------


def test_every_row_gets_a_line_and_stdout_stays_empty(service: Simulator, job: Job) -> None:
    code, out, err = job.run()
    assert (code, out) == (DONE, "")
    assert len(job.results) == len(job.answers) == len(set(job.answers)) == 10
    assert service.counts.answered == 10
    lines = dict(line.split("  ", 1) for line in err.splitlines())
    assert lines["rows"].strip().startswith("10 in ")
    assert lines["answered"].strip().startswith("10 (")
    assert lines["failed"].strip() == "0"
    assert lines["requests"].strip() == "10, 0 rejected"
    assert "p50" in lines["latency"]
    assert "first token" not in lines
    assert "from before" not in lines


def test_signals_are_as_before_afterwards(
    service: Simulator, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["batch", str(job.input), str(job.output)]) == DONE
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert capsys.readouterr().out == ""
    assert len(job.answers) == 10


def test_it_runs_outside_of_the_main_thread(service: Simulator, job: Job) -> None:
    codes: list[int] = []
    arguments = ["batch", str(job.input), str(job.output), "--quiet"]
    thread = Thread(target=lambda: codes.append(main(arguments)))
    thread.start()
    thread.join(PATIENCE)
    assert codes == [DONE]


def test_the_same_command_again_sends_nothing(service: Simulator, job: Job) -> None:
    assert job.run()[0] == DONE
    before = job.output.read_bytes()
    code, _, err = job.run()
    assert code == DONE
    assert "from before" in err
    assert job.output.read_bytes() == before
    assert service.counts.requests == 10


def test_all_options_are_sent(service: Simulator, job: Job) -> None:
    job.ask("one", {"messages": [{"role": "user", "content": "two"}], "max_tokens": 9})
    options = ["--model", "another", "--max-tokens", "5", "--temperature", "0.5"]
    limits = ["--rpm", "600", "--tpm", "60000", "--concurrency", "1"]
    assert job.run(*options, "--system", "Be brief.", *limits, "--ordered")[0] == DONE
    one, two = (seen.body for seen in service.requests)
    assert one == {
        "stream": False,
        "model": "another",
        "max_tokens": 5,
        "temperature": 0.5,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one"},
        ],
    }
    assert two["max_tokens"] == 9  # a row's own comes first
    assert service.counts.max_in_flight == 1


def test_concurrency_is_kept(service: Simulator, job: Job) -> None:
    assert job.run("--concurrency", "2")[0] == DONE
    assert service.counts.max_in_flight <= 2


def test_the_base_url_may_be_given(
    service: Simulator, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAPLAS_BASE_URL", "http://127.0.0.1:9/v1")
    assert job.run("--base-url", service.base_url)[0] == DONE
    assert service.counts.answered == 10


def test_order_is_kept_on_request(service: Simulator, job: Job) -> None:
    job.ask(*({"custom_id": f"r{number}", "prompt": "hi"} for number in range(10)))
    assert job.run("--ordered")[0] == DONE
    assert [row["custom_id"] for row in job.results] == [f"r{number}" for number in range(10)]


def test_streams_time_their_first_token(service: Simulator, job: Job) -> None:
    code, _, err = job.run("--stream", "--summary", str(job.summary))
    assert code == DONE
    assert service.counts.streams == 10
    assert "first token" in err
    assert json.loads(job.summary.read_bytes())["first_token"]["p50"] > 0


def test_stdin_is_read(service: Simulator, job: Job) -> None:
    received = job.input.read_bytes()
    job.input.unlink()
    assert job.run(source="-", stdin=received)[0] == DONE
    assert len(job.answers) == 10


# --- failures ---------------------------------------------------------------------------------


def test_failed_rows_are_reported_with_advice(service: Simulator, job: Job) -> None:
    service.script(Fault.status(400), None)
    code, out, err = job.run("--summary", str(job.summary))
    assert (code, out) == (FAILED, "")
    assert len(job.results) == 10
    assert len(job.answers) == 9
    summary = json.loads(job.summary.read_bytes())
    assert summary["failures"] == {"BadRequestError": 1}
    assert f"  1 BadRequestError: {summary['advice']['BadRequestError']}" in err.splitlines()


def test_failed_rows_are_sent_again_on_request(service: Simulator, job: Job) -> None:
    service.script(Fault.status(400))
    assert job.run()[0] == FAILED
    assert job.run()[0] == FAILED  # it is still so
    assert service.counts.requests == 10
    assert job.run("--retry-failed")[0] == DONE
    assert service.counts.requests == 11
    assert len(set(job.answers)) == 10


def test_quiet_prints_only_what_went_wrong(service: Simulator, job: Job) -> None:
    assert job.run("--quiet") == (DONE, "", "")
    job.output.unlink()
    service.script(Fault.status(400), None)
    code, out, err = job.run("--quiet")
    assert (code, out) == (FAILED, "")
    first, second = err.splitlines()
    assert first == "laplas: 1 of 10 rows failed:"
    assert second.startswith("  1 BadRequestError")


def test_too_many_failures_end_it_early(service: Simulator, job: Job) -> None:
    service.script_always(Fault.status(400))
    code, _, err = job.run("--max-errors", "2", "--concurrency", "1", "--summary", str(job.summary))
    assert code == STOPPED_EARLY
    assert "laplas: stopped early: " in err
    assert "the same command resumes" in err
    assert service.counts.requests < 10
    summary = json.loads(job.summary.read_bytes())
    assert (summary["ending"], summary["ok"]) == ("max_errors", False)
    service.script_always(None)
    assert job.run("--retry-failed")[0] == DONE
    assert len(set(job.answers)) == 10


def test_a_retry_after_of_a_day_ends_it_early_with_the_reason_and_the_time(
    service: Simulator, job: Job
) -> None:
    service.script_always(Fault.status(429, retry_after=86_400))
    code, _, err = job.run("--concurrency", "1")
    assert code == STOPPED_EARLY
    assert "the service asks to wait 86,400 s, until 2" in err
    assert service.counts.requests < 10


def test_a_wrong_key_ends_it_early_and_never_shows(
    service: Simulator, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.ask(*(f"Name river number {number}." for number in range(500)))
    monkeypatch.setenv("LAPLAS_API_KEY", "another-secret")
    code, _, err = job.run("--quiet")
    assert code == STOPPED_EARLY
    assert err.startswith("laplas: stopped early: ")
    assert "LAPLAS_API_KEY" in err
    assert "another-secret" not in err
    assert service.counts.requests < 500


@posix
def test_two_runs_on_one_output_are_refused(service: Simulator, job: Job) -> None:
    service.script_always(Fault.stall())
    with started(job.command()):
        assert service.block_until(lambda counts: counts.in_flight > 0, PATIENCE)
        code, _, err = job.run()
    assert code == STOPPED_EARLY
    assert err.startswith("laplas: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rpm", "0"], "at least 1"),
        (["--concurrency", "many"], "--concurrency"),
        (["--max-errors", "-1"], "at least 1"),
        (["--temperature", "9"], "temperature=9"),
        (["--max-tokens", "0"], "max_tokens=0"),
        (["--model", ""], "model=''"),
        (["--base-url", "nowhere"], "base_url='nowhere'"),
        (["--summary", "no/such/folder/summary.json"], "--summary"),
        (["--summary", "."], "--summary"),
        (["--api-key", "sk-1"], "unrecognized"),
    ],
)
def test_wrong_usage_sends_nothing(
    service: Simulator,
    job: Job,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["batch", str(job.input), str(job.output), *arguments]) == WRONG_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert service.counts.requests == 0
    assert not job.output.exists()


def test_what_cannot_be_read_or_written_is_wrong_usage(service: Simulator, job: Job) -> None:
    code, _, err = job.run("--summary", str(job.output))
    assert (code, "itself" in err) == (WRONG_USAGE, True)
    code, _, err = job.run(source=str(job.input.with_name("missing.jsonl")))
    assert (code, "missing.jsonl" in err) == (WRONG_USAGE, True)
    assert err.count("\n") == 1
    job.output = Path("-")
    code, _, err = job.run()
    assert (code, "must be a file" in err) == (WRONG_USAGE, True)


def test_a_missing_key_says_what_to_do(
    service: Simulator, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAPLAS_API_KEY")
    code, _, err = job.run()
    assert code == WRONG_USAGE
    assert err.startswith("laplas: no API key: ")


# --- the summary's file -----------------------------------------------------------------------


def test_the_summary_is_json(service: Simulator, job: Job) -> None:
    service.script(Fault.status(429, retry_after=0), None)
    job.summary.write_text("old")
    assert job.run("--summary", str(job.summary), "--quiet") == (DONE, "", "")
    summary = json.loads(job.summary.read_bytes())
    assert (summary["ok"], summary["ending"], summary["rows"]) == (True, "done", 10)
    assert summary["counts"]["answered"] == 10
    assert (summary["tries"], summary["rejected"]) == (11, 1)
    assert summary["tokens"]["completion"] == service.counts.tokens
    assert summary["latency"]["p50"] <= summary["latency"]["p95"] <= summary["latency"]["p99"]
    assert summary["first_token"] is None
    assert summary["failures"] == summary["advice"] == {}
    assert {path.suffix for path in job.summary.parent.iterdir()} <= {".json", ".jsonl"}


@posix
def test_the_summary_may_go_to_a_pipe(service: Simulator, job: Job) -> None:
    code, _, err = job.run("--summary", "/dev/stderr", "--quiet")
    assert code == DONE
    assert json.loads(err)["ok"] is True


# --- the report -------------------------------------------------------------------------------


def test_a_report_is_written_and_its_numbers_join_the_summary(service: Simulator, job: Job) -> None:
    service.script(Fault.status(429, retry_after=0), Fault.status(400))
    html = job.output.with_name("run.html")
    arguments = ("--stream", "--report", str(html), "--summary", str(job.summary), "--quiet")
    code, out, _ = job.run(*arguments)
    assert (code, out) == (FAILED, "")
    page = html.read_text(encoding="utf-8")
    assert "9 of 10 rows completed, 1 failed." in page
    assert "Name river" not in page
    summary = json.loads(job.summary.read_bytes())
    run = summary["run"]
    assert (run["completed"], run["attempts"], run["rejected"]) == (9, 11, 1)
    assert run["completion_tokens"] == summary["tokens"]["completion"]
    assert run["first_token"]["p50"] <= run["latency"]["p99"]


@posix
def test_a_killed_run_can_be_reported(
    service: Simulator, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    service.script(None, None, None)
    service.script_always(Fault.stall())
    with started(job.command("--concurrency", "4")) as process:
        assert service.block_until(
            lambda counts: counts.answered == 3 and counts.in_flight == 4, 10
        )
        until = monotonic() + PATIENCE
        while len(job.results) < 3 and monotonic() < until:
            pass
        process.kill()
        process.wait(PATIENCE)
    assert main(["report", str(job.output)]) == DONE
    page = job.output.with_suffix(".html").read_text(encoding="utf-8")
    assert "3 of 3 rows completed" in page
    assert "were left in flight" in page
    assert "it resumes" in page


@pytest.mark.parametrize("path", [".", "missing/run.html", "out.jsonl"])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    service: Simulator, job: Job, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(job.output.parent)
    assert main(["batch", str(job.input), str(job.output), "--report", path]) == WRONG_USAGE
    assert service.counts.requests == 0


# --- signals ----------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_what_is_in_flight_end(
    service: Simulator, job: Job, number: signal.Signals
) -> None:
    service.script_always(Fault.slow_headers(1.0))
    with started(job.command("--concurrency", "4")) as process:
        assert service.block_until(in_flight(4), PATIENCE)
        process.send_signal(number)
        code, out, err = ended(process)
    assert (code, out) == (INTERRUPTED, "")
    assert "finishing 4 in flight" in err
    assert "; Ctrl-C again to stop at once (the same command resumes)" in err
    answered = len(job.answers)
    assert 4 <= answered < 10  # those that waited for their turn may end, too
    assert f"laplas: interrupted: {answered} rows have a result; the same command resumes" in err
    assert service.counts.requests == answered
    service.script_always(None)
    assert job.run()[0] == DONE
    assert service.counts.requests == 10
    assert len(job.answers) == len(set(job.answers)) == 10


@posix
def test_the_second_signal_stops_at_once(service: Simulator, job: Job) -> None:
    service.script(None, None)
    service.script_always(Fault.slow_headers(60.0))
    with started(job.command("--concurrency", "2")) as process:
        assert process.stderr is not None
        assert service.block_until(
            lambda counts: counts.requests == 4 and counts.in_flight == 2, PATIENCE
        )
        process.send_signal(signal.SIGINT)
        read_until(process.stderr.fileno(), "finishing 2 in flight")
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    assert (code, out) == (INTERRUPTED, "")
    assert "laplas: stopped at once: " in err
    assert "the same command resumes" in err
    assert "Traceback" not in err
    assert service.block_until(in_flight(0), PATIENCE)
    assert len(job.answers) == 2
    service.script_always(None)
    assert job.run()[0] == DONE
    assert service.counts.requests == 12
    assert len(job.answers) == len(set(job.answers)) == 10


@posix
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_ends_the_wait_for_stdin(service: Simulator, job: Job, times: int) -> None:
    first, *_ = job.input.read_bytes().splitlines(keepends=True)
    with started(job.command(source="-"), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(first)
        process.stdin.flush()
        assert service.block_until(lambda counts: counts.answered == 1, PATIENCE)
        process.send_signal(signal.SIGINT)
        read_until(process.stderr.fileno(), "finishing")
        if times == 2:
            process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == INTERRUPTED
    assert 2 - times <= len(job.answers) <= 1  # at once, the answer may not be saved


@posix
def test_quiet_is_quiet_about_signals_until_the_end(service: Simulator, job: Job) -> None:
    service.script_always(Fault.slow_headers(0.5))
    with started(job.command("--concurrency", "2", "--quiet")) as process:
        assert service.block_until(in_flight(2), PATIENCE)
        process.send_signal(signal.SIGINT)
        code, _, err = ended(process)
    assert code == INTERRUPTED
    rows = len(job.answers)
    assert err == f"laplas: interrupted: {rows} rows have a result; the same command resumes\n"


# --- where it is looked at --------------------------------------------------------------------


@posix
@pytest.mark.parametrize("redirection", ["2>&-", ">&-", ">&- 2>&-"])
def test_closed_outputs_do_no_harm(service: Simulator, job: Job, redirection: str) -> None:
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *job.command()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert done.returncode == DONE
    assert len(job.answers) == 10


@posix
def test_a_reader_that_went_away_does_no_harm(service: Simulator, job: Job) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with started(job.command(), stderr=writer) as process:
        os.close(writer)
        assert ended(process) == (DONE, "", "")
    assert len(job.answers) == 10


@posix
def test_a_reader_that_stands_still_does_not_stop_it(service: Simulator, job: Job) -> None:
    service.script_always(Fault.slow_headers(1.2))  # long enough for a line of progress
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"." * 1024)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    with started(job.command("--concurrency", "5"), stderr=writer) as process:
        assert service.block_until(lambda counts: counts.faulted == 10, PATIENCE)
        os.close(writer)
        received = b""
        while data := os.read(reader, 65536):
            received += data
        assert ended(process)[0] == DONE
    os.close(reader)
    assert b"answered" in received
    assert len(job.answers) == 10


def test_a_pipe_gets_plain_lines(service: Simulator, job: Job) -> None:
    service.script_always(Fault.slow_headers(0.4))
    code, _, err = job.run("--concurrency", "2")
    assert code == DONE
    assert "of 10 rows, " in err
    assert "limit 2 at once, 2 in flight" in err
    assert "\x1b" not in err


@contextmanager
def on_terminal(
    job: Job, *arguments: str, kind: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process, whose errors go to a pseudo-terminal, and our end of that."""
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": kind, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    try:
        with started(job.command(*arguments), stderr=slave, env=environment) as process:
            os.close(slave)
            yield process, master
    finally:
        os.close(master)


def rest_of(number: int) -> str:
    received = b""
    while True:
        try:
            data = os.read(number, 65536)
        except OSError:  # how Linux reports the end
            return received.decode()
        received += data


@posix
def test_a_terminal_gets_a_panel_and_then_the_summary(service: Simulator, job: Job) -> None:
    pytest.importorskip("rich")
    service.script_always(Fault.slow_headers(0.6))
    with on_terminal(job, "--concurrency", "5", kind="xterm-256color") as (process, master):
        received = read_until(master, "5 in flight") + rest_of(master)
        assert process.wait(PATIENCE) == DONE
    assert f"laplas batch {job.input}" in received
    assert "answered" in received
    last = received[received.rindex("\x1b[?25h") :]  # the cursor is back, then comes the summary
    assert "of 10 rows" not in last
    assert "latency" in last


@posix
def test_ctrl_c_on_a_terminal_is_shown_above_the_panel(service: Simulator, job: Job) -> None:
    pytest.importorskip("rich")
    service.script_always(Fault.slow_headers(60.0))
    with on_terminal(job, "--concurrency", "3", kind="xterm-256color") as (process, master):
        read_until(master, "3 in flight")
        process.send_signal(signal.SIGINT)
        read_until(master, "finishing 3 in flight")
        process.send_signal(signal.SIGINT)
        received = rest_of(master)
        assert process.wait(PATIENCE) == INTERRUPTED
    assert "\x1b[?25h" in received
    assert "laplas: stopped at once: " in received


@posix
def test_a_dumb_terminal_gets_lines(service: Simulator, job: Job) -> None:
    service.script_always(Fault.slow_headers(0.4))
    with on_terminal(job, "--concurrency", "2", kind="dumb") as (process, master):
        received = rest_of(master)
        assert process.wait(PATIENCE) == DONE
    assert "limit 2 at once, 2 in flight" in received
    assert "\x1b" not in received
