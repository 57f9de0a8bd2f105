"""``Port``: what ``LiveText`` needs of a chat platform to show a growing text, and its refusals.

It refuses to decide when something is sent, or what is done after a refusal.

A port for another platform is a class with the five members of ``Port``; its ``send`` and ``edit``
turn the platform's errors into ``SlowDown``, ``Gone``, ``BadMarkup`` and ``Uncertain``.
"""

import math
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from laplas_async.bots.pace import BotPace
from laplas_async.bots.schedule import ChatPace
from laplas_async.errors import LaplasError


class PortError(LaplasError):
    """A platform refused or failed to show a text, for good.

    Where ``LiveText.show`` raises it, ``text`` is the whole answer as received and ``messages`` are
    the messages that show a part of it, as the port's ``send`` returned them.
    """

    text: str = ""
    messages: tuple[Any, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the messages, which are the platform's objects and may not be picklable."""
        return {key: value for key, value in self.__dict__.items() if key != "messages"}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what is plain data."""
        return type(self), self.args, self.__getstate__()


class SlowDown(PortError):  # noqa: N818 - the platform's own words
    """Too many requests: nothing may be sent for ``after`` seconds; what was sent was not shown.

    ``everywhere``: in no chat of this bot, rather than only in this one.
    """

    def __init__(self, after: float = 1.0, *, message: str = "", everywhere: bool = False) -> None:
        super().__init__(message or f"the platform asks to wait {after:g} s")
        self.after = after
        self.everywhere = everywhere

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it; the first argument is not the message."""
        return type(self), (self.after,), {**self.__getstate__(), "args": self.args}


class Gone(PortError):  # noqa: N818
    """The message cannot be edited any more: it was deleted, or it is too old.

    ``chat``: nothing can be shown in this chat at all; the bot was blocked, or the chat is deleted.
    """

    def __init__(self, message: str = "the message is gone", *, chat: bool = False) -> None:
        super().__init__(message)
        self.chat = chat


class BadMarkup(PortError):  # noqa: N818
    """The platform could not read the formatting; the same text may be sent plain."""


class Uncertain(PortError):  # noqa: N818
    """It is unknown whether this took effect (a timeout); sending it again might show it twice."""


@frozen
class PacedChat:
    """A chat whose pace is shared with the other chats of its bot; see ``shared_pace``."""

    bot: BotPace
    chat: str
    pace: ChatPace


class Port(Protocol):
    """One chat on one platform.

    It may have ``previews``, a ``Previews``, and the members of ``TypingPort`` besides.
    """

    @property
    def limit(self) -> int:
        """The size of one message at most, in the platform's units."""
        ...

    @property
    def pace(self) -> float | PacedChat:
        """Seconds between two changes of the chat, or a pace shared with the bot's other chats."""
        ...

    def size(self, text: str, /) -> int:
        """The size of a text as the platform measures it, after formatting."""
        ...

    async def send(self, text: str, /, *, formatted: bool) -> Any:
        """Send a new message, and return what ``edit`` needs to find it again (not None).

        ``formatted``: the text is complete and is shown as Markdown; otherwise it is plain, and may
        end in the middle of some markup. Raises ``SlowDown``, ``Gone``, ``BadMarkup`` (only if
        ``formatted``), ``Uncertain``, and ``PortError`` for a refusal that is final.
        """
        ...

    async def edit(self, message: Any, text: str, /, *, formatted: bool) -> None:
        """Replace the text of a message. Raises as ``send`` does; "not modified" is a success."""
        ...


@runtime_checkable
class TypingPort(Protocol):
    """A port that can show that the bot is typing."""

    @property
    def typing_interval(self) -> float:
        """Seconds after which it must be shown again."""
        ...

    async def typing(self) -> None:
        """Show it. Whatever it raises is logged and ends the indicator, not the answer."""
        ...


@frozen
class Previews:
    """How a platform wants a text while it grows.

    ``cursor`` ends it. ``append_only``: a preview starts with the one before, so it has neither a
    cursor nor the end of a fence that is still open. ``lifetime``: seconds after which the platform
    removes a preview that is not renewed.
    """

    cursor: str = " ▌"
    append_only: bool = False
    lifetime: float = math.inf
