"""Observers over sockets: every call ends once, with what it did; a broken one harms nothing."""

import asyncio
import contextvars
import gc
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from laplas_async import (
    AttemptRecord,
    CallRecord,
    ChatCompletionChunk,
    ConfigError,
    LaplasClient,
    LaplasError,
    Limits,
    Observer,
    RetryPolicy,
    StreamTruncatedError,
    run_batch,
)
from laplas_async.simulator import Fault, Simulator

PROMPT = "What is the secret river?"
COUNTRY: contextvars.ContextVar[str] = contextvars.ContextVar("COUNTRY", default="")


@define
class Recorder:
    """Keeps all that it is informed of, and in which context a call began."""

    started: list[CallRecord] = field(factory=list)
    contexts: list[str] = field(factory=list)
    attempts: list[AttemptRecord] = field(factory=list)
    ended: list[CallRecord] = field(factory=list)

    def call_started(self, call: CallRecord) -> None:
        self.started.append(call)
        self.contexts.append(COUNTRY.get())

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        assert call.id not in {one.id for one in self.ended}
        self.attempts.append(attempt)

    def call_ended(self, call: CallRecord) -> None:
        self.ended.append(call)

    @property
    def call(self) -> CallRecord:
        """The only call; it began and ended once."""
        [call] = self.ended
        assert [one.id for one in self.started] == [call.id]
        assert call.attempts == tuple(self.attempts)
        return call


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def client(
    key: str, simulator: Simulator, policy: RetryPolicy, recorder: Recorder
) -> AsyncIterator[LaplasClient]:
    async with (
        asyncio.timeout(60),
        LaplasClient(key, simulator.base_url, retry=policy, observers=[recorder]) as client,
    ):
        yield client


async def test_a_call_is_recorded_with_what_it_used(
    simulator: Simulator, client: LaplasClient, recorder: Recorder
) -> None:
    completion = await client.complete(
        PROMPT, max_tokens=7, temperature=0.5, stop=["secret"], labels={"job": "nightly"}
    )
    call = recorder.call
    assert call.outcome == "ok"
    assert (call.error_type, call.error) == (None, None)
    assert (call.model, call.server, call.port) == (client.model, "127.0.0.1", simulator.port)
    assert call.labels == {"job": "nightly"}
    assert call.parameters == {"max_tokens": 7, "temperature": 0.5}
    assert not call.streaming
    assert call.usage == completion.usage
    assert call.finish_reasons == (completion.finish_reason,)
    assert (call.response_id, call.response_model) == (completion.id, completion.model)
    assert call.duration is not None
    [attempt] = call.attempts
    assert attempt.attempt == completion.attempts[0]
    assert 0 <= attempt.duration <= call.duration
    assert attempt.reserved_tokens > 0
    assert "secret" not in repr(recorder)


async def test_a_stream_is_recorded_with_its_chunks(
    client: LaplasClient, recorder: Recorder
) -> None:
    chunks = 0
    async with client.stream(PROMPT, max_tokens=9) as stream:
        async for _ in stream:
            chunks += 1
    call = recorder.call
    assert (call.outcome, call.streaming, call.chunks) == ("ok", True, chunks)
    assert sum(call.gaps) == chunks - 1
    first, content = call.time_to_first_chunk, call.time_to_first_content
    last = call.time_to_last_content
    assert first is not None
    assert content is not None
    assert last is not None
    assert 0 <= first <= content <= last <= call.attempts[-1].duration
    assert call.usage is not None
    assert call.usage.completion_tokens == 9


async def test_text_pieces_count_as_chunks(client: LaplasClient, recorder: Recorder) -> None:
    async with client.stream(PROMPT, max_tokens=40) as stream:
        text = "".join([piece async for piece in stream.text()])
        assert text == (await stream.completion()).text
    assert recorder.call.chunks > 40


async def _break(client: LaplasClient) -> None:
    async with client.stream(PROMPT) as stream:
        async for _ in stream:
            break


async def _raise_inside(client: LaplasClient) -> None:
    async def read() -> None:
        async with client.stream(PROMPT) as stream:
            await anext(stream)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read()


async def _drop(client: LaplasClient) -> None:
    stream = client.stream(PROMPT)
    await stream.start()
    await anext(stream)
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        del stream
        gc.collect()
    while client.pace.in_flight:
        await asyncio.sleep(0)


async def _close_from_another_task(client: LaplasClient) -> None:
    async with client.stream(PROMPT) as stream:
        await anext(stream)
        await asyncio.create_task(stream.aclose())


async def _close_while_reading(client: LaplasClient) -> None:
    async with client.stream(PROMPT) as stream:
        reading = asyncio.create_task(stream.completion())
        while not stream.partial.text:
            await asyncio.sleep(0)
        await stream.aclose()
        with pytest.raises(StreamTruncatedError):
            await reading


