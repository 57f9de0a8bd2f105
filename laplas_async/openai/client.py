"""``AsyncOpenAI``: openai's client on top of ``LaplasClient``.

It holds settings, and one core client for each key and base URL in use, shared by its copies. It
refuses what it cannot honour with one line that says what to write instead (``unsupported``).
"""

import copy
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, evolve, field

from laplas_async.calls.policy import RetryPolicy
from laplas_async.client import LaplasClient
from laplas_async.errors import ConfigError, LaplasError
from laplas_async.http.transport import ClientSession
from laplas_async.observe.events import Listener
from laplas_async.openai.completions import AsyncCompletions
from laplas_async.openai.errors import ClientClosedError, SettingsError
from laplas_async.openai.models import AsyncModels
from laplas_async.openai.omitted import NOT_GIVEN, given, is_given
from laplas_async.openai.requests import timeouts_from
from laplas_async.openai.response import URL, Request
from laplas_async.openai.unsupported import missing_attribute, refuse_arguments
from laplas_async.pacing.gate import Gate, Pace
from laplas_async.pacing.limits import Limits
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.types import DEFAULT_BASE_URL, DEFAULT_MODEL, ChatCompletion, Model


@define(eq=False)
class _CoreClients:
    """The core clients behind a client and its copies; closed together."""

    options: dict[str, Any] = field(repr=False)
    clients: dict[tuple[str, str], LaplasClient] = field(factory=dict, repr=False)
    is_closed: bool = False

    def get(self, api_key: str, base_url: str) -> LaplasClient:
        """The one for a key and a base URL. Raises ``SettingsError``."""
        client = self.clients.get((api_key, base_url))
        if client is None:
            self.check_open()
            try:
                client = LaplasClient(api_key, base_url, **self.options)
            except ConfigError as error:
                raise SettingsError(error.message) from error
            self.clients[api_key, base_url] = client
        return client

    def check_open(self) -> None:
        """Raise ``ClientClosedError`` once they are closed."""
        if self.is_closed:
            raise ClientClosedError(
                "Cannot send a request, as the client has been closed: make another AsyncOpenAI"
            )

    async def close(self) -> None:
        """Close them for good."""
        self.is_closed = True
        for client in list(self.clients.values()):
            await client.aclose()


