"""One call measured for its observers: durations, chunks, outcome, and one end."""

import asyncio
import logging
from typing import Any, Literal

import pytest
from attrs import define, field

from laplas_async.errors import (
    BudgetError,
    ConfigError,
    LaplasError,
    RequestTimeoutError,
    ServerError,
    StreamAPIError,
    StreamTruncatedError,
)
from laplas_async.observe.observer import Observers
from laplas_async.observe.records import GAP_BOUNDS, AttemptRecord, CallRecord
from laplas_async.observe.trace import CallTrace
from laplas_async.types import (
    Attempt,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Delta,
    Message,
    Usage,
)


@define
class Recorder:
    """Keeps all that it is informed of."""

    started: list[CallRecord] = field(factory=list)
    attempts: list[AttemptRecord] = field(factory=list)
    ended: list[CallRecord] = field(factory=list)

    def call_started(self, call: CallRecord) -> None:
        self.started.append(call)

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        assert call.id == self.started[-1].id
        self.attempts.append(attempt)

    def call_ended(self, call: CallRecord) -> None:
        self.ended.append(call)


@define
class ContentRecorder(Recorder):
    wants_content: bool = True
    contents: list[Any] = field(factory=list)
    chunks: list[ChatCompletionChunk] = field(factory=list)

    def content_known(
        self, call: CallRecord, messages: Any, completion: ChatCompletion | None
    ) -> None:
        self.contents.append((messages, completion))

    def chunk_received(self, call: CallRecord, chunk: ChatCompletionChunk) -> None:
        self.chunks.append(chunk)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def trace_of(observer: Any, clock: Clock | None = None, **changes: Any) -> CallTrace:
    keywords: dict[str, Any] = {
        "model": "m",
        "server": "host",
        "port": 443,
        "streaming": True,
        "messages": "secret question",
        "parameters": {"max_tokens": 5, "messages": "secret", "stop": ["secret"]},
        "labels": {"job": "nightly", "try": 2},
        **changes,
    }
    return CallTrace(Observers([observer]), clock=clock or Clock(), **keywords)


def chunk(text: str | None = None, **delta: Any) -> ChatCompletionChunk:
    return ChatCompletionChunk(choices=[ChunkChoice(delta=Delta(content=text, **delta))])


def test_the_record_holds_no_content() -> None:
    recorder = Recorder()
    trace_of(recorder).end()
    assert "secret" not in repr(recorder)
    assert recorder.started[0].parameters == {"max_tokens": 5}
    assert recorder.started[0].labels == {"job": "nightly", "try": 2}


def test_a_call_ends_once() -> None:
    recorder = Recorder()
    trace = trace_of(recorder)
    trace.end(outcome="abandoned")
    trace.end(error=ServerError(status=500))
    assert [call.outcome for call in recorder.ended] == ["abandoned"]


SENT = Attempt(started=0.0, status=200)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (ServerError(status=500), "error"),
        (StreamAPIError(status=500), "error"),
        (StreamTruncatedError(), "truncated"),
        (asyncio.CancelledError(), "cancelled"),
        (RequestTimeoutError(phase="total"), "error"),
        (BudgetError(), "error"),
        (RuntimeError("the caller's session"), "error"),
    ],
    ids=repr,
)
def test_the_outcome_follows_the_error(error: BaseException | None, outcome: str) -> None:
    recorder = Recorder()
    trace = trace_of(recorder, streaming=False)
    trace.attempt_sent()
    trace.attempt_ended(SENT, error)
    trace.end(error=error)
    [call] = recorder.ended
    assert call.outcome == outcome
    assert call.error_type == (None if error is None else type(error).__name__)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (asyncio.CancelledError(), "cancelled"),
        (RequestTimeoutError(phase="turn"), "not_admitted"),
        (BudgetError(), "not_admitted"),
        (ConfigError("more tokens than can ever be admitted"), "not_admitted"),
    ],
    ids=repr,
)
def test_without_an_attempt_a_call_was_not_admitted(error: BaseException, outcome: str) -> None:
    recorder, clock = Recorder(), Clock()
    trace = trace_of(recorder, clock)
    clock.now += 3.0
    trace.end(error=error)
    [call] = recorder.ended
    assert (call.outcome, call.attempts, call.gate_wait) == (outcome, (), 3.0)


