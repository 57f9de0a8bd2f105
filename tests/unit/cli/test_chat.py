"""The prompt of ``laplas chat``, and the numbers of ``--stats``."""

import io
import sys

import pytest

from laplas_async import ChatCompletion, Choice, ConfigError, Cost, Message, Usage
from laplas_async.cli.chat import _Clock, _read_prompt, _stats


class Input(io.StringIO):
    def __init__(self, text: str, *, terminal: bool = False) -> None:
        super().__init__(text)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("argument", "stdin", "prompt"),
    [
        ("Hello", Input("ignored"), "Hello"),
        ("-", Input("two\nlines\r\n"), "two\nlines"),
        (None, Input("from a pipe\n"), "from a pipe"),
        ("-", Input("typed\n", terminal=True), "typed"),
        (None, Input("", terminal=True), None),
        ("a \udcff byte", Input(""), "a ? byte"),
    ],
)
def test_where_the_prompt_comes_from(
    argument: str | None, stdin: Input, prompt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert _read_prompt(argument) == prompt


@pytest.mark.parametrize(("argument", "text"), [("", "x"), ("  ", "x"), (None, " \n"), ("-", "")])
def test_an_empty_prompt_is_a_config_error(
    argument: str | None, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Input(text))
    with pytest.raises(ConfigError, match="the prompt is empty"):
        _read_prompt(argument)


def test_without_stdin_a_prompt_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="no prompt"):
        _read_prompt(None)


def completion(**fields: object) -> ChatCompletion:
    usage = Usage(prompt_tokens=3, completion_tokens=11, total_tokens=14)
    choices = [Choice(message=Message("assistant", "x"), finish_reason="stop")]
    done = ChatCompletion("c", choices=choices, usage=usage)
    for name, value in fields.items():
        setattr(done, name, value)
    return done


def test_the_speed_is_that_of_the_tokens_after_the_first() -> None:
    lines = _stats(completion(), _Clock(started=10.0, first=11.0, ended=13.0))
    assert lines[:4] == [
        "first token: 1.000 s",
        "whole answer: 3.000 s",
        "speed: 5.0 tokens/s",
        "usage: 3 prompt + 11 completion = 14 tokens",
    ]
    assert lines[-1] == "attempts: 0"


def test_numbers_that_were_not_reported_are_left_out() -> None:
    lines = _stats(completion(usage=None), _Clock(started=10.0, ended=10.0))
    assert [line.partition(":")[0] for line in lines] == [
        "whole answer",
        "finish reason",
        "request id",
        "attempts",
    ]
    lines = _stats(completion(cost=Cost(0.0, None)), _Clock(started=10.0, ended=12.0))
    assert any(line.startswith(("credits used: 0", "USD spent: 0")) for line in lines)
