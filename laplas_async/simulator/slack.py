"""``FakeSlack``: Slack's Web API on loopback, which enforces its rules, to test your bot.

    async with FakeSlack() as slack:
        client = AsyncWebClient(slack.token, base_url=slack.base_url)

It refuses to be a client: ``message_event`` is what Bolt receives when somebody writes.
"""

import html
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from attrs import Factory, define

from laplas_async.simulator.fake_server import FakePlatform, Reaction

_TEXT_LIMIT, _MARKDOWN_LIMIT, _MOST_BLOCKS = 40_000, 12_000, 50
_STREAM_LIFETIME = 300.0
_CHANGES = frozenset(
    (
        *("chat.postMessage", "chat.update", "chat.startStream", "chat.appendStream"),
        "chat.stopStream",
    )
)


@define
class SlackFakeMessage:
    """A message: ``text`` is what people see now, ``versions`` all of it so far.

    ``raw`` is the field of that name as it was sent. ``stream_started``: when a chat stream began
    that is still open, None otherwise.
    """

    channel: str
    ts: str
    text: str
    raw: str = ""
    blocks: list[Any] = Factory(list)
    thread_ts: str | None = None
    deleted: bool = False
    stream_started: float | None = None
    versions: list[str] = Factory(list)


class _RefusedError(Exception):
    pass


