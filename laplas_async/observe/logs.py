"""``Logs``: one line per call for ``logging`` or structlog, with structured fields.

Never the key, never message content: an error appears by its type, since a service may quote the
request in its message.
"""

import logging
from typing import Any, Protocol

from laplas_async.observe.records import AttemptRecord, CallRecord


class StructuredLogger(Protocol):
    """What is used of a structlog logger."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log an event with its fields."""
        ...


class Logs:
    """Writes one INFO line per call, at its end, to the logger ``laplas_async.calls``.

    ``logger``: another one to use, of ``logging`` or of structlog. With ``logging``, the line has
    all fields as ``name=value``; they are also attributes of the record, with the prefix
    ``laplas_``, for JSON formatters. A structlog logger gets them as keywords.
    """

    def __init__(self, logger: logging.Logger | StructuredLogger | None = None) -> None:
        self._logger = logging.getLogger("laplas_async.calls") if logger is None else logger

    def call_started(self, call: CallRecord) -> None:
        """Nothing is logged yet."""

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        """Nothing is logged: the line of the call counts its attempts."""

    def call_ended(self, call: CallRecord) -> None:
        """Write the line."""
        logger = self._logger
        if not isinstance(logger, logging.Logger | logging.LoggerAdapter):
            logger.info("chat", **fields_of(call))
        elif logger.isEnabledFor(logging.INFO):
            fields = fields_of(call)
            line = " ".join(f"{name}={_text(value)}" for name, value in fields.items())
            logger.info(
                "chat %s", line, extra={f"laplas_{name}": value for name, value in fields.items()}
            )


def fields_of(call: CallRecord) -> dict[str, Any]:
    """What is known of a call, by name, without content; fields that are not known are absent."""
    usage = call.usage
    fields = {
        "id": call.id,
        "outcome": call.outcome,
        "error_type": call.error_type,
        "model": call.model,
        "server": call.server,
        "streaming": call.streaming,
        "attempts": len(call.attempts),
        "status": call.attempts[-1].attempt.status if call.attempts else None,
        "request_id": call.request_id,
        "duration": _round(call.duration),
        "gate_wait": _round(call.gate_wait),
        "backoff": _round(call.backoff),
        "time_to_first_content": _round(call.time_to_first_content),
        "chunks": call.chunks if call.streaming else None,
        "finish_reasons": ",".join(call.finish_reasons) or None,
        "prompt_tokens": None if usage is None else usage.prompt_tokens,
        "completion_tokens": None if usage is None else usage.completion_tokens,
        "cost_usd": call.cost_usd,
        "may_be_billed": call.may_be_billed or None,
        **{f"label_{name}": value for name, value in call.labels.items()},
    }
    return {name: value for name, value in fields.items() if value is not None}


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _text(value: Any) -> str:
    text = str(value)
    # A label with a space or a line break must not look like further fields or lines.
    plain = text.isprintable() and not set(text) & set(" \"'=")
    return text if plain else repr(text)
