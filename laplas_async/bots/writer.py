"""Writes a growing text into the messages of a chat, at the chat's pace, through a ``Port``.

One task runs it; the text is handed over without waiting. It has one request under way at a time,
so a late preview cannot overwrite the final text. It refuses to read a stream.
"""

import asyncio
from typing import Any, NoReturn

from attrs import Factory, define, frozen

from laplas_async.bots.graphemes import is_visible
from laplas_async.bots.pace import BotPace
from laplas_async.bots.port import (
    BadMarkup,
    Gone,
    PacedChat,
    Port,
    PortError,
    Previews,
    SlowDown,
    Uncertain,
)
from laplas_async.bots.schedule import ChatPace, Turn
from laplas_async.bots.splitter import Part, Splitter

# Times that a message may vanish, or an edit may end in a timeout, before it is given up
# (test_a_message_that_is_deleted_again_and_again_is_given_up). Seconds between two of the latter.
_MOST_FAILURES, _FAILURE_DELAY = 4, 1.0
# Of a preview's lifetime, so that the renewal arrives in time.
_RENEW = 0.7


@define
class _Message:
    """One message of the answer. ``sent`` is what the platform returned, None before that."""

    sent: Any = None
    text: str | None = None
    formatted: bool = False
    plain: bool = False  # its formatting was rejected
    uncertain: bool = False  # it may have been sent or not, so it is left alone
    failures: int = 0


@frozen
class _Change:
    message: _Message
    text: str
    formatted: bool
    part: Part | None  # of the growing text; None for a placeholder or a remark in its place


@define
class _End:
    """How the answer ended: ``remark`` follows the text, ``instead`` stands in for an empty one."""

    remark: str
    instead: str
    deadline: float


