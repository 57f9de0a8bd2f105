import io
import sys
import threading
import time

import pytest
from attrs import evolve

from laplas_async import Pace
from laplas_async.batch.report import BatchProgress, Quantiles, RowCounts, Tokens
from laplas_async.cli import batch_view
from laplas_async.cli.batch_view import (
    LIVE_INTERVAL,
    LiveLook,
    Look,
    PlainLook,
    QuietLook,
    View,
    amount,
    describe_rules,
    line,
    make_view,
    money,
    span,
)
from laplas_async.pacing.ledger import Rule

PATIENCE = 20.0
PROGRESS = BatchProgress(
    counts=RowCounts(answered=40_990, failed=10, resumed=0),
    rows=100_000,
    saved=40_900,
    elapsed=50.0,
    left=72.4,
    rows_per_second=812.3,
    tokens=Tokens(prompt=1_000, completion=2_000),
    tokens_per_second=61_022.0,
    usd=None,
    pace=Pace(rate=20.0, concurrency=48, in_flight=47, waiting=12, rejected=3),
)


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


class Recorder:
    """A look that writes down what it is to show, and blocks on request."""

    interval = LIVE_INTERVAL

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.drawn = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def open(self) -> None:
        self.seen.append("open")

    def draw(self, progress: BatchProgress) -> None:
        self.seen.append(progress)
        self.drawn.set()
        self.may_go_on.wait(PATIENCE)

    def say(self, text: str) -> None:
        self.seen.append(text)

    def close(self) -> None:
        self.seen.append("close")


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    fake = Terminal()
    monkeypatch.setattr(sys, "stderr", fake)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return fake


# --- as text ----------------------------------------------------------------------------------


def test_a_line_has_every_number() -> None:
    assert line(PROGRESS) == (
        "41,000 of 100,000 rows, 40,990 answered, 10 failed, 812 rows/s, 61,022 tokens/s, "
        "limit 20/s and 48 at once, 47 in flight, 12 waiting, 3 rejected, 1:12 left"
    )


def test_the_cost_is_shown_with_its_cap_and_the_latency_by_percentiles() -> None:
    latency = Quantiles(p50=0.25, p90=0.5, p95=1.5, p99=2.0)
    capped = evolve(PROGRESS, usd=0.5, usd_spent=1.25, usd_limit=25.0, latency=latency)
    assert "61,022 tokens/s, latency p50 0.25 s p95 1.5 s, $1.25 of $25.00, " in line(capped)


def test_unknown_numbers_are_left_out() -> None:
    early = evolve(
        PROGRESS,
        counts=RowCounts(answered=3, resumed=7),
        rows=None,
        left=None,
        rows_per_second=1.5,
        tokens_per_second=0.0,
        usd=0.0123,
        pace=evolve(PROGRESS.pace, rate=None),
    )
    assert line(early) == (
        "10 rows, 3 answered, 0 failed, 7 from before, 1.5 rows/s, 0 tokens/s, $0.0123, "
        "limit 48 at once, 47 in flight, 12 waiting, 3 rejected"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_amounts_and_money() -> None:
    assert [amount(value) for value in (0.0, 0.123456, 20.0, 99.94, 99.96, 1234.5)] == (
        ["0", "0.123", "20", "99.9", "100", "1,234"]
    )
    assert [money(value) for value in (0.0, 0.01234, 1.0, 1234.567)] == (
        ["$0.0000", "$0.0123", "$1.00", "$1,234.57"]
    )


def test_rules_and_the_reason_of_a_wait_are_lines_of_their_own() -> None:
    assert describe_rules(PROGRESS.pace) == []
    rules = (
        Rule("window", 60.0, period=60.0, since=100.0, evidence="observed"),
        Rule("concurrency", 48.0, evidence="configured"),
    )
    pace = evolve(PROGRESS.pace, rules=rules, reason="the window is full")
    at = time.mktime((2026, 11, 25, 12, 3, 30, 0, 0, -1))
    assert describe_rules(evolve(pace, at=220.0), wall=at + 120.0) == [
        "rules: 60 per minute (window), since 12:03; 48 at once",
        "the next request waits: the window is full",
    ]


# --- the thread -------------------------------------------------------------------------------


def test_it_is_drawn_beside_the_batch_and_ends_with_it() -> None:
    look = Recorder()
    with View(look) as view:
        assert view.interval == LIVE_INTERVAL
        view.update(PROGRESS)
        assert look.drawn.wait(PATIENCE)
        view.say("finishing")
    assert look.seen == ["open", PROGRESS, "finishing", "close"]


def test_a_blocked_terminal_does_not_block_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_view, "_CLOSE_TIMEOUT", 0.01)
    look = Recorder()
    look.may_go_on.clear()
    with View(look) as view:
        view.update(PROGRESS)
        assert look.drawn.wait(PATIENCE)
        for _ in range(1000):
            view.update(PROGRESS)
            view.say("nobody reads this now")
    assert look.seen == ["open", PROGRESS]
    look.may_go_on.set()


