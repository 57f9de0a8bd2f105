"""The ``laplas`` command: finds its commands, and turns an error into one line and an exit code.

A command is a module of this package with ``add_arguments(commands)`` and ``run(arguments)``, named
in ``COMMANDS``. The parser loads all of them, so they import what is expensive (the simulator, the
batch, rich) only when they run. It refuses to take the API key as an argument, which ``ps`` shows.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module

from laplas_async import __version__
from laplas_async.cli.exit_codes import FAILED, INTERRUPTED, READER_GONE, WRONG_USAGE
from laplas_async.cli.terminal import (
    complain,
    describe,
    discard_output,
    end_line,
    fill_closed,
    flush,
)
from laplas_async.errors import ConfigError, LaplasError

# In the order of the help.
COMMANDS = ("chat", "batch", "report", "models", "balance", "serve", "demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``laplas`` with these arguments (by default the process's) and return the exit code.

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
        return WRONG_USAGE if isinstance(error, ConfigError) else FAILED
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
        parsed = make_parser().parse_args(arguments)
    except SystemExit as end:  # argparse exits like this after --help and after a wrong argument
        return end.code if isinstance(end.code, int) else WRONG_USAGE
    code: int = import_module(f"{__name__}.{parsed.command}").run(parsed)
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
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").add_arguments(commands)
    return parser
