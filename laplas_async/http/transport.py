"""The aiohttp client, and nothing else of the library knows it.

Sends one POST and hands out the answer's bytes; maps every error of aiohttp to ours. It refuses to
retry, to pace and to understand a body (``calls``, ``pacing``, ``wire``).
"""

import asyncio
import functools
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
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
    check_header,
    check_headers,
    check_url,
    environment_proxy,
    load_ca,
    make_socket,
)
from laplas_async.wire.codec import without
from laplas_async.wire.error_body import api_error, request_id
from laplas_async.wire.rate_headers import pause_told

ClientSession = aiohttp.ClientSession  # for annotations elsewhere
MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_SHORTEST_SECRET = 8


TRANSFER_ERRORS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError)


class Response:
    """An answer that has begun: status, headers, and its bytes as they come."""

    __slots__ = ("_reason", "_response", "_secret", "headers", "readany", "request_id", "status")

    def __init__(self, response: aiohttp.ClientResponse, secret: str) -> None:
        self._response = response
        self.readany = response.content.readany
        # A word is no key: taking it out would garble what the service says.
        self._secret = secret if len(secret) >= _SHORTEST_SECRET else ""
        self._reason: LaplasError | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.request_id: str | None = without(request_id(response.headers), self._secret)

    @property
    def pause(self) -> float | None:
        """Seconds for which the service told that it takes no more; None: it did not."""
        return pause_told(self.headers, now=time.time())

    async def read(self) -> bytes:
        """The next bytes, as soon as there are any; b"" at the clean end.

        Raises ``ConnectionFailedError`` when the transfer breaks, after all that had come was
        given. Cancelling it loses nothing: the bytes come with the next call.
        """
        try:
            return await self.readany()
        except TRANSFER_ERRORS as error:
            return self.rest(error)

    def rest(self, error: Exception) -> bytes:
        """What came before one of ``TRANSFER_ERRORS``; raises it, as ours, when that was given.

        For who awaits ``readany`` itself, in place of ``read``: a step less for each token.
        """
        # aiohttp has one error for all connections that are closed from here. Its traceback would
        # keep the frames, and so this stream, for as long as the process lives.
        error.__traceback__ = None
        if self._reason is not None:
            raise self._reason from None
        # aiohttp tells the error before it gives what it had buffered: text would be lost.
        content = self._response.content
        content.set_exception(None)  # type: ignore[arg-type]
        rest = content.read_nowait()
        content.set_exception(error)
        if rest:
            return rest
        raise _mapped(error, self.request_id) from error

    async def read_all(self, limit: int = MAX_BODY_BYTES, *, cut: bool = False) -> bytes:
        """The whole body. Past ``limit`` bytes (decompressed): ``APIError``, or cut off there."""
        pieces: list[bytes] = []
        size = 0
        while data := await self.read():
            pieces.append(data)
            size += len(data)
            if size > limit:
                if cut:
                    self.close()
                    break
                raise APIError(
                    f"the answer is larger than {limit} bytes",
                    status=self.status,
                    request_id=self.request_id,
                )
        return b"".join(pieces)

    async def error(self) -> APIError:
        """The error that this answer is. Reads the body as far as it is of use, then lets go."""
        try:
            raw = await self.read_all(_MAX_ERROR_BYTES, cut=True)
        except ConnectionFailedError:
            raw = b""  # the status alone says enough
        return self.error_from(raw)

    def error_from(self, raw: bytes, *, status: int | None = None) -> APIError:
        """The error that a body tells; ``status``: one that the body tells, in place of HTTP's."""
        status = self.status if status is None else status
        return api_error(status, self.headers, raw, now=time.time(), secret=self._secret)

    def redact(self, value: Any) -> Any:
        """A text or plain JSON values without the key, should the service have echoed it."""
        return without(value, self._secret)

    @property
    def ended(self) -> bool:
        """Whether the transfer has come to its clean end, and all of it was read."""
        content = self._response.content
        return content.at_eof() and content.exception() is None

    def close(self, reason: LaplasError | None = None) -> None:
        """End it now, from any task; whoever waits in ``read`` gets ``reason``. Never waits.

        An answer read to its end has given its connection back already, and keeps it.
        """
        if self._reason is None:
            self._reason = reason
        self._response.close()


