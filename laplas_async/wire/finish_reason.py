"""Which finish reasons report a failure instead of an end (law 1).

Pure. An unknown reason is an end (law 8): it refuses to guess.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Any

from laplas_async.errors import ConfigError

# The engine stopped, or lost its upstream: sglang and vLLM, OpenRouter, Zhipu, DeepSeek. The text
# before it is incomplete.
FAILED_FINISH_REASONS = frozenset(
    {"abort", "error", "network_error", "insufficient_system_resource"}
)

_STATUS = 500  # the request was accepted, and the service failed


def check_reasons(reasons: Collection[str]) -> frozenset[str]:
    """Return a client's table of failed reasons. Raises ``ConfigError``."""
    if isinstance(reasons, str) or not all(isinstance(reason, str) for reason in reasons):
        raise ConfigError("failed_finish_reasons: must be a collection of words")
    return frozenset(reasons)


def failed_choice(
    body: dict[str, Any], reasons: AbstractSet[str] = FAILED_FINISH_REASONS
) -> dict[str, Any] | None:
    """Return the error body of the first choice that failed, or None.

    ``body`` is the JSON of a completion: a choice fails by an ``error`` of its own or of its
    message, which some gateways send with status 200, or by one of the ``reasons``. Without a
    status of its own, the failure counts as a 5xx.
    """
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        error = choice.get("error")
        for name in ("message", "delta"):
            if not error and isinstance(part := choice.get(name), dict):
                error = part.get("error")
        if (failure := failure_of(choice.get("finish_reason"), error, reasons)) is not None:
            return failure
    return None


def failure_of(reason: Any, error: Any, reasons: AbstractSet[str]) -> dict[str, Any] | None:
    """Return the error body of a choice with this reason and ``error``; None: it did not fail."""
    if error:
        return {"error": error, "status": _STATUS}
    if isinstance(reason, str) and reason in reasons:
        message = f"the service gave up: finish_reason is {reason!r}"
        return {"error": {"message": message, "code": reason}, "status": _STATUS}
    return None
