"""A part is what it was or what it will be, and reads as it was written."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from laplas_async.batch.parts import COLUMNS, JSONLParts, ParquetParts, write_durably
from laplas_async.errors import ConfigError

ROW: dict[str, Any] = dict.fromkeys(COLUMNS) | {"custom_id": "a", "text": "日本"}


def _write(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"custom_id": "b", "text": "two\nlines\u2028", "attempts": 2}]
    JSONLParts().write(tmp_path / "part", rows)
    assert JSONLParts().read(tmp_path / "part") == rows


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "part"
    write_durably(path, _write("old"))

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_durably(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_durably(path, _write("new"))
    assert path.read_text() == "new"


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_needs_the_extra() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'laplas-async\[ray\]'"):
        ParquetParts()