def test_waits_are_kept_apart_from_durations() -> None:
    recorder, clock = Recorder(), Clock()
    trace = trace_of(recorder, clock, streaming=False)
    clock.now += 1.0  # at the gate
    trace.attempt_sent(reserved_tokens=70)
    clock.now += 2.0
    trace.attempt_ended(Attempt(started=0, waited=1.0, status=503), ServerError(status=503))
    clock.now += 4.0  # backoff
    trace.backoff_ended()
    clock.now += 8.0  # the gate
    trace.attempt_sent()
    clock.now += 16.0
    trace.attempt_ended(Attempt(started=0, waited=12.0, status=200))
    trace.end(ChatCompletion())
    first, second = recorder.attempts
    assert (first.number, first.backoff, first.gate_wait, first.duration) == (1, 0.0, 1.0, 2.0)
    assert (second.number, second.backoff, second.gate_wait, second.duration) == (2, 4.0, 8.0, 16.0)
    assert (first.error_type, second.error_type) == ("ServerError", None)
    assert (first.reserved_tokens, second.reserved_tokens) == (70, 0)
    [call] = recorder.ended
    assert (call.gate_wait, call.backoff, call.duration) == (9.0, 4.0, 31.0)
    assert call.attempts == (first, second)


def test_a_backoff_that_was_cancelled_counts() -> None:
    recorder, clock = Recorder(), Clock()
    trace = trace_of(recorder, clock)
    trace.attempt_sent()
    trace.attempt_ended(SENT, ServerError(status=503))
    clock.now += 4.0
    trace.end(error=asyncio.CancelledError())
    [call] = recorder.ended
    assert (call.outcome, call.gate_wait, call.backoff) == ("cancelled", 0.0, 4.0)


def test_a_role_alone_is_a_chunk_and_no_content() -> None:
    recorder, clock = Recorder(), Clock()
    trace = trace_of(recorder, clock)
    trace.attempt_sent()
    for delay, one in [(1.0, chunk(role="assistant")), (2.0, chunk("a")), (0.5, chunk("b"))]:
        clock.now += delay
        trace.chunk(one)
    clock.now += 3.0
    trace.chunk(ChatCompletionChunk())  # usage alone
    trace.end_stream(ChatCompletion(), SENT, None, left=None)
    [call] = recorder.ended
    assert call.time_to_first_chunk == 1.0
    assert call.time_to_first_content == 3.0
    assert call.time_to_last_content == 3.5
    assert call.chunks == 4
    assert sum(call.gaps) == 3
    assert call.gaps[GAP_BOUNDS.index(0.64)] == 1


def test_chunks_received_together_have_no_gaps_between_them() -> None:
    recorder, clock = Recorder(), Clock()
    trace = trace_of(recorder, clock)
    trace.attempt_sent()
    trace.texts(1)
    clock.now += 1.0
    trace.texts(5)
    trace.end_stream(ChatCompletion(), SENT, None, left=None)
    [call] = recorder.ended
    assert call.chunks == 6
    assert call.gaps[0] == 4
    assert call.gaps[GAP_BOUNDS.index(1.28)] == 1
    assert sum(call.gap_seconds) == 1.0


def test_chunks_of_an_attempt_that_failed_do_not_count() -> None:
    recorder, clock = Recorder(), Clock()
    trace = trace_of(recorder, clock)
    trace.attempt_sent()
    trace.chunk(chunk(role="assistant"))
    trace.attempt_ended(SENT, StreamTruncatedError())
    trace.backoff_ended()
    clock.now += 7.0
    trace.attempt_sent()
    clock.now += 2.0
    trace.chunk(chunk("a"))
    trace.end_stream(ChatCompletion(), SENT, None, left=None)
    [call] = recorder.ended
    assert (call.chunks, call.time_to_first_chunk) == (1, 2.0)


