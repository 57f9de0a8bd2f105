"""The only user of aiohttp's client: sends one POST, hands out the response's bytes.

Every aiohttp error is mapped to one of ours here. This module refuses to retry, to pace and to
interpret bodies (``calls``, ``pacing`` and ``wire`` do).
"""

import asyncio
import functools
import inspect
import io
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import yarl
from multidict import CIMultiDict

from laplas_async.errors import (
    APIError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    RequestTimeoutError,
)
from laplas_async.http.endpoint import (
    Secret,
    check_header_value,
    check_headers,
    check_url,
    join_headers,
    keep_large_blocks,
    load_ca,
    make_socket,
)
from laplas_async.http.proxy import (
    SOCKS_SCHEMES,
    environment_proxy,
    is_proxy_error,
    load_socks,
    proxy_errors,
    socks_connector,
)
from laplas_async.wire.codec import prepare, redact
from laplas_async.wire.error_body import api_error, request_id
from laplas_async.wire.rate_headers import reset_delay

ClientSession = aiohttp.ClientSession  # for annotations elsewhere
# Law 5. The largest response held in memory, after decompression: a completion of a million tokens
# with log probabilities fits, a decompression bomb does not. Fixed by test_security.py.
MAX_BODY_BYTES = 64 * 1024 * 1024
# Enough of an error body to find its message; the rest may be a page of any size.
_MAX_ERROR_BYTES = 64 * 1024
# Shorter keys ("test", "x") are words that occur in ordinary messages: redacting them would garble
# those, and no real key is that short.
_SHORTEST_SECRET = 8

# Bytes. Longer bodies are written in pieces, so that the loop can do other work between them;
# aiohttp warns above 1 MiB. Fixed by test_transport.py.
_LARGE_BODY = 512 * 1024
# Bytes of one response header, and how many headers. Gateways add tokens, policies and traces:
# beyond aiohttp's 8,190 bytes, next to a completion that has been produced and billed.
_MAX_HEADER_BYTES = 64 * 1024
_HEADER_LIMITS: dict[str, Any] = {
    name: limit
    for name, limit in (
        ("max_line_size", _MAX_HEADER_BYTES),
        ("max_field_size", _MAX_HEADER_BYTES),
        ("max_headers", 1024),
    )
    if name in inspect.signature(aiohttp.ClientSession).parameters  # the last is new in 3.14
}

TRANSFER_ERRORS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError)


