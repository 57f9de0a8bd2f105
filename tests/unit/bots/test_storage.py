"""What every storage does, and what each does with a restart."""

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from laplas_async.bots.history import Turn
from laplas_async.bots.sqlite_storage import SQLiteStorage
from laplas_async.bots.storage import MemoryStorage, Storage

FIRST = Turn(1, ({"role": "user", "content": "déjà 🦙\n"},), '"m1"', "open")
SECOND = Turn(2, ({"role": "user", "content": ""}, {"role": "assistant", "content": "x"}), tokens=7)


def sqlite(directory: Path) -> Storage:
    return SQLiteStorage(directory / "chats.db")


def memory(_directory: Path) -> Storage:
    return MemoryStorage()


@pytest.mark.parametrize("build", [memory, sqlite])
async def test_a_storage_keeps_turns_by_chat_and_number(
    build: Callable[[Path], Storage], tmp_path: Path
) -> None:
    storage = build(tmp_path)
    assert await storage.load("1") == []
    await storage.save("1", SECOND)
    await storage.save("1", FIRST)
    await storage.save("2", FIRST)
    assert await storage.load("1") == [FIRST, SECOND]
    done = evolve(FIRST, state="complete", tokens=3)
    await storage.save("1", done)
    assert await storage.load("1") == [done, SECOND]
    await storage.remove("1", [1, 99])
    assert await storage.load("1") == [SECOND]
    await storage.remove("1")
    await storage.remove("3")
    assert (await storage.load("1"), await storage.load("2")) == ([], [FIRST])
    await storage.aclose()


async def test_memory_forgets_an_idle_chat_and_a_file_does_not(tmp_path: Path) -> None:
    for build, kept in ((memory, []), (sqlite, [FIRST])):
        storage = build(tmp_path)
        await storage.save("1", FIRST)
        await storage.evict("1")
        assert await storage.load("1") == kept
        await storage.aclose()
