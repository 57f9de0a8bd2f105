"""The finished results of a shard as one file: JSON lines, or Parquet for those who have pyarrow.

A part is complete or does not exist: it is written under another name, synced, and renamed. It
refuses to know how results come about.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from laplas_async.batch import jsonl
from laplas_async.errors import ConfigError

# The columns of a part, all flat; ``body`` is the whole completion as JSON.
COLUMNS = (
    *("custom_id", "text", "finish_reason", "error_code", "error_message"),
    *("prompt_tokens", "completion_tokens", "attempts", "possibly_duplicated", "body"),
)


class PartFormat(Protocol):
    """How rows become the bytes of a part."""

    suffix: str

    def write(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a new file with these rows, whose keys are ``COLUMNS``."""
        ...

    def read(self, path: Path) -> list[dict[str, Any]]:
        """The rows of a part. Raises ``OSError`` or ``ValueError``."""
        ...


class JSONLParts:
    """Parts as JSON lines."""

    suffix = ".jsonl"

    def write(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a line for each row."""
        path.write_bytes(b"".join(jsonl.write(dict(row)) for row in rows))

    def read(self, path: Path) -> list[dict[str, Any]]:
        """The rows."""
        return [json.loads(line) for line in path.read_bytes().splitlines()]


class ParquetParts:
    """Parts as Parquet. Raises ``ConfigError`` if pyarrow is not installed."""

    suffix = ".parquet"

    def __init__(self) -> None:
        try:
            self._arrow = import_module("pyarrow")
            self._parquet = import_module("pyarrow.parquet")
        except ModuleNotFoundError:
            raise ConfigError("pyarrow is not installed: pip install 'laplas-async[ray]'") from None
        arrow = self._arrow
        types = {
            "prompt_tokens": arrow.int64(),
            "completion_tokens": arrow.int64(),
            "attempts": arrow.int64(),
            "possibly_duplicated": arrow.bool_(),
        }
        self._schema = arrow.schema([(name, types.get(name, arrow.string())) for name in COLUMNS])

    def write(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows as one table."""
        table = self._arrow.Table.from_pylist(list(rows), schema=self._schema)
        self._parquet.write_table(table, path)

    def read(self, path: Path) -> list[dict[str, Any]]:
        """The rows."""
        rows: list[dict[str, Any]] = self._parquet.ParquetFile(path).read().to_pylist()
        return rows


def write_durably(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file beside ``path``, sync it, and rename it to ``path``.

    Whatever happens, ``path`` is what it was or what it will be. One process at a time.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        write(draft)
        _sync(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