class Response:
    """A response whose headers have been received: status, headers, and its bytes on arrival."""

    __slots__ = ("_reason", "_response", "_secret", "headers", "readany", "request_id", "status")

    def __init__(self, response: aiohttp.ClientResponse, secret: str) -> None:
        self._response = response
        self.readany = response.content.readany
        self._secret = secret if len(secret) >= _SHORTEST_SECRET else ""
        self._reason: LaplasError | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.request_id: str | None = redact(request_id(response.headers), self._secret)

    @property
    def plain_headers(self) -> dict[str, str]:
        """The headers as plain data: lower-case names, the key redacted."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        redacted: dict[str, str] = redact(headers, self._secret)
        return redacted

    @property
    def reset_delay(self) -> float | None:
        """Seconds until the service accepts another request, from its headers; None: now."""
        return reset_delay(self.headers, now=time.time())

    async def read(self) -> bytes:
        """Return the next bytes as soon as there are any; b"" at the clean end.

        Raises ``ConnectionFailedError`` if the transfer breaks, after everything received before
        has been returned. Cancelling loses nothing: the next call returns the bytes.
        """
        try:
            return await self.readany()
        except TRANSFER_ERRORS as error:
            return self.rest(error)

    def rest(self, error: Exception) -> bytes:
        """Return what was received before one of ``TRANSFER_ERRORS``; raise it when that is empty.

        For callers awaiting ``readany`` directly instead of ``read``, which saves a coroutine per
        token.
        """
        # aiohttp reuses one exception object for every connection closed from this side. Its
        # traceback would keep the frames, and so this stream, alive as long as the process.
        error.__traceback__ = None
        if self._reason is not None:
            raise self._reason from None
        # aiohttp raises the error before it returns what it has buffered: text would be lost.
        content = self._response.content
        content.set_exception(None)  # type: ignore[arg-type]
        rest = content.read_nowait()
        content.set_exception(error)
        if rest:
            return rest
        failure = _map_error(error, self.request_id)
        raise failure from failure.__cause__

    async def read_all(self, limit: int = MAX_BODY_BYTES, *, truncate: bool = False) -> bytes:
        """Return the whole body, at most ``limit`` bytes of it (decompressed).

        A longer one raises ``APIError`` or, with ``truncate``, is cut off and the connection
        closed. Raises as ``read`` does. Cancelling leaves the response open: ``close`` it.
        """
        pieces: list[bytes] = []
        size = 0
        while data := await self.read():
            pieces.append(data)
            size += len(data)
            if size > limit:
                if truncate:
                    self.close()
                    break
                raise APIError(
                    f"the response is larger than {limit} bytes",
                    status=self.status,
                    request_id=self.request_id,
                )
        return b"".join(pieces)

    async def error(self) -> APIError:
        """Return the error that this response reports, reading as much of the body as is useful.

        Cancelling leaves the response open: ``close`` it.
        """
        try:
            raw = await self.read_all(_MAX_ERROR_BYTES, truncate=True)
        except ConnectionFailedError:
            raw = b""  # the status alone identifies the error
        return self.error_from(raw)

    def error_from(self, raw: bytes, *, status: int | None = None) -> APIError:
        """Return the error in a body. ``status``: one given in the body, instead of HTTP's."""
        status = self.status if status is None else status
        return api_error(status, self.headers, raw, now=time.time(), secret=self._secret)

    def redact(self, value: Any) -> Any:
        """Return text or plain JSON values without the key, in case the service echoed it."""
        return redact(value, self._secret)

    @property
    def ended(self) -> bool:
        """Whether the transfer ended cleanly and everything was read."""
        content = self._response.content
        return content.at_eof() and content.exception() is None

    def close(self, reason: LaplasError | None = None) -> None:
        """End the transfer now; a task waiting in ``read`` raises ``reason``. Never blocks.

        Safe from any task of the loop. A response read to its end has already returned its
        connection to the pool, which keeps it.
        """
        if self._reason is None:
            self._reason = reason
        self._response.close()


