"""``LaplasClient``: owns the session, the gate and the policy, and makes the calls.

Here the parts come together; each decides for itself elsewhere: ``wire.request`` what may be
asked, ``pacing`` when, ``calls`` how often, ``answer`` whether a stream was whole.
"""

import asyncio
import contextlib
import os
import ssl
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from attrs import evolve

from laplas_async.calls.attempt import open_stream, read_completion, send
from laplas_async.calls.fanout import Fan, OutcomeStream, Requests
from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.retrying import Try, run
from laplas_async.chat import Chat, Completions
from laplas_async.errors import (
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    RequestTimeoutError,
)
from laplas_async.http.endpoint import check_headers
from laplas_async.http.transport import ClientSession, Transport
from laplas_async.observe.events import Listener
from laplas_async.pacing.gate import Gate, Pace, Permit
from laplas_async.pacing.limits import Limits
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.streaming.reader import StreamedAnswer
from laplas_async.timeouts import Timeouts
from laplas_async.types import (
    DEFAULT_MODEL,
    Attempt,
    ChatCompletion,
    MessageLike,
    RequestParameters,
    Usage,
)
from laplas_async.wire.large_json import LARGE
from laplas_async.wire.request import encode_request

T = TypeVar("T")
_LOOK_AHEAD = 2  # requests of a map that wait at the gate
_DEFAULT_MAX_TOKENS = 512  # the service's own, WIRE.md
_BYTES_A_TOKEN = 4
DEFAULT_BASE_URL = "https://api.apilaplas.com/v1"


