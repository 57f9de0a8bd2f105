"""``FakeDiscord``: Discord's API and gateway on loopback, which enforce their rules, to test a bot.

    async with FakeDiscord() as discord_server:
        with discord_server.patch():         # discord.py finds it instead of the real one
            await client.login(discord_server.token)

It refuses to be a client: what people do is ``receive``, ``press``, ``command`` and ``delete``.
"""

import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from aiohttp import web
from attrs import Factory, define

from laplas_async.simulator.discord_gateway import Gateway
from laplas_async.simulator.fake_server import FakePlatform, Reaction

_LIMIT = 2000
_TOKEN_LIFETIME = 15 * 60.0
_CHANGES = frozenset(("POST message", "PATCH message", "POST webhook", "PATCH webhook"))
BOT_ID, USER_ID, GUILD_ID, CHANNEL_ID, APPLICATION_ID = 42, 7, 100, 200, 42


@define
class DiscordFakeMessage:
    """A message: ``text`` is what is shown now, ``versions`` all texts so far.

    ``pinged``: it notified everyone, or a user or role that its text mentions.
    """

    channel_id: int
    id: int
    text: str
    author_id: int = BOT_ID
    components: list[Any] = Factory(list)
    reply_to: int | None = None
    nonce: str | None = None
    pinged: bool = False
    deleted: bool = False
    versions: list[str] = Factory(list)


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class FakeDiscord(FakePlatform):
    """Discord on loopback: ``messages`` is what the channels show.

    There is one guild with the text channel 200; direct messages and threads are created as bots
    ask for them. ``token``: the bot's. ``pace``: also enforce 5 messages or edits in 5 seconds for
    a channel, with the headers that report it. ``script`` and ``Reaction`` let calls fail.
    """

    def __init__(
        self,
        *,
        token: str = "TEST.DISCORD.TOKEN",  # noqa: S107 - of a server on loopback
        pace: bool = False,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(port=port, clock=clock)
        self.token = token
        self.messages: list[DiscordFakeMessage] = []
        self.typing: list[int] = []
        self.threads: dict[int, str] = {}
        self.responses: list[dict[str, Any]] = []
        self.gateway = Gateway(self._ready)
        self._pace = pace
        self._ids = itertools.count(1000)
        self._tokens: dict[str, tuple[float, int]] = {}
        self._changes: dict[int, deque[float]] = {}

    # --- what people see and do ---

    def texts(self, channel_id: int | None = None) -> list[str]:
        """What the bot's messages in a channel show; in all channels without a number."""
        return [
            message.text
            for message in self.messages
            if not message.deleted
            and message.author_id == BOT_ID
            and channel_id in {None, message.channel_id}
        ]

    @contextlib.contextmanager
    def patch(self) -> Iterator[None]:
        """Let discord.py use this server instead of Discord's, inside the block."""
        http, gateway = import_module("discord.http"), import_module("discord.gateway")
        yarl = import_module("yarl")
        before = http.Route.BASE, gateway.DiscordWebSocket.DEFAULT_GATEWAY
        http.Route.BASE = f"{self.url}/api/v10"
        url = f"{self.url.replace('http', 'ws', 1)}/gateway/"
        gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
        try:
            yield
        finally:
            http.Route.BASE, gateway.DiscordWebSocket.DEFAULT_GATEWAY = before

    def receive(self, text: str, *, channel_id: int = CHANNEL_ID) -> int:
        """Somebody writes in a channel or a thread; the id of the message. Safe from any thread."""
        message = DiscordFakeMessage(channel_id, next(self._ids), text, USER_ID, versions=[text])
        self.messages.append(message)
        body = self._body(message)
        if f"<@{BOT_ID}>" in text:
            body["mentions"] = [{**_user(BOT_ID), "member": _MEMBER}]
        self.gateway.dispatch("MESSAGE_CREATE", {**body, **self._place(channel_id)})
        return message.id

    def press(self, message: DiscordFakeMessage, custom_id: str) -> str:
        """Somebody presses a button of a message; the token of the interaction."""
        data = {"component_type": 2, "custom_id": custom_id}
        return self._interact(3, message.channel_id, data, message=self._body(message))

    def command(self, name: str, *, channel_id: int = CHANNEL_ID, **options: str) -> str:
        """Somebody uses a slash command; the token of the interaction."""
        given = [{"name": key, "type": 3, "value": value} for key, value in options.items()]
        data = {"id": "900", "name": name, "type": 1, "options": given}
        return self._interact(2, channel_id, data)

    def expire(self, token: str) -> None:
        """The fifteen minutes of an interaction are over."""
        self._tokens[token] = (-_TOKEN_LIFETIME * 2, self._tokens[token][1])

    def delete(self, message_id: int) -> None:
        """Somebody deletes a message."""
        for message in self.messages:
            if message.id == message_id:
                message.deleted = True

    def interaction(self, *, channel_id: int = CHANNEL_ID) -> dict[str, Any]:
        """The payload of a slash command, for a ``discord.Interaction`` without a gateway."""
        return self._interaction(2, channel_id, {"id": "900", "name": "ask", "type": 1})

    def _interact(self, kind: int, channel_id: int, data: dict[str, Any], **more: Any) -> str:
        body = self._interaction(kind, channel_id, data, **more)
        self.gateway.dispatch("INTERACTION_CREATE", body)
        return str(body["token"])

    def _interaction(
        self, kind: int, channel_id: int, data: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        number = next(self._ids)
        token = f"interaction-token-{number}"
        self._tokens[token] = (self.clock(), channel_id)
        return {
            "id": str(_snowflake_now(number)),
            "application_id": str(APPLICATION_ID),
            "type": kind,
            "data": data,
            "token": token,
            "version": 1,
            "channel": self._channel(channel_id),
            "locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": {},
            "attachment_size_limit": 10_000_000,
            **self._place(channel_id),
            **more,
        }

    # --- the server ---

    def _routes(self) -> list[web.RouteDef]:
        api = "/api/v10"
        messages = f"{api}/channels/{{channel}}/messages"
        webhook = f"{api}/webhooks/{{application}}/{{token}}"
        callback = f"{api}/interactions/{{id}}/{{token}}/callback"
        routes = {
            ("POST", messages): ("POST message", self._post),
            ("PATCH", messages + "/{message}"): ("PATCH message", self._patch),
            ("GET", messages + "/{message}"): ("GET message", self._get),
            ("DELETE", messages + "/{message}"): ("DELETE message", self._remove),
            ("POST", messages + "/{message}/threads"): ("POST thread", self._start_thread),
            ("POST", f"{api}/channels/{{channel}}/threads"): ("POST thread", self._start_thread),
            ("POST", f"{api}/channels/{{channel}}/typing"): ("POST typing", self._type),
            ("GET", f"{api}/channels/{{channel}}"): ("GET channel", self._get_channel),
            ("POST", f"{api}/users/@me/channels"): ("POST dm", self._open_dm),
            ("GET", f"{api}/users/@me"): ("GET me", self._get_me),
            ("GET", f"{api}/oauth2/applications/@me"): ("GET application", self._application),
            ("GET", f"{api}/gateway/bot"): ("GET gateway", self._find_gateway),
            ("POST", callback): ("POST callback", self._respond),
            ("POST", webhook): ("POST webhook", self._post_webhook),
            ("PATCH", webhook + "/messages/{message}"): ("PATCH webhook", self._patch_webhook),
            ("GET", webhook + "/messages/{message}"): ("GET webhook", self._get_webhook),
            ("PUT", f"{api}/applications/{{application}}/commands"): ("PUT commands", self._sync),
        }
        found = [
            web.route(method, path, self._handler(name, carry_out))
            for (method, path), (name, carry_out) in routes.items()
        ]
        return [*found, web.get("/gateway/", self.gateway.handle)]

    def _handler(self, name: str, carry_out: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(request: web.Request) -> web.Response:
            at = self.clock()
            payload = await _payload(request)
            parameters = {**request.match_info, **payload}
            reaction = self._reaction(name, changes=name in _CHANGES)
            headers: dict[str, str] = {}
            try:
                if "webhooks" not in request.path and "interactions" not in request.path:
                    self._authorize(request)
                _refuse(reaction)
                if name in _CHANGES:
                    headers = self._keep_pace(parameters, at)
                status, body = 200, carry_out(request.match_info, payload)
            except _RefusedError as refused:
                status = refused.status
                body = {"message": refused.message or f"{status}", "code": refused.code}
                if status == 429 and (reaction is None or reaction.retry_after is not None):
                    headers, body = _slow_down(reaction or Reaction.slow_down(refused.code / 1000))
            self._log(name, parameters, status, at)
            await self._finish(reaction)
            if reaction is not None and reaction.dropped:
                return await self._drop(request)
            if body is None:
                return web.Response(status=204, headers=headers)
            # discord.py reads JSON only from exactly this content type.
            headers["Content-Type"] = "application/json"
            return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

        return handle

    def _authorize(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bot {self.token}":
            raise _RefusedError(401, "401: Unauthorized")

    def _keep_pace(self, parameters: dict[str, Any], at: float) -> dict[str, str]:
        if not self._pace:
            return {}
        channel = int(parameters.get("channel") or 0)
        times = self._changes.setdefault(channel, deque())
        while times and times[0] <= at - 5:
            times.popleft()
        if len(times) >= 5:
            raise _RefusedError(429, "", round((times[0] + 5 - at) * 1000) + 1)
        times.append(at)
        return {
            "X-RateLimit-Limit": "5",
            "X-RateLimit-Remaining": str(5 - len(times)),
            "X-RateLimit-Reset-After": f"{times[0] + 5 - at:.3f}",
            "X-RateLimit-Bucket": "messages",
        }

    # --- the rules ---

    def _post(self, place: Any, payload: dict[str, Any]) -> dict[str, Any]:
        channel = int(place["channel"])
        nonce = str(payload["nonce"]) if payload.get("nonce") is not None else None
        for message in self.messages:
            if nonce is not None and payload.get("enforce_nonce") and message.nonce == nonce:
                return self._body(message)
        reference = payload.get("message_reference") or {}
        return self._add(channel, payload, reference.get("message_id"), nonce)

    def _add(
        self, channel: int, payload: dict[str, Any], reply_to: Any = None, nonce: str | None = None
    ) -> dict[str, Any]:
        text = _content(payload)
        message = DiscordFakeMessage(
            channel,
            next(self._ids),
            text,
            components=payload.get("components") or [],
            reply_to=int(reply_to) if reply_to else None,
            nonce=nonce,
            pinged=_pings(payload),
            versions=[text],
        )
        self.messages.append(message)
        return self._body(message)

    def _patch(self, place: Any, payload: dict[str, Any]) -> dict[str, Any]:
        message = self._find(place["message"], int(place["channel"]))
        if message.author_id != BOT_ID:
            raise _RefusedError(403, "Cannot edit a message authored by another user", 50005)
        if "content" in payload:
            message.text = _content(payload)
            message.versions.append(message.text)
        if "components" in payload:
            message.components = payload["components"] or []
        message.pinged = message.pinged or _pings(payload)
        return self._body(message)

    def _get(self, place: Any, _: Any) -> dict[str, Any]:
        return self._body(self._find(place["message"], int(place["channel"])))

    def _remove(self, place: Any, _: Any) -> None:
        self._find(place["message"], int(place["channel"])).deleted = True

    def _find(self, number: str, channel: int) -> DiscordFakeMessage:
        for message in reversed(self.messages):
            wanted = number == "@original" or message.id == int(number)
            if wanted and message.channel_id == channel and not message.deleted:
                return message
        raise _RefusedError(404, "Unknown Message", 10008)

    def _type(self, place: Any, _: Any) -> None:
        self.typing.append(int(place["channel"]))

    def _start_thread(self, place: Any, payload: dict[str, Any]) -> dict[str, Any]:
        # A thread of a message has the message's id.
        thread = int(place["message"]) if "message" in place else next(self._ids)
        if not 1 <= len(payload.get("name") or "") <= 100:
            raise _RefusedError(400, "Invalid Form Body", 50035)
        self.threads[thread] = payload["name"]
        body = self._channel(thread)
        self.gateway.dispatch("THREAD_CREATE", {**body, "newly_created": True})
        return body

    def _open_dm(self, _: Any, payload: dict[str, Any]) -> dict[str, Any]:
        user = int(payload["recipient_id"])
        return {"id": str(300 + user), "type": 1, "recipients": [_user(user)]}

    def _get_channel(self, place: Any, _: Any) -> dict[str, Any]:
        return self._channel(int(place["channel"]))

    def _get_me(self, _: Any, __: Any) -> dict[str, Any]:
        return _user(BOT_ID)

    def _application(self, _: Any, __: Any) -> dict[str, Any]:
        return {
            "id": str(APPLICATION_ID),
            "name": "test",
            "description": "",
            "icon": None,
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "",
            "flags": 0,
            "owner": _user(USER_ID),
            "team": None,
        }

    def _find_gateway(self, _: Any, __: Any) -> dict[str, Any]:
        start = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        url = f"{self.url.replace('http', 'ws', 1)}/gateway/"
        return {"url": url, "shards": 1, "session_start_limit": start}

    def _sync(self, _: Any, payload: dict[str, Any]) -> list[Any]:
        return [
            {"id": "900", "application_id": str(APPLICATION_ID), "version": "1", **command}
            for command in payload.get("list", [])
        ]

    # --- interactions ---

    def _live_token(self, token: str) -> int:
        created, channel = self._tokens.get(token, (-_TOKEN_LIFETIME * 2, 0))
        if self.clock() - created > _TOKEN_LIFETIME:
            raise _RefusedError(401, "Invalid Webhook Token", 50027)
        return channel

    def _respond(self, place: Any, payload: dict[str, Any]) -> dict[str, Any]:
        channel = self._live_token(place["token"])
        self.responses.append(payload)
        body: dict[str, Any] = {"id": place["id"], "type": 2, "response_message_loading": True}
        if payload["type"] == 4:
            message = self._add(channel, payload["data"])
            body |= {"response_message_id": message["id"], "response_message_loading": False}
        return {"interaction": body}

    def _post_webhook(self, place: Any, payload: dict[str, Any]) -> dict[str, Any]:
        return self._add(self._live_token(place["token"]), payload)

    def _patch_webhook(self, place: Any, payload: dict[str, Any]) -> dict[str, Any]:
        channel = self._live_token(place["token"])
        return self._patch({"channel": channel, "message": place["message"]}, payload)

    def _get_webhook(self, place: Any, _: Any) -> dict[str, Any]:
        return self._body(self._find(place["message"], self._live_token(place["token"])))

    # --- bodies ---

    def _ready(self) -> list[tuple[str, dict[str, Any]]]:
        ready = {
            "v": 10,
            "user": _user(BOT_ID),
            "guilds": [{"id": str(GUILD_ID), "unavailable": True}],
            "session_id": "session",
            "resume_gateway_url": f"{self.url.replace('http', 'ws', 1)}/gateway/",
            "application": {"id": str(APPLICATION_ID), "flags": 0},
        }
        return [("READY", ready), ("GUILD_CREATE", self._guild())]

    def _guild(self) -> dict[str, Any]:
        everyone: dict[str, Any] = {
            "id": str(GUILD_ID),
            "name": "@everyone",
            "permissions": str(2**50 - 1),
        }
        everyone |= {"color": 0, "hoist": False, "position": 0, "managed": False}
        everyone |= {"mentionable": False, "flags": 0}
        return {
            "id": str(GUILD_ID),
            "name": "Test",
            "owner_id": str(USER_ID),
            "member_count": 2,
            "roles": [everyone],
            "channels": [self._channel(CHANNEL_ID)],
            "members": [{"user": _user(user), **_MEMBER} for user in (BOT_ID, USER_ID)],
            **{name: [] for name in ("emojis", "stickers", "features", "threads", "presences")},
            **{name: [] for name in ("voice_states", "stage_instances", "guild_scheduled_events")},
            **dict.fromkeys(("verification_level", "default_message_notifications"), 0),
            **dict.fromkeys(("explicit_content_filter", "mfa_level", "nsfw_level"), 0),
            **dict.fromkeys(("premium_tier", "system_channel_flags", "afk_timeout"), 0),
            "preferred_locale": "en-US",
        }

    def _channel(self, channel: int) -> dict[str, Any]:
        if channel not in self.threads and channel >= 300:
            return {"id": str(channel), "type": 1, "recipients": [_user(channel - 300)]}
        body = {"id": str(channel), "type": 0, "guild_id": str(GUILD_ID), "name": "general"}
        body |= {"position": 0, "permission_overwrites": [], "permissions": str(2**50 - 1)}
        if channel in self.threads:
            metadata: dict[str, Any] = {
                "archived": False,
                "auto_archive_duration": 1440,
                "locked": False,
            }
            metadata["archive_timestamp"] = "2026-01-01T00:00:00+00:00"
            body |= {"type": 11, "name": self.threads[channel], "parent_id": str(CHANNEL_ID)}
            body |= {"owner_id": str(BOT_ID), "thread_metadata": metadata}
            body |= {"message_count": 0, "member_count": 1, "rate_limit_per_user": 0}
        return body

    def _place(self, channel: int) -> dict[str, Any]:
        """Where something happened, and who did it, in the fields of an event."""
        if channel not in self.threads and channel >= 300:
            return {"channel_id": str(channel), "user": _user(USER_ID)}
        member = {"user": _user(USER_ID), "permissions": str(2**50 - 1), **_MEMBER}
        return {"channel_id": str(channel), "guild_id": str(GUILD_ID), "member": member}

    def _body(self, message: DiscordFakeMessage) -> dict[str, Any]:
        edited = "2026-01-01T00:00:01+00:00" if len(message.versions) > 1 else None
        return {
            "id": str(message.id),
            "channel_id": str(message.channel_id),
            "author": _user(message.author_id),
            "content": message.text,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": edited,
            "components": message.components,
            **{name: [] for name in ("mentions", "mention_roles", "attachments", "embeds")},
            **dict.fromkeys(("tts", "mention_everyone", "pinned"), False),
            **dict.fromkeys(("type", "flags"), 0),
        }


_MEMBER: dict[str, Any] = {
    "roles": [],
    "joined_at": "2026-01-01T00:00:00+00:00",
    "deaf": False,
    "mute": False,
    "flags": 0,
}


def _user(user: int) -> dict[str, Any]:
    name = "bot" if user == BOT_ID else "test"
    more = {"discriminator": "0", "avatar": None, "global_name": None, "bot": user == BOT_ID}
    return {"id": str(user), "username": name, **more}


def _snowflake_now(number: int) -> int:
    """An id that says that it was created now, as discord.py reads it."""
    return (round(time.time() * 1000) - 1_420_070_400_000 << 22) + number % 4096


def _content(payload: dict[str, Any]) -> str:
    text = str(payload.get("content") or "").strip()
    if not text and not payload.get("embeds"):
        raise _RefusedError(400, "Cannot send an empty message", 50006)
    if len(str(payload.get("content") or "")) > _LIMIT:
        message = "Invalid Form Body\nIn content: Must be 2000 or fewer in length."
        raise _RefusedError(400, message, 50035)
    return text


def _pings(payload: dict[str, Any]) -> bool:
    text = str(payload.get("content") or "")
    allowed = payload.get("allowed_mentions")
    kinds = ["everyone", "users", "roles"] if allowed is None else allowed.get("parse") or []
    return ("everyone" in kinds and ("@everyone" in text or "@here" in text)) or (
        "users" in kinds and "<@" in text
    )


def _refuse(reaction: Reaction | None) -> None:
    if reaction is not None and not reaction.applied:
        raise _RefusedError(reaction.status, reaction.error, reaction.code)


def _slow_down(reaction: Reaction) -> tuple[dict[str, str], dict[str, Any]]:
    after = reaction.retry_after or 0.0
    headers = {"Via": "1.1 google", "Retry-After": f"{max(1, round(after))}"}
    headers |= {"X-RateLimit-Scope": "global" if reaction.everywhere else "user"}
    if reaction.everywhere:
        headers["X-RateLimit-Global"] = "true"
    body = {"message": "You are being rate limited.", "retry_after": after}
    return headers, {**body, "global": reaction.everywhere}


async def _payload(request: web.Request) -> dict[str, Any]:
    """The JSON body, also as a part of a form with files."""
    if request.content_type == "multipart/form-data":
        fields = await request.post()
        body = json.loads(str(fields.get("payload_json") or "{}"))
    else:
        body = json.loads(await request.read() or b"{}")
    return body if isinstance(body, dict) else {"list": body}
