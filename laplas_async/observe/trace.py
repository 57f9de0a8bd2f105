"""``CallTrace``: measures one call for its observers, and ends it exactly once.

It exists only for a client with observers; without them there is none, and no cost. It refuses to
decide anything about the call.
"""

import asyncio
import itertools
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Literal

from laplas_async.errors import LaplasError, StreamTruncatedError
from laplas_async.observe.observer import Observers
from laplas_async.observe.records import GAP_BOUNDS, AttemptRecord, CallRecord, Outcome
from laplas_async.pacing.price import CostSource, Prices
from laplas_async.types import Attempt, ChatCompletion, ChatCompletionChunk, Labels

# Ids of calls are unique among processes; a UUID for each would take a tenth of its trace's time.
_ID = os.urandom(6).hex()
_numbers = itertools.count(1)
_Phase = Literal["gate", "sent", "backoff"]


class CallTrace:
    """The running measurement of one call."""

    __slots__ = (
        "_attempts",
        "_began",
        "_call",
        "_clock",
        "_ended",
        "_messages",
        "_observers",
        "_phase",
        "_phase_began",
        "_prices",
        "_reserved",
        "_sent",
        "_stream",
        "_waits",
    )

    def __init__(
        self,
        observers: Observers,
        *,
        model: str,
        server: str,
        port: int | None,
        streaming: bool,
        messages: Any,
        parameters: Mapping[str, Any],
        labels: Labels | None,
        prices: Prices | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observers = observers
        self._clock = clock
        self._prices = prices
        self._began = self._phase_began = self._sent = clock()
        self._phase: _Phase = "gate"
        self._waits = {"gate": 0.0, "backoff": 0.0}  # seconds before the next attempt
        self._reserved = 0
        self._attempts: list[AttemptRecord] = []
        self._stream: _StreamTimes | None = None
        self._ended = False
        self._messages = messages if observers.of_content else None
        self._call = CallRecord(
            id=f"{_ID}-{os.getpid():x}-{next(_numbers):x}",
            model=model,
            server=server,
            port=port,
            streaming=streaming,
            labels=dict(labels or {}),
            parameters={name: value for name, value in parameters.items() if _is_number(value)},
            started=time.time(),
        )
        observers.call_started(self._call)

    # --- attempts -----------------------------------------------------------------------------

    def attempt_sent(self, reserved_tokens: int = 0) -> None:
        """An attempt was admitted and is being sent now."""
        self._enter("sent")
        self._sent = self._phase_began
        self._reserved = reserved_tokens
        self._stream = _StreamTimes() if self._call.streaming else None

    def attempt_ended(
        self, attempt: Attempt, error: BaseException | None = None, *, rejected: bool = False
    ) -> None:
        """An attempt ended; that of a stream has only begun, unless it failed."""
        if error is not None or not self._call.streaming:
            self._end_attempt(attempt, error, rejected=rejected)

    def backoff_ended(self) -> None:
        """The next attempt asks for its turn."""
        self._enter("gate")

    # --- the chunks of a stream ---------------------------------------------------------------

    def chunk(self, chunk: ChatCompletionChunk) -> None:
        """A chunk was received."""
        if self._stream is not None:
            content = any(_has_content(choice.delta) for choice in chunk.choices)
            self._stream.add(self._clock(), 1, content=content)

    def texts(self, count: int) -> None:
        """So many chunks were received together, each with a piece of text."""
        if self._stream is not None:
            self._stream.add(self._clock(), count, content=True)

    @property
    def wants_chunks(self) -> bool:
        """Whether an observer is to be informed of each chunk."""
        return bool(self._observers.of_chunks)

    def chunk_taken(self, chunk: ChatCompletionChunk) -> None:
        """A chunk is given to the reader of the stream."""
        self._observers.chunk_received(self._call, chunk)

    # --- the end ------------------------------------------------------------------------------

    def end_stream(
        self,
        completion: ChatCompletion,
        attempt: Attempt,
        error: LaplasError | None,
        *,
        left: Literal["abandoned", "cancelled"] | None,
    ) -> None:
        """The stream has ended with ``error``, or was ``left``; ``attempt`` is the last one."""
        reason: BaseException | None = error
        if left is not None:
            reason = asyncio.CancelledError() if left == "cancelled" else None
        self._end_attempt(attempt, reason)
        self.end(completion, reason, outcome=left)

    def end(
        self,
        completion: ChatCompletion | None = None,
        error: BaseException | None = None,
        *,
        outcome: Outcome | None = None,
    ) -> None:
        """The call is over: with a completion, whole or partial, an error, or both. Once."""
        if self._ended:
            return
        self._ended = True
        if self._phase == "gate" or isinstance(error, asyncio.CancelledError):
            self._enter("sent")  # the wait that was given up counts
        if self._observers.of_content:
            self._observers.content_known(self._call, self._messages, completion)
            self._messages = None
        received = ChatCompletion() if completion is None else completion
        cost, call, stream = self._cost(received), self._call, self._stream
        ended = CallRecord(  # evolve() would cost as much again
            id=call.id,
            model=call.model,
            server=call.server,
            port=call.port,
            streaming=call.streaming,
            labels=call.labels,
            parameters=call.parameters,
            started=call.started,
            attempts=tuple(self._attempts),
            duration=self._clock() - self._began,
            gate_wait=self._waits["gate"] + sum(one.gate_wait for one in self._attempts),
            backoff=self._waits["backoff"] + sum(one.backoff for one in self._attempts),
            response_id=received.id or None,
            response_model=received.model or None,
            request_id=received.request_id or getattr(error, "request_id", None),
            finish_reasons=tuple(
                choice.finish_reason for choice in received.choices if choice.finish_reason
            ),
            usage=received.usage,
            cost=received.cost,
            cost_usd=None if cost is None else cost[0],
            cost_source=None if cost is None else cost[1],
            error_type=None if error is None else type(error).__name__,
            error=str(error) if isinstance(error, LaplasError) else None,
            outcome=outcome or _outcome(error, admitted=bool(self._attempts)),
            **({} if stream is None else stream.since(self._sent)),
        )
        self._observers.call_ended(ended)

    def _cost(self, received: ChatCompletion) -> tuple[float, CostSource] | None:
        if self._prices is not None:
            return self._prices.cost(self._call.model, received.usage, received.cost)
        reported = None if received.cost is None else received.cost.usd_spent
        return None if reported is None else (reported, "reported")

    def _end_attempt(
        self, attempt: Attempt, error: BaseException | None, *, rejected: bool = False
    ) -> None:
        self._enter("backoff")
        record = AttemptRecord(
            number=len(self._attempts) + 1,
            attempt=attempt,
            backoff=self._waits["backoff"],
            gate_wait=self._waits["gate"],
            duration=self._phase_began - self._sent,
            reserved_tokens=self._reserved,
            rejected=rejected,
            error_type=None if error is None else type(error).__name__,
        )
        self._waits = {"gate": 0.0, "backoff": 0.0}
        self._attempts.append(record)
        self._observers.attempt_ended(self._call, record)

    def _enter(self, phase: _Phase) -> None:
        """The next phase begins; the seconds of a wait that ends with it are counted."""
        now = self._clock()
        if self._phase != "sent":
            self._waits[self._phase] += now - self._phase_began
        self._phase, self._phase_began = phase, now


class _StreamTimes:
    """When the chunks of one stream were received."""

    __slots__ = (
        "_last_chunk",
        "chunks",
        "first_chunk",
        "first_content",
        "gap_seconds",
        "gaps",
        "last_content",
    )

    def __init__(self) -> None:
        self.chunks = 0
        self.gaps = [0] * (len(GAP_BOUNDS) + 1)
        self.gap_seconds = [0.0] * (len(GAP_BOUNDS) + 1)
        self.first_chunk: float | None = None
        self.first_content: float | None = None
        self.last_content: float | None = None
        self._last_chunk = 0.0

    def add(self, now: float, count: int, *, content: bool) -> None:
        """So many chunks were received together."""
        if self.first_chunk is None:
            self.first_chunk = now
        else:
            gap = now - self._last_chunk
            bucket = bisect_left(GAP_BOUNDS, gap)
            self.gaps[bucket] += 1
            self.gap_seconds[bucket] += gap
        self.gaps[0] += count - 1
        self.chunks += count
        self._last_chunk = now
        if content:
            self.last_content = now
            if self.first_content is None:
                self.first_content = now

    def since(self, sent: float) -> dict[str, Any]:
        """The fields of the record, for a request that was sent then."""
        return {
            "time_to_first_chunk": _since(sent, self.first_chunk),
            "time_to_first_content": _since(sent, self.first_content),
            "time_to_last_content": _since(sent, self.last_content),
            "chunks": self.chunks,
            "gaps": tuple(self.gaps),
            "gap_seconds": tuple(self.gap_seconds),
        }


def _is_number(value: object) -> bool:
    """Numbers and switches alone: strings, lists and objects may hold content (law 7)."""
    return isinstance(value, bool | int | float)


def _since(start: float, moment: float | None) -> float | None:
    return None if moment is None else max(0.0, moment - start)


def _has_content(delta: Any) -> bool:
    return bool(delta.content or delta.tool_calls or delta.refusal or delta.extra)


def _outcome(error: BaseException | None, *, admitted: bool) -> Outcome:
    match error:
        case None:
            return "ok"
        case asyncio.CancelledError():
            return "cancelled"
        case StreamTruncatedError():
            return "truncated"
        case LaplasError() if not admitted:
            return "not_admitted"
    return "error"
