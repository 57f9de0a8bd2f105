"""``SlackPort``: a Slack channel or thread through slack_sdk's ``AsyncWebClient``, as Bolt has it.

It posts and updates messages; Slack's chat streams are used if wanted. It refuses to use
``AsyncChatStream``, which keeps its text when a request fails.
"""

import copy
import hashlib
import math
import re
from typing import Any

from attrs import define

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
from laplas_async.bots.ports.framework import framework, network_failure
from laplas_async.bots.schedule import Allowance, ChatPace
from laplas_async.errors import ConfigError

_errors = framework("slack_sdk.errors", "laplas-async[slack]")
_client = framework("slack_sdk.web.async_client", "laplas-async[slack]")

# Characters: of a markdown block, and of ``text`` (docs.slack.dev/reference/methods/chat.update).
_LIMIT, _TEXT_LIMIT = 12_000, 40_000
# One post a second in a channel; 50 updates a minute, 100 appends, for an app in a workspace.
_POSTS = ChatPace(interval=1.2, shortest=1.0)
_STREAM = ChatPace(interval=0.6, shortest=0.6)
_BOT, _BOT_STREAM = Allowance(50, 60.0), Allowance(100, 60.0)
# Seconds; the status is shown for two minutes.
_TYPING = 60.0
# Seconds to wait after a 429 without Retry-After.
_RETRY_AFTER = 5.0

_MESSAGE_GONE = frozenset(("message_not_found", "cant_update_message", "edit_window_closed"))
_CHAT_GONE = frozenset(
    (
        *(
            "channel_not_found",
            "not_in_channel",
            "is_archived",
            "account_inactive",
            "no_permission",
        ),
        *("token_revoked", "token_expired", "invalid_auth", "not_authed", "missing_scope"),
        *("restricted_action", "user_not_found", "messages_tab_disabled", "org_login_required"),
        *("ekm_access_denied", "team_access_not_granted", "access_denied", "thread_not_found"),
    )
)
_BAD_MARKUP = frozenset(
    (
        *("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"),
        *("markdown_text_conflict", "too_many_blocks", "invalid_arguments"),
    )
)
_FAILURES = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org")
)
_SLOW_DOWN = frozenset(("ratelimited", "rate_limited", "message_limit_exceeded"))
# What starts a mention, outside of code.
_MENTION = re.compile(r"(```.*?```|`[^`\n]*`)|<(?=[!@#])", re.DOTALL)


@define(eq=False)
class SlackMessage:
    """A message of the answer. ``streamed``: what a chat stream shows so far, None without one."""

    ts: str
    streamed: str | None = None
    doubtful: bool = False  # an append may have been carried out or not


