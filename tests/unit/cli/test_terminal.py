import asyncio
import io
import sys

import pytest

from laplas_async import (
    Attempt,
    ChatCompletion,
    Choice,
    ConfigError,
    Message,
    ServerError,
    StreamTruncatedError,
)
from laplas_async.cli import terminal
from laplas_async.cli.terminal import Output, complain, describe, discard_output, make_runner


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def stream(encoding: str, kind: type[io.TextIOWrapper]) -> io.TextIOWrapper:
    return kind(io.BytesIO(), encoding=encoding, newline="")


def written(stream: io.TextIOWrapper) -> bytes:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


def test_each_piece_is_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = stream("utf-8", io.TextIOWrapper)
    monkeypatch.setattr(sys, "stdout", fake)
    output = Output()
    output.write("a")
    assert written(fake) == b"a"
    output.write("")
    output.end_line()
    output.end_line()
    assert written(fake) == b"a\n"


def test_a_character_that_the_encoding_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = stream("ascii", io.TextIOWrapper)
    monkeypatch.setattr(sys, "stdout", fake)
    output = Output()
    output.write("½ of \ud800 caf\u00e9")
    assert written(fake) == b"? of ? caf?"
    assert not output.is_unicode


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (io.TextIOWrapper, "a\x1b]0;owned\x07\r\n\tb\x9b2J"),
        (Terminal, "a�]0;owned�\n\tb�2J"),
    ],
)
def test_a_model_cannot_drive_the_terminal(
    kind: type[io.TextIOWrapper], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = stream("utf-8", kind)
    monkeypatch.setattr(sys, "stdout", fake)
    Output().write("a\x1b]0;owned\x07\r\n\tb\x9b2J")
    assert written(fake).decode() == expected


def test_a_closed_output_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match="closed"):
        Output()
    discard_output()
    terminal.flush()


def test_a_complaint_is_one_line_without_controls(capsys: pytest.CaptureFixture[str]) -> None:
    complain("two\nlines and \x1b[31mred")
    assert capsys.readouterr().err == "laplas: two lines and �[31mred\n"


def test_a_closed_stderr_is_no_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    complain("nobody reads this")
    assert capsys.readouterr().out == ""


def test_an_error_in_one_line() -> None:
    attempts = (Attempt(1.0), Attempt(2.0))
    partial = ChatCompletion(choices=[Choice(message=Message(content="so far"))])
    assert describe(ConfigError("wrong")) == "wrong"
    assert describe(ServerError("500: no", attempts=attempts)) == "500: no [2 attempts]"
    assert describe(StreamTruncatedError("cut", partial=partial, request_id="r-1")) == (
        "cut [the answer is incomplete, request id r-1]"
    )
    assert describe(ServerError()) == "ServerError"


def test_the_loop_is_plain_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with make_runner() as runner:
        assert type(runner.get_loop()).__module__.startswith("asyncio.")


def test_uvloop_is_used_if_installed() -> None:
    pytest.importorskip("uvloop")
    with make_runner() as runner:
        assert type(runner.get_loop()).__module__.startswith("uvloop")
        assert runner.run(asyncio.sleep(0, "ran")) == "ran"


def test_reasoning_is_dimmed_and_apart_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = stream("utf-8", Terminal)
    monkeypatch.setattr(sys, "stdout", fake)
    output = Output()
    output.write_reasoning("hm\x1b[31m")
    output.write_reasoning("")
    output.write("Yes")
    output.end_line()
    assert written(fake).decode() == "\x1b[2mhm\ufffd[31m\x1b[22m\n\nYes\n"


def test_reasoning_without_an_answer_ends_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = stream("utf-8", Terminal)
    monkeypatch.setattr(sys, "stdout", fake)
    output = Output()
    output.write_reasoning("hm")
    output.end_line()
    assert written(fake).decode() == "\x1b[2mhm\x1b[22m\n"


def test_reasoning_is_not_part_of_what_a_pipe_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = stream("utf-8", io.TextIOWrapper)
    monkeypatch.setattr(sys, "stdout", fake)
    output = Output()
    output.write_reasoning("hm")
    output.write("Yes")
    assert written(fake) == b"Yes"
