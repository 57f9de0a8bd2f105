"""The line of questions to one chat: the first is being answered, the others wait.

One answer at a time, in order of arrival. It refuses to know streams: the owner of a
place says when it leaves.
"""

import asyncio
from collections import deque
from typing import Literal, Protocol, cast, get_args

from attrs import define, field

from laplas_async.errors import ChatBusyError, ConfigError

Busy = Literal["queue", "replace", "refuse"]

# Someone who sends more messages than this during one answer is not waiting for their answers; the
# memory for them is bounded (law 5; test_line: test_a_line_is_bounded).
MOST_WAITING = 1_000


def check_busy(value: str) -> Busy:
    """Return the policy. Raises ``ConfigError`` for one that does not exist."""
    if value not in get_args(Busy):
        raise ConfigError(f"busy={value!r}: must be one of {', '.join(get_args(Busy))}")
    return cast("Busy", value)


class Owner(Protocol):
    """Whose place it is."""

    async def replace(self) -> None:
        """Give way to a newer message: the place is lost already."""
        ...

    async def aclose(self) -> None:
        """End the answer."""
        ...


@define(eq=False)
class Place:
    """A question's place. ``turn`` is done when it is its turn; it fails if the place is lost."""

    owner: Owner
    message_id: str | None = None
    turn: "asyncio.Future[None]" = field(
        factory=lambda: asyncio.get_running_loop().create_future(), kw_only=True
    )


class Line:
    """The places of one chat, in order of arrival."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: deque[Place] = deque()

    def __len__(self) -> int:
        """How many questions are being answered or waiting."""
        return len(self._places)

    @property
    def first(self) -> Place | None:
        """The place whose question is being answered; None if the chat is idle."""
        return self._places[0] if self._places else None

    @property
    def places(self) -> tuple[Place, ...]:
        """All places, in order."""
        return tuple(self._places)

    def has(self, message_id: str | None) -> bool:
        """Whether a message is being answered or waiting."""
        return message_id is not None and any(p.message_id == message_id for p in self._places)

    def join(self, place: Place, busy: Busy, chat: str = "") -> list[Place]:
        """Take a place by the policy; the places that lost theirs to it.

        Raises ``ChatBusyError`` if the policy is to refuse, or the line is too long.
        """
        waiting = len(self._places)
        if waiting and busy == "refuse":
            raise ChatBusyError("the previous message is still being answered", chat=chat)
        if waiting > MOST_WAITING:
            raise ChatBusyError(f"{waiting - 1} messages are waiting already", chat=chat)
        replaced = list(self._places) if busy == "replace" else []
        if replaced:
            self._places.clear()
        self._places.append(place)
        self._call_first()
        return replaced

    def leave(self, place: Place) -> None:
        """Give up a place, waiting or being answered; the next question's turn comes."""
        if place in self._places:
            self._places.remove(place)
            self._call_first()

    def _call_first(self) -> None:
        if self._places and not self._places[0].turn.done():
            self._places[0].turn.set_result(None)
