"""``read_run``: from the output of a batch to its report."""

import os
from pathlib import Path
from typing import Any

from attrs import frozen

from laplas_async.errors import ConfigError
from laplas_async.report.analysis import Goals, Numbers, analyze
from laplas_async.report.page import render
from laplas_async.report.rows import Rows, read_rows


@frozen
class RunReport:
    """The report of a run: ``numbers``, ``html()``, and ``write`` for a file."""

    rows: Rows
    numbers: Numbers

    def html(self, *, messages: bool = False) -> str:
        """The page, less than 300 kB for any number of rows.

        ``messages``: show one error message for each kind of failure; it may quote a request.
        """
        return render(self.rows, self.numbers, messages=messages)

    def as_dict(self) -> dict[str, Any]:
        """The same numbers as plain values, for JSON."""
        return self.numbers.as_dict()

    def write(self, path: str | os.PathLike[str], *, messages: bool = False) -> None:
        """Write the page to a file, all of it or nothing.

        Raises ``ConfigError`` if ``path`` is the output itself, ``OSError`` if it cannot be
        written.
        """
        target = Path(path)
        if target.exists() and Path(self.rows.path).exists() and target.samefile(self.rows.path):
            raise ConfigError(f"{target}: is the output of the batch; name another file")
        data = self.html(messages=messages).encode("utf-8", "replace")
        if target.exists() and not target.is_file():  # a pipe, or /dev/stdout
            target.write_bytes(data)
            return
        target = target.resolve()  # a symbolic link stays one
        draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            draft.write_bytes(data)
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def read_run(
    output: str | os.PathLike[str],
    *,
    first_token: float | None = None,
    latency: float | None = None,
) -> RunReport:
    """Read the output file of a batch that has ended, was killed, or still runs.

    ``first_token`` and ``latency``: the seconds that a good row keeps, for the goodput; more than
    0. Blocks, about 30 s for a million rows. Raises ``ConfigError`` for arguments that cannot
    be right, ``JournalError`` for a file that is not the output of a batch.
    """
    for name, value in (("first_token", first_token), ("latency", latency)):
        if value is not None and not value > 0:
            raise ConfigError(f"{name}={value!r}: must be seconds, more than 0")
    goals = None if first_token is None and latency is None else Goals(first_token, latency)
    rows = read_rows(output)
    return RunReport(rows, analyze(rows, goals))
