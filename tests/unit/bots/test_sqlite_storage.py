"""Turns in a file: restarts, other programs, and files that cannot be used."""

import sqlite3
from pathlib import Path

import pytest

from laplas_async.bots.history import Turn
from laplas_async.bots.sqlite_storage import SQLiteStorage
from laplas_async.errors import ConversationError

FIRST = Turn(1, ({"role": "user", "content": "déjà 🦙\n"},), '"m1"', "open")
SECOND = Turn(2, ({"role": "user", "content": ""}, {"role": "assistant", "content": "x"}), tokens=7)


def sqlite(directory: Path) -> SQLiteStorage:
    return SQLiteStorage(directory / "chats.db")


async def test_a_file_survives_a_restart(tmp_path: Path) -> None:
    storage = sqlite(tmp_path)
    await storage.save("1", FIRST)
    await storage.aclose()
    await storage.aclose()
    again = sqlite(tmp_path)
    assert await again.load("1") == [FIRST]
    await again.aclose()


async def test_a_closed_file_is_opened_again_when_needed(tmp_path: Path) -> None:
    storage = sqlite(tmp_path)
    await storage.save("1", FIRST)
    await storage.aclose()
    assert await storage.load("1") == [FIRST]
    await storage.aclose()


async def test_two_programs_may_use_one_file_for_different_chats(tmp_path: Path) -> None:
    one, other = sqlite(tmp_path), sqlite(tmp_path)
    await one.save("1", FIRST)
    await other.save("2", SECOND)
    assert (await other.load("1"), await one.load("2")) == ([FIRST], [SECOND])
    await one.aclose()
    await other.aclose()


async def test_a_file_that_is_no_database_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, and they are long enough to be looked at. " * 20)
    storage = SQLiteStorage(path)
    with pytest.raises(ConversationError, match=r"notes\.txt: .*not a database"):
        await storage.load("1")
    await storage.aclose()
    assert path.read_text().startswith("These are my notes")


async def test_a_directory_that_does_not_exist_is_named_in_the_error(tmp_path: Path) -> None:
    storage = SQLiteStorage(tmp_path / "missing" / "chats.db")
    with pytest.raises(ConversationError, match="unable to open") as caught:
        await storage.save("1", FIRST)
    assert caught.value.chat == "1"
    await storage.aclose()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "chats.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    storage = sqlite(tmp_path)
    with pytest.raises(ConversationError, match="newer version"):
        await storage.load("1")
    await storage.aclose()


async def test_a_row_that_is_not_readable_is_an_error_and_no_empty_history(tmp_path: Path) -> None:
    storage = sqlite(tmp_path)
    await storage.save("1", FIRST)
    await storage.aclose()
    with sqlite3.connect(tmp_path / "chats.db") as db:
        db.execute("UPDATE turns SET messages = '[{'")
    db.close()
    with pytest.raises(ConversationError, match="turn 1 is not readable"):
        await storage.load("1")
    await storage.aclose()
