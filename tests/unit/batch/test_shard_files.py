"""Which rows a death makes suspect, and that one process at a time works on a shard."""

import asyncio
import json
from pathlib import Path

import pytest

from laplas_async.batch import jsonl
from laplas_async.batch.inflight import InFlight
from laplas_async.batch.shard_files import Deaths, ShardFiles, locked


@pytest.fixture
def files(tmp_path: Path) -> ShardFiles:
    (tmp_path / "work").mkdir()
    return ShardFiles(tmp_path, "abc", ".jsonl")


def die(files: ShardFiles, in_flight: list[str], alone: str | None = None) -> None:
    """What a killed process leaves: rows in flight, and the file that says it was at work."""
    journal = InFlight(str(files.journal))
    for name in in_flight:
        journal.take(jsonl.digest(name.encode()))
    journal.close()
    files.running.write_text(json.dumps({"alone": alone}))


def test_a_first_death_makes_all_in_flight_suspect_and_sets_none_aside(files: ShardFiles) -> None:
    die(files, ["a", "b", "done"])
    deaths = Deaths.load(files, ["a", "b", "c"])
    assert [deaths.is_suspect(name) for name in ("a", "b", "c", "done")] == [
        *(True, True, False, False),
    ]
    assert not any(deaths.is_set_aside(name) for name in "abc")
    assert Deaths.load(files, ["a", "b", "c"]) == deaths  # counted once


def test_a_second_death_alone_sets_that_row_aside_and_no_other(files: ShardFiles) -> None:
    die(files, ["a", "b"])
    Deaths.load(files, ["a", "b"])
    die(files, [], alone="b")
    deaths = Deaths.load(files, ["a", "b"])
    assert [deaths.is_set_aside(name) for name in "ab"] == [False, True]


def test_the_death_of_a_crowd_makes_suspects_but_is_no_evidence(files: ShardFiles) -> None:
    crowd = [f"r{n}" for n in range(9)]
    die(files, crowd)
    Deaths.load(files, crowd)
    for expected in (False, True):  # two deaths alone
        die(files, [], alone="r3")
        deaths = Deaths.load(files, crowd)
        assert deaths.is_set_aside("r3") is expected
        assert all(deaths.is_suspect(name) for name in crowd)
    assert not deaths.is_set_aside("r4")


def test_a_process_that_is_stopped_leaves_no_suspects(files: ShardFiles) -> None:
    def stop() -> None:
        with Deaths().watch(files) as is_alone:
            is_alone(None)
            assert files.running.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert Deaths.load(files, ["a"]).counts == {}


async def test_the_lock_passes_from_one_to_the_next_and_is_removed(files: ShardFiles) -> None:
    order: list[str] = []

    async def work(name: str) -> None:
        async with locked(files.lock):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(*(work(name) for name in "abc"))
    assert [entry.split()[1] for entry in order] == ["in", "out"] * 3
    assert not files.lock.exists()
