"""``DiscordPort``: a channel, a thread, a user or an interaction on Discord, through discord.py 2.

It refuses to let a model mention anyone, and to run a client.
"""

import asyncio
import copy
import itertools
import time
from typing import Any

from laplas_async.bots.pace import shared_pace
from laplas_async.bots.port import Gone, PacedChat, PortError, SlowDown, Uncertain
from laplas_async.bots.ports.framework import framework, network_failure
from laplas_async.bots.schedule import Allowance, ChatPace

_discord = framework("discord", "laplas-async[discord]")
_http = framework("discord.http", "laplas-async[discord]")
_webhook = framework("discord.webhook.async_", "laplas-async[discord]")

# Code points (discord.com/developers/docs/resources/message#create-message).
_LIMIT = 2000
# About 5 requests in 5 s for a channel, 50 a second for a bot, as responses report.
_CHANNEL = ChatPace(interval=1.1, shortest=0.3, allowance=Allowance(5, 5.0))
_BOT = Allowance(45, 1.0)
# Seconds; the indicator is shown for 10.
_TYPING = 8.0
# Any limit that is not 0 makes discord.py raise instead of sleeping inside of a request.
_NEVER_SLEEP = 1e-9

# discord.com/developers/docs/topics/opcodes-and-status-codes#json
_MESSAGE_GONE = frozenset((10008, 30046, 50005, 50021, 50083))
_CHAT_GONE = frozenset((10003, 50001, 50007, 50013, 50278, 160005))
_TOKEN_DEAD = frozenset((10015, 10062, 50027))

_nonces = itertools.count(time.time_ns())


class DiscordPort:
    """A place on Discord. ``destination``: anything with ``send``, or an ``Interaction``.

    A channel, thread, user, member or context is written to directly; ``reply_to`` is the message
    that is answered. An interaction is answered as such for as long as its token lives (15
    minutes), and with messages in its channel after that. ``preview_view``: the buttons while the
    text grows. ``pace``: instead of Discord's usual limits. The model's text mentions nobody.
    """

    limit = _LIMIT
    typing_interval = _TYPING

    def __init__(
        self,
        destination: Any,
        *,
        reply_to: Any = None,
        preview_view: Any = None,
        pace: ChatPace | None = None,
    ) -> None:
        self.preview_view = preview_view
        self._interaction = destination if isinstance(destination, _discord.Interaction) else None
        if self._interaction is not None:
            destination = destination.channel or destination.user
        self._destination = destination
        self._channel: Any = None
        self._deferring = asyncio.Lock()
        self._reply_to = reply_to
        self._own_pace = pace or _CHANNEL

    @property
    def pace(self) -> PacedChat:
        """Discord's limits, shared with all channels of the bot."""
        state = self._destination._state  # noqa: SLF001 - the only way to the client
        place = getattr(self._destination, "channel", None) or self._destination
        bot = shared_pace(("discord", state.http), _BOT)
        return PacedChat(bot, str(place.id), self._own_pace)

    def size(self, text: str) -> int:
        """The number of code points."""
        return len(text)

    async def send(self, text: str, *, formatted: bool) -> Any:
        """Send a message; a ``discord.Message``."""
        options = self._options(text, formatted=formatted)
        if self._token_lives():
            try:
                return await self._follow_up(options)
            except _DeadTokenError:
                pass
        return await self._send(options)

    async def edit(self, message: Any, text: str, *, formatted: bool) -> None:
        """Change the text of a message."""
        options = self._options(text, formatted=formatted)
        options.setdefault("view", None)  # remove the buttons
        if not isinstance(message, _discord.WebhookMessage):
            patient = message._state  # noqa: SLF001
            await self._call(_impatient(message, patient).edit(**options))
        elif self._token_lives():
            try:
                await self._call_webhook(message.edit(**options))
            except _DeadTokenError as error:
                raise Gone("the interaction's token has expired") from error
        else:
            raise Gone("the interaction's token has expired")

    async def typing(self) -> None:
        """Show "typing"; an interaction shows that it thinks."""
        if self._token_lives():
            await self._call(self._defer())
        else:
            channel = await self._resolve()
            await self._call(_impatient(channel, channel._state).typing())  # noqa: SLF001

    # --- requests ---

    def _options(self, text: str, *, formatted: bool) -> dict[str, Any]:
        options = {"content": text, "allowed_mentions": _discord.AllowedMentions.none()}
        if not formatted and self.preview_view is not None:
            options["view"] = self.preview_view
        return options

    async def _send(self, options: dict[str, Any]) -> Any:
        channel = await self._resolve()
        if self._reply_to is not None:
            options["reference"] = self._reply_to.to_reference(fail_if_not_exists=False)
        # discord.py repeats a request after a 502; Discord knows the nonce, so nothing is doubled.
        send = _impatient(channel, channel._state).send(**options, nonce=next(_nonces))  # noqa: SLF001
        message = await self._call(send)
        message._state = channel._state  # noqa: SLF001 - what the user does with it may wait
        self._reply_to = None
        return message

    async def _follow_up(self, options: dict[str, Any]) -> Any:
        assert self._interaction is not None  # noqa: S101 - for the type checker
        await self._call(self._defer())
        return await self._call_webhook(self._interaction.followup.send(**options, wait=True))

    async def _defer(self) -> None:
        async with self._deferring:  # typing and sending may want it at the same time
            if self._interaction is not None and not self._interaction.response.is_done():
                await self._interaction.response.defer(thinking=True)

    async def _resolve(self) -> Any:
        if self._channel is None:
            self._channel = await self._call(self._destination._get_channel())  # noqa: SLF001
        return self._channel

    def _token_lives(self) -> bool:
        if self._interaction is not None and self._interaction.is_expired():
            self._interaction = None
        return self._interaction is not None

    async def _call_webhook(self, request: Any) -> Any:
        """Make a request of an interaction; discord.py takes the adapter from the context."""
        token = _webhook.async_context.set(_ImpatientAdapter())
        try:
            return await self._call(request)
        finally:
            _webhook.async_context.reset(token)

    async def _call(self, request: Any) -> Any:
        try:
            return await request
        except _discord.RateLimited as error:
            raise SlowDown(error.retry_after) from error
        except _discord.HTTPException as error:
            if error.code in _TOKEN_DEAD:
                self._interaction = None
                raise _DeadTokenError(str(error)) from error
            raise _refusal(error) from error
        except (OSError, TimeoutError, _http.aiohttp.ClientError) as error:
            raise network_failure("Discord", error) from error
        except ValueError as error:  # the response is not JSON, though it says so
            raise Uncertain(f"Discord's response cannot be read: {error}") from error
        except _discord.DiscordException as error:
            raise PortError(str(error)) from error


