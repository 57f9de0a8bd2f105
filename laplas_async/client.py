"""``LaplasClient``: owns the session, the gate and the retry policy, and makes the calls.

It composes the parts and decides nothing itself: ``wire.request`` checks and encodes a request,
``pacing`` decides when it is sent, ``calls`` how often, ``streaming`` whether a stream was whole.
"""

import os
import ssl
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, Unpack, overload

from attrs import evolve

from laplas_async.account import Account, suggest_models
from laplas_async.calls.arguments import check_labels, size_of
from laplas_async.calls.fanout import Fan, OutcomeStream, Requests
from laplas_async.calls.lifetime import Lifetime
from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.prepared import CallRunner, PreparedCall
from laplas_async.chat import Chat, Completions
from laplas_async.errors import ConfigError, NotFoundError
from laplas_async.http.endpoint import check_headers, check_query
from laplas_async.http.transport import ClientSession, Transport
from laplas_async.observe.events import EventPublisher, Listener
from laplas_async.pacing.gate import Gate, Pace
from laplas_async.pacing.limits import Limits
from laplas_async.streaming.chat_stream import Begun, ChatStream
from laplas_async.timeouts import Timeouts
from laplas_async.tool_runs import ToolRuns
from laplas_async.typed_output import TypedOutput
from laplas_async.types import (
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    Balance,
    ChatCompletion,
    Labels,
    MessageLike,
    Model,
    RequestParameters,
)
from laplas_async.wire.finish_reason import FAILED_FINISH_REASONS, check_reasons
from laplas_async.wire.request import encode_request

if TYPE_CHECKING:  # law 9: structured and tools are imported on first use
    from cattrs import BaseConverter

    from laplas_async.observe.observer import Observer
    from laplas_async.pacing.budget import Budget
    from laplas_async.streaming.parsed_stream import ParsedStream
    from laplas_async.structured.parsing import Mode, Parsed
    from laplas_async.tools.limits import RunLimits
    from laplas_async.tools.loop import ToolRun, ToolStream

T = TypeVar("T")
# Outcomes of a map that are kept for its reader: a few MB of completions at most.
_BUFFER = 1000