class AsyncOpenAI:
    """openai's asynchronous client: ``client.chat.completions.create(...)``, ``client.models``.

    ``api_key`` and ``base_url`` default to ``LAPLAS_API_KEY`` and ``LAPLAS_BASE_URL``, never to
    openai's variables. ``timeout``: seconds or an ``httpx.Timeout``, of one attempt; for a stream
    of each wait for content. ``max_retries``: how often a request is sent again at most,
    rejections for a rate limit included; not given, the core client's policy. ``default_headers``
    and ``default_query`` are sent with each request. ``session``, ``ca_file``, ``ssl_context``,
    ``gate``, ``limits``, ``on_event`` are ``LaplasClient``'s.

    Raises ``SettingsError`` (an ``OpenAIError`` and a ``ConfigError``) for settings that cannot be
    right, ``UnsupportedError`` for those that cannot be honoured.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        webhook_secret: str | None = None,
        base_url: Any = None,
        websocket_base_url: Any = None,
        timeout: Any = NOT_GIVEN,
        max_retries: int | None = None,
        default_headers: Mapping[str, Any] | None = None,
        default_query: Mapping[str, Any] | None = None,
        http_client: Any = None,
        _strict_response_validation: bool = False,
        session: ClientSession | None = None,
        ca_file: str | Path | None = None,
        ssl_context: ssl.SSLContext | None = None,
        gate: Gate | None = None,
        limits: Limits | None = None,
        on_event: Listener | None = None,
        model: str = DEFAULT_MODEL,
    ) -> None:
        refuse_arguments(
            organization=organization,
            project=project,
            webhook_secret=webhook_secret,
            websocket_base_url=websocket_base_url,
            http_client=http_client,
            _strict_response_validation=_strict_response_validation or None,
        )
        if callable(api_key):
            raise SettingsError("api_key: pass the key; a new one takes effect when assigned")
        self._api_key = api_key if api_key is not None else os.environ.get("LAPLAS_API_KEY", "")
        if not self._api_key and api_key is None:  # "" is a key that is assigned later
            raise SettingsError(
                "no API key: set LAPLAS_API_KEY, or pass api_key= (OPENAI_API_KEY is not read, "
                "so that it is not sent to another company)"
            )
        url = base_url if base_url is not None else os.environ.get("LAPLAS_BASE_URL")
        self._base_url = _with_slash(url or DEFAULT_BASE_URL)
        self.timeout = timeout
        self._max_retries = _check_retries(max_retries)
        self._headers = dict(default_headers or {})
        self._query = dict(default_query or {})
        self._clients = _CoreClients(
            {
                "session": session,
                "ca_file": ca_file,
                "ssl_context": ssl_context,
                "gate": gate,
                "limits": limits,
                "on_event": on_event,
                "model": model,
            }
        )
        self._bind()
        if self._api_key:
            self._core()  # whatever is wrong with the settings is raised here

    def _bind(self) -> None:
        self.chat = AsyncChat(AsyncCompletions(self))
        self.beta = AsyncBeta(self.chat)
        self.models = AsyncModels(self._list_models)

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute("AsyncOpenAI", name)

    def __repr__(self) -> str:
        """The endpoint, and never the key."""
        return f"AsyncOpenAI(base_url={str(self._base_url)!r})"

    @property
    def api_key(self) -> str:
        """The key; assigning another takes effect with the next call."""
        return self._api_key

    @api_key.setter
    def api_key(self, key: str) -> None:
        if key:
            self._clients.get(key, str(self._base_url))
        self._api_key = key

    @property
    def base_url(self) -> URL:
        """The base URL, ending in a slash as openai's does; assigning takes effect at once."""
        return self._base_url

    @base_url.setter
    def base_url(self, url: Any) -> None:
        base_url = _with_slash(url)
        if self._api_key:
            self._clients.get(self._api_key, str(base_url))
        self._base_url = base_url

    @property
    def max_retries(self) -> int:
        """How often a request is sent again at most."""
        if self._max_retries is None:
            return self._core().retry.max_attempts - 1
        return self._max_retries

    @max_retries.setter
    def max_retries(self, retries: int) -> None:
        self._max_retries = _check_retries(retries)

    @property
    def organization(self) -> None:
        """None: the service has no organizations."""

    @property
    def project(self) -> None:
        """None: the service has no projects."""

    @property
    def default_headers(self) -> dict[str, Any]:
        """The headers that were set for each request."""
        return dict(self._headers)

    @property
    def default_query(self) -> dict[str, Any]:
        """The query that was set for each request."""
        return dict(self._query)

    @property
    def pace(self) -> Pace:
        """The learned limits of this key, as ``LaplasClient.pace``."""
        return self._core().pace

    def with_options(
        self,
        *,
        api_key: str | None = None,
        base_url: Any = None,
        timeout: Any = NOT_GIVEN,
        max_retries: Any = NOT_GIVEN,
        default_headers: Mapping[str, Any] | None = None,
        set_default_headers: Mapping[str, Any] | None = None,
        default_query: Mapping[str, Any] | None = None,
        set_default_query: Mapping[str, Any] | None = None,
        **refused: Any,
    ) -> Self:
        """A client with other settings over the same connections; closing one closes both.

        Raises as the constructor does.
        """
        refuse_arguments(**refused)
        made = copy.copy(self)
        made._headers = {**self._headers, **(default_headers or {})}  # noqa: SLF001 - a copy of it
        made._query = {**self._query, **(default_query or {})}  # noqa: SLF001
        if set_default_headers is not None:
            made._headers = dict(set_default_headers)  # noqa: SLF001
        if set_default_query is not None:
            made._query = dict(set_default_query)  # noqa: SLF001
        if api_key is not None:
            made.api_key = api_key
        if base_url is not None:
            made.base_url = base_url
        if is_given(timeout):
            made.timeout = timeout
        if is_given(max_retries):
            made._max_retries = _check_retries(max_retries)  # noqa: SLF001
        made._bind()  # noqa: SLF001
        return made

    copy = with_options

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._clients.is_closed

    async def close(self) -> None:
        """Close the connections for good; running calls fail. Safe to call twice."""
        await self._clients.close()

    async def __aenter__(self) -> Self:
        """The client; leaving the block closes it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    # --- what the completions need ------------------------------------------------------------

    @property
    def request(self) -> Request:
        """What a call sends: the method and the URL, as errors and raw responses have them."""
        return Request("POST", f"{self._base_url}chat/completions")

    async def complete(self, arguments: dict[str, Any], timeout: Any) -> ChatCompletion:
        """Call the core's ``complete`` with this client's settings."""
        return await self._core().complete(**self._settings(arguments, timeout, stream=False))

    async def start(self, arguments: dict[str, Any], timeout: Any) -> ChatStream:
        """Call the core's ``stream`` with this client's settings, and begin it."""
        settings = self._settings(arguments, timeout, stream=True)
        stream: ChatStream = self._core().stream(**settings)
        await stream.start()
        return stream

    def _settings(self, arguments: dict[str, Any], timeout: Any, *, stream: bool) -> dict[str, Any]:
        self._clients.check_open()
        timeout = timeout if is_given(timeout) else self.timeout
        headers = {name.lower(): value for name, value in self._headers.items()}
        headers |= {name.lower(): value for name, value in arguments["extra_headers"].items()}
        query = given(self._query) | (arguments["extra_query"] or {})
        return arguments | {
            "extra_headers": {n: v for n, v in given(headers).items() if v is not None},
            "extra_query": query or None,
            "timeouts": timeouts_from(timeout, self._core().timeouts, stream=stream),
            "retry": self._retry_policy(),
        }

    def _retry_policy(self) -> RetryPolicy | None:
        retries = self._max_retries
        if retries is None:
            return None
        base = self._core().retry

        def may_retry(error: LaplasError) -> bool:
            return len(error.attempts) <= retries and base.retries(error)

        return evolve(base, max_attempts=retries + 1, max_rejections=retries, when=may_retry)

    async def _list_models(self) -> list[Model]:
        self._clients.check_open()
        return await self._core().models()

    def _core(self) -> LaplasClient:
        if not self._api_key:
            raise SettingsError(
                'api_key="": assign a key before the first call: client.api_key = key'
            )
        return self._clients.get(self._api_key, str(self._base_url))


def _with_slash(url: Any) -> URL:
    return URL(str(url).rstrip("/") + "/")


AsyncClient = AsyncOpenAI


class AsyncChat:
    """``client.chat``."""

    def __init__(self, completions: AsyncCompletions) -> None:
        self.completions = completions

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute("AsyncChat", name)


class AsyncBeta:
    """``client.beta``: ``chat.completions.parse`` and ``stream`` by their earlier names."""

    def __init__(self, chat: AsyncChat) -> None:
        self.chat = chat

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute("AsyncBeta", name)


def _check_retries(retries: Any) -> int | None:
    if retries is not None and (type(retries) is not int or retries < 0):
        raise SettingsError(f"max_retries={retries!r}: must be an integer, at least 0")
    return retries
