"""``laplas demo``, as a newcomer sees it, and with steps that fail."""

import subprocess
import sys
from time import monotonic
from types import SimpleNamespace

import pytest

from laplas_async.cli import demo, demo_workers, main
from laplas_async.cli.terminal import Output
from laplas_async.simulator import Fault, Simulator

EXPECTED = (
    "tokens per second",
    "30 of 30",
    "rejected on the way (429)",
    "attempts, at most",
    "StreamTruncatedError: ",
    "error.partial.text holds the ",
    "export LAPLAS_API_KEY=",
    "laplas chat",
    "async with LaplasClient() as client:",
)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_FIRST_TOKEN", 0.0)
    monkeypatch.setattr(demo, "_TOKENS_PER_SECOND", None)
    monkeypatch.setattr(demo, "_RATE", 1000.0)
    monkeypatch.setattr(demo, "_BURST", 100)


def test_it_shows_everything_without_key_network_or_colour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):  # nobody listens there
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    started = monotonic()
    done = subprocess.run(
        # Not -X dev: then asyncio logs each slow turn of the loop, and a busy machine has many.
        [sys.executable, "-W", "error", "-m", "laplas_async", "demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    out = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b""), out
    assert [word for word in EXPECTED if word not in out] == []
    assert "\x1b" not in out
    assert monotonic() - started < 12


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
def test_it_shows_workers_that_share_a_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_workers, "CALLS", 4)
    monkeypatch.setattr(demo_workers, "_ANSWER", 0.0)
    assert main(["demo", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert "2 processes, 4 calls each" in out
    assert [line.split()[:2] for line in out.splitlines() if line[:3] in {"1  ", "2  ", "all"}] == [
        ["1", "4"],
        ["2", "4"],
        ["all", "8"],
    ]


@pytest.mark.usefixtures("hurried")
def test_it_is_plain_on_a_terminal_without_rich(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.table", None)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert [word for word in EXPECTED if word not in out] == []
    assert "\x1b" not in out


@pytest.mark.usefixtures("hurried")
def test_it_uses_rich_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert type(demo._make_view(Output())).__name__ == "_RichView"
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert [word for word in EXPECTED if word not in out] == []
    assert "│ answered " in out


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (None, "a stream was truncated, and no error was raised"),
        (Fault.status(401), "401: "),
    ],
)
def test_a_failed_step_fails_the_demo(
    fault: Fault | None,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("laplas_async.simulator.Fault", SimpleNamespace(cut=lambda *, after: fault))
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("laplas: the demo failed: ")
    assert message in captured.err
    assert "What next" not in captured.out


@pytest.mark.usefixtures("hurried")
def test_a_call_that_fails_for_good_fails_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = Simulator(faults=[None, None, Fault.status(400)])
    monkeypatch.setattr(demo, "_make_simulator", lambda: simulator)
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert "29 of 30" in captured.out
    assert "400: " in captured.err