class FakeSlack(FakePlatform):
    """Slack on loopback: ``messages`` is what the channels show.

    ``token``: the bot's. ``channels``: those that exist. ``streams``: False plays a workspace
    without chat streams. ``statuses``: those that assistants' threads were given. ``script`` and
    ``Reaction`` let calls fail.
    """

    def __init__(
        self,
        *,
        token: str = "xoxb-test",  # noqa: S107 - of a server on loopback
        channels: tuple[str, ...] = ("C1", "D1"),
        streams: bool = True,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(port=port, clock=clock)
        self.token = token
        self.messages: list[SlackFakeMessage] = []
        self.statuses: list[str] = []
        self._channels = set(channels)
        self._streams = streams
        self._ids = itertools.count(1)

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/api/``, for slack_sdk's ``base_url``."""
        return f"{self.url}/api/"

    def texts(self, channel: str | None = None) -> list[str]:
        """What the messages of a channel show; of all channels without a name."""
        return [
            message.text
            for message in self.messages
            if not message.deleted and channel in {None, message.channel}
        ]

    def delete(self, ts: str) -> None:
        """Somebody deletes a message."""
        for message in self.messages:
            if message.ts == ts:
                message.deleted = True

    def message_event(self, text: str, *, channel: str = "D1") -> dict[str, Any]:
        """The body of the event when somebody writes, for Bolt's ``AsyncBoltRequest``."""
        event = {"type": "message", "channel": channel, "user": "U7", "text": text}
        event |= {"ts": self._new_ts(), "channel_type": "im" if channel[0] == "D" else "channel"}
        body = {"type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event": event}
        return {**body, "event_id": f"Ev{next(self._ids)}", "event_time": int(time.time())}

    def _new_ts(self) -> str:
        return f"{1_700_000_000 + next(self._ids)}.000100"

    # --- the server ---

    def _routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/api/{method}", self._handle)]

    async def _handle(self, request: web.Request) -> web.Response:
        method, at = request.match_info["method"], self.clock()
        parameters = await _parameters(request)
        reaction = self._reaction(method, changes=method in _CHANGES)
        status, headers = 200, {}
        try:
            self._authorize(request, parameters)
            if reaction is not None and not reaction.applied:
                status = reaction.status
            _refuse(reaction)
            body = {"ok": True, **self._carry_out(method, parameters)}
        except _RefusedError as refused:
            body = {"ok": False, "error": str(refused)}
            if status == 429 and reaction is not None and reaction.retry_after is not None:
                headers["Retry-After"] = str(round(reaction.retry_after))
        self._log(method, parameters, status if body["ok"] or status != 200 else 400, at)
        await self._finish(reaction)
        if reaction is not None and reaction.dropped:
            return await self._drop(request)
        return web.json_response(body, status=status, headers=headers)

    def _authorize(self, request: web.Request, parameters: dict[str, Any]) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.token not in {given, parameters.get("token")}:
            raise _RefusedError("invalid_auth")

    def _carry_out(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "auth.test":
                return {"url": self.url, "team_id": "T1", "user_id": "U42", "bot_id": "B42"}
            case "chat.postMessage":
                return self._post(parameters)
            case "chat.update":
                return self._update(parameters)
            case "chat.delete":
                self._find(parameters).deleted = True
                return {"ts": parameters["ts"]}
            case "chat.startStream":
                return self._start_stream(parameters)
            case "chat.appendStream" | "chat.stopStream":
                return self._append(parameters, stop=method == "chat.stopStream")
            case "assistant.threads.setStatus":
                self._channel(parameters.get("channel_id"))
                if not parameters.get("thread_ts"):
                    raise _RefusedError("invalid_arguments")
                self.statuses.append(str(parameters.get("status") or ""))
                return {}
        raise _RefusedError("unknown_method")

    # --- the rules ---

    def _channel(self, channel: Any) -> str:
        if channel not in self._channels:
            raise _RefusedError("channel_not_found")
        return str(channel)

    def _post(self, parameters: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(parameters.get("channel"))
        message = SlackFakeMessage(
            channel, self._new_ts(), "", thread_ts=parameters.get("thread_ts")
        )
        _show(message, parameters)
        self.messages.append(message)
        return _response(message)

    def _update(self, parameters: dict[str, Any]) -> dict[str, Any]:
        message = self._find(parameters)
        if message.stream_started is not None and self._is_streaming(message):
            raise _RefusedError("streaming_state_conflict")
        _show(message, parameters)
        return _response(message)

    def _find(self, parameters: dict[str, Any]) -> SlackFakeMessage:
        channel = self._channel(parameters.get("channel"))
        for message in self.messages:
            found = (message.channel, message.ts) == (channel, parameters.get("ts"))
            if found and not message.deleted:
                return message
        raise _RefusedError("message_not_found")

    # --- chat streams ---

    def _start_stream(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if not self._streams:
            raise _RefusedError("method_not_supported_for_channel_type")
        channel = self._channel(parameters.get("channel"))
        if not parameters.get("thread_ts"):
            raise _RefusedError("invalid_thread_ts")
        if channel[0] != "D" and not parameters.get("recipient_user_id"):
            raise _RefusedError("missing_recipient_user_id")
        message = SlackFakeMessage(channel, self._new_ts(), "", thread_ts=parameters["thread_ts"])
        message.stream_started = self.clock()
        _extend(message, parameters)
        self.messages.append(message)
        return _response(message)

    def _append(self, parameters: dict[str, Any], *, stop: bool) -> dict[str, Any]:
        message = self._find(parameters)
        if not self._is_streaming(message):
            raise _RefusedError("message_not_in_streaming_state")
        if not stop and not parameters.get("markdown_text"):
            raise _RefusedError("no_text")
        _extend(message, parameters)
        if stop:
            message.stream_started = None
        return _response(message)

    def _is_streaming(self, message: SlackFakeMessage) -> bool:
        started = message.stream_started
        if started is not None and self.clock() - started > _STREAM_LIFETIME:
            message.stream_started = None
        return message.stream_started is not None


def _refuse(reaction: Reaction | None) -> None:
    if reaction is not None and not reaction.applied:
        raise _RefusedError("ratelimited" if reaction.status == 429 else reaction.error)


def _show(message: SlackFakeMessage, parameters: dict[str, Any]) -> None:
    """Let a message show what a call says. ``text`` alone removes the blocks."""
    text, blocks = str(parameters.get("text") or ""), parameters.get("blocks") or []
    markdown = parameters.get("markdown_text")
    if markdown and (text or blocks):
        raise _RefusedError("markdown_text_conflict")
    if markdown:
        blocks = [{"type": "markdown", "text": markdown}]
    if not text.strip() and not blocks:
        raise _RefusedError("no_text")
    if len(text) > _TEXT_LIMIT:
        raise _RefusedError("msg_too_long")
    shown = [str(block.get("text") or "") for block in blocks if block.get("type") == "markdown"]
    if len(blocks) > _MOST_BLOCKS or sum(map(len, shown)) > _MARKDOWN_LIMIT:
        raise _RefusedError("invalid_blocks")
    message.raw, message.blocks = text, blocks
    message.text = html.unescape("".join(shown) if blocks else text)
    message.versions.append(message.text)


def _extend(message: SlackFakeMessage, parameters: dict[str, Any]) -> None:
    more = str(parameters.get("markdown_text") or "")
    if len(more) > _MARKDOWN_LIMIT:
        raise _RefusedError("msg_too_long")
    message.text += html.unescape(more)
    message.versions.append(message.text)


def _response(message: SlackFakeMessage) -> dict[str, Any]:
    body = {"type": "message", "user": "U42", "bot_id": "B42", "ts": message.ts}
    body |= {"text": message.raw}
    return {"channel": message.channel, "ts": message.ts, "text": message.raw, "message": body}


async def _parameters(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        body = json.loads(await request.read() or b"{}")
        return dict(body) if isinstance(body, dict) else {}
    fields: dict[str, Any] = {**request.query, **await request.post()}
    for name in ("blocks", "attachments"):
        if isinstance(fields.get(name), str):
            fields[name] = json.loads(fields[name])
    return fields