class Transport:
    """One endpoint: its URL, key, headers, and an aiohttp session opened on first use.

    ``on_connect`` is called with the seconds that the first connections took to open.
    A caller's ``session`` is used as it is (its proxies, TLS and limits) and never closed.
    Raises ``ConfigError``.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        headers: Mapping[str, str] | None = None,
        session: aiohttp.ClientSession | None = None,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | Path | None = None,
        on_connect: Callable[[float], None] | None = None,
    ) -> None:
        self.url = check_url(base_url)
        self._secret = Secret(check_header_value("api_key", api_key))
        if not self._secret:
            raise ConfigError("api_key: must not be empty")
        own = {
            "Authorization": Secret(f"Bearer {self._secret}"),
            "Content-Type": "application/json",
        }
        configured = check_headers(headers)
        # Streams are not compressed: a compressing proxy collects tokens before it sends any.
        self._stream_headers = join_headers(
            {"Accept": "text/event-stream", "Accept-Encoding": "identity"}, own, configured
        )
        self._plain_headers = join_headers({"Accept": "application/json"}, own, configured)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigError("ssl_context: must be an ssl.SSLContext")
        if session is not None and (ssl_context is not None or ca_file is not None):
            raise ConfigError("ssl_context, ca_file: set them on the session's own connector")
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigError("session: must be an aiohttp.ClientSession")
        self._ssl_context = ssl_context
        self._ca_file = ca_file
        self._on_connect = on_connect
        self._given = session
        self._session: aiohttp.ClientSession | None = None  # until the first request
        # A second session on the same connections, used until the first of them has opened. It is
        # kept afterwards: aiohttp warns about a session that is dropped before its connector.
        self._measuring: aiohttp.ClientSession | None = None
        self._measured = False
        self._proxy: yarl.URL | None = None
        self._socks_proxy: yarl.URL | None = None
        self._socks: Any = None  # the module aiohttp_socks, once it is needed
        self._errors: tuple[type[Exception], ...] = TRANSFER_ERRORS
        self._process = 0  # that opened the session
        self._lock = asyncio.Lock()

    async def send(
        self,
        body: bytes,
        *,
        stream: bool,
        connect_timeout: float | None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request body; return once the response's headers are here, whatever the status.

        ``connect_timeout`` in seconds, None for no bound; ``query`` is added to the URL. Raises
        ``ConnectionFailedError``, ``RequestTimeoutError`` (phase connect), ``ConfigError``.
        Cancelling closes the connection.
        """
        return await self._request(
            "POST",
            self.url.with_query(query) if query else self.url,
            body,
            headers=self._stream_headers if stream else self._plain_headers,
            extra_headers=headers,
            connect_timeout=connect_timeout,
        )

    async def get(self, path: str, *, connect_timeout: float | None) -> Response:
        """Get another endpoint of the service, ``path`` relative to the base URL; as ``send``."""
        return await self._request(
            "GET",
            self.url.parent.parent / path,
            None,
            headers=self._plain_headers,
            extra_headers=None,
            connect_timeout=connect_timeout,
        )

    async def _request(
        self,
        method: str,
        url: yarl.URL,
        body: bytes | None,
        *,
        headers: CIMultiDict[str],
        extra_headers: Mapping[str, str] | None,
        connect_timeout: float | None,
    ) -> Response:
        session = self._session
        if session is None or (session.closed and self._given is None):
            session = await self._open()
        if self._measuring is not None and not self._measured:
            session = self._measuring
        failure: LaplasError
        try:
            response = await session.request(
                method,
                url,
                data=body if body is None or len(body) <= _LARGE_BODY else io.BytesIO(body),
                headers=join_headers(headers, extra_headers) if extra_headers else headers,
                # Law 7. Following one would send the key elsewhere or turn the POST into a GET;
                # the error names the new location instead.
                allow_redirects=False,
                proxy=self._proxy,
                raise_for_status=False,
                timeout=_client_timeout(connect_timeout, owned=self._given is None),
                **_HEADER_LIMITS,
            )
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"base_url: {error}") from error
        except self._errors as error:
            failure = _map_error(error, None)
        except (RuntimeError, ValueError) as error:  # a caller's session: closed, or misconfigured
            raise ConfigError(f"the aiohttp session cannot send: {error}") from error
        else:
            return Response(response, self._secret)
        raise failure  # outside of the except block, so that it has no context but its cause

    async def close(self) -> None:
        """Close the session, unless it is the caller's. Safe to call twice.

        In a forked child it only forgets the session: the sockets are registered with an event loop
        that the parent still uses, and closing them here would stop that.
        """
        session = self._session
        self._session = None
        if self._process != os.getpid():
            return
        if self._given is None and session is not None:
            await session.close()  # and with its connections, the measuring one

    def _observe_connect(self, seconds: float) -> None:
        self._measured = True
        if self._on_connect is not None:
            self._on_connect(seconds)

    async def _open(self) -> aiohttp.ClientSession:
        async with self._lock:
            if self._session is None or self._session.closed:
                await asyncio.to_thread(self._load)
                self._process = os.getpid()
                if self._given is not None:
                    self._session = self._given
                    return self._session
                connector = self._connector()
                cookies = aiohttp.DummyCookieJar()
                self._session = aiohttp.ClientSession(connector=connector, cookie_jar=cookies)
                if self._on_connect is not None and not self._measured:
                    # Tracing costs each request some microseconds, so only this second session,
                    # on the same connections, traces, and only while there is something to learn.
                    self._measuring = aiohttp.ClientSession(
                        connector=connector,
                        connector_owner=False,
                        cookie_jar=cookies,
                        trace_configs=[_trace(self._observe_connect)],
                    )
            return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        options: dict[str, Any] = {
            "limit": 0,  # the gate decides how many run at once
            "ssl": self._ssl_context if self._ssl_context is not None else True,
        }
        if self._socks_proxy is None:
            return aiohttp.TCPConnector(socket_factory=make_socket, **options)
        connector: aiohttp.BaseConnector
        connector = socks_connector(self._socks, self._socks_proxy, options)
        return connector

    def _load(self) -> None:
        """Do everything that blocks before the first request, in a thread (law 6).

        The environment's proxies and the certificates are in files, on some systems in a registry.
        aiohttp's ``trust_env`` would also read ``.netrc``, once per request and on the loop, and
        send its password instead of the key.
        """
        prepare()
        if self._given is not None:
            return  # it has its own proxies and certificates
        proxy = environment_proxy(self.url)
        if proxy is not None and proxy.scheme in SOCKS_SCHEMES:
            self._socks_proxy, self._socks = proxy, load_socks()
            self._errors = (*TRANSFER_ERRORS, *proxy_errors(self._socks))
        else:
            self._proxy = proxy
        if self._ca_file is not None and self._ssl_context is None:
            self._ssl_context = load_ca(self._ca_file)
        keep_large_blocks()