async def _close_the_client(client: LaplasClient) -> None:
    async with client.stream(PROMPT) as stream:
        await anext(stream)
        await client.aclose()


@pytest.mark.parametrize(
    "leave",
    [
        _break,
        _raise_inside,
        _drop,
        _close_from_another_task,
        _close_while_reading,
        _close_the_client,
    ],
)
async def test_a_stream_that_is_left_is_abandoned(
    simulator: Simulator,
    client: LaplasClient,
    recorder: Recorder,
    leave: Callable[[LaplasClient], Coroutine[Any, Any, None]],
) -> None:
    simulator.script_always(Fault.stall(after=2))
    await leave(client)
    call = recorder.call
    assert (call.outcome, call.error_type) == ("abandoned", None)
    assert call.may_be_billed
    assert call.chunks >= 1


async def test_a_stream_closed_before_it_began_is_abandoned(
    simulator: Simulator, client: LaplasClient, recorder: Recorder
) -> None:
    simulator.script_always(Fault.stall())
    stream = client.stream(PROMPT)
    starting = asyncio.create_task(stream.start())
    assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=30)
    await stream.aclose()
    with pytest.raises(StreamTruncatedError):
        await starting
    assert recorder.call.outcome == "abandoned"


async def test_a_stream_that_was_never_entered_is_no_call(
    client: LaplasClient, recorder: Recorder
) -> None:
    stream = client.stream(PROMPT)
    await stream.aclose()
    assert not recorder.started


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.cut(after=3), ("truncated", "StreamTruncatedError")),
        (Fault.error_event(after=3), ("error", "StreamAPIError")),
    ],
    ids=["truncated", "error event"],
)
async def test_a_broken_stream_says_so_in_its_call_and_its_attempt(
    simulator: Simulator,
    client: LaplasClient,
    recorder: Recorder,
    fault: Fault,
    expected: tuple[str, str],
) -> None:
    simulator.script(fault)
    stream = client.stream(PROMPT)
    with pytest.raises(LaplasError) as caught:
        async with stream:
            await stream.completion()
    call = recorder.call
    assert (call.outcome, call.error_type) == expected
    [attempt], error = call.attempts, expected[1]
    assert attempt.error_type == error
    assert attempt.attempt.may_be_billed
    assert (attempt.attempt.error or "").startswith(f"{error}: ")
    assert caught.value.attempts == stream.attempts == (attempt.attempt,)


async def test_a_stream_that_broke_before_its_content_is_one_call_of_two_attempts(
    simulator: Simulator, client: LaplasClient, recorder: Recorder
) -> None:
    simulator.script(Fault.cut(after=0))
    async with client.stream(PROMPT) as stream:
        await stream.completion()
    call = recorder.call
    assert call.outcome == "ok"
    assert [one.error_type for one in call.attempts] == ["StreamTruncatedError", None]


@pytest.mark.parametrize("way", ["complete", "stream", "stream without a block"])
async def test_a_call_cancelled_in_flight(
    simulator: Simulator, client: LaplasClient, recorder: Recorder, way: str
) -> None:
    simulator.script_always(Fault.stall(after=2))
    reading = asyncio.Event()

    async def call() -> None:
        if way == "complete":
            await client.complete(PROMPT)
            return
        stream = client.stream(PROMPT)
        if way == "stream":
            async with stream:
                await anext(stream)
                reading.set()
                await stream.completion()
        else:
            await stream.start()
            await anext(stream)
            reading.set()
            await stream.completion()

    task = asyncio.create_task(call())
    if way == "complete":
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=30)
    else:
        await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ended = recorder.call
    assert (ended.outcome, ended.error_type) == ("cancelled", "CancelledError")
    assert len(ended.attempts) == 1
    assert ended.may_be_billed


async def test_calls_that_wait_at_the_gate_are_cancelled_or_not_admitted(
    key: str, simulator: Simulator, recorder: Recorder
) -> None:
    simulator.script_always(Fault.stall())
    async with (
        asyncio.timeout(60),
        LaplasClient(
            key,
            simulator.base_url,
            limits=Limits(concurrency=1, max_wait=0.05),
            observers=[recorder],
        ) as client,
    ):
        first = asyncio.create_task(client.complete(PROMPT))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=30)
        with pytest.raises(LaplasError):
            await client.complete(PROMPT)
        [late] = recorder.ended
        waiting = asyncio.create_task(client.complete(PROMPT))
        while not client.pace.waiting:
            await asyncio.sleep(0)
        waiting.cancel()
        first.cancel()
        await asyncio.gather(first, waiting, return_exceptions=True)
    assert (late.outcome, late.error_type) == ("not_admitted", "RequestTimeoutError")
    assert late.attempts == ()
    assert late.gate_wait > 0
    cancelled = [call for call in recorder.ended if not call.attempts and call is not late]
    assert [call.outcome for call in cancelled] == ["cancelled"]