@pytest.mark.parametrize("left", ["abandoned", "cancelled"])
def test_a_stream_that_was_left_has_no_error_of_the_service(
    left: Literal["abandoned", "cancelled"],
) -> None:
    recorder = Recorder()
    trace = trace_of(recorder)
    trace.attempt_sent()
    trace.end_stream(ChatCompletion(), SENT, StreamTruncatedError(), left=left)
    [call] = recorder.ended
    kind = None if left == "abandoned" else "CancelledError"
    assert (call.outcome, call.error_type, call.attempts[-1].error_type) == (left, kind, kind)


def test_the_attempt_of_a_stream_ends_with_the_stream() -> None:
    recorder, clock = Recorder(), Clock()
    trace = trace_of(recorder, clock)
    trace.attempt_sent()
    trace.attempt_ended(SENT)  # its first content
    assert not recorder.attempts
    clock.now += 5.0
    trace.end_stream(ChatCompletion(), SENT, StreamTruncatedError(), left=None)
    [attempt] = recorder.attempts
    assert (attempt.duration, attempt.error_type) == (5.0, "StreamTruncatedError")


def test_what_was_not_reported_is_none() -> None:
    recorder = Recorder()
    trace_of(recorder).end(ChatCompletion())
    [call] = recorder.ended
    assert call.usage is None
    assert call.cost is None
    assert call.time_to_first_content is None
    assert call.finish_reasons == ()


def test_reported_zeros_stay_zeros() -> None:
    recorder = Recorder()
    trace_of(recorder).end(ChatCompletion(usage=Usage()))
    assert recorder.ended[0].usage == Usage()


def test_each_choice_has_a_finish_reason_and_usage_counts_once() -> None:
    recorder = Recorder()
    choices = [Choice(index=i, message=Message(), finish_reason="stop") for i in range(3)]
    trace_of(recorder).end(ChatCompletion(choices=choices, usage=Usage(1, 2, 3)))
    assert recorder.ended[0].finish_reasons == ("stop",) * 3


def test_content_and_chunks_go_only_to_those_who_want_them() -> None:
    plain, curious = Recorder(), ContentRecorder()
    for observer in (plain, curious, ContentRecorder(wants_content=False)):
        trace = trace_of(observer)
        if trace.wants_chunks:
            trace.chunk_taken(chunk("x"))
        trace.end(ChatCompletion(id="i"))
    assert [one.text for one in curious.chunks] == ["x"]
    assert curious.contents == [("secret question", ChatCompletion(id="i"))]


class ObserverError(Exception):
    pass


class Broken(Recorder):
    def call_started(self, call: CallRecord) -> None:
        raise ObserverError

    def call_ended(self, call: CallRecord) -> None:
        raise ObserverError


def test_a_broken_observer_is_logged_once_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    observers = Observers([Broken(), recorder])
    with caplog.at_level(logging.ERROR, logger="laplas_async"):
        for _ in range(3):
            observers.call_started(CallRecord("i", "m", "h", None, streaming=False))
            observers.call_ended(CallRecord("i", "m", "h", None, streaming=False))
    assert len(recorder.ended) == 3
    assert len(caplog.records) == 1
    assert "Broken" in caplog.text


@pytest.mark.parametrize("observer", [object(), None, "x", print])
def test_what_is_no_observer_is_refused(observer: Any) -> None:
    with pytest.raises(ConfigError, match="observers"):
        Observers([observer])


def test_errors_of_others_keep_their_message_out_of_the_record() -> None:
    recorder = Recorder()
    trace_of(recorder).end(error=RuntimeError("prompt"))
    trace_of(recorder).end(error=LaplasError("ours"))
    assert [call.error for call in recorder.ended] == [None, "ours"]
