"""``RecordingPort``: a chat in memory, for the tests of your bot. It refuses to check anything."""

import asyncio
from collections.abc import Callable, Sequence

from attrs import frozen

from laplas_async.bots.port import PacedChat, Previews


@frozen
class PortCall:
    """One call: ``kind`` is "send", "edit" or "typing"; ``at`` is the event loop's time."""

    kind: str
    message: int | None
    text: str
    formatted: bool
    at: float


class RecordingPort:
    """Keeps what it is given. ``calls`` are all calls, ``texts`` what the chat shows now.

    ``limit``, ``size`` and ``pace`` as in ``Port``. ``errors``: what the next calls raise, one each
    in order; None succeeds. ``latency``: seconds that every call takes.
    """

    typing_interval = 5.0

    def __init__(
        self,
        *,
        limit: int = 4096,
        pace: float | PacedChat = 0.0,
        size: Callable[[str], int] = len,
        errors: Sequence[Exception | None] = (),
        latency: float = 0.0,
        previews: Previews | None = None,
    ) -> None:
        self.limit = limit
        self.pace = pace
        self.size = size
        self.latency = latency
        self.previews = previews or Previews()
        self.calls: list[PortCall] = []
        self.messages: dict[int, str] = {}
        self._errors = list(errors)

    @property
    def texts(self) -> list[str]:
        """The text of each message, the oldest first."""
        return list(self.messages.values())

    def fail(self, *errors: Exception | None) -> None:
        """Append to ``errors``."""
        self._errors.extend(errors)

    async def send(self, text: str, *, formatted: bool) -> int:
        """Send a message; messages are numbered from 1."""
        await self._call("send", None, text, formatted=formatted)
        message = len(self.messages) + 1
        self.messages[message] = text
        return message

    async def edit(self, message: int, text: str, *, formatted: bool) -> None:
        """Replace the text of a message."""
        await self._call("edit", message, text, formatted=formatted)
        self.messages[message] = text

    async def typing(self) -> None:
        """Show that the bot is typing."""
        now = asyncio.get_running_loop().time()
        self.calls.append(PortCall("typing", None, "", formatted=False, at=now))

    async def _call(self, kind: str, message: int | None, text: str, *, formatted: bool) -> None:
        now = asyncio.get_running_loop().time()
        self.calls.append(PortCall(kind, message, text, formatted, now))
        error = self._errors.pop(0) if self._errors else None
        if self.latency:
            await asyncio.sleep(self.latency)
        if error is not None:
            raise error
