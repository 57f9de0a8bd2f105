"""What a service says when it fails, in any of the shapes that are seen, as our errors.

Pure: status, headers and body in, an ``APIError`` out. It refuses to decide about retries
(``pacing.retry`` does).
"""

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from laplas_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from laplas_async.wire.codec import DecodeError, loads, quote, without
from laplas_async.wire.rate_headers import pause_told, retry_after

# Patterns are texts: ``re`` compiles and keeps them when they are first needed.
# WIRE: "Free-tier limit: You've reached your free limit for the hour"; OpenAI: insufficient_quota.
_QUOTA = (
    r"free[- ]tier|free limit|insufficient_quota|current quota|\b(per|for the|this) "
    r"(hour|day|week|month)\b|\b(hourly|daily|weekly|monthly)\b"
)
_CREDITS = r"credit|balance|billing|payment|top.?up"
# An error inside a stream has no HTTP status; these words of it stand for one.
_STATUS_OF_WORDS = (
    (r"rate.?limit|too.?many.?requests|insufficient_quota", 429),
    (r"overloaded|unavailable", 503),
    (r"server.?error|internal", 500),
    (r"invalid.?request", 400),
)
_HTML = r"\s*<(!doctype|html|head|body|\?xml)"
_TAGS = r"<(script|style)\b.*?</\1\s*>|<[^>]*>"

_HINTS: dict[type[APIError], str] = {
    AuthenticationError: "check the API key (LAPLAS_API_KEY)",
    OutOfCreditsError: "add credits to the account; retrying does not help",
    NotFoundError: "check the base URL (LAPLAS_BASE_URL) and the model's name",
    QuotaExceededError: "waiting seconds does not help; wait for the quota to renew or change plan",
}


@frozen
class Failure:
    """What an error body says; None where it says nothing of it."""

    message: str | None = None
    code: str | None = None
    status: int | None = None
    request_id: str | None = None


def read_failure(body: Any) -> Failure:
    """Find the words in an error body: plain JSON values, or text where it was no JSON."""
    if isinstance(body, str):
        return Failure(message=_shorten(_untagged(body)) or None)
    if not isinstance(body, dict):
        return Failure()
    inner = body.get("error")
    fields = inner if isinstance(inner, dict) else body
    message = _first_text(
        fields.get("message"),
        inner,
        body.get("message"),
        body.get("detail"),
        body.get("title"),
        body.get("errors"),
    )
    status = next(
        (
            number
            for source in (fields, body)
            for name in ("statusCode", "status", "status_code", "code")
            if (number := _status(source.get(name))) is not None
        ),
        None,
    )
    code = next(
        (
            text
            for name in ("code", "type")
            if isinstance(text := fields.get(name), str) and _status(text) is None
        ),
        None,
    )
    request_id = next(
        (
            text
            for name in ("requestId", "request_id")
            for source in (body, fields)
            if isinstance(text := source.get(name), str)
        ),
        None,
    )
    if status is None and code is not None:
        status = next((number for words, number in _STATUS_OF_WORDS if _has(words, code)), None)
    return Failure(message, code, status, request_id)


def is_failure(body: dict[str, Any]) -> bool:
    """Whether the JSON of a stream's event, or of a 2xx body, is an error and no answer.

    An ``error`` that is told always counts, also beside choices; other words only without them.
    """
    if body.get("error"):
        return True
    if body.get("choices") is not None:
        return False
    if body.get("type") == "error":
        return True
    return isinstance(body.get("message"), str | list) and any(
        name in body for name in ("statusCode", "status", "code", "requestId", "status_code")
    )


def api_error(
    status: int, headers: Mapping[str, str], raw: bytes, *, now: float, secret: str = ""
) -> APIError:
    """The error for an answer that is no success.

    ``raw`` is the body (as much as was read), ``now`` seconds since the epoch (for a
    ``Retry-After`` that is a date), ``secret`` the key, taken out wherever the service echoes it.
    """
    try:
        body: Any = without(loads(raw), secret)
    except (DecodeError, RecursionError):
        body = without(raw.decode("utf-8", "replace"), secret)
    failure = read_failure(body)
    words = failure.message or "no explanation came with it"
    if 300 <= status < 400:
        location = without(headers.get("location"), secret)
        words = f"redirected to {location!r}, which is not followed: set base_url to where it lives"
    kind = error_class(status, failure)
    hint = _HINTS.get(kind)
    return kind(
        f"{status}: {words}" + (f" ({hint})" if hint else ""),
        status=status,
        code=failure.code,
        request_id=without(request_id(headers), secret) or failure.request_id,
        retry_after=_told_wait(status, headers, now),
        body=body if not isinstance(body, str) else _shorten(body, 2000),
    )


def _told_wait(status: int, headers: Mapping[str, str], now: float) -> float | None:
    asked = retry_after(headers, now=now)
    return pause_told(headers, now=now) if asked is None and status == 429 else asked


def is_quota(words: str) -> bool:
    """Whether the words of a 429 are those of a quota, where waiting seconds does not help."""
    return _has(_QUOTA, words)


def error_class(status: int, failure: Failure) -> type[APIError]:
    """Which error a status and its words are."""
    words = f"{failure.message or ''} {failure.code or ''}"
    match status:
        case 400 | 413 | 422:
            return BadRequestError
        case 401:
            return AuthenticationError
        case 402:
            return OutOfCreditsError
        case 403:
            return OutOfCreditsError if _has(_CREDITS, words) else PermissionDeniedError
        case 404:
            return NotFoundError
        case 429:
            return QuotaExceededError if is_quota(words) else RateLimitError
    return ServerError if 500 <= status < 600 else APIError


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id that support asks for: ``x-request-id``, else ``x-inference-id``."""
    return headers.get("x-request-id") or headers.get("x-inference-id")


def _status(value: Any) -> int | None:
    """400 to 599, as a number or as text, as this service writes it; anything else is none."""
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 400 <= value < 600 else None


def _first_text(*values: Any) -> str | None:
    for value in values:
        if isinstance(value, str) and value.strip():
            return _shorten(value)
        if isinstance(value, list | dict) and value:
            return _shorten(quote(value, 500)[1:-1])
    return None


def _untagged(text: str) -> str:
    if re.match(_HTML, text, re.IGNORECASE):
        text = re.sub(_TAGS, " ", text[:4000], flags=re.IGNORECASE | re.DOTALL)
        return "an HTML page: " + " ".join(text.split())
    return text


def _shorten(text: str, limit: int = 500) -> str:
    text = text.strip()
    return text if len(text) <= limit else text[:limit] + "…"


def _has(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