async def test_retries_and_rejections_are_attempts_of_one_call(
    simulator: Simulator, client: LaplasClient, recorder: Recorder
) -> None:
    simulator.script(Fault.status(503), Fault.status(429), None)
    await client.complete(PROMPT)
    call = recorder.call
    assert call.outcome == "ok"
    assert [one.number for one in call.attempts] == [1, 2, 3]
    assert [one.attempt.status for one in call.attempts] == [503, 429, 200]
    assert [one.rejected for one in call.attempts] == [False, True, False]
    assert [one.error_type for one in call.attempts] == ["ServerError", "RateLimitError", None]


async def test_an_error_is_recorded_by_its_type_apart_from_its_message(
    simulator: Simulator, client: LaplasClient, recorder: Recorder
) -> None:
    simulator.script(Fault.status(400, {"message": "the prompt is too long"}))
    with pytest.raises(LaplasError):
        await client.complete(PROMPT)
    call = recorder.call
    assert (call.outcome, call.error_type) == ("error", "BadRequestError")
    assert "too long" in (call.error or "")
    assert not call.may_be_billed


async def test_what_is_refused_before_anything_is_sent_is_no_call(
    client: LaplasClient, recorder: Recorder
) -> None:
    with pytest.raises(ConfigError):
        await client.complete(PROMPT, temperature=7)
    with pytest.raises(ConfigError, match="labels"):
        await client.complete(PROMPT, labels={"job": ["list"]})  # type: ignore[dict-item]
    assert not recorder.started


class ObserverError(Exception):
    pass


class Broken:
    """Raises on every occasion."""

    wants_content = True

    def call_started(self, call: CallRecord) -> None:
        raise ObserverError

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        raise asyncio.CancelledError

    def call_ended(self, call: CallRecord) -> None:
        raise ObserverError

    def chunk_received(self, call: CallRecord, chunk: ChatCompletionChunk) -> None:
        raise ObserverError

    def content_known(self, call: CallRecord, messages: Any, completion: Any) -> None:
        raise ObserverError


async def test_an_observer_that_raises_harms_no_call_and_no_other_observer(
    key: str,
    simulator: Simulator,
    policy: RetryPolicy,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    observers: list[Observer] = [Broken(), recorder]
    simulator.script(Fault.status(503), Fault.status(429))
    async with (
        asyncio.timeout(60),
        LaplasClient(key, simulator.base_url, retry=policy, observers=observers) as client,
    ):
        for _ in range(3):
            assert (await client.complete(PROMPT)).text
            async with client.stream(PROMPT) as stream:
                assert (await stream.completion()).text
        assert client.pace.in_flight == 0
    assert [call.outcome for call in recorder.ended] == ["ok"] * 6
    assert len([one for one in caplog.records if "Broken" in one.getMessage()]) == 2


async def test_an_observer_of_chunks_sees_each_one(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> None:
    texts: list[str] = []

    class Listening(Recorder):
        def chunk_received(self, call: CallRecord, chunk: ChatCompletionChunk) -> None:
            texts.append(chunk.text)

    async with (
        asyncio.timeout(60),
        LaplasClient(key, simulator.base_url, retry=policy, observers=[Listening()]) as client,
    ):
        async with client.stream(PROMPT) as stream:
            whole = (await stream.completion()).text
        assert "".join(texts) == whole
        texts.clear()
        async with client.stream(PROMPT) as stream:
            pieces = [piece async for piece in stream.text()]
        assert "".join(texts) == "".join(pieces)


async def test_labels_reach_the_calls_of_maps_batches_and_create(
    tmp_path: Path, client: LaplasClient, recorder: Recorder
) -> None:
    labels = {"job": "nightly"}
    own = {"messages": PROMPT, "labels": {"job": "own"}}
    async for outcome in client.map([{"messages": PROMPT}, own], labels=labels):
        assert outcome.ok
    await client.chat.completions.create(messages=PROMPT, labels=labels)
    (tmp_path / "in.jsonl").write_bytes(b'{"prompt": "a"}\n{"prompt": "b"}\n')
    report = await run_batch(
        tmp_path / "in.jsonl", tmp_path / "out.jsonl", client=client, labels=labels
    )
    assert report.ok
    seen = Counter(call.labels["job"] for call in recorder.ended)
    assert seen == {"nightly": 4, "own": 1}


async def test_a_stream_begins_in_the_context_in_which_it_was_made(
    client: LaplasClient, recorder: Recorder
) -> None:
    token = COUNTRY.set("Peru")
    stream = client.stream(PROMPT)
    COUNTRY.reset(token)
    async with stream:
        await stream.completion()
    await client.complete(PROMPT)
    assert recorder.contexts == ["Peru", ""]


@pytest.mark.parametrize("observers", [[object()], [None], "x"])
async def test_what_is_no_observer_is_refused(key: str, observers: Any) -> None:
    with pytest.raises(ConfigError, match="observers"):
        LaplasClient(key, "http://127.0.0.1:1", observers=observers)