def _trace(on_connect: Callable[[float], None]) -> aiohttp.TraceConfig:
    """Report how long each new connection took to open: name look-up, TCP and TLS."""

    async def begin(_session: object, context: SimpleNamespace, _parameters: object) -> None:
        context.started = time.monotonic()

    async def end(_session: object, context: SimpleNamespace, _parameters: object) -> None:
        on_connect(time.monotonic() - context.started)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(begin)
    trace.on_connection_create_end.append(end)
    return trace


@functools.lru_cache(maxsize=16)
def _client_timeout(connect: float | None, *, owned: bool) -> aiohttp.ClientTimeout:
    # In a caller's session, "connect" would include waiting for a place in its pool.
    if owned:
        return aiohttp.ClientTimeout(total=None, connect=connect)
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


def _map_error(error: BaseException, request_id: str | None) -> LaplasError:
    """Map one of aiohttp's errors to ours, its cause. The only place that does."""
    # Law 7. A parser error quotes what the server sent, which may echo the key: so it is no cause,
    # and of its message only the part before the quotation is kept.
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionFailedError(
            "the connection broke before the response was complete", request_id=request_id
        )
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.http.HttpProcessingError) and (
        not isinstance(error, aiohttp.ClientHttpProxyError)
    ):
        fault = re.split(r"\n|\bb?['\"]", error.message.strip())[0].strip(" :")
        if fault.startswith(("Got more than", "Too many headers")):
            return ConnectionFailedError(
                f"the response's headers are larger than the limit of {_MAX_HEADER_BYTES} bytes",
                request_id=request_id,
                permanent=True,  # the service's next response would be as large, and billed too
            )
        return ConnectionFailedError(
            f"the response is not valid HTTP: {fault or type(error).__name__}",
            request_id=request_id,
        )
    failure = _map_connection_error(error, request_id)
    failure.__cause__ = error
    return failure


def _map_connection_error(error: BaseException, request_id: str | None) -> LaplasError:
    message = " ".join(str(error).split()) or type(error).__name__
    match error:
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return RequestTimeoutError(f"could not connect in time: {message}", phase="connect")
        case (
            aiohttp.ClientConnectorCertificateError()
            | aiohttp.ClientConnectorSSLError()
            | ssl.SSLCertVerificationError()  # through a SOCKS proxy
        ):
            return ConnectionFailedError(
                f"the certificate is not trusted: {message} (for a private authority, pass "
                "ca_file=)",
                sent=False,
                permanent=True,
            )
        case _ if is_proxy_error(error):
            return ConnectionFailedError(f"could not connect by the proxy: {message}", sent=False)
        case aiohttp.ClientConnectorError() | aiohttp.ClientProxyConnectionError():
            return ConnectionFailedError(f"could not connect: {message}", sent=False)
        case aiohttp.ClientHttpProxyError():
            return ConnectionFailedError(
                f"the proxy refused the connection: {message}", sent=False, permanent=True
            )
    return ConnectionFailedError(f"the connection broke: {message}", request_id=request_id)
