"""``OTel``: an observer that makes OpenTelemetry spans and metrics of calls.

Names and values are those of the GenAI conventions, see ``genai``. It needs the extra ``[otel]``,
which is the API alone: without an SDK configured it records nothing. It attaches no context, in
particular none that would outlive a turn of the event loop: a span's parent is the one that is
current where the call is made. It refuses to export: that is for the SDK's processors.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from laplas_async.errors import ConfigError
from laplas_async.observe import genai
from laplas_async.observe.records import AttemptRecord, CallRecord
from laplas_async.types import ChatCompletion

_NANO = 1_000_000_000
# Recorded gaps between the chunks of one stream: each takes about 2 µs in the SDK, so a thousand
# are as much as one turn of the event loop may take (law 6). Longer streams are sampled evenly.
_MOST_GAPS = 1000


class OTel:
    """An observer that makes one CLIENT span per call, with its attempts as events, and metrics.

    ``tracer_provider`` and ``meter_provider``: others than the global ones. ``provider``: the value
    of ``gen_ai.provider.name``. ``capture_content``: whether messages are recorded on spans; None
    follows ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``. A call inside another
    instrumentation's span of a model call makes no second one. Raises ``ConfigError`` without the
    extra ``[otel]``.
    """

    def __init__(
        self,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        provider: str = "apilaplas",
        capture_content: bool | None = None,
    ) -> None:
        try:
            self._api = import_module("opentelemetry.trace")
            metrics = import_module("opentelemetry.metrics")
            self._current = import_module("opentelemetry.context").get_current
        except ImportError as error:
            message = "OTel needs OpenTelemetry: pip install 'laplas-async[otel]'"
            raise ConfigError(message) from error
        if capture_content is None:
            value = os.environ.get(genai.CAPTURE_CONTENT, "").strip().lower()
            capture_content = value in {"true", "1", "span_only", "span_and_event"}
        self.wants_content = capture_content
        self._provider = {genai.PROVIDER: provider}
        self._spans: dict[str, Any] = {}  # of calls in flight, by the call's id
        self._contexts: dict[str, Any] = {}
        self._tracer = self._api.get_tracer(
            "laplas_async", tracer_provider=tracer_provider, schema_url=genai.SCHEMA_URL
        )
        meter = metrics.get_meter(
            "laplas_async", meter_provider=meter_provider, schema_url=genai.SCHEMA_URL
        )
        self._histograms = {
            name: meter.create_histogram(
                name,
                unit=unit,
                description=description,
                explicit_bucket_boundaries_advisory=bounds,
            )
            for name, (unit, description, bounds) in genai.HISTOGRAMS.items()
        }
        name, unit, description = genai.REJECTIONS
        self._rejections = meter.create_counter(name, unit=unit, description=description)

    def call_started(self, call: CallRecord) -> None:
        """Start the span, as a child of the current one."""
        context = self._current()
        if not self._is_same_call(context):
            span = self._tracer.start_span(
                f"chat {call.model}",
                context=context,
                kind=self._api.SpanKind.CLIENT,
                attributes={
                    **genai.attributes(genai.REQUEST, call),
                    **self._provider,
                    **{f"{genai.LABEL}{name}": value for name, value in call.labels.items()},
                },
                start_time=int(call.started * _NANO),
            )
            self._spans[call.id] = span
            context = self._api.set_span_in_context(span, context)  # passed on, never attached
        self._contexts[call.id] = context

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        """Add an event to the span, and count the wait and the rejection."""
        context = self._contexts.get(call.id)
        attributes = self._metric_attributes(call)
        self._record("laplas.gate.wait", attempt.gate_wait, attributes, context)
        if attempt.rejected:
            self._rejections.add(1, attributes, context=context)
        span = self._spans.get(call.id)
        if span is not None and span.is_recording():
            failed = attempt.error_type is not None
            span.add_event("laplas.retry" if failed else "laplas.attempt", _event(attempt))

    def content_known(
        self, call: CallRecord, messages: Any, completion: ChatCompletion | None
    ) -> None:
        """Record the content on the span; called only if content was requested."""
        span = self._spans.get(call.id)
        if span is not None and span.is_recording():
            span.set_attribute(genai.INPUT_MESSAGES, genai.input_messages(messages))
            if completion is not None:
                span.set_attribute(genai.OUTPUT_MESSAGES, genai.output_messages(completion))

    def call_ended(self, call: CallRecord) -> None:
        """End the span and record the metrics."""
        context = self._contexts.pop(call.id, None)
        span = self._spans.pop(call.id, None)
        if span is None:
            return  # the enclosing span's instrumentation records this call
        try:
            self._record_metrics(call, context)
            if span.is_recording():
                span.set_attributes(genai.attributes(genai.RESPONSE, call))
                if genai.failed(call):
                    error = self._api.StatusCode.ERROR
                    span.set_status(self._api.Status(error, genai.error_type(call)))
        finally:
            # From durations of the monotonic clock, so that no span ends before it starts.
            span.end(int((call.started + (call.duration or 0.0)) * _NANO))

    def _record_metrics(self, call: CallRecord, context: Any) -> None:
        attributes = self._metric_attributes(call)
        kind = genai.error_type(call)
        ended = attributes if kind is None else {**attributes, genai.ERROR_TYPE: kind}
        self._record("gen_ai.client.operation.duration", call.duration or 0.0, ended, context)
        for token_type, count in genai.token_counts(call):
            counted = {**attributes, genai.TOKEN_TYPE: token_type}
            self._record("gen_ai.client.token.usage", count, counted, context)
        if call.time_to_first_chunk is not None:
            name = "gen_ai.client.operation.time_to_first_chunk"
            self._record(name, call.time_to_first_chunk, attributes, context)
        share = min(1.0, _MOST_GAPS / max(1, sum(call.gaps)))
        for count, seconds in zip(call.gaps, call.gap_seconds, strict=True):
            # The mean of a bucket, as often as it has gaps: counts and sums stay exact.
            for _ in range(max(round(count * share), min(count, 1))):
                name = "gen_ai.client.operation.time_per_output_chunk"
                self._record(name, seconds / count, attributes, context)

    def _record(self, name: str, value: float, attributes: Mapping[str, Any], context: Any) -> None:
        self._histograms[name].record(value, attributes, context=context)

    def _metric_attributes(self, call: CallRecord) -> dict[str, Any]:
        return {**genai.attributes(genai.METRIC, call), **self._provider}

    def _is_same_call(self, context: Any) -> bool:
        """Whether another instrumentation has made the span of this call already."""
        span = self._api.get_current_span(context)
        attributes = getattr(span, "attributes", None)
        if not span.is_recording() or attributes is None:
            return False
        return attributes.get("gen_ai.operation.name") in genai.SAME_OPERATIONS


def _event(attempt: AttemptRecord) -> dict[str, Any]:
    known = {
        "laplas.attempt.number": attempt.number,
        "laplas.attempt.duration": attempt.duration,
        "laplas.attempt.gate_wait": attempt.gate_wait,
        "laplas.attempt.backoff": attempt.backoff,
        "http.response.status_code": attempt.attempt.status,
        "error.type": attempt.error_type,
    }
    return {name: value for name, value in known.items() if value is not None}
