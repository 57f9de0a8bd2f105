"""``LaplasClient``: owns the session, the gate and the retry policy, and makes the calls.

It composes the parts and decides nothing itself: ``wire.request`` checks and encodes a request,
``pacing`` decides when it is sent, ``calls`` how often, ``streaming`` whether a stream was whole.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from attrs import evolve

from laplas_async.calls.attempt import complete, open_stream
from laplas_async.calls.catalog import fetch
from laplas_async.calls.fanout import Fan, OutcomeStream, Requests
from laplas_async.calls.lifetime import Lifetime
from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.retrying import AttemptContext, run
from laplas_async.chat import Chat, Completions
from laplas_async.errors import ConfigError, ConnectionFailedError, LaplasError, NotFoundError
from laplas_async.http.endpoint import check_headers, check_query
from laplas_async.http.transport import ClientSession, Transport
from laplas_async.observe.events import EventPublisher, Listener
from laplas_async.pacing.gate import Gate, Pace
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.reservation import RequestSize
from laplas_async.streaming.chat_stream import Begun, ChatStream
from laplas_async.streaming.reader import StreamReader
from laplas_async.timeouts import Timeouts
from laplas_async.types import (
    DEFAULT_MODEL,
    Balance,
    ChatCompletion,
    MessageLike,
    Model,
    RequestParameters,
)
from laplas_async.wire.catalog import closest_models, decode_balance, decode_models
from laplas_async.wire.request import encode_request

if TYPE_CHECKING:  # law 9: structured and tools are imported on first use
    from cattrs import BaseConverter

    from laplas_async.streaming.parsed_stream import ParsedStream
    from laplas_async.structured.parsing import Mode, Parsed, ParseRequest
    from laplas_async.tools.limits import RunLimits
    from laplas_async.tools.loop import Loop, ToolRun, ToolStream

T = TypeVar("T")
# Outcomes of a map that are kept for its reader: a few MB of completions at most.
_BUFFER = 1000
# Settings of a call, in contrast to the parameters of its request.
_SETTINGS = ("model", "timeouts", "retry", "extra_headers", "extra_query", "extra_body")
_LOOP_ARGUMENTS = (
    "price",
    "max_retries",
    "max_parallel",
    "tool_timeout",
    "approve",
    "context",
)
_SUGGESTION_TIMEOUT = 5.0  # seconds; the error of a misspelled model is worth no more waiting
DEFAULT_BASE_URL = "https://api.apilaplas.com/v1"


class LaplasClient:
    """A client of one endpoint with one key, for any number of concurrent calls.

    ``api_key`` and ``base_url`` default to ``LAPLAS_API_KEY`` and ``LAPLAS_BASE_URL`` (else the
    service's own). ``model`` is used by calls that name none. ``session``: your own aiohttp
    session, used and never closed. ``ssl_context`` or ``ca_file``: the authorities to trust, if no
    session is passed. ``headers`` are sent with each request. ``gate``: one that other clients of
    the same service and key share. ``on_event`` is called with an ``Event`` for each attempt,
    rejection, retry and change of the learned limits.

    Use it as ``async with LaplasClient() as client``, or call ``aclose()`` at the end. It belongs
    to the event loop of its first call. Raises ``ConfigError`` for settings that cannot be right.
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
            on_connect=self.gate.limiter.connected,
        )
        self._events = EventPublisher(on_event)
        self.gate.subscribe(self._events)
        self._lifetime = Lifetime()
        self._output_modes: dict[str, str] = {}  # of typed answers, by model: what was accepted
        # Whether responses state their cost: so does the default service, WIRE.md, "Response".
        self._cost_is_known = base_url is None and default_url == DEFAULT_BASE_URL
        self._models: list[Model] | None = None
        self.chat = Chat(Completions(self.complete, self.stream))

    @property
    def on_event(self) -> Listener | None:
        """Called with each ``Event``; may be replaced at any time."""
        return self._events.listener

    @on_event.setter
    def on_event(self, listener: Listener | None) -> None:
        self._events.listener = listener

    def __repr__(self) -> str:
        """The endpoint, and never the key."""
        return f"LaplasClient(base_url={str(self._transport.url.parent.parent)!r})"

    async def complete(
        self,
        messages: str | Sequence[MessageLike],
        *,
        model: str | None = None,
        timeouts: Timeouts | float | None = None,
        retry: RetryPolicy | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str | float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatCompletion:
        """Request a completion and return it whole. ``POST /chat/completions``.

        ``messages`` is a string (the user's message) or a list of messages, attrs values or plain
        dicts. The parameters are the API's own, see ``RequestParameters``; ``extra_body`` holds
        fields that this library does not know, ``extra_query`` what is added to the URL.
        ``timeouts`` and ``retry`` for this call; a number is the total in seconds.

        Raises ``ConfigError`` before anything is sent, ``APIError`` for an error response,
        ``TransportError`` if there was no response; after the retries that the policy allows, with
        every attempt in ``error.attempts``. Cancelling it closes the connection and returns its
        place at the gate.
        """
        self._lifetime.check_open()
        body = self._encode(messages, model, parameters, extra_body, stream=False)
        limits, headers = self._timeouts(timeouts), check_headers(extra_headers)
        query = check_query(extra_query)
        retry = _checked(retry or self.retry, RetryPolicy, "retry")

        async def send(attempt: AttemptContext) -> ChatCompletion:
            return await complete(
                self._transport, attempt, body, limits, headers=headers, query=query
            )

        scope = self._lifetime.begin_call()
        try:
            async with scope:
                done = await run(
                    send, self.gate, retry, size=_size(body, parameters), events=self._events
                )
        except NotFoundError as error:
            await self._suggest_models(error, model)
            raise
        except TimeoutError as error:
            if isinstance(error, LaplasError):
                raise
            raise ConnectionFailedError("the client was closed during the call") from None
        finally:
            self._lifetime.end_call(scope)
        done.attempt.succeed(done.result.usage, done.result.cost)
        done.result.attempts = done.attempts
        return done.result

    @overload
    def stream(
        self,
        messages: str | Sequence[MessageLike],
        *,
        into: None = None,
        model: str | None = None,
        timeouts: Timeouts | float | None = None,
        retry: RetryPolicy | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str | float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatStream: ...

    @overload
    def stream(
        self,
        messages: str | Sequence[MessageLike],
        *,
        into: type[T],
        mode: "Mode" = "auto",
        model: str | None = None,
        timeouts: Timeouts | float | None = None,
        retry: RetryPolicy | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str | float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **parameters: Unpack[RequestParameters],
    ) -> "ParsedStream[T]": ...

    def stream(
        self,
        messages: str | Sequence[MessageLike],
        *,
        into: Any = None,
        mode: "Mode" = "auto",
        model: str | None = None,
        timeouts: Timeouts | float | None = None,
        retry: RetryPolicy | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str | float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **parameters: Unpack[RequestParameters],
    ) -> "ChatStream | ParsedStream[Any]":
        """Request a streamed completion: ``async with client.stream(...) as stream``.

        The arguments are those of ``complete``. Usage is requested unless ``stream_options`` says
        otherwise (None: it is not sent). ``into`` and ``mode`` as for ``parse``: the stream then
        gives objects too, see ``ParsedStream``. Raises ``ConfigError`` here; entering the block
        sends the request and raises as ``complete`` does; iterating raises ``StreamError``.
        """
        self._lifetime.check_open()
        if into is not None:
            return self._stream_into(
                messages,
                into,
                mode,
                {
                    "model": model,
                    "timeouts": timeouts,
                    "retry": retry,
                    "extra_headers": extra_headers,
                    "extra_query": extra_query,
                    "extra_body": extra_body,
                    **parameters,
                },
            )
        parameters.setdefault("stream_options", {"include_usage": True})
        body = self._encode(messages, model, parameters, extra_body, stream=True)
        size = _size(body, parameters)
        limits, headers = self._timeouts(timeouts), check_headers(extra_headers)
        query = check_query(extra_query)
        retry = _checked(retry or self.retry, RetryPolicy, "retry")

        async def send(attempt: AttemptContext) -> StreamReader:
            return await open_stream(
                self._transport,
                attempt,
                body,
                limits,
                headers=headers,
                choices=size.choices,
                query=query,
            )

        async def begin() -> Begun:
            self._lifetime.check_open()
            self._lifetime.streams.add(stream)
            try:
                done = await run(send, self.gate, retry, size=size, events=self._events)
            except NotFoundError as error:
                await self._suggest_models(error, model)
                raise
            return Begun(done.result, done.attempt, done.attempts)

        stream = ChatStream(begin, self._lifetime.end_stream)
        return stream

    async def parse(
        self,
        messages: str | Sequence[MessageLike],
        *,
        into: type[T],
        mode: "Mode" = "auto",
        max_retries: int = 2,
        strict: bool | None = None,
        lenient: bool = False,
        retry_truncated: bool = False,
        converter: "BaseConverter | None" = None,
        **arguments: Any,
    ) -> "Parsed[T]":
        """Request an object: ``result = await client.parse(letter, into=Invoice)``.

        ``into`` is an attrs class, or any type that JSON can express. ``mode``: json_schema,
        json_object, tool or prompt; auto takes the first that the service does not reject with a
        400, and remembers it for the model. ``max_retries``: how often the model is shown what is
        wrong with its answer. ``strict``: True, a strict schema or ``ConfigError``; None, strict
        where the type allows it. ``lenient`` reads "5" as a number and "false" as a boolean.
        ``retry_truncated``: once more with twice the tokens if ``max_tokens`` cut the answer.
        Other arguments are those of ``complete``.

        Raises ``OutputError`` (``RefusalError``, ``TruncatedOutputError``, ``InvalidJSONError``,
        ``OutputValidationError``) with text, usage and every problem; else as ``complete`` does,
        cancellation included.
        """
        from laplas_async.structured import parsing  # noqa: PLC0415 - law 9

        request = self._parse_request(
            messages,
            into,
            arguments,
            mode=mode,
            max_retries=max_retries,
            strict=strict,
            lenient=lenient,
            retry_truncated=retry_truncated,
            converter=converter,
        )
        settings = _settings(arguments)
        result = await parsing.parse(partial(self.complete, **settings), request)
        self._output_modes[settings["model"] or self.model] = result.mode
        return result

    async def run_tools(
        self,
        messages: str | Sequence[MessageLike],
        *,
        tools: Sequence[Any],
        limits: "RunLimits | None" = None,
        into: Any = None,
        **arguments: Any,
    ) -> "ToolRun[Any]":
        """Let the model call functions until it answers.

        ``tools``: async or plain functions with annotations and a docstring, or ``tool(...)``.
        ``limits``: see ``RunLimits``; some always apply. ``into``: the type of the final answer.
        Further: ``max_parallel`` (8) calls at once; ``tool_timeout`` (60) seconds a call;
        ``approve``, asked with a ``PendingCall`` before each call; ``context``, for tools that take
        a ``ToolContext``; ``price``; ``max_retries`` (2) for ``into``; and those of ``complete``.

        Raises ``RunLimitError`` with the messages so far, ``OutputError`` with ``into``, and as
        ``complete`` does. Cancelling it cancels the tools and waits for them; a thread goes on.
        """
        from laplas_async.tools import loop  # noqa: PLC0415 - law 9

        run: ToolRun[Any] = await loop.run_tools(
            self._tool_loop(messages, tools, limits, into, arguments, stream=False)
        )
        self._cost_is_known |= run.cost is not None
        return run

    def stream_tools(
        self,
        messages: str | Sequence[MessageLike],
        *,
        tools: Sequence[Any],
        limits: "RunLimits | None" = None,
        into: Any = None,
        **arguments: Any,
    ) -> "ToolStream[Any]":
        """As ``run_tools``, with text and calls as they arrive.

        ``async with client.stream_tools(...) as stream: async for event in stream``, then
        ``await stream.run()`` for the ``ToolRun``.
        """
        from laplas_async.tools import loop  # noqa: PLC0415 - law 9

        return loop.ToolStream(
            self._tool_loop(messages, tools, limits, into, arguments, stream=True)
        )

    def map(
        self, requests: Requests, *, ordered: bool = False, buffer: int | None = None
    ) -> OutcomeStream:
        """Make many calls: ``async for outcome in client.map({"messages": q} for q in questions)``.

        ``requests`` is any iterable or async iterable of keyword arguments of ``complete``, with a
        ``key`` of your choice if wanted; it is read only as fast as requests can be sent.
        Outcomes arrive as they complete, or, ``ordered``, in input order; a request that
        fails is an ``Outcome`` with its error, and raises nothing. ``buffer``: at most so many are
        read and not yet taken, so memory is bounded however slow the reader is; None: 1,000, or
        twice the configured concurrency if that is more.
        """
        self._lifetime.check_open()
        if buffer is None:
            configured = self.gate.limiter.limits.concurrency or 0
            buffer = max(_BUFFER, 2 * configured)
        fan = Fan(self.complete, self.gate, requests, ordered=ordered, buffer=buffer)
        self._lifetime.fans.add(fan)
        return OutcomeStream(fan)

    async def models(self, *, refresh: bool = False) -> list[Model]:
        """The service's models. ``GET /models``, once: kept until ``refresh``.

        Raises as ``complete`` does. Cancelling it closes the connection.
        """
        if self._models is None or refresh:
            self._models = await self._fetch("models", decode_models)
        return list(self._models)

    async def balance(self) -> Balance:
        """What is left on the account. ``GET /billing/balance``. Raises as ``complete`` does."""
        return await self._fetch("billing/balance", decode_balance)

    @property
    def pace(self) -> Pace:
        """The learned limits, and how much is in flight and waiting."""
        return self.gate.pace

    async def aclose(self, *, drain: float = 0.0) -> None:
        """Close for good: new calls are refused, running ones have ``drain`` seconds to end.

        Then what is still running is ended (``ConnectionFailedError``, ``StreamTruncatedError``),
        and the connections are closed. Safe to call twice and from several tasks; the shortest
        ``drain`` counts. Cancelling it stops the draining, not the closing: call it again.
        """
        await self._lifetime.close(drain)
        await self._transport.close()

    async def __aenter__(self) -> Self:
        """The client; nothing is opened before the first call."""
        self._lifetime.check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    def _stream_into(
        self,
        messages: str | Sequence[MessageLike],
        into: Any,
        mode: "Mode",
        arguments: dict[str, Any],
    ) -> "ParsedStream[Any]":
        from laplas_async.streaming import parsed_stream  # noqa: PLC0415 - law 9

        name = arguments["model"] or self.model
        return parsed_stream.ParsedStream(
            partial(self.stream, **_settings(arguments)),
            self._parse_request(messages, into, arguments, mode=mode),
            lambda mode: self._output_modes.__setitem__(name, mode),
        )

    def _parse_request(
        self,
        messages: str | Sequence[MessageLike],
        into: Any,
        arguments: Mapping[str, Any],
        *,
        mode: "Mode",
        max_retries: int = 0,
        strict: bool | None = None,
        lenient: bool = False,
        retry_truncated: bool = False,
        converter: "BaseConverter | None" = None,
    ) -> "ParseRequest[Any]":
        from laplas_async.structured import parsing, reading  # noqa: PLC0415 - law 9

        parameters = {k: v for k, v in arguments.items() if k not in _SETTINGS}
        return parsing.new_request(
            messages,
            reading.OutputType(into, strict, lenient, converter),
            parameters,
            mode=mode,
            max_retries=max_retries,
            retry_truncated=retry_truncated,
            known_mode=self._output_modes.get(arguments.get("model") or self.model),
        )

    def _tool_loop(
        self,
        messages: str | Sequence[MessageLike],
        tools: Sequence[Any],
        limits: "RunLimits | None",
        into: Any,
        arguments: dict[str, Any],
        *,
        stream: bool,
    ) -> "Loop":
        from laplas_async.structured import reading  # noqa: PLC0415 - law 9
        from laplas_async.tools import loop  # noqa: PLC0415

        self._lifetime.check_open()
        settings = _settings(arguments)
        own = {name: arguments.pop(name) for name in _LOOP_ARGUMENTS if name in arguments}
        return loop.new_loop(
            partial(self.complete, **settings),
            messages,
            tools,
            {k: v for k, v in arguments.items() if k not in _SETTINGS},
            limits=limits,
            cost_is_known=self._cost_is_known,
            output=None if into is None else reading.OutputType(into),
            open_stream=partial(self.stream, **settings) if stream else None,
            **own,
        )

    async def _fetch(self, path: str, decode: Callable[[bytes], T]) -> T:
        self._lifetime.check_open()
        scope = self._lifetime.begin_call()
        try:
            async with scope:
                return await fetch(
                    self._transport, path, decode, timeouts=self.timeouts, retry=self.retry
                )
        except TimeoutError as error:
            if isinstance(error, LaplasError):
                raise
            raise ConnectionFailedError("the client was closed during the call") from None
        finally:
            self._lifetime.end_call(scope)

    async def _suggest_models(self, error: NotFoundError, model: str | None) -> None:
        """Add the ids most like an unknown one to its error, if the service lists any in time."""
        wanted = self.model if model is None else model
        try:
            async with asyncio.timeout(_SUGGESTION_TIMEOUT):
                known = [found.id for found in await self.models()]
        except (LaplasError, TimeoutError):
            return
        near = [] if wanted in known else closest_models(wanted, known)
        if near:
            error.args = (f"{error.message}; the closest models: {', '.join(near)}",)

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

    def _timeouts(self, timeouts: Timeouts | float | None) -> Timeouts:
        if timeouts is None:
            return self.timeouts
        return timeouts if isinstance(timeouts, Timeouts) else evolve(self.timeouts, total=timeouts)


def _settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arguments.get(name) for name in _SETTINGS}


def _size(body: bytes, parameters: Mapping[str, Any]) -> RequestSize:
    return RequestSize(len(body), parameters.get("max_tokens"), parameters.get("n") or 1)


def _checked(value: T | None, kind: type[T], name: str) -> T:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigError(f"{name}={value!r}: must be a {kind.__name__}")
    return value