@define(eq=False)
class Writer:
    """The messages of one answer. Call ``feed`` and ``end``, and let a task run ``run``."""

    port: Port
    previews: Previews
    placeholder: str = ""
    _splitter: Splitter = Factory(
        lambda self: Splitter(self.port.limit, self.port.size), takes_self=True
    )
    _messages: list[_Message] = Factory(list)
    _pieces: list[str] = Factory(list)
    _received: list[str] = Factory(list)
    _backlog: str = ""
    _laid_out: bool = False
    _changed: asyncio.Event = Factory(asyncio.Event)
    _ended: _End | None = None
    _turn: Turn | None = None
    _waiting: asyncio.Timeout | None = None
    _delay: float = 0.0  # seconds until the turn comes, when that was last asked
    _unsure: Uncertain | None = None
    _chat: PacedChat = Factory(lambda self: _paced(self.port), takes_self=True)

    # --- called by the reader of the stream ---

    def feed(self, text: str) -> None:
        """Append to the text. Never waits."""
        self._pieces.append(text)
        self._received.append(text)
        self._changed.set()

    def end(self, *, remark: str = "", instead: str = "", patience: float) -> None:
        """Nothing follows: show the final text, within ``patience`` seconds."""
        if self._ended is None:
            deadline = asyncio.get_running_loop().time() + patience
            self._ended = _End(remark, instead, deadline)
            self._changed.set()
            if self._turn is not None:
                self._chat.bot.promote(self._turn)
                self._bound_wait(self._turn)

    @property
    def text(self) -> str:
        """The text as received, without remarks."""
        return "".join(self._received)

    @property
    def sent(self) -> tuple[Any, ...]:
        """The messages that exist for certain, in order."""
        return tuple(message.sent for message in self._messages if message.sent is not None)

    # --- the task ---

    async def run(self) -> None:
        """Show the text until it has ended and is shown completely. Raises ``PortError``."""
        renewal = False
        try:
            while True:
                if (change := self._plan(renew=renewal)) is not None:
                    await self._take_turn()
                    change = self._plan(renew=renewal)  # the newest text, after the wait
                renewal = False
                if change is not None:
                    await self._apply(change)
                elif self._ended is not None:
                    break
                else:
                    renewal = await self._wait_for_text()
        except PortError as error:
            self._explain(error)
        if self._unsure is not None:
            self._explain(self._unsure)

    async def _wait_for_text(self) -> bool:
        """Wait for more text; True if the preview has to be renewed before it comes."""
        self._changed.clear()
        if self._pieces or self._ended is not None:
            return False
        shown = bool(self._messages) and self._messages[-1].sent is not None
        delay = self.previews.lifetime * _RENEW if shown else None
        try:
            async with asyncio.timeout(None if delay == float("inf") else delay):
                await self._changed.wait()
        except TimeoutError:
            return True
        return False

    async def _take_turn(self) -> None:
        """Wait until the platform lets us; the end of the text moves us forward in the queue."""
        bot = self._chat.bot
        turn = bot.join(self._chat.chat, self._chat.pace, final=self._ended is not None)
        self._turn = turn
        try:
            async with asyncio.timeout(None) as self._waiting:
                self._bound_wait(turn)
                await bot.wait(turn)
        except TimeoutError:
            message = f"the platform asks to wait {self._delay:.0f} s, longer than allowed"
            raise SlowDown(self._delay, message=message) from None
        finally:
            self._turn = self._waiting = None
            bot.leave(turn)

    def _bound_wait(self, turn: Turn) -> None:
        """Once the text has ended, wait until the deadline, and not at all for what is later."""
        if self._ended is None or self._waiting is None:
            return
        now = asyncio.get_running_loop().time()
        self._delay = self._chat.bot.delay(turn)
        hopeless = now + self._delay > self._ended.deadline
        self._waiting.reschedule(now if hopeless else self._ended.deadline)

    # --- what to change next ---

    def _plan(self, *, renew: bool = False) -> _Change | None:
        """The next thing to send or to edit; None if the chat shows what it should."""
        while True:
            for index, part in enumerate(self._splitter.sealed):
                change = self._compare(index, part.text, part, formatted=True)
                if change is not None:
                    return change
            if not self._lay_out():
                break
        sealed, part = self._splitter.sealed, self._splitter.tail
        if self._ended is not None:
            return self._plan_end(len(sealed), part)
        if not is_visible(part.body):
            if sealed or not self.placeholder:
                return None
            return self._compare(0, self.placeholder, None, formatted=False, renew=renew)
        return self._compare(len(sealed), self._preview(part), part, formatted=False, renew=renew)

    def _lay_out(self) -> bool:
        """Hand some more text to the splitter; False if it has all.

        A piece at a time, since the work must not block the event loop however long the text is.
        """
        if self._pieces:
            self._backlog += "".join(self._pieces)
            self._pieces.clear()
        if self._backlog:
            size = self.port.limit
            piece, self._backlog = self._backlog[:size], self._backlog[size:]
            self._splitter.feed(piece)
            return True
        if self._ended is None or self._laid_out:
            return False
        self._laid_out = True
        if self._ended.remark and is_visible(self.text):
            self._splitter.close_fence()
            self._splitter.feed(self._ended.remark)
        self._splitter.feed("", final=True)
        return True

    def _plan_end(self, index: int, part: Part) -> _Change | None:
        assert self._ended is not None  # noqa: S101 - for the type checker
        if is_visible(part.body):
            return self._compare(index, part.text, part, formatted=True)
        if index == 0 and self._messages and self._messages[0].sent is not None:
            # In place of a placeholder; formatted, because it is final.
            return self._compare(0, self._ended.instead, None, formatted=True)
        return None

    def _preview(self, part: Part) -> str:
        if self.previews.append_only:
            return part.opening + part.body
        text = part.text + self.previews.cursor
        return text if self.port.size(text) <= self.port.limit else part.text

    def _compare(
        self, index: int, text: str, part: Part | None, *, formatted: bool, renew: bool = False
    ) -> _Change | None:
        """The change that makes a message show this, None if it does."""
        while len(self._messages) <= index:
            self._messages.append(_Message())
        message = self._messages[index]
        formatted = formatted and not message.plain
        same = message.text == text and message.formatted == formatted and not renew
        if message.uncertain or same or not is_visible(text):
            return None
        return _Change(message, text, formatted, part)

    # --- changing it ---

    async def _apply(self, change: _Change) -> None:
        message = change.message
        try:
            if message.sent is None:
                message.sent = await self.port.send(change.text, formatted=change.formatted)
            else:
                await self.port.edit(message.sent, change.text, formatted=change.formatted)
        except SlowDown as error:
            chat = self._chat
            chat.bot.silence(chat.chat, error.after, everywhere=error.everywhere)
        except Gone as error:
            message.failures += 1
            if error.chat or message.sent is None or message.failures >= _MOST_FAILURES:
                raise
            message.sent = message.text = None  # continue in a new message
        except BadMarkup:
            if change.formatted:
                message.plain = True
            elif self._ended is not None:
                raise
            else:  # not this preview; the next one has another text
                message.text, message.formatted = change.text, False
        except Uncertain as error:
            self._doubt(change, error)
        else:
            message.text, message.formatted = change.text, change.formatted
        finally:
            self._chat.bot.finish(self._chat.chat)

    def _doubt(self, change: _Change, error: Uncertain) -> None:
        """An edit may be repeated. A message is not sent twice: the rest goes into a new one."""
        message = change.message
        if message.sent is not None:
            message.failures += 1
            if message.failures >= _MOST_FAILURES and self._ended is not None:
                raise error
            message.text = None
            self._chat.bot.silence(self._chat.chat, _FAILURE_DELAY)
        elif change.part is None:  # a placeholder, so nothing is lost
            self._messages.remove(message)
            self.placeholder = ""
        else:
            message.uncertain = True
            self._unsure = error
            if not change.part.sealed:
                self._splitter.seal(change.part)

    def _explain(self, error: PortError) -> NoReturn:
        """Raise it with what is missing in the chat."""
        error.text, error.messages = self.text, self.sent
        error.args = (f"the answer may not be shown completely: {error.message}",)
        raise error


def _paced(port: Port) -> PacedChat:
    pace = port.pace
    if isinstance(pace, PacedChat):
        return pace
    return PacedChat(BotPace(), "", ChatPace(interval=pace, shortest=pace))
