"""What the ports for Telegram's frameworks share: limits, pace, formatting, drafts and refusals.

It imports no framework: ``aiogram_port`` and ``ptb_port`` (python-telegram-bot) do. It refuses to
use a bot's default parse mode, which would be applied to text that is not meant for it.
"""

import contextlib
import itertools
import time
from collections.abc import Mapping
from typing import Any

from attrs import define

from laplas_async.bots.graphemes import is_visible, utf16_length
from laplas_async.bots.pace import shared_pace
from laplas_async.bots.port import (
    BadMarkup,
    Gone,
    PacedChat,
    PortError,
    Previews,
    SlowDown,
    Uncertain,
)
from laplas_async.bots.ports.telegram_markup import (
    Entity,
    Render,
    entity_dicts,
    render_markdown,
)
from laplas_async.bots.schedule import Allowance, ChatPace
from laplas_async.errors import ConfigError

# UTF-16 code units after the entities are parsed (core.telegram.org/bots/api#sendmessage).
_LIMIT = 4096
# core.telegram.org/bots/faq: one message a second in a chat, 20 a minute in a group, 30 a second in
# all. Edits count; bots that left less than 1.5 s between two edits were seen to be refused.
_PRIVATE = ChatPace(interval=1.5, shortest=1.0)
_GROUP = ChatPace(interval=3.0, shortest=1.0, allowance=Allowance(20, 60.0))
_BOT = Allowance(25, 1.0)
# The indicator is shown for 5 s, a draft for 30 s.
_TYPING, _DRAFT_LIFETIME = 4.0, 30.0

_MESSAGE_GONE = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "message identifier is not specified",
    "message not found",
)
_CHAT_GONE = (
    "chat not found",
    "user not found",
    "peer_id_invalid",
    "not enough rights",
    "have no rights",
    "need administrator rights",
    "chat_write_forbidden",
    "topic_closed",
    "topic_deleted",
    "message thread not found",
    "group chat was deactivated",
    "user is deactivated",
    "bot was kicked",
)
_BAD_MARKUP = (
    "can't parse",
    "entity_bounds_invalid",
    "entities_too_long",
    "message_too_long",
    "message is too long",
    "wrong http url",
    "unsupported url protocol",
)

