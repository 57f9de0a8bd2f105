"""The GenAI conventions of OpenTelemetry, v1.41: what is recorded of a call, and by which names.

The only place to change for a newer version. It refuses to import OpenTelemetry: ``otel`` does.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from laplas_async.observe.records import CallRecord
from laplas_async.types import ChatCompletion
from laplas_async.wire.codec import to_dict

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

Value = str | bool | int | float | list[str]
Getter = Callable[[CallRecord], Value | None]


def _parameter(name: str) -> Getter:
    return lambda call: call.parameters.get(name)


def _several(call: CallRecord) -> int | None:
    """The number of choices, if it is not one."""
    choices = call.parameters.get("n")
    return choices if isinstance(choices, int) and choices != 1 else None


def _usage(name: str) -> Getter:
    return lambda call: getattr(call.usage, name, None)


def _detail(group: str, name: str) -> Getter:
    """A count that some services report in a part of the usage."""

    def get(call: CallRecord) -> int | None:
        details = getattr(call.usage, group, None)
        count = details.get(name) if isinstance(details, Mapping) else None
        return count if isinstance(count, int) else None

    return get


def error_type(call: CallRecord) -> str | None:
    """The class of the error, or the outcome where there is none; None if it did not fail.

    Never the message: a service may quote the request in it (law 7).
    """
    return (call.error_type or call.outcome) if failed(call) else None


def failed(call: CallRecord) -> bool:
    """Whether it is an error. A caller may leave a stream early; that is none."""
    return call.outcome not in {"ok", "abandoned"}


# Known when the call begins, and used to sample its span.
REQUEST: dict[str, Getter] = {
    "gen_ai.operation.name": lambda _: "chat",
    "gen_ai.request.model": lambda call: call.model,
    "gen_ai.request.stream": lambda call: call.streaming or None,  # absent: not streamed
    "gen_ai.request.choice.count": _several,
    "gen_ai.request.max_tokens": _parameter("max_tokens"),
    "gen_ai.request.temperature": _parameter("temperature"),
    "gen_ai.request.top_p": _parameter("top_p"),
    "gen_ai.request.top_k": _parameter("top_k"),
    "gen_ai.request.frequency_penalty": _parameter("frequency_penalty"),
    "gen_ai.request.presence_penalty": _parameter("presence_penalty"),
    "gen_ai.request.seed": _parameter("seed"),
    "server.address": lambda call: call.server or None,
    "server.port": lambda call: call.port,
}

# Known at its end. Those of laplas itself are in no convention.
RESPONSE: dict[str, Getter] = {
    "gen_ai.response.id": lambda call: call.response_id,
    "gen_ai.response.model": lambda call: call.response_model,
    "gen_ai.response.finish_reasons": lambda call: list(call.finish_reasons) or None,
    "gen_ai.response.time_to_first_chunk": lambda call: call.time_to_first_chunk,
    "gen_ai.usage.input_tokens": _usage("prompt_tokens"),
    "gen_ai.usage.output_tokens": _usage("completion_tokens"),
    "gen_ai.usage.cache_read.input_tokens": _detail("prompt_tokens_details", "cached_tokens"),
    "gen_ai.usage.reasoning.output_tokens": _detail(
        "completion_tokens_details", "reasoning_tokens"
    ),
    "error.type": error_type,
    "laplas.outcome": lambda call: call.outcome,
    "laplas.attempts": lambda call: len(call.attempts),
    "laplas.gate.wait": lambda call: call.gate_wait,
    "laplas.backoff": lambda call: call.backoff,
    "laplas.request_id": lambda call: call.request_id,
    "laplas.time_to_first_content": lambda call: call.time_to_first_content,
    "laplas.cost_usd": lambda call: call.cost_usd,
    "laplas.may_be_billed": lambda call: call.may_be_billed or None,
}

# Of every metric: few values each, so that a metric has few series.
METRIC: dict[str, Getter] = {
    name: {**REQUEST, **RESPONSE}[name]
    for name in (
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "server.address",
        "server.port",
    )
}

PROVIDER = "gen_ai.provider.name"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - no password
ERROR_TYPE = "error.type"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
LABEL = "laplas.label."
CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
# Other instrumentations' spans with these operations are the span of the same call already.
SAME_OPERATIONS = frozenset({"chat", "generate_content", "text_completion"})

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**power for power in range(14))

# Name, unit, description, and the bucket bounds that the conventions ask for.
HISTOGRAMS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "gen_ai.client.operation.duration": ("s", "Duration of a call, with its retries.", SECONDS),
    "gen_ai.client.token.usage": ("{token}", "Input and output tokens used.", TOKENS),
    "gen_ai.client.operation.time_to_first_chunk": (
        "s",
        "From the sending of a streamed request to its first chunk.",
        SECONDS,
    ),
    "gen_ai.client.operation.time_per_output_chunk": (
        "s",
        "Between one chunk of a stream and the next.",
        SECONDS,
    ),
    "laplas.gate.wait": ("s", "Wait of an attempt for its turn at the gate.", SECONDS),
}
REJECTIONS = ("laplas.rejections", "{rejection}", "Attempts that a rate limit rejected.")


def attributes(table: Mapping[str, Getter], call: CallRecord) -> dict[str, Value]:
    """The attributes of a table that are known of a call."""
    found = ((name, get(call)) for name, get in table.items())
    return {name: value for name, value in found if value is not None}


def token_counts(call: CallRecord) -> Iterable[tuple[str, int]]:
    """The tokens used, by their type; none where the service reported none."""
    if call.usage is None:
        return ()
    return (("input", call.usage.prompt_tokens), ("output", call.usage.completion_tokens))


# --- content, recorded only on request ----------------------------------------------------------


def input_messages(messages: Any) -> str:
    """The messages of a request, as JSON in the conventions' form."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    plain = [to_dict(one) if hasattr(one, "__attrs_attrs__") else dict(one) for one in messages]
    return _json([{"role": one.get("role"), "parts": _parts(one)} for one in plain])


def output_messages(completion: ChatCompletion) -> str:
    """The choices of a completion, as JSON in the conventions' form."""
    return _json(
        [
            {
                "role": choice.message.role,
                "parts": _parts(to_dict(choice.message)),
                "finish_reason": choice.finish_reason or "",
            }
            for choice in completion.choices
        ]
    )


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if message.get("role") == "tool":
        call_id = message.get("tool_call_id")
        return [{"type": "tool_call_response", "id": call_id, "response": content}]
    parts: list[dict[str, Any]] = []
    if isinstance(content, str):
        parts.append({"type": "text", "content": content})
    elif content:
        parts.extend(
            {"type": "text", "content": part.get("text")} if part.get("type") == "text" else part
            for part in content
        )
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        parts.append(
            {
                "type": "tool_call",
                "id": call.get("id"),
                "name": function.get("name"),
                "arguments": _arguments(function.get("arguments")),
            }
        )
    return parts


def _arguments(text: Any) -> Any:
    """The arguments as the object they are, or as written if they are no JSON."""
    try:
        return orjson.loads(text)
    except (TypeError, ValueError):
        return text


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
