import subprocess
import sys
from typing import get_type_hints

import pytest

from laplas_async import RequestParameters, __version__
from laplas_async.cli import main, make_parser
from laplas_async.cli.chat import _SAMPLING

# Not options: n would interleave answers, the others are objects.
NOT_OFFERED = {
    "n",
    "stream_options",
    "logprobs",
    "top_logprobs",
    "echo",
    "logit_bias",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
}


def test_every_sampling_parameter_is_an_option() -> None:
    assert set(_SAMPLING) == set(get_type_hints(RequestParameters)) - NOT_OFFERED
    arguments = []
    for name in _SAMPLING:
        arguments += ["--" + name.replace("_", "-"), "1"]
    parsed = vars(make_parser().parse_args(["chat", "hi", *arguments]))
    assert {name: parsed[name] for name in _SAMPLING} == dict.fromkeys(_SAMPLING, 1) | {
        "stop": ["1"]
    }


def test_numbers_stay_whole_if_written_so() -> None:
    parsed = make_parser().parse_args(["chat", "--max-tokens", "5", "--presence-penalty", "-1.5"])
    assert (parsed.max_tokens, parsed.presence_penalty) == (5, -1.5)
    assert type(parsed.max_tokens) is int
    assert parsed.prompt is None


def test_stop_is_repeatable() -> None:
    assert make_parser().parse_args(["chat", "--stop", "a", "--stop", "b"]).stop == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
        (["chat", "--temperature", "hot"], "--temperature"),
        (["chat", "--timeout", "0"], "more than 0"),
        (["chat", "--timeout", "nan"], "more than 0"),
        (["chat", "--json", "--no-stream"], "not allowed with"),
        (["chat", "--temp", "1"], "unrecognized"),  # abbreviations would break with new options
        (["chat", "--api-key", "sk-1"], "unrecognized"),  # it would show in `ps`
        (["serve", "--status", "404"], "--status"),
        (["serve", "--port", "65536"], "0 to 65535"),
    ],
)
def test_wrong_usage_is_exit_code_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["chat", "--help"], ["serve", "--help"]])
def test_help_is_no_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "usage: laplas" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"laplas {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "-1"], "'rate' must be > 0"),
        (["--burst", "3"], "burst needs a rate"),
        (["--concurrency", "-1"], "'concurrency' must be >= 0"),
        (["--tokens-per-second", "0"], "tokens_per_second"),
        (["--first-token", "-1"], "first_token"),
        (["--faults", "sing"], "'sing' is not a known fault"),
        (["--faults", "ok*0"], "count after *"),
        (["--fault-always", "cut,ok"], "one fault"),
    ],
)
def test_invalid_simulator_settings_are_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("laplas: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""


def test_the_parser_imports_nothing_expensive() -> None:
    code = (
        "import sys, laplas_async.cli as cli\n"
        "cli.make_parser()\n"
        "late = [m for m in sys.modules if m.startswith(('laplas_async.batch.run', 'rich',\n"
        "        'uvloop', 'laplas_async.simulator', 'aiohttp.web_app'))]\n"
        "assert late == [], late\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
