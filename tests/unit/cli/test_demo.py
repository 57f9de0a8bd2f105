"""What the demo says about a limit, and its appearance without rich."""

import sys

import pytest

from laplas_async import Pace
from laplas_async.cli.demo import _limit_found, _make_view, _PlainView
from laplas_async.cli.terminal import Output
from laplas_async.pacing.ledger import Rule


def pace(rate: float | None) -> Pace:
    rules = () if rate is None else (Rule("rate", rate, burst=10.0),)
    return Pace(rate=rate, concurrency=10, in_flight=0, waiting=0, rejected=0, rules=rules)


def test_a_limit_that_was_not_reached_is_no_number() -> None:
    assert [_limit_found(pace(rate)) for rate in (None, 19.96)] == [
        "not reached",
        "20 per second, burst 10",
    ]


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    view = _make_view(Output())
    assert type(view) is _PlainView
    view.title("A title")
    view.progress(1, 30, pace(None))
    view.end_progress()
    view.table({"answered": "30 of 30", "seconds": "1.5"})
    out = capsys.readouterr().out
    assert out == "\n== A title\n\nanswered  30 of 30\nseconds   1.5\n"


def test_without_rich_a_terminal_gets_plain_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.table", None)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert type(_make_view(Output())) is _PlainView