class SlackPort:
    """A channel, or the thread ``thread_ts`` in it.

    ``preview_blocks``: shown below the growing text, such as a button that stops it. ``status``:
    what an assistant's thread shows while there is no text. ``stream``: use a chat stream, which
    needs a thread and, in a channel, ``user`` and ``team``, for whom it is; where Slack refuses it,
    or ends it after some minutes, messages are updated. ``pace``: instead of Slack's usual limits.
    """

    limit = _LIMIT
    typing_interval = _TYPING

    def __init__(
        self,
        client: Any,
        channel: str,
        *,
        thread_ts: str | None = None,
        preview_blocks: list[dict[str, Any]] | None = None,
        status: str = "is typing…",
        stream: bool = False,
        user: str | None = None,
        team: str | None = None,
        pace: ChatPace | None = None,
    ) -> None:
        if not isinstance(client, _client.AsyncWebClient):
            raise ConfigError("SlackPort needs slack_sdk's AsyncWebClient, not a blocking client")
        if stream and thread_ts is None:
            raise ConfigError("a Slack stream is a reply in a thread: set thread_ts")
        self.client = copy.copy(client)
        self.client.retry_handlers = []  # they send a message again that may have arrived
        self.channel = channel
        self.thread_ts = thread_ts
        self._preview_blocks = preview_blocks or []
        self._status = status
        self._stream = stream
        self._recipient = {"recipient_user_id": user, "recipient_team_id": team}
        self._own_pace = pace

    @property
    def pace(self) -> PacedChat:
        """Slack's limits, shared with all channels of the app."""
        # A digest, so that no token is kept in memory; Bolt makes a client for every request.
        identity = f"{self.client.base_url} {self.client.token}".encode()
        key = ("slack", hashlib.sha256(identity).hexdigest(), self._stream)
        bot = shared_pace(key, _BOT_STREAM if self._stream else _BOT)
        pace = self._own_pace or (_STREAM if self._stream else _POSTS)
        return PacedChat(bot, f"{self.channel} {self.thread_ts or ''}", pace)

    @property
    def previews(self) -> Previews:
        """A chat stream can only be appended to."""
        return Previews(cursor="", append_only=True) if self._stream else Previews()

    def size(self, text: str) -> int:
        """Characters; a text with many signs that must be escaped counts for more."""
        return max(len(text), math.ceil(len(_escaped(text)) * _LIMIT / _TEXT_LIMIT))

    async def send(self, text: str, *, formatted: bool) -> SlackMessage:
        """Post a message, or start a stream."""
        if self._stream and not formatted:
            try:
                sent = await self._call(
                    "chat_startStream",
                    formatted=False,
                    thread_ts=self.thread_ts,
                    markdown_text=_unmentioned(text),
                    **self._recipient,
                )
                return SlackMessage(sent["ts"], streamed=text)
            except (SlowDown, Uncertain):
                raise
            except PortError:
                self._stream = False  # not available here
        content = self._content(text, formatted=formatted)
        sent = await self._call(
            "chat_postMessage", formatted=formatted, thread_ts=self.thread_ts, **content
        )
        return SlackMessage(sent["ts"])

    async def edit(self, message: SlackMessage, text: str, *, formatted: bool) -> None:
        """Update a message, or append to a stream and, with the final text, stop it."""
        streamed = message.streamed is not None
        if streamed and await self._append(message, text, final=formatted):
            return
        content = self._content(text, formatted=formatted)
        await self._call("chat_update", formatted=formatted, ts=message.ts, **content)

    async def typing(self) -> None:
        """Show the status; only an assistant's thread has one."""
        if self.thread_ts is not None:
            await self._call(
                "assistant_threads_setStatus",
                formatted=False,
                channel_id=self.channel,
                thread_ts=self.thread_ts,
                status=self._status,
            )

    # --- chat streams ---

    async def _append(self, message: SlackMessage, text: str, *, final: bool) -> bool:
        """Show more of the text; False if the message must be updated instead."""
        streamed = message.streamed or ""
        fits = text.startswith(streamed) and not message.doubtful
        if not final and not fits:
            return True  # the final text will be right
        more = _unmentioned(text[len(streamed) :]) if fits else ""
        if not final and not more:
            return True
        method = "chat_stopStream" if final else "chat_appendStream"
        content = {"markdown_text": more} if more else {}
        try:
            await self._call(method, formatted=False, ts=message.ts, **content)
        except (SlowDown, Gone) as error:
            if isinstance(error, SlowDown) or error.chat or str(error) in _MESSAGE_GONE:
                raise
            message.streamed = None  # it has expired
            return False
        except Uncertain:
            message.doubtful = True
            raise
        message.streamed = None if final else text
        return not final or fits

    # --- requests ---

    def _content(self, text: str, *, formatted: bool) -> dict[str, Any]:
        """The text, and blocks whenever a message has or had some: ``text`` alone removes them."""
        content: dict[str, Any] = {"text": _escaped(text)}
        if formatted:
            content["blocks"] = [{"type": "markdown", "text": _unmentioned(text)}]
        elif self._preview_blocks:
            block = {"type": "markdown", "text": _unmentioned(text)}
            content["blocks"] = [block, *self._preview_blocks]
        return content

    async def _call(self, method: str, *, formatted: bool, **parameters: Any) -> Any:
        parameters = {key: value for key, value in parameters.items() if value is not None}
        if "channel_id" not in parameters:
            parameters["channel"] = self.channel
        request = getattr(self.client, method, None)
        if request is None:
            raise PortError(f"this version of slack_sdk has no {method}")
        try:
            return await request(**parameters)
        except _errors.SlackApiError as error:
            raise _refusal(error, formatted=formatted) from error
        except _errors.SlackClientError as error:
            raise network_failure("Slack", error) from error
        except Exception as error:  # of aiohttp, which only slack_sdk imports
            if isinstance(error, OSError | TimeoutError) or _is_of_aiohttp(error):
                raise network_failure("Slack", error) from error
            raise


def _is_of_aiohttp(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "aiohttp"


def _refusal(error: Any, *, formatted: bool) -> PortError:
    """What an error of Slack's API means."""
    response = error.response
    name = response.get("error") if isinstance(response.data, dict) else None
    status = response.status_code
    if status == 429 or name in _SLOW_DOWN:
        headers = {key.lower(): value for key, value in response.headers.items()}
        after = str(headers.get("retry-after", ""))
        return SlowDown(float(after) if after.isdigit() else _RETRY_AFTER)
    if status >= 500 or name in _FAILURES or name is None:
        return Uncertain(name or f"Slack responded with status {status}")
    if name in _MESSAGE_GONE or "streaming" in name:
        return Gone(name)
    if name in _CHAT_GONE:
        return Gone(name, chat=True)
    if formatted and name in _BAD_MARKUP:
        return BadMarkup(name)
    return PortError(name)


def _escaped(text: str) -> str:
    """The text for ``text``: as it is, with no mention, link or other markup of Slack's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unmentioned(text: str) -> str:
    """The text for Markdown, where a model must not mention anyone."""
    return _MENTION.sub(lambda match: match[1] or "&lt;", text)