class Transport:
    """One endpoint: its URL, key, headers, and the aiohttp session, opened when first used.

    ``on_connect`` is told the seconds that the first connections took.
    A ``session`` of the caller's is used as it is (its proxies, TLS and limits) and never closed.
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
        self._secret = Secret(check_header("api_key", api_key))
        if not self._secret:
            raise ConfigError("api_key: must not be empty")
        own = {
            "Authorization": Secret(f"Bearer {self._secret}"),
            "Content-Type": "application/json",
        }
        given = check_headers(headers)
        # For streams no compression: a proxy that compresses gathers tokens before it sends them.
        self._stream_headers = _join(
            {"Accept": "text/event-stream", "Accept-Encoding": "identity"}, own, given
        )
        self._plain_headers = _join({"Accept": "application/json"}, own, given)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigError("ssl_context: must be an ssl.SSLContext")
        if session is not None and (ssl_context is not None or ca_file is not None):
            raise ConfigError("ssl_context, ca_file: set them on the session's own connector")
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigError("session: must be an aiohttp.ClientSession")
        self._ssl_context = ssl_context
        self._ca_file = ca_file
        self._on_connect = on_connect
        self._session = session
        self._owned = session is None
        self._listening: aiohttp.ClientSession | None = None  # used until the first has connected
        self._heard = False
        self._proxy: str | None = None
        self._lock = asyncio.Lock()

    async def post(
        self,
        body: bytes,
        *,
        stream: bool,
        connect_timeout: float | None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send it; return when the answer's headers are there, whatever the status.

        Raises ``ConnectionFailedError``, ``RequestTimeoutError`` (phase connect), ``ConfigError``.
        Cancelling it closes the connection.
        """
        session = self._session
        if session is None or (self._owned and session.closed):
            session = await self._open()
        if self._listening is not None and not self._heard:
            session = self._listening
        own = self._stream_headers if stream else self._plain_headers
        try:
            response = await session.post(
                self.url,
                data=body,
                headers=_join(own, headers) if headers else own,
                # A redirect would carry the key, or turn the POST into a GET: it is told instead.
                allow_redirects=False,
                proxy=self._proxy,
                raise_for_status=False,
                timeout=_client_timeout(connect_timeout, owned=self._owned),
            )
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"base_url: {error}") from error
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError) as error:
            raise _mapped(error, None) from error
        except (RuntimeError, ValueError) as error:  # the caller's session: closed, or at odds
            raise ConfigError(f"the aiohttp session refuses: {error}") from error
        return Response(response, self._secret)

    async def close(self) -> None:
        """Close the session, unless it is the caller's. Safe to call twice."""
        session = self._session
        if self._owned and session is not None:
            self._session = None
            await session.close()  # with the connections, so the other one is closed too

    def _hear(self, seconds: float) -> None:
        self._heard = True
        if self._on_connect is not None:
            self._on_connect(seconds)

    async def _open(self) -> aiohttp.ClientSession:
        async with self._lock:
            if self._session is None or self._session.closed:
                # The environment's proxies (on some systems the registry's), and certificates:
                # files, so off the loop. aiohttp's trust_env would also read .netrc, for each
                # request, and fail on a host that is in it.
                self._proxy = await asyncio.to_thread(environment_proxy, self.url)
                if self._ca_file is not None and self._ssl_context is None:
                    self._ssl_context = await asyncio.to_thread(load_ca, self._ca_file)
                _keep_large_blocks()
                connector = aiohttp.TCPConnector(
                    limit=0,  # the gate decides how many at once
                    ssl=self._ssl_context if self._ssl_context is not None else True,
                    socket_factory=make_socket,
                )
                cookies = aiohttp.DummyCookieJar()
                self._session = aiohttp.ClientSession(connector=connector, cookie_jar=cookies)
                if self._on_connect is not None:
                    # Tracing costs each request some microseconds, so another session on the same
                    # connections does it, for as long as there is something to learn.
                    self._listening = aiohttp.ClientSession(
                        connector=connector,
                        connector_owner=False,
                        cookie_jar=cookies,
                        trace_configs=[_trace(self._hear)],
                    )
            return self._session


def _keep_large_blocks() -> None:
    """Let the C library keep blocks of the size that asyncio reads into (256 KiB).

    glibc maps such a block anew for each read, which costs more than all else that a token does,
    until one of that size was freed once: this one. Elsewhere it does nothing.
    """
    bytes(512 * 1024)


def _trace(on_connect: Callable[[float], None]) -> aiohttp.TraceConfig:
    """Tell how long each new connection took: name look-up, TCP and TLS."""

    async def begin(_session: object, context: SimpleNamespace, _parameters: object) -> None:
        context.began = time.monotonic()

    async def end(_session: object, context: SimpleNamespace, _parameters: object) -> None:
        on_connect(time.monotonic() - context.began)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(begin)
    trace.on_connection_create_end.append(end)
    return trace


@functools.lru_cache(maxsize=16)
def _client_timeout(connect: float | None, *, owned: bool) -> aiohttp.ClientTimeout:
    # In a caller's session, "connect" would count waiting for its pool too.
    if owned:
        return aiohttp.ClientTimeout(total=None, connect=connect)
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


def _join(*headers: Mapping[str, str]) -> CIMultiDict[str]:
    """One header of a name, however it is spelled: the last one given."""
    joined: CIMultiDict[str] = CIMultiDict()
    for some in headers:
        joined.update(some)
    return joined


def _mapped(error: BaseException, id_: str | None) -> LaplasError:
    """The one place where aiohttp's errors become ours."""
    words = " ".join(str(error).split()) or type(error).__name__
    match error:
        case aiohttp.ClientPayloadError():
            return ConnectionFailedError("the connection broke inside the answer", request_id=id_)
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return RequestTimeoutError(f"could not connect in time: {words}", phase="connect")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return ConnectionFailedError(
                f"no trusted connection: {words} (a private authority? pass ca_file=)",
                sent=False,
                permanent=True,
            )
        case aiohttp.ClientConnectorError() | aiohttp.ClientProxyConnectionError():
            return ConnectionFailedError(f"could not connect: {words}", sent=False)
        case aiohttp.ClientHttpProxyError():
            return ConnectionFailedError(f"the proxy refused: {words}", sent=False, permanent=True)
        case aiohttp.ClientResponseError() | aiohttp.http.HttpProcessingError():
            return ConnectionFailedError(f"the answer is not HTTP: {words}", request_id=id_)
    return ConnectionFailedError(f"the connection broke: {words}", request_id=id_)
