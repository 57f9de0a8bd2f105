"""``laplas serve`` as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from laplas_async import (
    AuthenticationError,
    LaplasClient,
    RateLimitError,
    RetryPolicy,
    StreamTruncatedError,
)
from laplas_async.cli import main

PATIENCE = 20.0
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, its base URL, and the line of it; killed if the test did not end it."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-X", "dev", "-W", "error", "-m", "laplas_async"),
            *("serve", "--port", "0", *arguments),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("serving on http://127.0.0.1:"), process.stderr.read()
        yield process, line.split()[2], line
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()
        process.wait(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_answers_until_it_is_stopped(number: signal.Signals) -> None:
    with served("--status", "201", "--faults", "429,ok", "--fault-always", "cut:1") as (
        process,
        base_url,
        line,
    ):
        assert line == f"serving on {base_url} (any key)\n"
        assert process.stdout is not None
        hint = process.stdout.readline()
        assert hint == f"export LAPLAS_BASE_URL={base_url} LAPLAS_API_KEY=any\n"
        policy = RetryPolicy(max_attempts=1)
        async with LaplasClient("any", base_url, retry=policy) as client:
            with pytest.raises(RateLimitError):
                await client.complete("hi")
            completion = await client.complete("hi")
            assert completion.attempts[0].status == 201
            with pytest.raises(StreamTruncatedError):
                async with client.stream("hi") as stream:
                    await stream.completion()
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, "")
        assert out.startswith(
            "3 requests: 1 answered, 0 rejected, 0 refused, 2 faulted, 0 abandoned; "
        )
        assert out.count("\n") == 1


async def test_it_takes_one_key_and_hides_limits() -> None:
    with served("--api-key", "made-up", "--rate", "0.001", "--burst", "1") as (_, base_url, line):
        assert line.endswith(" (one key)\n")
        policy = RetryPolicy(max_attempts=1)
        async with LaplasClient("made-up", base_url, retry=policy) as client:
            await client.complete("hi")
            with pytest.raises(RateLimitError):
                await client.complete("hi")
    with served("--api-key", "made-up") as (_, base_url, _line):
        async with LaplasClient("another", base_url) as client:
            with pytest.raises(AuthenticationError):
                await client.complete("hi")


async def test_its_pace_is_kept() -> None:
    with served("--first-token", "60", "--tokens-per-second", "1", "--plain", "0") as (
        _process,
        base_url,
        _line,
    ):
        async with LaplasClient("any", base_url) as client:
            assert (await client.complete("hi", timeouts=PATIENCE)).text


def test_a_taken_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"laplas: cannot listen on 127.0.0.1:{port}: ")
    assert "--port 0" in captured.err


def test_a_reader_that_goes_away_does_not_leave_it_running() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "laplas_async", "serve", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