_drafts = itertools.count(time.time_ns() // 1_000_000 % 1_000_000_000 + 1)


@define(eq=False)
class TelegramMessage:
    """A message of the answer. ``message_id`` is None while there is only a draft."""

    message_id: int | None = None
    draft_id: int | None = None


class NotModified(PortError):  # noqa: N818
    """The message shows this text already; ``TelegramChat`` takes it for a success."""


def refusal(description: str, *, formatted: bool, forbidden: bool = False) -> PortError:
    """What a description in a response of the Bot API means."""
    text = description.lower()
    if "message is not modified" in text:
        return NotModified(description)
    if any(sign in text for sign in _MESSAGE_GONE):
        return Gone(description)
    if forbidden or any(sign in text for sign in _CHAT_GONE):
        return Gone(description, chat=True)
    if formatted and any(sign in text for sign in _BAD_MARKUP):
        return BadMarkup(description)
    return PortError(description)


class TelegramChat:
    """A chat on Telegram, as ``Port`` wants it; the subclasses call a framework.

    ``bot_id`` and ``chat_id``: numbers, or an ``@name``. ``render``: Markdown -> (text, entities);
    ``telegramify_markdown.convert`` may be used. ``parse_mode``: give the model's text to
    Telegram's own parser instead ("HTML", "MarkdownV2"). ``thread_id``: of a topic. ``reply_to``:
    the message that is answered. ``preview_markup``: the buttons while the text grows, such as one
    that stops it. ``drafts``: show the growing text as a draft; only in private chats, elsewhere
    and where Telegram refuses it messages are edited. ``pace``: instead of Telegram's usual limits.
    """

    limit = _LIMIT
    typing_interval = _TYPING

    def __init__(
        self,
        bot_id: int,
        chat_id: int | str,
        *,
        render: Render = render_markdown,
        parse_mode: str | None = None,
        thread_id: int | None = None,
        reply_to: int | None = None,
        preview_markup: Any = None,
        drafts: bool = False,
        pace: ChatPace | None = None,
    ) -> None:
        if not chat_id:
            raise ConfigError("chat_id must be a number or an @name")
        self.bot_id = bot_id
        self.chat_id = chat_id
        self.parse_mode = parse_mode
        self.thread_id = thread_id
        self.preview_markup = preview_markup
        self._render = render
        self._reply_to = reply_to
        self._drafts = drafts and not self._is_group
        self._own_pace = pace

    @property
    def pace(self) -> PacedChat:
        """Telegram's limits, shared with all chats of the bot."""
        pace = self._own_pace or (_GROUP if self._is_group else _PRIVATE)
        return PacedChat(shared_pace(("telegram", self.bot_id), _BOT), str(self.chat_id), pace)

    @property
    def previews(self) -> Previews:
        """Drafts vanish if they are not renewed."""
        return Previews(lifetime=_DRAFT_LIFETIME) if self._drafts else Previews()

    @property
    def _is_group(self) -> bool:
        return isinstance(self.chat_id, str) or self.chat_id < 0

    def size(self, text: str) -> int:
        """UTF-16 code units after formatting."""
        if self.parse_mode is not None:
            return utf16_length(text)
        return utf16_length(self._rendered(text)[0])

    async def send(self, text: str, *, formatted: bool) -> TelegramMessage:
        """Send a message, or begin a draft."""
        message = TelegramMessage()
        if self._drafts and not formatted:
            message.draft_id = next(_drafts)
            if await self._draft(message, text):
                return message
        message.message_id = await self._send(text, formatted=formatted)
        return message

    async def edit(self, message: TelegramMessage, text: str, *, formatted: bool) -> None:
        """Change the text of a message; a draft becomes a message with the final text."""
        if message.message_id is not None:
            await self._edit(message.message_id, text, formatted=formatted)
        elif formatted or message.draft_id is None or not await self._draft(message, text):
            try:
                message.message_id = await self._send(text, formatted=formatted)
            except BadMarkup:
                message.draft_id = None  # what follows is the final text, though it is plain
                raise

    async def typing(self) -> None:
        """Show "typing"."""
        await self._call("typing", {}, formatted=False)

    # --- requests ---

    async def _draft(self, message: TelegramMessage, text: str) -> bool:
        """Show a draft; False if this chat has none, so that a message must be sent instead."""
        if not self._drafts:
            return False
        content = self._content(text, formatted=False)
        try:
            await self._call("draft", {"draft_id": message.draft_id, **content}, formatted=False)
        except NotModified:
            pass
        except (SlowDown, Uncertain):
            raise
        except PortError:
            self._drafts = False
            message.draft_id = None
            return False
        return True

    async def _send(self, text: str, *, formatted: bool) -> int:
        content = self._content(text, formatted=formatted)
        markup = None if formatted else self.preview_markup
        parameters = {**content, "reply_markup": markup, "reply_to": self._reply_to}
        sent = await self._call("send", parameters, formatted=formatted)
        self._reply_to = None  # the messages that follow belong to the first
        return int(sent)

    async def _edit(self, message_id: int, text: str, *, formatted: bool) -> None:
        content = self._content(text, formatted=formatted)
        markup = None if formatted else self.preview_markup
        parameters = {"message_id": message_id, **content, "reply_markup": markup}
        with contextlib.suppress(NotModified):
            await self._call("edit", parameters, formatted=formatted)

    def _content(self, text: str, *, formatted: bool) -> dict[str, Any]:
        """The text and its entities. ``parse_mode`` is always given, so no default applies."""
        if formatted and self.parse_mode is not None:
            return {"text": text, "parse_mode": self.parse_mode, "entities": None}
        if formatted:
            rendered, entities = self._rendered(text)
            return {"text": rendered, "parse_mode": None, "entities": entities or None}
        if self.parse_mode is None and utf16_length(text) > _LIMIT:
            text = self._rendered(text)[0]  # it fits without its markup
        return {"text": text, "parse_mode": None, "entities": None}

    def _rendered(self, text: str) -> tuple[str, list[Entity]]:
        rendered, entities = self._render(text)
        if not is_visible(rendered):
            return text, []
        return rendered, entity_dicts(entities)

    async def _call(self, kind: str, parameters: Mapping[str, Any], *, formatted: bool) -> Any:
        """Make a request: "send" (returns the id), "edit", "draft" or "typing".

        Raises ``PortError``; ``network_failure`` and ``refusal`` say which.
        """
        raise NotImplementedError

    # --- what requests raise ---

    def moved(self, chat_id: int) -> SlowDown:
        """The group has become a supergroup: try again there."""
        self.chat_id = chat_id
        return SlowDown(0, message="the group has got another id")
