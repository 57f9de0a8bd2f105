"""``PacingTransport``: our gate underneath libraries that insist on openai's own client.

    http_client = httpx.AsyncClient(transport=PacingTransport(gate=gate))
    client = openai.AsyncOpenAI(http_client=http_client, max_retries=0)

Every request waits for its turn; a 429 teaches the gate and waits for another. It imports httpx or
httpx2, whichever the first request is of. It refuses to retry anything but a 429: any other
failure is the client's above it to judge.
"""

import asyncio
import functools
import sys
import time
from collections.abc import AsyncIterator, Mapping
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from laplas_async.calls.policy import RetryPolicy
from laplas_async.errors import APIError, ConfigError, QuotaExceededError
from laplas_async.pacing.gate import Gate, Permit
from laplas_async.pacing.reservation import RequestSize
from laplas_async.wire.codec import DecodeError, loads
from laplas_async.wire.error_body import api_error
from laplas_async.wire.rate_headers import reset_delay
from laplas_async.wire.sse import SSEParser

_LIBRARIES = ("httpx", "httpx2")


class PacingTransport:
    """An asynchronous transport for httpx and httpx2 that sends when the gate says so.

    ``gate``: one that other clients of the same service and key share; None: its own.
    ``transport``: the one that sends; None: the library's default, without a limit on
    connections, as the gate limits them. ``max_elapsed``: seconds after which a request that is
    still rejected gets its 429; a ``Retry-After`` beyond them gets it at once, as does a quota.
    ``guard_streams``: an event stream that ends with neither ``finish_reason`` nor ``[DONE]``
    raises the library's ``RemoteProtocolError`` instead of looking whole.

    Pass ``max_retries=0`` to the client above, which would otherwise wait and count on its own.
    Cancelling a request returns its place at the gate. Belongs to one event loop.
    """

    def __init__(
        self,
        gate: Gate | None = None,
        *,
        transport: Any = None,
        max_elapsed: float = 300.0,
        guard_streams: bool = False,
    ) -> None:
        if gate is not None and not isinstance(gate, Gate):
            raise ConfigError("gate: must be a laplas_async.Gate, or None")
        if isinstance(max_elapsed, bool) or not max_elapsed >= 0:
            raise ConfigError(f"max_elapsed={max_elapsed!r}: must be seconds, at least 0")
        self.gate = gate if gate is not None else Gate()
        self._transport = transport
        self._max_elapsed = max_elapsed
        self._guard_streams = guard_streams

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request when it is its turn; again, after a 429. Called by the library."""
        library = _library_of(request)
        transport = self._transport
        if transport is None:
            transport = self._transport = _default_transport(library)
        body = await request.aread()  # so that it can be sent again
        size = self._size(body)
        gate, policy = self.gate, RetryPolicy()
        delays = policy.delays()
        turn: int | None = None
        first = gate.clock()
        while True:
            permit = await gate.acquire(turn, size=size)
            turn = permit.turn
            try:
                response = await transport.handle_async_request(request)
                if response.status_code != 429:
                    return self._paced(response, permit, library)
                error = await _read_error(response)
            except asyncio.CancelledError:
                permit.release()
                raise
            except BaseException:
                permit.fail()
                gate.publish()
                raise
            if isinstance(error, QuotaExceededError):
                permit.exhaust(error)
                return response
            delay = error.retry_after or 0.0
            # No response holds up the other requests for longer than this, law 3.
            longest = policy.max_retry_after
            permit.reject(None if error.retry_after is None else min(delay, longest))
            gate.publish()
            if not gate.limiter.limits.adaptive:  # the gate does not slow down, so this one does
                delay = max(delay, next(delays))
            if gate.clock() - first + delay > self._max_elapsed:
                return response
            if not gate.limiter.limits.adaptive:
                await asyncio.sleep(delay)

    async def aclose(self) -> None:
        """Close the transport that sends. Called by the library."""
        if self._transport is not None:
            await self._transport.aclose()

    async def __aenter__(self) -> Self:
        """The transport."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close it."""
        await self.aclose()

    def _paced(self, response: Any, permit: Permit, library: str) -> Any:
        """The response, which returns the permit when it is read or closed."""
        kind = response.headers.get("content-type", "")
        guard = None
        if self._guard_streams and response.status_code < 400 and "event-stream" in kind:
            guard = _StreamGuard(plain="content-encoding" not in response.headers)
        if response.status_code < 300:
            delay = reset_delay(response.headers, now=time.time())
            if delay is not None:  # the limit is used up until then
                permit.pause(delay)
        response.stream = _stream_class(library)(
            response.stream, permit, self.gate, status=response.status_code, guard=guard
        )
        return response

    def _size(self, body: bytes) -> RequestSize:
        if self.gate.limiter.limits.tokens_per_minute is None:
            return RequestSize(len(body))
        try:
            fields = loads(body)
        except DecodeError:
            fields = None
        if not isinstance(fields, dict):
            return RequestSize(len(body))
        most = fields.get("max_completion_tokens") or fields.get("max_tokens")
        choices = fields.get("n")
        return RequestSize(
            len(body),
            most if type(most) is int else None,
            choices if type(choices) is int and choices > 0 else 1,
        )