def test_only_the_latest_is_drawn_once_it_goes_on() -> None:
    look = Recorder()
    look.may_go_on.clear()
    latest = evolve(PROGRESS, elapsed=99.0)
    with View(look) as view:
        view.update(PROGRESS)
        assert look.drawn.wait(PATIENCE)
        view.update(evolve(PROGRESS, elapsed=98.0))
        view.update(latest)
        look.drawn.clear()
        look.may_go_on.set()
        assert look.drawn.wait(PATIENCE)
    assert look.seen == ["open", PROGRESS, latest, "close"]


@pytest.mark.parametrize("error", [OSError("gone"), SystemExit(1)])
def test_a_closed_terminal_is_no_error(error: BaseException) -> None:
    class Gone(Recorder):
        def draw(self, progress: BatchProgress) -> None:
            super().draw(progress)
            raise error

    look = Gone()
    with View(look) as view:
        view.update(PROGRESS)
        assert look.drawn.wait(PATIENCE)
        view.say("never shown")
    assert look.seen == ["open", PROGRESS, "close"]


def test_it_may_end_without_an_update() -> None:
    look = Recorder()
    with View(look):
        pass
    assert look.seen == ["open", "close"]


# --- the looks --------------------------------------------------------------------------------


def play(look: Look, *moments: float) -> None:
    look.open()
    for elapsed in moments:
        look.draw(evolve(PROGRESS, elapsed=elapsed))
    look.say("finishing 47 in flight")
    look.close()


def test_plain_lines_come_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    play(PlainLook(), 0.5, 1.0, 1.5, 5.7, 6.1, 6.6, 11.0)
    captured = capsys.readouterr()
    # After 1, 6.1 and 11 seconds.
    assert captured.err.splitlines() == [line(PROGRESS)] * 3 + ["finishing 47 in flight"]
    assert captured.out == ""


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    play(QuietLook(), 1.0, 6.0)
    assert capsys.readouterr() == ("", "")


def test_the_panel_is_drawn_and_taken_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = on_terminal(monkeypatch)
    play(LiveLook("laplas batch [in].jsonl"), 1.0, 2.0)
    shown = terminal.shown()
    assert "laplas batch [in].jsonl" in shown  # no markup
    assert "41,000 of 100,000 rows, 40,990 answered, 10 failed" in shown
    assert "812 rows/s, 61,022 tokens/s" in shown
    assert "limit 20/s and 48 at once, 47 in flight, 12 waiting, 3 rejected" in shown
    assert "41% 1:12 left" in shown
    assert "finishing 47 in flight\r\n" in shown.replace("\n", "\r\n")
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h")  # the cursor is back
    assert shown.rstrip("\r\n").endswith("\x1b[2K")  # and the panel gone
    assert capsys.readouterr().out == ""


def test_the_panel_begins_before_there_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    look = LiveLook("laplas batch in.jsonl")
    look.open()
    assert "reading" in terminal.shown()
    look.close()


def test_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "30")
    play(LiveLook("laplas batch in.jsonl"), 1.0)
    words = " ".join(terminal.shown().replace("│", " ").split())
    assert "limit 20/s and 48 at once, 47 in flight, 12 waiting, 3 rejected" in words


# --- which look -------------------------------------------------------------------------------


def look_of(view: View) -> type:
    return type(view._look)


def test_a_terminal_gets_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    assert look_of(make_view("t", quiet=False)) is LiveLook
    assert look_of(make_view("t", quiet=True)) is QuietLook


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_only_appends_gets_lines(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", name)
    assert look_of(make_view("t", quiet=False)) is PlainLook


def test_without_rich_it_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert look_of(make_view("t", quiet=False)) is PlainLook


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert look_of(make_view("t", quiet=False)) is PlainLook


def test_a_closed_stderr_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert look_of(make_view("t", quiet=False)) is QuietLook
