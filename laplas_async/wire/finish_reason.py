"""Which finish reasons report a failure instead of an end (law 1).

Pure. An unknown reason is an end (law 8): it refuses to guess.
"""

from collections.abc import Set as AbstractSet
from typing import Any

# The engine stopped, or lost its upstream: sglang and vLLM, OpenRouter, Zhipu, DeepSeek. The text
# before it is incomplete.
FAILED_FINISH_REASONS = frozenset(
    {"abort", "error", "network_error", "insufficient_system_resource"}
)

_STATUS = 500  # the request was accepted, and the service failed


def failed_choice(
    body: dict[str, Any], reasons: AbstractSet[str] = FAILED_FINISH_REASONS
) -> dict[str, Any] | None:
    """Return the error body of the first choice that failed, or None.

    ``body`` is the JSON of a completion or a chunk: a choice fails by an ``error`` of its own,
    which some gateways send with status 200, or by one of the ``reasons``. Without a status of its
    own, the failure counts as a 5xx.
    """
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("error"):
            return {"error": choice["error"], "status": _STATUS}
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason in reasons:
            message = f"the service gave up: finish_reason is {reason!r}"
            return {"error": {"message": message, "code": reason}, "status": _STATUS}
    return None
