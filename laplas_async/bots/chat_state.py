"""One chat in memory: its turns, its line of questions, and the writing of both to a storage.

The turns in memory are what counts; they are written in the background, each turn only in its
newest state. It refuses to know streams and requests.
"""

import asyncio
import logging
from collections.abc import Sequence

from attrs import evolve

from laplas_async.bots import history
from laplas_async.bots.history import MessageDict, State, Turn
from laplas_async.bots.line import Line
from laplas_async.bots.storage import Storage
from laplas_async.errors import ConversationError, LaplasError
from laplas_async.types import Usage

log = logging.getLogger("laplas_async")

# Messages are redelivered within minutes or hours; their ids are remembered for so many turns
# after the turns themselves were trimmed (test_chat_state: test_ids_are_remembered_and_bounded).
REMEMBERED_IDS = 1_000


class ChatState:
    """The state of one chat. ``users``: how many answers hold it, so that it is not evicted."""

    __slots__ = (
        "_dirty",
        "_failures",
        "_loaded",
        "_loading",
        "_storage",
        "_writer",
        "key",
        "last_used",
        "line",
        "ratio",
        "system_tokens",
        "turns",
        "users",
    )

    def __init__(self, key: str, storage: Storage) -> None:
        self.key = key
        self.line = Line()
        self.turns: list[Turn] = []  # by number; those without messages only remember an id
        self.ratio: float | None = None  # tokens per byte, as the service counted them
        self.system_tokens: tuple[str, int] | None = None  # of this system text
        self.last_used = 0.0
        self.users = 0
        self._storage = storage
        self._loaded = False
        self._loading = asyncio.Lock()
        self._dirty: dict[int, Turn | None] = {}  # to be written; None: to be removed
        self._writer: asyncio.Task[None] | None = None
        self._failures: dict[int, Exception] = {}  # of turns that are not written

    @property
    def idle(self) -> bool:
        """Whether nothing needs this object any more."""
        return not (self.users or self.line or self._writer is not None)

    async def load(self) -> None:
        """Read the turns, once; callers return in the order in which they called.

        Raises ``ConversationError`` if the storage fails. Cancelling it loses nothing.
        """
        async with self._loading:  # first come, first served
            if self._loaded:
                return
            try:
                self.turns = await self._storage.load(self.key)
            except Exception as error:
                raise self._error("read", error) from error
            self._loaded = True

    def was_answered(self, message_id: str | None) -> bool:
        """Whether a message was answered, wholly or in part, or is being answered."""
        return message_id is not None and (
            self.line.has(message_id)
            or any(turn.message_id == message_id and turn.state != "open" for turn in self.turns)
        )

    def begin(self, question: Sequence[MessageDict], message_id: str | None) -> Turn:
        """Add an open turn, and return it.

        Results of tools continue the last turn. An open turn of the same message, from before a
        restart, is replaced: the question is kept once.
        """
        for turn in [one for one in self.turns if message_id and one.message_id == message_id]:
            self.drop(turn)
        last = self.turns[-1] if self.turns else None
        if question[0]["role"] == "tool" and last is not None:
            continued = evolve(last, messages=(*last.messages, *question), state="open")
            self.put(evolve(continued, message_id=message_id or last.message_id))
        else:
            number = 1 if last is None else last.number + 1
            self.put(Turn(number, tuple(question), message_id, "open"))
        return self.turns[-1]

    def end(self, turn: Turn, answer: MessageDict | None, state: State) -> Turn:
        """Put a turn's answer to it; None: there is none."""
        added = () if answer is None else (answer,)
        done = evolve(turn, messages=(*turn.messages, *added), state=state, tokens=None)
        self.put(done)
        return done

    def count(self, before: Sequence[Turn], turn: Turn, usage: Usage, question: int) -> None:
        """Set the tokens of ``turn`` by the service's count; ``before`` were sent with it."""
        text, system = self.system_tokens or ("", 0)
        corrected, turn, system = history.count(
            before, turn, usage, system=system, question=question
        )
        self.system_tokens = text, system
        for old, new in zip(before, corrected, strict=True):
            if old != new and old in self.turns:  # not forgotten meanwhile
                self.put(new)
        self.put(turn)

    def trim(self, dropped: Sequence[Turn]) -> None:
        """Forget turns that no longer fit, except the ids of their messages."""
        for turn in dropped:
            if turn.message_id is None:
                self.drop(turn)
            else:
                self.put(Turn(turn.number, (), turn.message_id, turn.state))
        oldest = self.turns[-1].number - REMEMBERED_IDS if self.turns else 0
        for turn in [one for one in self.turns if one.number <= oldest and not one.messages]:
            self.drop(turn)

    def put(self, turn: Turn) -> None:
        """Add a turn, or replace the one with its number, and have it written."""
        for at, other in enumerate(self.turns):
            if other.number == turn.number:
                self.turns[at] = turn
                break
        else:
            self.turns.append(turn)
        self._write(turn.number, turn)

    def drop(self, turn: Turn) -> None:
        """Forget a turn altogether."""
        self.turns = [one for one in self.turns if one.number != turn.number]
        self._write(turn.number, None)

    def checkpoint(self, turn: Turn, shown: str) -> None:
        """Have the part shown so far written, in case the process does not live to the end."""
        answer = {"role": "assistant", "content": shown}
        self._write(turn.number, evolve(turn, messages=(*turn.messages, answer)))

    # --- writing ------------------------------------------------------------------------------

    def _write(self, number: int, turn: Turn | None) -> None:
        self._dirty.pop(number, None)  # it moves to the end: order is that of the last change
        self._dirty[number] = turn
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        """Write all changes; one that fails holds up no other, and is tried again with the next."""
        failed: dict[int, Turn | None] = {}
        try:
            while self._dirty:
                number = next(iter(self._dirty))
                failed[number] = turn = self._dirty.pop(number)
                try:
                    if turn is None:
                        await self._storage.remove(self.key, [number])
                    else:
                        await self._storage.save(self.key, turn)
                except Exception as error:  # noqa: BLE001 - any database's; flush() raises it
                    if number not in self._failures:  # and no message, which may quote the chat
                        kind = type(error).__name__
                        log.warning("turn %d of chat %s was not saved: %s", number, self.key, kind)
                    self._failures[number] = error
                else:
                    del failed[number]
                    self._failures.pop(number, None)
        finally:
            self._dirty = {**failed, **self._dirty}
            self._writer = None

    async def written(self) -> None:
        """Wait until all is written, or that failed. Cancelling it does not stop the writing."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def flush(self, turns: Sequence[Turn]) -> None:
        """As ``written``, but raise ``ConversationError`` if that failed for one of these turns."""
        await self.written()
        for turn in turns:
            if (error := self._failures.get(turn.number)) is not None:
                raise self._error("saved", error) from error

    def _error(self, verb: str, error: Exception) -> LaplasError:
        if isinstance(error, LaplasError):
            return error
        return ConversationError(f"the history cannot be {verb}: {error}", chat=self.key)
