"""``PreparedCall``: a checked and encoded request with its settings; ``CallRunner`` makes it.

They refuse to check and encode a request (the client does) and to decide when and how often it is
attempted (``retrying`` does).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define

from laplas_async.calls.arguments import check_labels
from laplas_async.calls.attempt import complete, open_stream
from laplas_async.calls.lifetime import Lifetime
from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.retrying import AttemptContext, Done, run
from laplas_async.errors import ConfigError, ConnectionFailedError, LaplasError
from laplas_async.http.transport import Transport
from laplas_async.observe.events import EventPublisher
from laplas_async.pacing.gate import Gate
from laplas_async.pacing.reservation import RequestSize
from laplas_async.streaming.chat_stream import Begun, ChatStream
from laplas_async.streaming.reader import StreamReader
from laplas_async.timeouts import Timeouts
from laplas_async.types import ChatCompletion, Labels, MessageLike
from laplas_async.wire.finish_reason import FAILED_FINISH_REASONS

if TYPE_CHECKING:  # law 9: imported by programs with observers or budgets
    from laplas_async.observe.observer import Observer, Observers
    from laplas_async.observe.trace import CallTrace
    from laplas_async.pacing.budget import Budget, Claim


@define
class PreparedCall:
    """What each attempt of one call sends, and with which settings.

    ``begin_trace`` begins the measurement for observers; None without observers. ``claims`` are
    what each attempt reserves of budgets.
    """

    transport: Transport
    body: bytes
    size: RequestSize
    timeouts: Timeouts
    retry: RetryPolicy
    headers: Mapping[str, str]
    query: Mapping[str, str] | None
    failed_reasons: AbstractSet[str] = FAILED_FINISH_REASONS
    begin_trace: "Callable[[], CallTrace] | None" = None
    claims: "Sequence[Claim]" = ()

    async def complete(self, attempt: AttemptContext) -> ChatCompletion:
        """Attempt it once, and read the completion. Cancelling it closes the connection."""
        return await complete(
            self.transport,
            attempt,
            self.body,
            self.timeouts,
            headers=self.headers,
            query=self.query,
            failed_reasons=self.failed_reasons,
        )

    async def open_stream(self, attempt: AttemptContext) -> StreamReader:
        """Attempt it once; return when the first content has been received, or the end."""
        return await open_stream(
            self.transport,
            attempt,
            self.body,
            self.timeouts,
            headers=self.headers,
            choices=self.size.choices,
            query=self.query,
            failed_reasons=self.failed_reasons,
        )


class CallRunner:
    """What all calls of one client share: the gate, the listener, and how they are ended."""

    __slots__ = ("_budget", "_events", "_gate", "_lifetime", "_observers")

    def __init__(
        self,
        gate: Gate,
        events: EventPublisher,
        lifetime: Lifetime,
        *,
        observers: "Iterable[Observer]" = (),
        budget: "Budget | None" = None,
    ) -> None:
        self._gate = gate
        self._events = events
        self._lifetime = lifetime
        self._observers = _joined(tuple(observers))
        self._budget = None if budget is None else _checked_budget(budget)

    def claims(self, size: RequestSize, model: str, budget: "Budget | None") -> "Sequence[Claim]":
        """What each attempt reserves of the client's budget and of the call's own.

        Raises ``ConfigError`` if the price of the model is unknown.
        """
        if self._budget is None and budget is None:
            return ()
        from laplas_async.pacing.budget import claims_of  # noqa: PLC0415 - law 9

        own = None if budget is None else _checked_budget(budget)
        return claims_of((self._budget, own), size, model)

    def trace(
        self,
        transport: Transport,
        messages: str | Sequence[MessageLike],
        parameters: Mapping[str, Any],
        *,
        model: str,
        labels: Labels | None,
        claims: "Sequence[Claim]",
        stream: bool,
    ) -> "Callable[[], CallTrace] | None":
        """What begins the measurement of a call, as if where it was made; None if nobody asks.

        Raises ``ConfigError`` for labels that are none.
        """
        check_labels(labels)
        if self._observers is None:
            return None
        from laplas_async.observe.trace import CallTrace  # noqa: PLC0415 - law 9

        begin = partial(
            CallTrace,
            self._observers,
            model=model,
            server=transport.url.host or "",
            port=transport.url.port,
            streaming=stream,
            messages=messages,
            parameters=parameters,
            labels=labels,
            prices=claims[0].budget.prices if claims else None,
        )
        # A stream is entered later, perhaps in another context.
        return partial(copy_context().run, begin) if stream else begin

    async def complete(self, call: PreparedCall) -> ChatCompletion:
        """Make the call. Raises the last attempt's error; cancelling it closes the connection."""
        trace = None if call.begin_trace is None else call.begin_trace()
        try:
            done = await self._complete(call, trace)
        except BaseException as error:
            if trace is not None:
                trace.end(error=error)
            raise
        completion = done.result
        done.attempt.succeed(completion.usage, completion.cost)
        completion.attempts = done.attempts
        if trace is not None:
            trace.end(completion)
        return completion

    async def _complete(
        self, call: PreparedCall, trace: "CallTrace | None"
    ) -> Done[ChatCompletion]:
        scope = self._lifetime.begin_call()
        try:
            async with scope:
                return await run(
                    call.complete,
                    self._gate,
                    call.retry,
                    size=call.size,
                    events=self._events,
                    trace=trace,
                    claims=call.claims,
                )
        except TimeoutError as error:
            if isinstance(error, LaplasError):
                raise
            raise ConnectionFailedError("the client was closed during the call") from None
        finally:
            self._lifetime.end_call(scope)

    async def begin(self, call: PreparedCall, stream: ChatStream) -> Begun:
        """Begin a stream: return when its first content has been received. Raises as a call."""
        self._lifetime.check_open()
        self._lifetime.streams.add(stream)
        trace = None if call.begin_trace is None else call.begin_trace()
        try:
            done = await run(
                call.open_stream,
                self._gate,
                call.retry,
                size=call.size,
                events=self._events,
                trace=trace,
                claims=call.claims,
            )
        except BaseException as error:
            if trace is not None:
                left = isinstance(error, asyncio.CancelledError) and stream.closed
                trace.end(error=error, outcome="abandoned" if left else None)
            raise
        return Begun(done.result, done.attempt, done.attempts, trace)


def _checked_budget(budget: object) -> "Budget":
    from laplas_async.pacing.budget import Budget  # noqa: PLC0415 - law 9

    if not isinstance(budget, Budget):
        raise ConfigError(f"budget={budget!r}: must be a Budget, such as Budget(usd=25)")
    return budget


def _joined(observers: "tuple[Observer, ...]") -> "Observers | None":
    if not observers:
        return None
    from laplas_async.observe.observer import Observers  # noqa: PLC0415 - law 9

    return Observers(observers)
