"""Where the turns of chats are kept: the ``Storage`` protocol, and one in memory.

A storage keeps and returns turns. It refuses to decide which of them are sent, and may be written
for any database: ``sqlite_storage`` is one for files.
"""

from typing import Protocol

from laplas_async.bots.history import Turn


class Storage(Protocol):
    """Keeps the turns of chats. The calls for one chat come one after the other.

    Errors that it raises when a chat is read, or when a question is about to be sent, reach the
    caller of ``ask``; those when an answer is saved are logged.
    """

    async def load(self, chat: str) -> list[Turn]:
        """The turns of a chat, by number; [] if there are none."""
        ...

    async def save(self, chat: str, turn: Turn) -> None:
        """Keep a turn in place of the one that has its number, if any."""
        ...

    async def remove(self, chat: str, numbers: list[int] | None = None) -> None:
        """Forget these turns of a chat; None: all of them."""
        ...

    async def evict(self, chat: str) -> None:
        """The chat is idle, so its turns may be forgotten if they only take memory."""
        ...

    async def aclose(self) -> None:
        """Write what is not written yet, and close."""
        ...


class MemoryStorage:
    """Turns in memory: gone when the process ends, and when their chat is idle for long."""

    def __init__(self) -> None:
        self._chats: dict[str, dict[int, Turn]] = {}

    async def load(self, chat: str) -> list[Turn]:
        """The turns of a chat, by number."""
        return [turn for _, turn in sorted(self._chats.get(chat, {}).items())]

    async def save(self, chat: str, turn: Turn) -> None:
        """Keep a turn in place of the one that has its number, if any."""
        self._chats.setdefault(chat, {})[turn.number] = turn

    async def remove(self, chat: str, numbers: list[int] | None = None) -> None:
        """Forget these turns of a chat; None: all of them."""
        turns = self._chats.get(chat, {})
        for number in list(turns) if numbers is None else numbers:
            turns.pop(number, None)
        if not turns:
            self._chats.pop(chat, None)

    async def evict(self, chat: str) -> None:
        """Forget the chat."""
        self._chats.pop(chat, None)

    async def aclose(self) -> None:
        """Do nothing: the turns stay, for another ``Conversations`` of this process."""
