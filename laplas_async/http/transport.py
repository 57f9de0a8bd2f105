"""The requests of one endpoint over aiohttp's client, which only ``http`` knows.

It refuses to retry, to pace and to interpret bodies (``calls``, ``pacing`` and ``wire`` do).
"""

import asyncio
import functools
import inspect
import io
import os
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import yarl
from attrs import frozen
from multidict import CIMultiDict

from laplas_async.errors import (
    ConfigError,
    LaplasError,
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
    load_socks,
    proxy_errors,
    socks_connector,
)
from laplas_async.http.response import MAX_HEADER_BYTES, TRANSFER_ERRORS, Response, map_error
from laplas_async.wire.codec import prepare

ClientSession = aiohttp.ClientSession  # for annotations elsewhere
# Bytes. Longer bodies are written in pieces, so that the loop can do other work between them;
# aiohttp warns above 1 MiB. Fixed by test_transport.py.
_LARGE_BODY = 512 * 1024
_HEADER_LIMITS: dict[str, Any] = {
    name: limit
    for name, limit in (
        ("max_line_size", MAX_HEADER_BYTES),
        ("max_field_size", MAX_HEADER_BYTES),
        ("max_headers", 1024),
    )
    if name in inspect.signature(aiohttp.ClientSession).parameters  # the last is new in 3.14
}


@frozen
class _Route:
    """How the endpoint is reached: directly, or by an HTTP or a SOCKS proxy."""

    proxy: yarl.URL | None = None
    socks_proxy: yarl.URL | None = None
    socks: Any = None  # the module aiohttp_socks, if it is needed
    errors: tuple[type[Exception], ...] = TRANSFER_ERRORS  # that break a request on this route


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
        self._route = _Route()
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
                proxy=self._route.proxy,
                raise_for_status=False,
                timeout=_client_timeout(connect_timeout, owned=self._given is None),
                **_HEADER_LIMITS,
            )
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"base_url: {error}") from error
        except self._route.errors as error:
            failure = map_error(error, None)
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
        route = self._route
        if route.socks_proxy is None:
            return aiohttp.TCPConnector(socket_factory=make_socket, **options)
        connector: aiohttp.BaseConnector
        connector = socks_connector(route.socks, route.socks_proxy, options)
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
            socks = load_socks()
            errors = (*TRANSFER_ERRORS, *proxy_errors(socks))
            self._route = _Route(socks_proxy=proxy, socks=socks, errors=errors)
        else:
            self._route = _Route(proxy)
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