def _library_of(request: Any) -> str:
    name = type(request).__module__.partition(".")[0]
    return name if name in _LIBRARIES else "httpx"


def _import(library: str) -> Any:
    try:
        return sys.modules.get(library) or import_module(library)
    except ModuleNotFoundError:
        raise ConfigError(f"{library} is not installed: pip install {library}") from None


def _default_transport(library: str) -> Any:
    module = _import(library)
    limits = module.Limits(max_connections=None, max_keepalive_connections=100)
    return module.AsyncHTTPTransport(limits=limits)


async def _read_error(response: Any) -> APIError:
    """The error that a 429 is. It is read whole, so its connection is free again."""
    try:
        raw = await response.aread()
    finally:
        await response.aclose()
    headers: Mapping[str, str] = response.headers
    return api_error(429, headers, raw, now=time.time())


class _StreamGuard:
    """Looks for the end of an event stream as it passes. ``plain``: it is not compressed."""

    def __init__(self, *, plain: bool) -> None:
        self._parser = SSEParser() if plain else None
        self.is_ended = not plain

    def feed(self, data: bytes) -> None:
        """Look into the next bytes."""
        if self._parser is None or self.is_ended:
            return
        for event in self._parser.feed(data):
            if not self.is_ended:
                self._look(event.data)

    def finish(self) -> bool:
        """The bytes are at their end: whether the stream was."""
        if self.is_ended or self._parser is None:
            return True
        if (event := self._parser.unfinished()) is not None:
            self._look(event.data)
        return self.is_ended

    def _look(self, data: bytes) -> None:
        if data.startswith(b"[DONE]"):
            self.is_ended = True
        elif b"finish_reason" in data or b"error" in data:
            try:
                chunk = loads(data)
            except DecodeError:
                return
            if isinstance(chunk, dict):  # an error says itself that there is no answer
                choices = chunk.get("choices")
                self.is_ended = bool(chunk.get("error")) or any(
                    isinstance(choice, dict) and choice.get("finish_reason")
                    for choice in (choices if isinstance(choices, list) else ())
                )


class _PacedStream:
    """A response's bytes; returns the permit when they were read, or when it is closed."""

    _library = ""

    def __init__(
        self, stream: Any, permit: Permit, gate: Gate, *, status: int, guard: _StreamGuard | None
    ) -> None:
        self._stream = stream
        self._permit = permit
        self._gate = gate
        self._status = status
        self._guard = guard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        guard, accepted = self._guard, self._status >= 300
        try:
            async for data in self._stream:
                if not accepted:  # a long stream informs the limiter at its beginning
                    accepted = True
                    self._permit.accept()
                if guard is not None:
                    guard.feed(data)
                yield data
        except (GeneratorExit, asyncio.CancelledError):
            raise  # the reader stopped; ``aclose`` returns the permit
        except BaseException:
            self._permit.fail()
            raise
        if guard is not None and not guard.finish():
            self._permit.fail()
            raise _import(self._library).RemoteProtocolError(
                "the stream ended with neither finish_reason nor [DONE]: it was cut"
            )
        self._return_permit()

    async def aclose(self) -> None:
        """Close the response."""
        try:
            await self._stream.aclose()
        finally:
            self._return_permit()

    def _return_permit(self) -> None:
        if self._status >= 500:
            self._permit.fail()
        elif self._status >= 300:
            self._permit.release()
        else:
            self._permit.succeed()
        self._gate.publish()


@functools.cache
def _stream_class(library: str) -> Any:
    """``_PacedStream`` as the library insists on it: an instance of its own stream class."""
    base = _import(library).AsyncByteStream
    return type("PacedStream", (_PacedStream, base), {"_library": library})
