"""Error responses of services, gateways and proxies, in every shape seen, to our errors.

Pure: status, headers and body in, an ``APIError`` out. It refuses to decide about retries
(``calls.policy`` does).
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
from laplas_async.wire.codec import DecodeError, loads, quote, redact
from laplas_async.wire.rate_headers import reset_delay, retry_after

# Patterns stay strings until first used: ``re`` compiles and caches them, importing does not.
# WIRE: "Free-tier limit: You've reached your free limit for the hour"; OpenAI: insufficient_quota.
_QUOTA = (
    r"free[- ]tier|free limit|insufficient_quota|current quota|\b(per|for the|this) "
    r"(hour|day|week|month)\b|\b(hourly|daily|weekly|monthly)\b"
)
_CREDITS = r"credit|balance|billing|payment|top.?up"
# An error inside a stream has no HTTP status; these codes imply one.
_STATUS_OF_CODE = (
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
    """The contents of an error body; None for what it does not contain."""

    message: str | None = None
    code: str | None = None
    status: int | None = None
    request_id: str | None = None


def read_failure(body: Any) -> Failure:
    """Find message, code, status and id in an error body: plain JSON values, or other text."""
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
        status = next((number for words, number in _STATUS_OF_CODE if _has(words, code)), None)
    return Failure(message, code, status, request_id)


def is_failure(body: dict[str, Any]) -> bool:
    """Whether the JSON of a stream's event, or of a 2xx body, is an error instead of a completion.

    A non-empty ``error`` always counts, next to choices too; other fields only without choices.
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
    """Return the error for a response that is not a success.

    ``raw`` is the body (as much as was read), ``now`` seconds since the epoch (for a
    ``Retry-After`` that is a date), ``secret`` the key, removed wherever the service echoes it.
    """
    try:
        body: Any = redact(loads(raw), secret)
    except (DecodeError, RecursionError):
        body = redact(raw.decode("utf-8", "replace"), secret)
    failure = read_failure(body)
    message = failure.message or "the response gives no explanation"
    if 300 <= status < 400:
        location = redact(headers.get("location"), secret)
        message = f"redirected to {location!r}; redirects are not followed, change base_url"
    kind = error_class(status, failure)
    hint = _HINTS.get(kind)
    return kind(
        f"{status}: {message}" + (f" ({hint})" if hint else ""),
        status=status,
        code=failure.code,
        request_id=redact(request_id(headers), secret) or failure.request_id,
        retry_after=_retry_delay(status, headers, now),
        body=body if not isinstance(body, str) else _shorten(body, 2000),
    )


def _retry_delay(status: int, headers: Mapping[str, str], now: float) -> float | None:
    requested = retry_after(headers, now=now)
    if requested is None and status == 429:
        return reset_delay(headers, now=now)
    return requested


def is_quota(message: str) -> bool:
    """Whether a 429's message describes a quota, for which waiting seconds does not help."""
    return _has(_QUOTA, message)


def error_class(status: int, failure: Failure) -> type[APIError]:
    """Return the error class for a status and the body's message and code."""
    text = f"{failure.message or ''} {failure.code or ''}"
    match status:
        case 400 | 413 | 422:
            return BadRequestError
        case 401:
            return AuthenticationError
        case 402:
            return OutOfCreditsError
        case 403:
            return OutOfCreditsError if _has(_CREDITS, text) else PermissionDeniedError
        case 404:
            return NotFoundError
        case 429:
            return QuotaExceededError if is_quota(text) else RateLimitError
    return ServerError if 500 <= status < 600 else APIError


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the id that the service's support asks for, or None."""
    return headers.get("x-request-id") or headers.get("x-inference-id")


def _status(value: Any) -> int | None:
    """Return a status from 400 to 599, given as a number or as digits; None for anything else."""
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
