"""The ``laplas`` command: its parser, and the way from an error to one line and an exit code.

Commands live in modules of their own, imported when they are run; the parser needs argparse
alone. It refuses to take the API key as an argument, where every ``ps`` would show it.

Exit codes: 0; 1, it failed (of a batch: some rows did); 2, it was asked wrongly; 3, a batch was
stopped early; 130, Ctrl-C; 141, the reader of the output went away (the two that a shell reports
for the signals SIGINT and SIGPIPE).
"""

import argparse
import math
from collections.abc import Sequence
from importlib import import_module

from laplas_async import __version__
from laplas_async.cli.terminal import (
    complain,
    describe,
    discard_output,
    end_line,
    fill_closed,
    flush,
)
from laplas_async.errors import ConfigError, LaplasError

FAILED, WRONG_USE, STOPPED_EARLY, INTERRUPTED, READER_GONE = 1, 2, 3, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``laplas`` with these arguments (by default the process's), return the exit code.

    No error of the library leaves it: each becomes a line on stderr.
    """
    fill_closed()
    try:
        code = _run(arguments)
        flush()
    except KeyboardInterrupt:
        end_line()
        return INTERRUPTED
    except LaplasError as error:
        complain(describe(error))
        return WRONG_USE if isinstance(error, ConfigError) else FAILED
    except BrokenPipeError:
        discard_output()
        return READER_GONE
    except OSError as error:
        discard_output()
        complain(f"cannot read or write: {error}")
        return FAILED
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        told = make_parser().parse_args(arguments)
    except SystemExit as end:  # argparse's way to end after --help and after a wrong argument
        return end.code if isinstance(end.code, int) else WRONG_USE
    code: int = import_module(f"laplas_async.cli.{told.command}").run(told)
    return code


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; ``command`` is the name of the module to run."""
    parser = argparse.ArgumentParser(
        prog="laplas",
        description="Talk to the Apilaplas chat API, or to a simulator of it.",
        epilog="The API key is read from LAPLAS_API_KEY, the base URL from LAPLAS_BASE_URL. "
        "`laplas demo` needs neither.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"laplas {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_chat(commands)
    _add_batch(commands)
    _add_serve(commands)
    _add_demo(commands)
    return parser


def _add_chat(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    chat = commands.add_parser(
        "chat",
        help="ask the model; the answer is streamed",
        description="Ask the model and stream its answer to stdout. The key comes from "
        "LAPLAS_API_KEY alone.",
        allow_abbrev=False,
    )
    chat.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="what to ask; - or none: stdin; none on a terminal: a conversation, which an empty "
        "line or Ctrl-D ends",
    )
    _add_whom(chat)
    chat.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="for the whole answer, retries included"
    )
    shown = chat.add_mutually_exclusive_group()
    shown.add_argument(
        "--json", action="store_true", help="print the whole completion as one JSON object"
    )
    shown.add_argument("--no-stream", action="store_true", help="print the answer when it is whole")
    chat.add_argument(
        "--stats",
        action="store_true",
        help="time to first token, tokens a second, usage, request id and tries, to stderr",
    )
    asked = chat.add_argument_group("sampling", "sent only if given; the service has defaults")
    _add_numbers(
        asked,
        ("--max-tokens", "N", "at least 1"),
        ("--temperature", "T", "0 to 2"),
        ("--top-p", "P", "0.01 to 1"),
        ("--top-k", "K", "the likeliest K tokens alone"),
        ("--min-p", "P", "0.001 to 0.999"),
        ("--seed", "N", "at least 1"),
        ("--repetition-penalty", "R", "1 is none"),
        ("--presence-penalty", "P", "-2 to 2"),
        ("--frequency-penalty", "P", "-2 to 2"),
    )
    asked.add_argument(
        "--stop", action="append", metavar="TEXT", help="end before this text; up to 4 times"
    )


def _add_batch(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    batch = commands.add_parser(
        "batch",
        help="ask what the lines of a file ask; one result line for each",
        description="Ask what each line of IN asks and write its result to OUT. Stopped in any "
        "way, the same command goes on where it was. The key comes from LAPLAS_API_KEY alone.",
        epilog="Exit codes: 0, all rows are answered; 1, some failed; 2, wrong usage; 3, stopped "
        "early; 130, interrupted.",
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
        "--retry-failed", action="store_true", help="ask the rows that failed before again"
    )
    batch.add_argument(
        "--max-errors", type=count, metavar="N", help="stop when so many rows have failed"
    )
    batch.add_argument(
        "--stream", action="store_true", help="stream the answers, to time their first tokens"
    )
    asked = batch.add_argument_group("for all rows", "a row's own fields come first")
    _add_whom(asked)
    _add_numbers(asked, ("--max-tokens", "N", "at least 1"), ("--temperature", "T", "0 to 2"))
    limits = batch.add_argument_group("limits", "what is not told is learned")
    for option, words in (
        ("--rpm", "requests a minute"),
        ("--tpm", "tokens a minute"),
        ("--concurrency", "requests in flight"),
    ):
        limits.add_argument(option, type=count, metavar="N", help=words)
    batch.add_argument("--summary", metavar="FILE.json", help="write the summary there, too")
    batch.add_argument("--quiet", action="store_true", help="tell nothing but what went wrong")


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="run the simulator of the API on this machine",
        description="Run the simulator on 127.0.0.1 until Ctrl-C or SIGTERM. Its words mean "
        "nothing; its behaviour is the service's.",
        allow_abbrev=False,
    )
    serve.add_argument(
        "--port", type=port, default=8090, help="0 is any free one (default: %(default)s)"
    )
    serve.add_argument(
        "--api-key", metavar="KEY", help="the one key it takes, a made-up one (default: any)"
    )
    serve.add_argument(
        "--status", type=int, choices=(200, 201), default=200, help="of success (default: 200)"
    )
    hidden = serve.add_argument_group("hidden limits", "beyond them it answers 429")
    hidden.add_argument("--rate", type=float, metavar="R", help="requests a second")
    hidden.add_argument(
        "--burst", type=int, metavar="N", help="at once after a pause (default: the rate)"
    )
    hidden.add_argument("--concurrency", type=int, metavar="N", help="requests in flight")
    pace = serve.add_argument_group("pace")
    pace.add_argument(
        "--first-token", type=float, default=0.0, metavar="SECONDS", help="before a stream begins"
    )
    pace.add_argument("--tokens-per-second", type=float, metavar="N", help="after that")
    pace.add_argument(
        "--plain",
        type=float,
        metavar="SECONDS",
        help="before an unstreamed answer (default: as long as its stream would take)",
    )
    wrong = serve.add_argument_group("faults")
    wrong.add_argument(
        "--faults",
        default="",
        metavar="LIST",
        help="what the first requests meet, one each, as in 429,429:2,cut:5,ok*3",
    )
    wrong.add_argument(
        "--fault-always", metavar="FAULT", help="what every request after them meets"
    )


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands.add_parser(
        "demo",
        help="ten seconds that show what the library does; needs no key and no network",
        description="Start the simulator, stream a story from it, make thirty calls at once "
        "under a limit nobody told, break a stream. Nothing leaves this machine.",
        allow_abbrev=False,
    )


def _add_whom(to: argparse._ActionsContainer) -> None:
    to.add_argument("--system", metavar="TEXT", help="the system message")
    to.add_argument("--model", metavar="NAME", help="the model (default: the service's)")
    to.add_argument("--base-url", metavar="URL", help="in place of LAPLAS_BASE_URL")


def _add_numbers(to: argparse._ActionsContainer, *options: tuple[str, str, str]) -> None:
    """Options named as the API's fields. The library checks their ranges: they are told once."""
    for option, metavar, words in options:
        to.add_argument(option, type=number, metavar=metavar, help=words)


def number(text: str) -> float:
    """A number, whole if it is written so."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def count(text: str) -> int:
    """How many: an integer, at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def seconds(text: str) -> float:
    """Seconds: a number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be seconds, more than 0, not {text}")
    return value


def port(text: str) -> int:
    """A TCP port, 0 for any free one."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535, not {text}")
    return value