class LaplasClient:
    """A client of one endpoint with one key, for any number of concurrent calls.

    ``api_key`` and ``base_url`` default to ``LAPLAS_API_KEY`` and ``LAPLAS_BASE_URL`` (else the
    service's own). ``model`` is used by calls that name none. ``session``: your own aiohttp
    session, used and never closed. ``ssl_context`` or ``ca_file``: the authorities to trust, if no
    session is passed. ``headers`` are sent with each request. ``gate``: one that other clients of
    the same service and key share. ``shared``: True, one learned limit for all processes of this
    user on this machine that use the same service, key and model: see ``Gate.shared``. ``on_event``
    is called with an ``Event`` for each attempt, rejection, retry and change of the learned limits.
    ``observers`` are informed of each call, its attempts and its end: see ``Observer``, ``Logs``
    and ``OTel``. ``budget`` caps what all its calls may cost. ``failed_finish_reasons``: the finish
    reasons that report a failure instead of an end, by default
    ``LaplasClient.FAILED_FINISH_REASONS``.

    Use it as ``async with LaplasClient() as client``, or call ``aclose()`` at the end. It belongs
    to the event loop of its first call. Raises ``ConfigError`` for settings that cannot be right.
    """

    FAILED_FINISH_REASONS: ClassVar = FAILED_FINISH_REASONS

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
        shared: bool | str = False,
        on_event: Listener | None = None,
        observers: "Iterable[Observer]" = (),
        budget: "Budget | None" = None,
        headers: Mapping[str, str] | None = None,
        session: ClientSession | None = None,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | Path | None = None,
        failed_finish_reasons: Collection[str] = FAILED_FINISH_REASONS,
    ) -> None:
        key = api_key if api_key is not None else os.environ.get("LAPLAS_API_KEY", "")
        if not key:
            raise ConfigError("no API key: set LAPLAS_API_KEY, or pass api_key=")
        if limits is not None and gate is not None:
            raise ConfigError("limits, gate: a shared gate has its own limits; pass one of them")
        if shared and gate is not None:
            raise ConfigError("shared, gate: pass one of them (Gate.shared makes a shared gate)")
        default_url = os.environ.get("LAPLAS_BASE_URL") or DEFAULT_BASE_URL
        self.model = model
        self.timeouts = _checked(timeouts, Timeouts, "timeouts")
        self.retry = _checked(retry, RetryPolicy, "retry")
        self._owns_gate = gate is None
        limits = _checked(limits, Limits, "limits")
        if shared:
            url = shared if isinstance(shared, str) else None
            gate = Gate.shared(key, base_url, model=model, limits=limits, url=url)
        self.gate: Gate = gate if gate is not None else Gate(limits)
        self._transport = Transport(
            default_url if base_url is None else base_url,
            key,
            headers=headers,
            session=session,
            ssl_context=ssl_context,
            ca_file=ca_file,
            on_connect=self.gate.limiter.connected,
        )
        self._failed_reasons = check_reasons(failed_finish_reasons)
        self._events = EventPublisher(on_event)
        if on_event is not None:
            self.gate.subscribe(self._events)
        self._lifetime = Lifetime()
        self.budget = budget
        self._runner = CallRunner(
            self.gate, self._events, self._lifetime, observers=observers, budget=budget
        )
        self._account = Account(self._transport, self._lifetime)
        self._typed_output = TypedOutput(self.models)
        # Responses of the default service state their cost: WIRE.md, "Response".
        cost_is_known = base_url is None and default_url == DEFAULT_BASE_URL
        self._tool_runs = ToolRuns(cost_is_known=cost_is_known)
        self.chat = Chat(Completions(self.complete, self.stream))

    @property
    def on_event(self) -> Listener | None:
        """Called with each ``Event``; may be replaced at any time."""
        return self._events.listener

    @on_event.setter
    def on_event(self, listener: Listener | None) -> None:
        self._events.listener = listener
        if listener is not None:
            self.gate.subscribe(self._events)

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
        labels: Labels | None = None,
        budget: "Budget | None" = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatCompletion:
        """Request a completion and return it whole. ``POST /chat/completions``.

        ``messages`` is a string (the user's message) or a list of messages, attrs values or plain
        dicts. The parameters are the API's own, see ``RequestParameters``; ``extra_body`` holds
        fields that this library does not know, ``extra_query`` what is added to the URL.
        ``timeouts`` and ``retry`` for this call; a number is the total in seconds. ``labels``, such
        as ``{"job": "nightly"}``, are passed to observers; ``budget`` is another cap.

        Raises ``ConfigError`` before anything is sent, ``APIError`` for an error response,
        ``TransportError`` if there was no response, ``BudgetError`` if it might cost too much;
        after the retries that the policy allows, with every attempt in ``error.attempts``.
        Cancelling it closes the connection and returns its place at the gate.
        """
        self._lifetime.check_open()
        call = self._prepare(
            messages,
            parameters,
            stream=False,
            model=model,
            timeouts=timeouts,
            retry=retry,
            extra_headers=extra_headers,
            extra_query=extra_query,
            extra_body=extra_body,
            labels=labels,
            budget=budget,
        )
        try:
            return await self._runner.complete(call)
        except NotFoundError as error:
            await suggest_models(error, self._name(model), self.models)
            raise

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
        labels: Labels | None = None,
        budget: "Budget | None" = None,
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
        labels: Labels | None = None,
        budget: "Budget | None" = None,
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
        labels: Labels | None = None,
        budget: "Budget | None" = None,
        **parameters: Unpack[RequestParameters],
    ) -> "ChatStream | ParsedStream[Any]":
        """Request a streamed completion: ``async with client.stream(...) as stream``.

        The arguments are those of ``complete``. Usage is requested unless ``stream_options`` says
        otherwise (None: it is not sent). ``into`` and ``mode`` as for ``parse``: the stream then
        gives objects too, see ``ParsedStream``. Raises ``ConfigError`` here; entering the block
        sends the request and raises as ``complete`` does; iterating raises ``StreamError``.
        """
        self._lifetime.check_open()
        settings: dict[str, Any] = {
            "model": model,
            "timeouts": timeouts,
            "retry": retry,
            "extra_headers": extra_headers,
            "extra_query": extra_query,
            "extra_body": extra_body,
            "labels": labels,
            "budget": budget,
        }
        if into is None:
            parameters.setdefault("stream_options", {"include_usage": True})
            call = self._prepare(messages, parameters, stream=True, **settings)
            return self._open_stream(call, self._name(model))
        return self._typed_output.stream(
            self.stream,
            messages,
            into,
            {**settings, **parameters},
            model=model or self.model,
            mode=mode,
        )

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
        return await self._typed_output.parse(
            self.complete,
            messages,
            into,
            arguments,
            model=arguments.get("model") or self.model,
            mode=mode,
            max_retries=max_retries,
            strict=strict,
            lenient=lenient,
            retry_truncated=retry_truncated,
            converter=converter,
        )

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
        self._lifetime.check_open()
        return await self._tool_runs.run(
            self.complete, messages, tools, arguments, limits=limits, into=into
        )

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
        self._lifetime.check_open()
        return self._tool_runs.stream(
            self.complete, self.stream, messages, tools, arguments, limits=limits, into=into
        )

    def map(
        self,
        requests: Requests,
        *,
        ordered: bool = False,
        buffer: int | None = None,
        labels: Labels | None = None,
        budget: "Budget | None" = None,
    ) -> OutcomeStream:
        """Make many calls: ``async for outcome in client.map({"messages": q} for q in questions)``.

        ``requests`` is any iterable or async iterable of keyword arguments of ``complete``, with a
        ``key`` of your choice if wanted; it is read only as fast as requests can be sent.
        Outcomes arrive as they complete, or, ``ordered``, in input order; a request that
        fails is an ``Outcome`` with its error, and raises nothing. ``buffer``: at most so many are
        read and not yet taken, so memory is bounded however slow the reader is; None: 1,000, or
        twice the configured concurrency if that is more. ``labels`` and ``budget`` are those of
        requests that have none.
        """
        self._lifetime.check_open()
        if buffer is None:
            configured = self.gate.limiter.limits.concurrency or 0
            buffer = max(_BUFFER, 2 * configured)
        check_labels(labels)
        shared = {"labels": labels, "budget": budget}
        settings: dict[str, Any] = {k: v for k, v in shared.items() if v is not None}
        complete = partial(self.complete, **settings) if settings else self.complete
        fan = Fan(complete, self.gate, requests, ordered=ordered, buffer=buffer)
        self._lifetime.fans.add(fan)
        return OutcomeStream(fan)

    async def models(self, *, refresh: bool = False) -> list[Model]:
        """The service's models. ``GET /models``, once: kept until ``refresh``.

        Raises as ``complete`` does. Cancelling it closes the connection.
        """
        return await self._account.models(refresh=refresh, timeouts=self.timeouts, retry=self.retry)

    async def balance(self) -> Balance:
        """What is left on the account. ``GET /billing/balance``. Raises as ``complete`` does."""
        return await self._account.balance(timeouts=self.timeouts, retry=self.retry)

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
        if self._owns_gate and not self._lifetime.is_forked:
            await self.gate.aclose()

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

    def _prepare(
        self,
        messages: str | Sequence[MessageLike],
        parameters: Mapping[str, Any],
        *,
        stream: bool,
        model: str | None,
        timeouts: Timeouts | float | None,
        retry: RetryPolicy | None,
        extra_headers: Mapping[str, str] | None,
        extra_query: Mapping[str, str | float] | None,
        extra_body: Mapping[str, Any] | None,
        labels: Labels | None,
        budget: "Budget | None",
    ) -> PreparedCall:
        model = self._name(model)
        body = encode_request(model, messages, parameters, stream=stream, extra_body=extra_body)
        size = size_of(len(body), parameters, extra_body)
        claims = self._runner.claims(size, model, budget)
        return PreparedCall(
            self._transport,
            body,
            size,
            self._timeouts(timeouts),
            _checked(retry or self.retry, RetryPolicy, "retry"),
            check_headers(extra_headers),
            check_query(extra_query),
            self._failed_reasons,
            self._runner.trace(
                self._transport,
                messages,
                parameters,
                model=model,
                labels=labels,
                claims=claims,
                stream=stream,
            ),
            claims,
        )

    def _open_stream(self, call: PreparedCall, model: str) -> ChatStream:
        async def begin() -> Begun:
            try:
                return await self._runner.begin(call, stream)
            except NotFoundError as error:
                await suggest_models(error, model, self.models)
                raise

        stream = ChatStream(begin, self._lifetime.end_stream)
        return stream

    def _name(self, model: str | None) -> str:
        return self.model if model is None else model

    def _timeouts(self, timeouts: Timeouts | float | None) -> Timeouts:
        if timeouts is None:
            return self.timeouts
        return timeouts if isinstance(timeouts, Timeouts) else evolve(self.timeouts, total=timeouts)


def _checked(value: T | None, kind: type[T], name: str) -> T:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigError(f"{name}={value!r}: must be a {kind.__name__}")
    return value
