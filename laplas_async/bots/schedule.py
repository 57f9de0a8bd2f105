"""When the messages of one bot may be sent and changed: the decisions, without a clock.

Pure: every method takes the time. Chats of a bot share its budget; final edits go first; a platform
that asked for silence gets it. ``pace`` waits. It refuses to know what is sent.
"""

import itertools
import math
from collections import deque

from attrs import Factory, define, frozen

# Chats remembered before the idle ones are dropped, and seconds until a chat counts as idle: no
# window of a known platform is longer (test_idle_chats_are_forgotten).
_MOST_CHATS, _IDLE = 256, 120.0
# A platform that says "slow down" has found our interval too short: it is doubled, up to this many
# seconds (test_each_refusal_doubles_the_interval_of_the_chat).
_LONGEST_INTERVAL = 30.0
# Seconds without a refusal after which the interval is as configured again.
_FORGIVEN = 300.0
# Seconds of silence at least after a first refusal, so that "retry after 0" is no busy loop; it
# grows as the interval does (test_refusals_without_a_time_become_rarer).
_SHORTEST_SILENCE = 0.5
# A fifth of every allowance is kept for final edits, which must not wait for the next minute
# (test_previews_leave_a_fifth_of_an_allowance_to_final_edits).
_KEPT_FOR_FINAL = 5


@frozen
class Allowance:
    """At most ``count`` messages and edits in any ``seconds``; Telegram's groups have 20 in 60."""

    count: int
    seconds: float


@frozen
class ChatPace:
    """What one chat tolerates.

    ``interval``: seconds between two edits while a text grows; ``shortest``: between any two
    messages or edits; ``allowance``: how many there may be in total, None if that is not limited.
    """

    interval: float = 1.0
    shortest: float = 0.0
    allowance: Allowance | None = None


@define(eq=False)
class Turn:
    """A change that waits until it may be sent. ``final`` ones go first, in order of arrival."""

    chat: str
    final: bool
    number: int


@define
class _Window:
    """The changes of the last seconds, against an allowance."""

    allowance: Allowance
    times: deque[float] = Factory(deque)

    def free_at(self, now: float, *, final: bool) -> float:
        """When the next change is allowed."""
        keep = 0 if final else self.allowance.count // _KEPT_FOR_FINAL
        while self.times and self.times[0] <= now - self.allowance.seconds:
            self.times.popleft()
        room = max(1, self.allowance.count - keep)
        if len(self.times) < room:
            return -math.inf
        return self.times[-room] + self.allowance.seconds


@define
class _Chat:
    pace: ChatPace
    factor: float = 1.0
    last: float = -math.inf
    silent_until: float = -math.inf
    window: _Window | None = None

    def free_at(self, now: float, *, final: bool) -> float:
        pace = self.pace
        interval = min(pace.interval * self.factor, max(_LONGEST_INTERVAL, pace.interval))
        gap = min(pace.shortest, interval) if final else max(pace.shortest, interval)
        free = max(self.silent_until, self.last + gap)
        if self.window is not None:
            free = max(free, self.window.free_at(now, final=final))
        return free


class Schedule:
    """Decides which change of a bot's chats is next, and when. ``budget`` is that of the bot."""

    def __init__(self, budget: Allowance | None = None) -> None:
        self._budget = None if budget is None else _Window(budget)
        self._silent_until = -math.inf
        self._chats: dict[str, _Chat] = {}
        self._waiting: list[Turn] = []
        self._numbers = itertools.count()

    def join(self, chat: str, pace: ChatPace, now: float, *, final: bool) -> Turn:
        """Ask for a change of a chat."""
        state = self._chats.get(chat)
        if state is None:
            if len(self._chats) >= _MOST_CHATS:
                self._forget_idle(now)
            state = self._chats[chat] = _Chat(pace)
        if state.pace != pace or (state.window is None and pace.allowance is not None):
            state.pace = pace
            state.window = None if pace.allowance is None else _Window(pace.allowance)
        if now > state.silent_until + _FORGIVEN:
            state.factor = 1.0
        turn = Turn(chat, final, next(self._numbers))
        self._waiting.append(turn)
        return turn

    def leave(self, turn: Turn) -> None:
        """A change is not needed any more."""
        if turn in self._waiting:
            self._waiting.remove(turn)

    def take(self, now: float) -> Turn | None:
        """The change that may be sent now, if there is one; it counts from now on."""
        for turn in sorted(self._waiting, key=lambda turn: (not turn.final, turn.number)):
            if self._free_at(turn, now) <= now:
                self._waiting.remove(turn)
                chat = self._chats[turn.chat]
                chat.last = now
                for window in (chat.window, self._budget):
                    if window is not None:
                        window.times.append(now)
                return turn
        return None

    def finish(self, chat: str, now: float) -> None:
        """A change has been carried out. The intervals count from here: requests may be slow."""
        if (state := self._chats.get(chat)) is not None:
            state.last = max(state.last, now)

    def next_time(self, now: float) -> float | None:
        """When the next change may be sent, None if none waits."""
        return min((self._free_at(turn, now) for turn in self._waiting), default=None)

    def free_at(self, turn: Turn, now: float) -> float:
        """When this change may be sent at the earliest."""
        return self._free_at(turn, now)

    def silence(self, chat: str, delay: float, now: float, *, everywhere: bool = False) -> None:
        """Nothing may be sent to a chat, or ``everywhere``, for ``delay`` seconds."""
        state = self._chats.get(chat)
        factor = 1.0 if state is None else state.factor
        until = now + max(delay, _SHORTEST_SILENCE * factor)
        if everywhere:
            self._silent_until = max(self._silent_until, until)
        if state is not None:
            state.silent_until = max(state.silent_until, until)
            state.factor = min(state.factor * 2, _LONGEST_INTERVAL)

    def _free_at(self, turn: Turn, now: float) -> float:
        free = max(self._silent_until, self._chats[turn.chat].free_at(now, final=turn.final))
        if self._budget is not None:
            free = max(free, self._budget.free_at(now, final=turn.final))
        return free

    def _forget_idle(self, now: float) -> None:
        waiting = {turn.chat for turn in self._waiting}
        self._chats = {
            key: chat
            for key, chat in self._chats.items()
            if key in waiting or max(chat.last, chat.silent_until) > now - _IDLE
        }
