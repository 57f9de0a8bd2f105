"""Spans and metrics of real calls, as an in-memory exporter of the OpenTelemetry SDK sees them."""

import asyncio
import gc
import json
import threading
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from laplas_async import (
    CallRecord,
    LaplasClient,
    LaplasError,
    Limits,
    OTel,
    RetryPolicy,
    StreamError,
)
from laplas_async.observe import genai
from laplas_async.simulator import Fault, Simulator

KEY = "test-key-that-never-shows"
PROMPT = "What is the secret river?"


class Telemetry:
    """An OTel observer with its own providers, and what they have exported."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        sampler = settings.pop("sampler", None)
        self.tracers = TracerProvider(sampler=sampler)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        meters = MeterProvider([self.reader])
        self.observer = OTel(tracer_provider=self.tracers, meter_provider=meters, **settings)

    @property
    def spans(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith("chat")]

    @property
    def span(self) -> ReadableSpan:
        [span] = self.spans
        return span

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as simulator:
        yield simulator


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def client_of(simulator: Simulator, telemetry: Telemetry, **settings: Any) -> LaplasClient:
    retry = RetryPolicy(jitter=lambda _delay: 0.0)
    observers = [telemetry.observer]
    return LaplasClient(KEY, simulator.base_url, retry=retry, observers=observers, **settings)


async def test_a_plain_call_is_one_client_span(simulator: Simulator, telemetry: Telemetry) -> None:
    async with client_of(simulator, telemetry) as client:
        completion = await client.complete(
            PROMPT, max_tokens=7, temperature=0.5, labels={"job": "x"}
        )
    span = telemetry.span
    attributes = dict(span.attributes or {})
    assert span.kind is SpanKind.CLIENT
    assert span.name == f"chat {client.model}"
    assert span.status.status_code is StatusCode.UNSET
    assert completion.usage is not None
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "apilaplas",
        "gen_ai.request.model": client.model,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": completion.id,
        "gen_ai.response.model": completion.model,
        "gen_ai.response.finish_reasons": (completion.finish_reason,),
        "gen_ai.usage.input_tokens": completion.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": completion.usage.completion_tokens,
        "server.address": "127.0.0.1",
        "laplas.outcome": "ok",
        "laplas.label.job": "x",
    }
    assert expected.items() <= attributes.items()
    assert attributes["server.port"] == int(simulator.base_url.split(":")[2].split("/")[0])
    assert "error.type" not in attributes


async def test_a_stream_reports_its_first_chunk(simulator: Simulator, telemetry: Telemetry) -> None:
    async with (
        client_of(simulator, telemetry) as client,
        client.stream(PROMPT, max_tokens=9) as stream,
    ):
        await stream.completion()
    attributes = dict(telemetry.span.attributes or {})
    assert attributes["gen_ai.request.stream"] is True
    assert attributes["gen_ai.response.time_to_first_chunk"] >= 0  # type: ignore[operator]
    assert attributes["gen_ai.usage.output_tokens"] == 9
    assert "gen_ai.client.operation.time_to_first_chunk" in telemetry.metrics()


async def test_content_and_key_are_in_no_span_and_no_metric(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    simulator.script(Fault.status(400, {"message": f"bad: {PROMPT} {KEY}"}), None)
    async with client_of(simulator, telemetry) as client:
        with pytest.raises(LaplasError):
            await client.complete(PROMPT, stop=["secret"])
        await client.complete(PROMPT)
    exported = "".join(span.to_json() for span in telemetry.spans) + str(telemetry.metrics())
    assert "secret" not in exported
    assert KEY not in exported


async def test_content_is_recorded_if_requested(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    telemetry = Telemetry()
    async with client_of(simulator, telemetry) as client:
        completion = await client.complete(PROMPT)
    attributes = dict(telemetry.span.attributes or {})
    assert json.loads(str(attributes["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
    ]
    [output] = json.loads(str(attributes["gen_ai.output.messages"]))
    assert output["parts"] == [{"type": "text", "content": completion.text}]


async def test_a_retry_is_an_event_of_one_successful_span(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    simulator.script(Fault.status(503))
    async with client_of(simulator, telemetry) as client:
        await client.complete(PROMPT)
    span = telemetry.span
    assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in span.events] == ["laplas.retry", "laplas.attempt"]
    first = dict(span.events[0].attributes or {})
    assert first["http.response.status_code"] == 503
    assert first["error.type"] == "ServerError"


async def test_rejections_are_counted_and_waits_kept_apart(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    simulator.script(Fault.status(429), Fault.status(429))
    async with client_of(simulator, telemetry) as client:
        await client.complete(PROMPT)
    metrics = telemetry.metrics()
    assert sum(point.value for point in metrics["laplas.rejections"]) == 2
    assert sum(point.count for point in metrics["laplas.gate.wait"]) == 3
    assert (telemetry.span.attributes or {})["laplas.attempts"] == 3


async def _break(client: LaplasClient) -> None:
    async with client.stream(PROMPT) as stream:
        async for _ in stream:
            break


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


@pytest.mark.parametrize("way", [_break, _drop, _close_from_another_task])
async def test_leaving_a_stream_is_abandoned_and_no_error(
    simulator: Simulator, telemetry: Telemetry, way: Any
) -> None:
    simulator.script_always(Fault.stall(after=2))
    async with client_of(simulator, telemetry) as client:
        await way(client)
    span = telemetry.span
    assert (span.attributes or {})["laplas.outcome"] == "abandoned"
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in (span.attributes or {})


@pytest.mark.parametrize(
    ("fault", "outcome", "error"),
    [
        (Fault.cut(after=3), "truncated", "StreamTruncatedError"),
        (Fault.error_event(after=3), "error", "StreamAPIError"),
    ],
    ids=["truncated", "error event"],
)
async def test_a_broken_stream_is_an_error(
    simulator: Simulator, telemetry: Telemetry, fault: Fault, outcome: str, error: str
) -> None:
    simulator.script(fault)
    async with client_of(simulator, telemetry) as client:
        with pytest.raises(StreamError):
            async with client.stream(PROMPT) as stream:
                await stream.completion()
    span = telemetry.span
    assert span.status.status_code is StatusCode.ERROR
    attributes = dict(span.attributes or {})
    assert (attributes["laplas.outcome"], attributes["error.type"]) == (outcome, error)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
async def test_cancelled_in_flight_is_an_error_span(
    simulator: Simulator, telemetry: Telemetry, *, streamed: bool
) -> None:
    simulator.script_always(Fault.stall())

    async def call(client: LaplasClient) -> None:
        if streamed:
            async with client.stream(PROMPT) as stream:
                await stream.completion()
        else:
            await client.complete(PROMPT)

    async with client_of(simulator, telemetry) as client:
        task = asyncio.create_task(call(client))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (telemetry.span.attributes or {})["laplas.outcome"] == "cancelled"
    assert telemetry.span.status.status_code is StatusCode.ERROR


async def test_a_call_that_was_not_admitted_has_no_attempt(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    simulator.script_always(Fault.stall())
    limits = Limits(concurrency=1, max_wait=0.01)
    async with client_of(simulator, telemetry, limits=limits) as client:
        first = asyncio.create_task(client.complete(PROMPT))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=30)
        with pytest.raises(LaplasError):
            await client.complete(PROMPT)
        attributes = dict(telemetry.span.attributes or {})
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert attributes["laplas.outcome"] == "not_admitted"
    assert attributes["laplas.attempts"] == 0


async def test_the_parent_is_the_span_current_at_the_call(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    tracer = telemetry.tracers.get_tracer("app")
    async with client_of(simulator, telemetry) as client:
        with tracer.start_as_current_span("request") as parent:
            async with client.stream(PROMPT) as stream:
                await stream.completion()
    span = telemetry.span
    assert span.parent is not None
    assert span.parent.span_id == parent.get_span_context().span_id


async def test_inside_another_genai_span_nothing_is_duplicated(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    tracer = telemetry.tracers.get_tracer("framework")
    attributes = {"gen_ai.operation.name": "chat"}
    async with client_of(simulator, telemetry) as client:
        with tracer.start_as_current_span("chat outer", attributes=attributes):
            await client.complete(PROMPT)
        with tracer.start_as_current_span(
            "invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}
        ):
            await client.complete(PROMPT)
    assert [span.name for span in telemetry.spans] == ["chat outer", f"chat {client.model}"]
    points = telemetry.metrics()["gen_ai.client.operation.duration"]
    assert sum(point.count for point in points) == 1


async def test_an_unsampled_call_is_still_counted(simulator: Simulator) -> None:
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    async with client_of(simulator, telemetry) as client:
        await client.complete(PROMPT)
    assert telemetry.spans == []
    assert "gen_ai.client.operation.duration" in telemetry.metrics()


async def test_three_choices_are_three_reasons_and_one_usage(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    async with client_of(simulator, telemetry) as client:
        await client.complete(PROMPT, n=3, max_tokens=4)
    attributes = dict(telemetry.span.attributes or {})
    assert len(attributes["gen_ai.response.finish_reasons"]) == 3  # type: ignore[arg-type]
    assert attributes["gen_ai.request.choice.count"] == 3
    points = telemetry.metrics()["gen_ai.client.token.usage"]
    assert sum(point.count for point in points) == 2  # input and output, once each


async def test_spans_never_end_before_they_start_when_the_clock_is_set_back(
    simulator: Simulator, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([2e9, *[1e9] * 1000])
    monkeypatch.setattr("laplas_async.observe.trace.time.time", lambda: next(moments))
    async with client_of(simulator, telemetry) as client:
        await client.complete(PROMPT)
    span = telemetry.span
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time >= span.start_time


async def test_no_state_is_left_of_ended_calls(simulator: Simulator, telemetry: Telemetry) -> None:
    simulator.script(None, Fault.status(400), Fault.cut(after=2))
    async with client_of(simulator, telemetry) as client:
        await client.complete(PROMPT)
        with pytest.raises(LaplasError):
            await client.complete(PROMPT)
        with pytest.raises(LaplasError):
            async with client.stream(PROMPT) as stream:
                await stream.completion()
    assert len(telemetry.spans) == 3
    assert not telemetry.observer._spans
    assert not telemetry.observer._contexts


async def test_no_context_is_attached_across_a_stream(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    async with (
        client_of(simulator, telemetry) as client,
        client.stream(PROMPT) as stream,
    ):
        assert not get_current_span().is_recording()
        async for _ in stream:
            assert not get_current_span().is_recording()


async def test_a_stream_is_a_child_of_the_span_in_which_it_was_made(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    tracer = telemetry.tracers.get_tracer("app")
    async with client_of(simulator, telemetry) as client:
        with tracer.start_as_current_span("request") as parent:
            stream = client.stream(PROMPT)
        async with stream:  # entered after the span has ended
            await stream.completion()
    span = telemetry.span
    assert span.parent is not None
    assert span.parent.span_id == parent.get_span_context().span_id


async def test_calls_of_a_map_are_children_of_the_span_around_it(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    tracer = telemetry.tracers.get_tracer("app")
    async with client_of(simulator, telemetry) as client:
        with tracer.start_as_current_span("job") as parent:
            async for outcome in client.map([{"messages": PROMPT}] * 5):
                assert outcome.ok
    parents = {span.parent.span_id for span in telemetry.spans if span.parent is not None}
    assert len(telemetry.spans) == 5
    assert parents == {parent.get_span_context().span_id}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [(None, None), ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, 0)],
    ids=["none", "zero"],
)
async def test_no_usage_is_absent_and_a_usage_of_zero_is_zero(
    simulator: Simulator, telemetry: Telemetry, usage: Any, expected: int | None
) -> None:
    body = {
        "id": "c-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"content": "Nile"}, "finish_reason": "stop"}],
        "usage": usage,
    }
    simulator.script(Fault.status(200, body))
    async with client_of(simulator, telemetry) as client:
        await client.complete(PROMPT)
    attributes = dict(telemetry.span.attributes or {})
    assert attributes.get("gen_ai.usage.input_tokens") == expected
    assert attributes.get("gen_ai.usage.output_tokens") == expected
    points = telemetry.metrics().get("gen_ai.client.token.usage", [])
    assert [point.sum for point in points] == ([] if expected is None else [0, 0])


async def test_each_gap_between_chunks_is_recorded(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    chunks = 0
    async with (
        client_of(simulator, telemetry) as client,
        client.stream(PROMPT, max_tokens=30) as stream,
    ):
        async for _ in stream:
            chunks += 1
    metrics = telemetry.metrics()
    [gaps] = metrics["gen_ai.client.operation.time_per_output_chunk"]
    [first] = metrics["gen_ai.client.operation.time_to_first_chunk"]
    assert (gaps.count, first.count) == (chunks - 1, 1)
    assert gaps.explicit_bounds == first.explicit_bounds == genai.SECONDS


def test_a_long_stream_records_no_more_gaps_than_the_loop_can_bear(telemetry: Telemetry) -> None:
    gaps, seconds = [0] * 15, [0.0] * 15
    gaps[0], gaps[1], gaps[7] = 90_000, 10_000, 1
    seconds[0], seconds[1], seconds[7] = 90.0, 150.0, 1.0
    call = CallRecord("c", "m", "h", 443, streaming=True)
    telemetry.observer.call_started(call)
    telemetry.observer.call_ended(
        evolve(call, gaps=tuple(gaps), gap_seconds=tuple(seconds), outcome="ok", duration=241.0)
    )
    [point] = telemetry.metrics()["gen_ai.client.operation.time_per_output_chunk"]
    assert point.bucket_counts[:2] == (900, 100)
    assert point.bucket_counts[7] == 1  # a rare one is not lost


class BlockedExporter(SpanExporter):
    """Exports nothing until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.released.wait(60)
        return SpanExportResult.SUCCESS


async def test_a_blocked_exporter_holds_up_no_call(simulator: Simulator) -> None:
    exporter = BlockedExporter()
    tracers = TracerProvider()
    processor = BatchSpanProcessor(
        exporter, max_queue_size=4, max_export_batch_size=1, schedule_delay_millis=1
    )
    tracers.add_span_processor(processor)
    observer = OTel(tracer_provider=tracers)
    try:
        async with (
            asyncio.timeout(60),
            LaplasClient(KEY, simulator.base_url, observers=[observer]) as client,
        ):
            for _ in range(20):
                assert (await client.complete(PROMPT)).text
    finally:
        exporter.released.set()
        await asyncio.to_thread(tracers.shutdown)


async def test_closing_the_client_ends_the_span_of_what_was_running(
    simulator: Simulator, telemetry: Telemetry
) -> None:
    simulator.script_always(Fault.stall())
    async with client_of(simulator, telemetry) as client:
        running = asyncio.create_task(client.complete(PROMPT))
        assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=30)
        await client.aclose()
        with pytest.raises(LaplasError):
            await running
    attributes = dict(telemetry.span.attributes or {})
    assert attributes["laplas.outcome"] == "error"
    assert attributes["error.type"] == "ConnectionFailedError"
