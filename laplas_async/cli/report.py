"""``laplas report``: the report of a batch, rebuilt from its output file.

It refuses to need the API key, and to change the output.
"""

import argparse
import json
from pathlib import Path

from laplas_async import ConfigError
from laplas_async.cli.exit_codes import DONE
from laplas_async.cli.options import seconds
from laplas_async.cli.terminal import note


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``laplas report`` to the command line."""
    report = commands.add_parser(
        "report",
        help="write an HTML report of a batch from its output file",
        description="Read the output of `laplas batch`, finished, killed or still growing, and "
        "write a report of it: one HTML file that needs no network and no script.",
        allow_abbrev=False,
    )
    report.add_argument("output", metavar="OUT.jsonl", help="the output of a batch, or its folder")
    report.add_argument(
        "html", nargs="?", metavar="FILE.html", help="the report (default: OUT.html beside it)"
    )
    report.add_argument(
        "--messages",
        action="store_true",
        help="show an error message for each kind of failure; it may quote a request",
    )
    goals = report.add_argument_group("goodput", "the limits that a good row keeps")
    goals.add_argument("--max-latency", type=seconds, metavar="SECONDS", help="to the whole answer")
    goals.add_argument(
        "--max-first-token", type=seconds, metavar="SECONDS", help="to the first token (--stream)"
    )
    report.add_argument("--summary", metavar="FILE.json", help="also write the numbers, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the report. Raises ``ConfigError``, ``JournalError``, ``OSError``."""
    from laplas_async.report import read_run  # noqa: PLC0415 - not for ``laplas --help``

    output = find_output(Path(arguments.output))
    html = output.with_suffix(".html") if arguments.html is None else Path(arguments.html)
    check_target(html, output)
    report = read_run(output, first_token=arguments.max_first_token, latency=arguments.max_latency)
    report.write(html, messages=arguments.messages)
    if arguments.summary is not None:
        summary = Path(arguments.summary)
        check_target(summary, output)
        summary.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
    numbers = report.numbers
    note(f"{html}: {numbers.rows:,} rows, {numbers.failed:,} failed")
    return DONE


def check_target(path: Path, output: Path) -> None:
    """Raise ``ConfigError`` if a report cannot be written to ``path``."""
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{path}: is a folder, or in none that exists; name a file")
    if path.resolve() == output.resolve():
        raise ConfigError(f"{path}: is the output of the batch; name another file")


def find_output(path: Path) -> Path:
    """The output itself; in a folder, the one file that is an output of a batch."""
    from laplas_async.batch.results import OPENING  # noqa: PLC0415 - not for ``laplas --help``

    if not path.is_dir():
        return path
    found = []
    for file in sorted(path.glob("*.jsonl")):
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(len(OPENING)) == OPENING:
                    found.append(file)
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ConfigError(f"{path}: has not one output of a batch ({names}); name the file")
    return found[0]
