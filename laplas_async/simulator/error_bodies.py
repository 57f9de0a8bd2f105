"""Error bodies: the service's own, and the forms in which other servers and proxies write them.

Pure but for the time of day in the service's own body. It refuses to decide about a status or
headers; a client must find the message in each form.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

import orjson
from attrs import frozen

QUOTA_MESSAGE: Final = "Free-tier limit: You've reached your free limit for the hour. Try later."
CREDITS_MESSAGE: Final = "You've run out of credits. Please top up your balance."
_MESSAGES: Final = {
    400: "Body validation error!",
    401: "This request requires a valid API key.",
    403: CREDITS_MESSAGE,
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal server error",
    502: "Bad Gateway",
    503: "Service unavailable",
    504: "Generation timeout",
}

ErrorForm = Literal[
    "openai",
    "error_text",
    "list",
    "nested",
    "detail",
    "detail_text",
    "errors",
    "typed",
    "message",
    "text",
    "html",
    "retry_info",
    "empty",
]


@frozen(kw_only=True)
class ErrorContext:
    """What an error body holds beside its message; ``timestamp`` is ISO 8601."""

    path: str
    request_id: str
    timestamp: str

    @classmethod
    def of_request(cls, path: str, number: int) -> Self:
        """Return the context of the request with this number, at the present time."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return cls(
            path=path,
            request_id=f"00000000-0000-4000-8000-{number:012x}",
            timestamp=now.replace("+00:00", "Z"),
        )

    def body(self, status: int, message: str | None = None, **more: Any) -> dict[str, Any]:
        """Return the service's own error body for the status, with ``more`` keys added."""
        return {
            "message": message or _MESSAGES.get(status, "Internal server error"),
            "path": self.path,
            "requestId": self.request_id,
            "statusCode": status,
            "timestamp": self.timestamp,
            **more,
        }


def error_body(
    form: ErrorForm,
    *,
    status: int = 500,
    message: str | None = None,
    retry_after: float = 30.0,
) -> Any:
    """Return an error body for ``Fault.status`` or ``Fault.error_event``: JSON, text or "".

    "openai" ``{"error": {"message", "type", "param", "code"}}``; "error_text" ``{"error": "..."}``;
    "list" ``[{"error": {...}}]`` (Gemini); "nested" has the upstream's JSON inside the message
    (litellm, OpenRouter); "detail" and "detail_text" are FastAPI's; "errors"
    ``{"errors": [{"message"}]}``; "typed" ``{"error_type", "error_message"}``; "message"
    ``{"message"}``; "text" and "html" are not JSON; "retry_info" has Gemini's ``RetryInfo`` of
    ``retry_after`` seconds; "empty" has nothing. ``message`` defaults to one that names the status.
    Raises ``ValueError`` for an unknown form.
    """
    if form not in _FORMS:
        raise ValueError(f"{form!r} is not a known form; known are: {', '.join(_FORMS)}")
    text = f"Request failed with status {status}" if message is None else message
    return _FORMS[form](status, text, retry_after)


def _openai(status: int, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _nested(status: int, message: str) -> dict[str, Any]:
    inner = orjson.dumps(_openai(status, message)).decode()
    return {"error": {"message": inner, "code": str(status)}}


def _detail(message: str) -> dict[str, Any]:
    problem = {"loc": ["body", "messages"], "msg": message, "type": "value_error"}
    return {"detail": [problem]}


def _retry_info(status: int, message: str, delay: float) -> dict[str, Any]:
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{delay:g}s"}
    ]
    error = {
        "code": status,
        "message": f"{message}\nPlease retry in {delay:g}s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": details,
    }
    return {"error": error}


_FORMS: Final[dict[str, Callable[[int, str, float], Any]]] = {
    "openai": lambda status, message, _delay: _openai(status, message),
    "error_text": lambda _status, message, _delay: {"error": message},
    "list": lambda status, message, _delay: [_openai(status, message)],
    "nested": lambda status, message, _delay: _nested(status, message),
    "detail": lambda _status, message, _delay: _detail(message),
    "detail_text": lambda _status, message, _delay: {"detail": message},
    "errors": lambda _status, message, _delay: {"errors": [{"message": message}]},
    "typed": lambda _status, message, _delay: {
        "error_type": "internal_error",
        "error_message": message,
    },
    "message": lambda _status, message, _delay: {"message": message},
    "text": lambda _status, message, _delay: message,
    "html": lambda status, message, _delay: (
        f"<html><head><title>{status}</title></head><body><h1>{message}</h1></body></html>"
    ),
    "retry_info": _retry_info,
    "empty": lambda _status, _message, _delay: "",
}
