"""``SQLiteStorage``: the turns of chats in a file, which survives restarts and kill -9.

All work is done in one thread (law 6), in the order in which it was requested. It refuses to be
shared by two processes that answer the same chat: each has the turns in memory.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from laplas_async.bots.history import State, Turn
from laplas_async.errors import ConversationError

T = TypeVar("T")

_VERSION = 1  # of the tables; PRAGMA user_version
# Milliseconds to wait for a lock that another program holds, such as one that makes a backup.
_BUSY_TIMEOUT = 5_000
_TABLE = """
    CREATE TABLE IF NOT EXISTS turns (
        chat TEXT NOT NULL,
        number INTEGER NOT NULL,
        message_id TEXT,
        state TEXT NOT NULL,
        tokens INTEGER,
        messages TEXT NOT NULL,
        PRIMARY KEY (chat, number)
    ) WITHOUT ROWID
"""


class SQLiteStorage:
    """Turns in a SQLite file: ``Conversations(client, storage=SQLiteStorage("chats.db"))``.

    ``path``: the file, made with the first message if it does not exist. Close it at the end, as
    closing the ``Conversations`` does. Every method raises ``ConversationError`` if the file cannot
    be used; cancelling one leaves its work to be done in the thread.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def load(self, chat: str) -> list[Turn]:
        """The turns of a chat, by number."""
        return await self._run(lambda db: _load(db, chat), chat)

    async def save(self, chat: str, turn: Turn) -> None:
        """Keep a turn in place of the one that has its number, if any."""
        messages = json.dumps(turn.messages)  # ASCII: half of a surrogate pair has no UTF-8
        row = (chat, turn.number, turn.message_id, turn.state, turn.tokens, messages)
        await self._run(
            lambda db: db.execute("INSERT OR REPLACE INTO turns VALUES (?, ?, ?, ?, ?, ?)", row),
            chat,
        )

    async def remove(self, chat: str, numbers: list[int] | None = None) -> None:
        """Forget these turns of a chat; None: all of them."""
        if numbers is None:
            await self._run(lambda db: db.execute("DELETE FROM turns WHERE chat = ?", [chat]), chat)
            return
        rows = [(chat, number) for number in numbers]
        await self._run(
            lambda db: db.executemany("DELETE FROM turns WHERE chat = ? AND number = ?", rows), chat
        )

    async def evict(self, chat: str) -> None:
        """Do nothing: the turns are in the file."""

    async def aclose(self) -> None:
        """Close the file, after what was requested before; it is opened again when needed."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
        finally:
            thread.shutdown(wait=False)

    async def _run(self, work: Callable[[sqlite3.Connection], T], chat: str) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "laplas-sqlite")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._work, work)
        except (sqlite3.Error, OSError) as error:
            raise ConversationError(f"{self._path}: {error}", chat=chat) from error

    # --- in the thread ------------------------------------------------------------------------

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._open()
        with self._connection:  # one transaction
            return work(self._connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT}")
            # With a write-ahead log, what was committed survives the end of the process at any
            # moment; at a power failure the last second may be lost, which is a part of one answer.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _check_version(connection)
            with connection:
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _check_version(connection: sqlite3.Connection) -> None:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise sqlite3.DatabaseError(f"written by a newer version of laplas-async ({version})")


def _load(connection: sqlite3.Connection, chat: str) -> list[Turn]:
    rows = connection.execute(
        "SELECT number, message_id, state, tokens, messages FROM turns WHERE chat = ?"
        " ORDER BY number",
        [chat],
    )
    return [_turn(*row) for row in rows]


def _turn(
    number: int, message_id: str | None, state: State, tokens: int | None, messages: str
) -> Turn:
    try:
        return Turn(number, tuple(json.loads(messages)), message_id, state, tokens)
    except (ValueError, TypeError) as error:
        raise sqlite3.DataError(f"turn {number} is not readable: {error}") from None
