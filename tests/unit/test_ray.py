"""What ``laplas_async.ray`` does without Ray: ranges of batch files, rows, missing packages."""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async import ray
from laplas_async.errors import ConfigError


def read(path: Path, size: int) -> list[tuple[int, bytes]]:
    return [row for shard in ray._ranges(str(path), size) for row in ray._read_range(**shard)]


@given(
    st.lists(st.sampled_from([b"{}", b"", b" ", b'{"a": 1}', b"no"]), max_size=30), st.booleans()
)
def test_ranges_have_each_row_once_with_the_number_of_its_line(
    tmp_path_factory: Any, lines: list[bytes], ended: bool
) -> None:
    path = tmp_path_factory.mktemp("ranges") / "in.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ended else b""))
    expected = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    for size in (1, 2, 7, 100):
        assert [(n, data.rstrip(b"\n")) for n, data in read(path, size)] == expected
        shards = list(ray._ranges(str(path), size))
        assert [shard["rows"] for shard in shards[:-1]] == [size] * max(len(shards) - 1, 0)


def test_a_compressed_file_is_read_in_ranges_too(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n\n{"a": 2}\n{"a": 3}\n'))
    assert [(n, data.strip()) for n, data in read(path, 2)] == [
        (1, b'{"a": 1}'),
        (3, b'{"a": 2}'),
        (4, b'{"a": 3}'),
    ]


@pytest.mark.parametrize(
    ("line", "split"),
    [
        (b'{"custom_id": "a", "body": {"x": 1}, "url": "u"}', ("a", '{"x":1}')),
        (b'{"prompt": "p", "custom_id": 7}', ("7", '{"prompt":"p"}')),
        (b'{"messages": [], "body": 1}', (None, '{"body":1,"messages":[]}')),
        (b"not JSON \xff", (None, "not JSON \ufffd")),
        (b"[1]", (None, "[1]")),
    ],
)
def test_a_line_becomes_an_id_and_a_body(line: bytes, split: tuple[str | None, str]) -> None:
    assert ray._split(line) == split


class Column:
    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def to_pylist(self) -> list[Any]:
        return self._values


class Table(dict[str, Column]):
    """As much of an Arrow table as rows are read from."""

    @property
    def column_names(self) -> list[str]:
        return list(self)


def test_values_become_prompts_messages_or_requests() -> None:
    messages = [{"role": "user", "content": "Hi"}]
    table = Table(question=Column(["Hi", messages, None]), custom_id=Column(["a", None, 3]))
    assert ray._requests(table, "question") == [
        {"prompt": "Hi", "custom_id": "a"},
        {"messages": messages},
        {"prompt": None, "custom_id": "3"},
    ]
    table = Table(body=Column(['{"prompt": "Hi"}', "no JSON"]))
    assert ray._requests(table, "body") == [{"body": {"prompt": "Hi"}}, {"body": "no JSON"}]
    with pytest.raises(ConfigError, match="no such column, only body"):
        ray._requests(table, "question")


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_without_ray_one_line_says_what_to_install() -> None:
    message = r"ray is not installed: pip install .*\[ray\]"
    with pytest.raises(ConfigError, match=message):
        ray.complete_dataset(None, column="a", into="b")
    with pytest.raises(ConfigError, match=message):
        ray.read_batch("in.jsonl")