class LaplasClient:
    """A client of one endpoint with one key, for any number of calls at once.

    ``api_key`` and ``base_url`` default to ``LAPLAS_API_KEY`` and ``LAPLAS_BASE_URL`` (else the
    service's own). ``model`` is that of calls which name none. ``session``: a caller's own aiohttp
    session, used and never closed. ``ssl_context`` or ``ca_file``: whom to trust, without a
    session. ``headers`` go with each request. ``gate``: one shared with other clients.
    ``on_event`` is called with an ``Event`` for each try, rejection and retry.

    Use it as ``async with LaplasClient() as client``, or call ``aclose()`` at the end. It belongs
    to the event loop of its first call. Raises ``ConfigError`` for what cannot be right.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        model: str = DEFAULT_MODEL,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        limits: Limits | None = None,
        gate: Gate | None = None,
        on_event: Listener | None = None,
        headers: Mapping[str, str] | None = None,
        session: ClientSession | None = None,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | Path | None = None,
    ) -> None:
        key = api_key if api_key is not None else os.environ.get("LAPLAS_API_KEY", "")
        if not key:
            raise ConfigError("no API key: set LAPLAS_API_KEY, or pass api_key=")
        if limits is not None and gate is not None:
            raise ConfigError("limits, gate: a shared gate has its own limits; pass one of them")
        default_url = os.environ.get("LAPLAS_BASE_URL") or DEFAULT_BASE_URL
        self.model = model
        self.timeouts = _checked(timeouts, Timeouts, "timeouts")
        self.retry = _checked(retry, RetryPolicy, "retry")
        self.gate = gate if gate is not None else Gate(_checked(limits, Limits, "limits"))
        self._transport = Transport(
            default_url if base_url is None else base_url,
            key,
            headers=headers,
            session=session,
            ssl_context=ssl_context,
            ca_file=ca_file,
            on_connect=self.gate.limiter.hear,
        )
        self.on_event = on_event
        self.chat = Chat(Completions(self.complete, self.stream))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # that the loop runs in
        self._calls: set[asyncio.Timeout] = set()
        self._streams: weakref.WeakSet[ChatStream] = weakref.WeakSet()
        self._fans: set[Fan] = set()
        self._mean_tokens = 0.0  # of an answer, as learnt; 0: none was told yet
        self._closed = False
        self._ending = False  # closed, and what still runs is being ended
        self._idle = asyncio.Event()  # closed, and nothing runs any more

    def __repr__(self) -> str:
        """Where it calls, and never with which key."""
        return f"LaplasClient(base_url={str(self._transport.url.parent.parent)!r})"

    async def complete(
        self,
        messages: str | Sequence[MessageLike],
        *,
        model: str | None = None,
        timeouts: Timeouts | float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatCompletion:
        """Ask, and return the whole answer. ``POST /chat/completions``.

        ``messages`` is a string (the user's message) or a list of messages, attrs values or plain
        dicts. The parameters are the API's own, see ``RequestParameters``; ``extra_body`` holds
        fields that we do not know. ``timeouts`` for this call; a number is the total in seconds.

        Raises ``ConfigError`` before anything is sent, ``APIError`` for an answer that is an
        error, ``TransportError`` if none came; after the retries that the policy allows, with
        every try in ``error.attempts``. Cancelling it closes the connection and frees its place.
        """
        self._check_open()
        body = self._encode(messages, model, parameters, extra_body, stream=False)
        tokens = self._reserve(body, parameters)
        limits, headers = self._timeouts(timeouts), check_headers(extra_headers)
        scope = asyncio.Timeout(None)  # bounds each try, and aclose() ends the call through it

        async def ask(this: Try) -> ChatCompletion:
            return await self._ask(this, body, limits, headers, scope)

        try:
            async with scope:
                self._calls.add(scope)
                try:
                    done = await run(
                        ask, self.gate, self.retry, tokens=tokens, listener=self.on_event
                    )
                finally:
                    self._calls.discard(scope)
                    self._tell_if_idle()
        except TimeoutError as error:
            if isinstance(error, LaplasError):
                raise
            raise ConnectionFailedError("the client was closed during the call") from None
        usage = done.result.usage
        done.permit.answer(None if usage is None else usage.total_tokens)
        self._remember(usage)
        done.result.attempts = done.attempts
        return done.result

    def stream(
        self,
        messages: str | Sequence[MessageLike],
        *,
        model: str | None = None,
        timeouts: Timeouts | float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatStream:
        """Ask for a streamed answer: ``async with client.stream(...) as stream``.

        The arguments are those of ``complete``. Usage is asked for, unless ``stream_options`` says
        otherwise (None: it is not sent). Raises ``ConfigError`` here; entering the block sends the
        request and raises as ``complete`` does; iterating raises ``StreamError``.
        """
        self._check_open()
        parameters.setdefault("stream_options", {"include_usage": True})
        body = self._encode(messages, model, parameters, extra_body, stream=True)
        tokens = self._reserve(body, parameters)
        limits, headers = self._timeouts(timeouts), check_headers(extra_headers)
        choices = parameters.get("n") or 1

        async def ask(this: Try) -> StreamedAnswer:
            return await open_stream(
                self._transport, this, body, limits, headers=headers, choices=choices
            )

        async def begin() -> tuple[StreamedAnswer, Permit, tuple[Attempt, ...]]:
            self._check_open()
            self._streams.add(stream)  # weakly: one that is dropped is not kept alive by us
            done = await run(ask, self.gate, self.retry, tokens=tokens, listener=self.on_event)
            return done.result, done.permit, done.attempts

        def end(ended: ChatStream) -> None:
            self._streams.discard(ended)
            self._tell_if_idle()

        stream = ChatStream(begin, end)
        return stream

    def map(
        self, requests: Requests, *, ordered: bool = False, buffer: int = 1000
    ) -> OutcomeStream:
        """Ask many: ``async for outcome in client.map({"messages": q} for q in questions)``.

        ``requests`` is any iterable or async iterable of keyword arguments of ``complete``, with a
        ``key`` of the caller's own if wanted; it is read only as far as there is room to ask.
        Outcomes come as they are answered, or, ``ordered``, as they were read; a request that
        fails is an ``Outcome`` with its error, and raises nothing. ``buffer``: at most so many are
        read and not yet taken, so memory is bounded however slow the reader is.
        """
        self._check_open()

        def end(ended: Fan) -> None:
            self._fans.discard(ended)
            self.gate.on_room.discard(ended.wake)

        fan = Fan(
            requests,
            lambda fields: self.complete(**fields),
            lambda: self.gate.waiting < _LOOK_AHEAD,
            end,
            ordered=ordered,
            buffer=buffer,
        )
        self._fans.add(fan)
        self.gate.on_room.add(fan.wake)
        return OutcomeStream(fan)

    @property
    def pace(self) -> Pace:
        """What is known of the service's limits, and how much is in flight and waiting."""
        return self.gate.pace

    async def aclose(self, *, drain: float = 0.0) -> None:
        """Close for good: new calls are refused, running ones have ``drain`` seconds to end.

        Then what still runs is ended (``ConnectionFailedError``, ``StreamTruncatedError``), and the
        connections are closed. Safe to call twice and from several tasks, the shortest ``drain``
        counts. Cancelling it stops the draining, not the closing: call it again.
        """
        self._closed = True
        if drain > 0 and self._running():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain):
                    await self._idle.wait()
        for fan in list(self._fans):
            fan.cancel()
        for stream in list(self._streams):
            await stream.aclose()
        self._ending = True
        if self._calls and self._loop is not None:
            for scope in self._calls:
                if not scope.expired():
                    scope.reschedule(self._loop.time())
            await self._idle.wait()  # they give their connections back first
        await self._transport.close()

    async def __aenter__(self) -> Self:
        """The client; nothing is opened before the first call."""
        self._check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    # --- one try ------------------------------------------------------------------------------

    async def _ask(
        self,
        this: Try,
        body: bytes,
        timeouts: Timeouts,
        headers: Mapping[str, str],
        scope: asyncio.Timeout,
    ) -> ChatCompletion:
        total = timeouts.total_for(stream=False)
        deadline = None
        if total is not None and self._loop is not None and not self._ending:
            deadline = self._loop.time() + total
            scope.reschedule(deadline)
        try:
            response = await send(self._transport, this, body, timeouts, headers, stream=False)
            try:
                data = await response.read_all()
            except BaseException:
                response.close()
                raise
        except asyncio.CancelledError:
            if deadline is not None and scope.expired() and scope.when() == deadline:
                raise RequestTimeoutError(f"no answer within {total} s (total)") from None
            raise
        finally:
            if deadline is not None and not scope.expired() and not self._ending:
                scope.reschedule(None)
        if len(data) <= LARGE:
            return read_completion(response, data)
        return await asyncio.to_thread(read_completion, response, data)

    # --- what is asked ------------------------------------------------------------------------

    def _encode(
        self,
        messages: str | Sequence[MessageLike],
        model: str | None,
        parameters: Mapping[str, Any],
        extra_body: Mapping[str, Any] | None,
        *,
        stream: bool,
    ) -> bytes:
        model = self.model if model is None else model
        return encode_request(model, messages, parameters, stream=stream, extra_body=extra_body)

    def _reserve(self, body: bytes, parameters: Mapping[str, Any]) -> int:
        """About how many tokens a request will use; 0 where no one counts them."""
        if self.gate.limiter.limits.tokens_per_minute is None:
            return 0
        most = parameters.get("max_tokens") or _DEFAULT_MAX_TOKENS
        answer = min(most, 1.5 * self._mean_tokens) if self._mean_tokens else most
        return int(len(body) / _BYTES_A_TOKEN + answer * (parameters.get("n") or 1))

    def _remember(self, usage: Usage | None) -> None:
        if usage is not None and usage.completion_tokens:
            mean = self._mean_tokens or usage.completion_tokens
            self._mean_tokens = 0.9 * mean + 0.1 * usage.completion_tokens

    def _timeouts(self, timeouts: Timeouts | float | None) -> Timeouts:
        if timeouts is None:
            return self.timeouts
        return timeouts if isinstance(timeouts, Timeouts) else evolve(self.timeouts, total=timeouts)

    def _running(self) -> bool:
        return bool(self._calls or self._streams)

    def _tell_if_idle(self) -> None:
        if self._closed and not self._running():
            self._idle.set()

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("this client is closed; make another LaplasClient")
        loop = self._loop
        if loop is not None and loop.is_running() and get_ident() == self._thread:
            return  # the running loop of this thread: told without the system call that asks it
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # stream() may be called, not entered, outside of a loop
        if self._loop is None:
            self._loop, self._thread = loop, get_ident()
        elif self._loop is not loop:
            raise ConfigError(
                "this client belongs to another event loop; make one LaplasClient for each loop"
            )


def _checked(value: T | None, kind: type[T], name: str) -> T:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigError(f"{name}={value!r}: must be a {kind.__name__}")
    return value
