"""The pace of one bot: the tasks of its chats wait here until ``schedule`` lets them send.

A thin shell with one timer. It refuses to send anything itself.
"""

import asyncio
import weakref
from collections.abc import Hashable

from laplas_async.bots.schedule import Allowance, ChatPace, Schedule, Turn


class BotPace:
    """What the chats of one bot share. Belongs to the event loop in which it is first used.

    ``budget``: what the platform allows a bot in all its chats together; None if nothing is known.
    """

    def __init__(self, budget: Allowance | None = None) -> None:
        self._schedule = Schedule(budget)
        self._waiting: dict[Turn, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def join(self, chat: str, pace: ChatPace, *, final: bool = False) -> Turn:
        """Ask for a change of a chat; then ``wait`` for it."""
        loop = asyncio.get_running_loop()
        turn = self._schedule.join(chat, pace, loop.time(), final=final)
        self._waiting[turn] = loop.create_future()
        self._advance()
        return turn

    async def wait(self, turn: Turn) -> None:
        """Wait until the change may be sent. Cancelling it gives the turn up."""
        future = self._waiting[turn]
        try:
            await future
        finally:
            self.leave(turn)

    def leave(self, turn: Turn) -> None:
        """Give a turn up."""
        self._schedule.leave(turn)
        self._waiting.pop(turn, None)
        self._advance()

    def finish(self, chat: str) -> None:
        """The change that was let go has been carried out, or was refused."""
        self._schedule.finish(chat, asyncio.get_running_loop().time())
        self._advance()

    def promote(self, turn: Turn) -> None:
        """The change that waits has become the final one, which goes first."""
        turn.final = True
        self._advance()

    def delay(self, turn: Turn) -> float:
        """Seconds until a waiting change may be sent, as far as is known."""
        now = asyncio.get_running_loop().time()
        return max(0.0, self._schedule.free_at(turn, now) - now) if turn in self._waiting else 0.0

    def silence(self, chat: str, delay: float, *, everywhere: bool = False) -> None:
        """The platform asked for silence in a chat, or ``everywhere``, for ``delay`` seconds."""
        now = asyncio.get_running_loop().time()
        self._schedule.silence(chat, delay, now, everywhere=everywhere)
        self._advance()

    def _advance(self) -> None:
        """Let everyone go whose time has come, and set the timer for the next."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while (turn := self._schedule.take(now)) is not None:
            future = self._waiting[turn]
            if not future.done():
                future.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._schedule.next_time(now)
        if at is not None:
            self._timer = loop.call_at(at, self._advance)


# One pace for each bot of an event loop: handlers create ports anew for every message.
_PACES: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, BotPace]]" = (
    weakref.WeakKeyDictionary()
)


def shared_pace(bot: Hashable, budget: Allowance | None = None) -> BotPace:
    """The pace that all ports of a bot share in the running event loop.

    ``bot`` tells the bots of a program apart; it is not a token, which would be kept in memory.
    """
    paces = _PACES.setdefault(asyncio.get_running_loop(), {})
    if bot not in paces:
        paces[bot] = BotPace(budget)
    return paces[bot]
