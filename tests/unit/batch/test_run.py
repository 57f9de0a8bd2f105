"""The arguments of ``run_batch``, which are checked before anything is read or sent."""

import math
from pathlib import Path
from typing import Any

import pytest

from laplas_async import ConfigError, LaplasClient, run_batch


@pytest.mark.parametrize(
    "options",
    [
        {"max_errors": 0},
        {"max_errors": -1},
        {"max_errors": True},
        {"max_errors": 1.5},
        {"progress_interval": 0},
        {"progress_interval": -1.0},
        {"progress_interval": math.nan},
        {"defaults": {"temperature": 9}},
        {"defaults": {"no_such_parameter": 1}},
        {"defaults": {"messages": "x"}},
    ],
)
async def test_invalid_arguments_touch_no_file(tmp_path: Path, options: dict[str, Any]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"prompt": "x"}\n')
    async with LaplasClient("key", "http://127.0.0.1:9/v1") as client:
        with pytest.raises(ConfigError):
            await run_batch(source, tmp_path / "out.jsonl", client=client, **options)
        assert not client.gate.on_room
    assert [path.name for path in tmp_path.iterdir()] == [source.name]  # noqa: ASYNC240


async def test_an_empty_input_is_done_and_has_an_empty_output(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n\n")
    async with LaplasClient("key", "http://127.0.0.1:9/v1") as client:
        report = await run_batch(tmp_path / "in.jsonl", tmp_path / "out.jsonl", client=client)
    assert (report.ok, report.rows, report.tries) == (True, 0, 0)
    assert (tmp_path / "out.jsonl").read_bytes() == b""


async def test_a_progress_hook_that_raises_ends_the_batch_with_its_error(tmp_path: Path) -> None:
    def broken(_progress: object) -> None:
        raise ZeroDivisionError

    (tmp_path / "in.jsonl").write_bytes(b'{"prompt": "x"}\n')
    async with LaplasClient("key", "http://127.0.0.1:9/v1") as client:
        with pytest.raises(ZeroDivisionError):
            await run_batch(
                tmp_path / "in.jsonl", tmp_path / "out", client=client, on_progress=broken
            )
        assert client.pace.in_flight == client.pace.waiting == 0
        assert not client.gate.on_room