class _DeadTokenError(PortError):
    """The interaction can be answered no more."""


def _refusal(error: Any) -> PortError:
    """What an error of Discord's API means."""
    if error.status == 429:  # without "Via": from the proxy in front of the API
        after = error.response.headers.get("Retry-After", "")
        return SlowDown(float(after) if after.replace(".", "", 1).isdigit() else 60.0)
    if error.code in _MESSAGE_GONE:
        return Gone(str(error))
    if error.code in _CHAT_GONE or error.status in {401, 403}:
        return Gone(str(error), chat=True)
    if error.status >= 500:
        return Uncertain(str(error))
    return PortError(str(error))


def _impatient(thing: Any, state: Any) -> Any:
    """A copy of a channel or a message whose requests raise ``RateLimited`` at once.

    discord.py would sleep inside the request, and then show a text that is no longer the newest.
    Only this copy is impatient: the bot's own requests wait as before, in the same buckets.
    """
    http = copy.copy(state.http)
    http.max_ratelimit_timeout = _NEVER_SLEEP
    http.get_ratelimit = state.http.get_ratelimit  # buckets are created for everyone
    impatient_state = copy.copy(state)
    impatient_state.http = http
    thing = copy.copy(thing)
    thing._state = impatient_state  # noqa: SLF001
    return thing


_Adapter: Any = _webhook.AsyncWebhookAdapter


class _ImpatientAdapter(_Adapter):  # type: ignore[misc]
    """The same for interactions."""

    async def request(self, route: Any, session: Any, **options: Any) -> Any:
        """Make a request whose 429 is raised."""
        return await super().request(route, _ImpatientSession(session), **options)


class _ImpatientSession:
    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, *arguments: Any, **options: Any) -> Any:
        return _ImpatientResponse(self._session.request(*arguments, **options))


class _ImpatientResponse:
    def __init__(self, request: Any) -> None:
        self._request = request

    async def __aenter__(self) -> Any:
        response = await self._request.__aenter__()
        if response.status == 429 and response.headers.get("Via"):
            data = await _http.json_or_text(response)
            await self._request.__aexit__(None, None, None)
            raise _discord.RateLimited(float(data["retry_after"]))
        return response

    async def __aexit__(self, *error: object) -> None:
        await self._request.__aexit__(*error)
