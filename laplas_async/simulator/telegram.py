"""``FakeTelegram``: Telegram's Bot API on loopback, which enforces its rules, to test your bot.

    async with FakeTelegram() as telegram:
        session = AiohttpSession(api=TelegramAPIServer.from_base(telegram.url))      # aiogram
        bot = Bot(telegram.token, session=session)
        application = Application.builder().token(telegram.token).base_url(f"{telegram.url}/bot")

It refuses to be a client: what people do is ``receive``, ``press``, ``block`` and ``delete``.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import web
from attrs import Factory, define

from laplas_async.simulator.fake_server import FakePlatform, Reaction
from laplas_async.simulator.telegram_parse import ParseError, parse, utf16

_LIMIT = 4096
_CHANGES = frozenset(("sendMessage", "editMessageText", "sendMessageDraft"))
_DRAFT_LIFETIME = 30.0


@define
class TelegramFakeMessage:
    """A message in a chat: ``text`` is what is shown now, ``versions`` all texts so far."""

    chat_id: int
    message_id: int
    text: str
    entities: list[dict[str, Any]]
    parse_mode: str | None
    reply_markup: Any
    thread_id: int | None = None
    reply_to: int | None = None
    deleted: bool = False
    versions: list[str] = Factory(list)


@define
class TelegramDraft:
    """A draft in a private chat; it vanishes after 30 seconds."""

    text: str
    at: float
    updates: int = 1


class _RefusedError(Exception):
    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.parameters = parameters


class FakeTelegram(FakePlatform):
    """Telegram's Bot API on loopback: ``messages`` is what the chats show.

    ``token``: the bot's. ``pace``: also enforce one message a second in a chat and 20 a minute in a
    group, edits included. ``drafts``: False plays a server that knows no drafts. ``script`` and
    ``Reaction`` let calls fail.
    """

    def __init__(
        self,
        *,
        token: str = "42:TEST",  # noqa: S107 - of a server on loopback
        pace: bool = False,
        drafts: bool = True,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(port=port, clock=clock)
        self.token = token
        self.messages: list[TelegramFakeMessage] = []
        self.drafts: dict[tuple[int, int], TelegramDraft] = {}
        self.typing: list[int] = []
        self._pace = pace
        self._knows_drafts = drafts
        self._blocked: set[int] = set()
        self._migrated: dict[int, int] = {}
        self._changes: dict[int, deque[float]] = {}
        self._ids = itertools.count(1)
        self._updates: deque[dict[str, Any]] = deque()
        self._has_updates = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- what people see and do ---

    def texts(self, chat_id: int | None = None) -> list[str]:
        """What the messages of a chat show, the oldest first; of all chats without a number."""
        return [
            message.text
            for message in self.messages
            if not message.deleted and chat_id in {None, message.chat_id}
        ]

    def receive(self, text: str, *, chat_id: int = 7, kind: str = "private") -> int:
        """Somebody writes to the bot; the id of their message. Safe from any thread."""
        message_id = next(self._ids)
        message: dict[str, Any] = {
            "message_id": message_id,
            "date": int(time.time()),
            "chat": _chat(chat_id, kind),
            "from": _USER,
            "text": text,
        }
        if text.startswith("/"):
            length = len(text.split(maxsplit=1)[0])
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        self._update({"message": message})
        return message_id

    def press(self, message: TelegramFakeMessage, data: str) -> None:
        """Somebody presses a button of a message. Safe from any thread."""
        query = {
            "id": str(next(self._ids)),
            "from": _USER,
            "chat_instance": "1",
            "message": _message(message),
            "data": data,
        }
        self._update({"callback_query": query})

    def redeliver(self, update: dict[str, Any]) -> None:
        """Deliver an update as it is, for example a second time. Safe from any thread."""
        self._updates.append(update)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._has_updates.set)

    def block(self, chat_id: int, *, blocked: bool = True) -> None:
        """The user of a private chat blocks the bot."""
        (self._blocked.add if blocked else self._blocked.discard)(chat_id)

    def migrate(self, chat_id: int, new_chat_id: int) -> None:
        """A group becomes a supergroup, which has another id."""
        self._migrated[chat_id] = new_chat_id

    def delete(self, message_id: int) -> None:
        """Somebody deletes a message."""
        for message in self.messages:
            if message.message_id == message_id:
                message.deleted = True

    def _update(self, content: dict[str, Any]) -> None:
        self.redeliver({"update_id": next(self._ids), **content})

    # --- the server ---

    async def start(self) -> "FakeTelegram":
        """Start to listen. Raises ``OSError`` if the port is in use."""
        self._loop = asyncio.get_running_loop()
        self._has_updates = asyncio.Event()
        if self._updates:
            self._has_updates.set()
        return await super().start()

    def _routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/bot{token}/{method}", self._handle)]

    async def _handle(self, request: web.Request) -> web.Response:
        method, at = request.match_info["method"], self.clock()
        parameters = await _parameters(request)
        if request.match_info["token"] != self.token:
            return self._respond(method, parameters, at, _RefusedError(401, "Unauthorized"))
        reaction = self._reaction(method, changes=method in _CHANGES)
        result: Any = None
        try:
            if reaction is not None and not reaction.applied:
                raise _refusal(reaction)
            result = await self._carry_out(method, parameters, at)
        except _RefusedError as refused:
            result = refused
        response = self._respond(method, parameters, at, result)
        await self._finish(reaction)
        if reaction is not None and reaction.dropped:
            return await self._drop(request)
        return response

    def _respond(
        self, method: str, parameters: dict[str, Any], at: float, result: Any
    ) -> web.Response:
        status = 200
        body: dict[str, Any] = {"ok": True, "result": result}
        if isinstance(result, _RefusedError):
            status = result.status
            body = {"ok": False, "error_code": status, "description": result.description}
            if result.parameters:
                body["parameters"] = result.parameters
        self._log(method, parameters, status, at)
        return web.json_response(body, status=status)

    async def _carry_out(self, method: str, parameters: dict[str, Any], at: float) -> Any:
        match method:
            case "getMe":
                return {**_BOT, "id": int(self.token.partition(":")[0])}
            case "sendMessage":
                return self._send(parameters, at)
            case "editMessageText":
                return self._edit(parameters, at)
            case "sendMessageDraft":
                return self._draft(parameters, at)
            case "deleteMessage":
                self._find(parameters, "message to delete not found").deleted = True
                return True
            case "sendChatAction":
                self.typing.append(self._chat_id(parameters))
                return True
            case "getUpdates":
                return await self._get_updates(parameters)
            case "getWebhookInfo":
                return {"url": "", "has_custom_certificate": False, "pending_update_count": 0}
            case "getMyCommands":
                return []
        if method.startswith(("answer", "set", "delete", "log", "close")):
            return True
        raise _RefusedError(404, "Not Found")

    async def _get_updates(self, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        offset = int(parameters.get("offset") or 0)
        while self._updates and self._updates[0]["update_id"] < offset:
            self._updates.popleft()
        if not self._updates:
            self._has_updates.clear()
            try:
                async with asyncio.timeout(float(parameters.get("timeout") or 0)):
                    await self._has_updates.wait()
            except TimeoutError:
                pass
        return list(self._updates)[: int(parameters.get("limit") or 100)]

    # --- the rules ---

    def _send(self, parameters: dict[str, Any], at: float) -> dict[str, Any]:
        chat_id = self._chat_id(parameters)
        text, entities = _content(parameters, lowest=1)
        self._keep_pace(chat_id, at)
        reply = parameters.get("reply_parameters") or {}
        message = TelegramFakeMessage(
            chat_id,
            next(self._ids),
            text,
            entities,
            parameters.get("parse_mode"),
            parameters.get("reply_markup"),
            parameters.get("message_thread_id"),
            reply.get("message_id"),
            versions=[text],
        )
        self.messages.append(message)
        for key in [key for key in self.drafts if key[0] == chat_id]:
            del self.drafts[key]  # a message ends the draft
        return _message(message)

    def _edit(self, parameters: dict[str, Any], at: float) -> dict[str, Any]:
        chat_id = self._chat_id(parameters)
        message = self._find(parameters, "message to edit not found")
        text, entities = _content(parameters, lowest=1)
        markup = parameters.get("reply_markup")
        self._keep_pace(chat_id, at)
        if (text, entities, markup) == (message.text, message.entities, message.reply_markup):
            raise _RefusedError(
                400,
                "Bad Request: message is not modified: specified new message content and reply "
                "markup are exactly the same as a current content and reply markup of the message",
            )
        message.text, message.entities, message.reply_markup = text, entities, markup
        message.parse_mode = parameters.get("parse_mode")
        message.versions.append(text)
        return _message(message)

    def _draft(self, parameters: dict[str, Any], at: float) -> bool:
        if not self._knows_drafts:
            raise _RefusedError(404, "Not Found")
        chat_id = self._chat_id(parameters)
        if chat_id < 0:
            raise _RefusedError(400, "Bad Request: method is available only in private chats")
        draft_id = int(parameters.get("draft_id") or 0)
        if not draft_id:
            raise _RefusedError(400, "Bad Request: invalid draft identifier specified")
        text, _ = _content(parameters, lowest=0)
        draft = self.drafts.get((chat_id, draft_id))
        if draft is None:
            self.drafts[chat_id, draft_id] = TelegramDraft(text, at)
        else:
            draft.text, draft.at, draft.updates = text, at, draft.updates + 1
        return True

    def visible_drafts(self) -> list[str]:
        """The drafts that have not vanished yet."""
        now = self.clock()
        return [draft.text for draft in self.drafts.values() if now - draft.at < _DRAFT_LIFETIME]

    def _chat_id(self, parameters: dict[str, Any]) -> int:
        given = parameters.get("chat_id")
        try:
            chat_id = int(given or 0)
        except ValueError:
            chat_id = -abs(hash(str(given))) % 10**12  # an @name
        if not chat_id:
            raise _RefusedError(400, "Bad Request: chat_id is empty")
        if chat_id in self._migrated:
            raise _RefusedError(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                migrate_to_chat_id=self._migrated[chat_id],
            )
        if chat_id in self._blocked:
            raise _RefusedError(403, "Forbidden: bot was blocked by the user")
        return chat_id

    def _find(self, parameters: dict[str, Any], missing: str) -> TelegramFakeMessage:
        chat_id, number = self._chat_id(parameters), int(parameters.get("message_id") or 0)
        for message in self.messages:
            if (message.chat_id, message.message_id) == (chat_id, number) and not message.deleted:
                return message
        raise _RefusedError(400, f"Bad Request: {missing}")

    def _keep_pace(self, chat_id: int, at: float) -> None:
        if not self._pace:
            return
        times = self._changes.setdefault(chat_id, deque())
        while times and times[0] <= at - 60:
            times.popleft()
        wait = 0.0
        if times and at - times[-1] < 0.9:  # a tenth less than a second, for the network's delays
            wait = 1.0
        if chat_id < 0 and len(times) >= 20:
            wait = times[0] + 60 - at
        if wait > 0:
            raise _refusal(Reaction.slow_down(max(1, round(wait + 0.5))))
        times.append(at)


_USER = {"id": 7, "is_bot": False, "first_name": "Test", "username": "test"}
_BOT = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "test_bot"}


def _refusal(reaction: Reaction) -> _RefusedError:
    if reaction.status == 429:
        after = reaction.retry_after or 0
        return _RefusedError(
            429, f"Too Many Requests: retry after {after:g}", retry_after=int(after)
        )
    if reaction.dropped:
        return _RefusedError(500, "lost")
    return _RefusedError(reaction.status, reaction.error or "Internal Server Error")


def _content(parameters: dict[str, Any], *, lowest: int) -> tuple[str, list[dict[str, Any]]]:
    """The text as it is shown, and its entities."""
    raw = str(parameters.get("text") or "")
    entities = parameters.get("entities") or []
    try:
        text = raw if entities else parse(raw, parameters.get("parse_mode"))
    except ParseError as error:
        raise _RefusedError(400, f"Bad Request: can't parse entities: {error}") from None
    if not text.strip(" \t\n\r\u200b\u2060\ufeff") and lowest:
        raise _RefusedError(400, "Bad Request: message text is empty")
    size = utf16(text)
    if size > _LIMIT:
        raise _RefusedError(400, "Bad Request: message is too long")
    for entity in entities:
        if entity["offset"] < 0 or entity["length"] < 1:
            raise _RefusedError(400, "Bad Request: ENTITY_BOUNDS_INVALID")
        if entity["offset"] + entity["length"] > size:
            raise _RefusedError(400, "Bad Request: ENTITY_BOUNDS_INVALID")
    return text, list(entities)


async def _parameters(request: web.Request) -> dict[str, Any]:
    """The parameters, however they were sent; JSON in fields is decoded."""
    if request.content_type == "application/json":
        body = await request.json()
        return dict(body) if isinstance(body, dict) else {}
    fields: dict[str, Any] = {**request.query, **await request.post()}
    for name in ("entities", "reply_markup", "reply_parameters", "link_preview_options"):
        if isinstance(fields.get(name), str):
            fields[name] = json.loads(fields[name])
    return fields


def _chat(chat_id: int, kind: str | None = None) -> dict[str, Any]:
    kind = kind or ("private" if chat_id > 0 else "supergroup")
    chat: dict[str, Any] = {"id": chat_id, "type": kind}
    chat["first_name" if kind == "private" else "title"] = "Test"
    return chat


def _message(message: TelegramFakeMessage) -> dict[str, Any]:
    body: dict[str, Any] = {
        "message_id": message.message_id,
        "date": int(time.time()),
        "chat": _chat(message.chat_id),
        "from": _BOT,
        "text": message.text,
    }
    if message.entities:
        body["entities"] = message.entities
    if message.reply_markup:
        body["reply_markup"] = message.reply_markup
    return body
