"""A response of aiohttp's client: its status, headers and bytes, and its errors as ours.

Every aiohttp error is mapped to an error of this library here. This module refuses to send
anything and to interpret bodies (``transport`` and ``wire`` do).
"""

import asyncio
import os
import re
import ssl
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from laplas_async.errors import (
    APIError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    RequestTimeoutError,
)
from laplas_async.http.proxy import is_proxy_error
from laplas_async.wire.codec import redact
from laplas_async.wire.error_body import api_error, request_id
from laplas_async.wire.rate_headers import reset_delay

# Law 5. The largest response held in memory, after decompression: a completion of a million tokens
# with log probabilities fits, a decompression bomb does not. Fixed by test_security.py.
MAX_BODY_BYTES = 64 * 1024 * 1024
# Enough of an error body to find its message; the rest may be a page of any size.
_MAX_ERROR_BYTES = 64 * 1024
# Shorter keys ("test", "x") are words that occur in ordinary messages: redacting them would garble
# those, and no real key is that short.
_SHORTEST_SECRET = 8
# Bytes of one response header, and how many headers. Gateways add tokens, policies and traces:
# beyond aiohttp's 8,190 bytes, next to a completion that has been produced and billed.
MAX_HEADER_BYTES = 64 * 1024
# Seconds between two looks at a connection; the framing of a response is hardly ever invalid.
_CHECK_SECONDS = 2.0
TRANSFER_ERRORS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError)


class Response:
    """A response whose headers have been received: status, headers, and its bytes on arrival."""

    __slots__ = (
        "_connection",
        "_process",
        "_reason",
        "_response",
        "_secret",
        "_timer",
        "headers",
        "readany",
        "request_id",
        "status",
    )

    def __init__(self, response: aiohttp.ClientResponse, secret: str) -> None:
        self._response = response
        self._process = os.getpid()
        self._connection = response.connection  # None if everything was received already
        self._timer: asyncio.Handle | None = None
        self.readany = response.content.readany
        self._secret = secret if len(secret) >= _SHORTEST_SECRET else ""
        self._reason: LaplasError | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.request_id: str | None = redact(request_id(response.headers), self._secret)

    @property
    def plain_headers(self) -> dict[str, str]:
        """The headers as plain data: lower-case names, the key redacted."""
        secret = self._secret
        if not secret:
            return {name.lower(): value for name, value in self.headers.items()}
        # Without ``redact``, whose recursion would be a tenth of the cost of a plain call.
        return {
            name.lower().replace(secret, "***"): value.replace(secret, "***")
            for name, value in self.headers.items()
        }

    @property
    def reset_delay(self) -> float | None:
        """Seconds until the service accepts another request, from its headers; None: now."""
        return reset_delay(self.headers, now=time.time())

    async def read(self) -> bytes:
        """Return the next bytes as soon as there are any; b"" at the clean end.

        Raises ``ConnectionFailedError`` if the transfer breaks, after everything received before
        has been returned; ``ConfigError`` in a forked child. Cancelling loses nothing: the next
        call returns the bytes.
        """
        if os.getpid() != self._process:
            raise ConfigError(
                "this response belongs to the process from which this one was forked; make a "
                "LaplasClient in the child"
            )
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
        failure = map_error(error, self.request_id)
        raise failure from failure.__cause__

    def watch(self) -> None:
        """From now on, notice every few seconds if the connection was lost without an error.

        aiohttp closes a connection with invalid chunked framing and reports that to nobody who is
        reading: without this, the reader would wait for its timeout.
        """
        if self._connection is not None and self._timer is None:
            self._check_later()

    def _check_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_CHECK_SECONDS, self._check)

    def _check(self) -> None:
        content, connection = self._response.content, self._connection
        if connection is None or content.is_eof() or content.exception() is not None:
            return
        transport = connection.transport
        if transport is None or transport.is_closing():
            content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))
        else:
            self._check_later()

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def read_all(self, limit: int = MAX_BODY_BYTES, *, truncate: bool = False) -> bytes:
        """Return the whole body, at most ``limit`` bytes of it (decompressed).

        A longer one raises ``APIError`` or, with ``truncate``, is cut off and the connection
        closed. Raises as ``read`` does. Cancelling leaves the response open: ``close`` it.
        """
        pieces: list[bytes] = []
        size = 0
        self.watch()
        try:
            while True:
                try:
                    data = await self.readany()
                except TRANSFER_ERRORS as error:
                    data = self.rest(error)
                if not data:
                    break
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
        finally:
            self._stop_watching()
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

        Safe from any task of the loop. In a forked child it does nothing: the socket belongs to the
        parent's event loop, which closing it here would stop. A response read to its end has
        already returned its connection to the pool, which keeps it.
        """
        if self._reason is None:
            self._reason = reason
        self._stop_watching()
        if os.getpid() == self._process:
            self._response.close()


def map_error(error: BaseException, request_id: str | None) -> LaplasError:
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
                f"the response's headers are larger than the limit of {MAX_HEADER_BYTES} bytes",
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
