"""Error responses of services, gateways and proxies, in every shape seen, to our errors.

Pure: status, headers and body in, an ``APIError`` out. It refuses to decide about retries
(``calls.policy`` does).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

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
from laplas_async.wire.body_delay import body_delay
from laplas_async.wire.codec import DecodeError, loads, quote, redact
from laplas_async.wire.rate_headers import reset_delay, retry_after

# Patterns stay strings until first used: ``re`` compiles and caches them, importing does not.
# A period longer than a minute: the limit is a quota, whatever else the message says.
_LONG_PERIOD = (
    r"\b(per|for the|this|each|every|in the last|24)[-_ ]?(hour|day|week|month|year)s?\b|"
    r"(?<![a-z])(hourly|daily|weekly|monthly|yearly|annual|today|tomorrow)(?![a-z])|"
    r"\b(every|per|in) \d+ ?(hours?|h|days?)\b|"
    r"(requests|tokens|messages|calls) ?/ ?(hour|day|week|month|h|d)\b|"
    r"(?-i:[a-z]Per(Hour|Day|Week|Month))"
)
# Words of a quota that some services use for limits per minute too: a delay in the response, or a
# short period in the message, outweighs them.
_QUOTA = r"free[- ]tier|free limit|insufficient_quota|current quota|\b[rt]p[dh]\b"
_SHORT_PERIOD = r"(per|/) ?(min|minute|s|sec|second)\b|(?-i:[a-z]Per(Minute|Second))"
_CREDITS = r"credit|balance|billing|payment|top.?up"
# llama-cpp-python's server answers 500 where its framework has found the request invalid.
_INVALID = r"""['"]loc['"]: ?[(\[]['"](body|query)['"]"""
# An error inside a stream has no HTTP status; these codes imply one.
_STATUS_OF_CODE = (
    (r"rate.?limit|too.?many.?requests|insufficient_quota|resource.?exhausted|throttl", 429),
    (r"overloaded|unavailable|insufficient_system_resource", 503),
    (r"deadline.?exceeded|gateway.?timeout", 504),
    (r"server.?error|internal", 500),
    (r"authentication|unauthenticated|invalid_api_key", 401),
    (r"permission.?(denied|error)", 403),
    (r"not.?found", 404),
    (r"(invalid|bad).?(request|argument|parameter)", 400),
)
_HTML = r"\s*<(!doctype|html|head|body|\?xml)"
_TAGS = r"<(script|style)\b.*?</\1\s*>|<[^>]*>"
# Names of fields, without case, hyphens and underscores, in order of preference.
_MESSAGES = (
    *("message", "errormessage", "errormsg", "msg", "errordescription", "faultstring"),
    *("detail", "details", "description", "reason", "title"),
)
# Objects that hold the error, and such as only explain it: these count if nothing else does.
_HOLDERS = ("error", "fault")
_DETAILS = ("errors", "detail", "details", "cause", "innererror", "exception")
_STATUSES = ("statuscode", "status", "httpstatus", "httpstatuscode", "code", "errorcode")
_CODES = ("code", "type", "errorcode", "errortype", "status")
_REQUEST_IDS = ("requestid", "xrequestid", "traceid")
# Levels of objects, lists and JSON in strings that are searched: two gateways around a service.
_DEEPEST = 8
# Characters of text that are searched for JSON: the most that is read of an error body.
_LONGEST_TEXT = 64 * 1024
_MOST_ERRORS = 3  # of a list; more of them say nothing new

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
    retry_after: float | None = None


def read_failure(body: Any, *, now: float | None = None) -> Failure:
    """Find message, code, status and id in an error body: plain JSON values, or other text.

    Any of the shapes that are seen: the service's own, ``error`` as an object or a string, lists of
    errors, ``detail``, ``errors``, JSON inside a string, HTML, plain text. With ``now``, seconds
    since the epoch, also the delay that it asks for.
    """
    failure = _read(body, _DEEPEST)
    if failure.message is None and isinstance(body, dict | list):
        failure = evolve(failure, message=_first_sentence(body, _DEEPEST))
    if now is not None:
        failure = evolve(failure, retry_after=body_delay(body, now=now))
    if failure.status is None and failure.code is not None:
        code = failure.code
        implied = next((number for words, number in _STATUS_OF_CODE if _has(words, code)), None)
        failure = evolve(failure, status=implied)
    return failure


def is_failure(body: Any) -> bool:
    """Whether the JSON of a stream's event, or of a 2xx body, is an error instead of a completion.

    A non-empty ``error`` always counts, next to choices too; other fields only without choices.
    """
    if isinstance(body, list):
        return any(isinstance(item, dict) and is_failure(item) for item in body[:8])
    if not isinstance(body, dict):
        return False
    if body.get("error"):
        return True
    if body.get("choices") is not None:
        return False
    fields = _by_plain_name(body)
    if "error" in (fields.get("type"), fields.get("object")):
        return True
    if any(fields.get(name) for name in ("errors", "errormessage", "errortype", "errormsg")):
        return True
    if fields.get("success") is False or (fields.get("detail") and "object" not in fields):
        return True
    message = fields.get("message") or fields.get("msg")
    return isinstance(message, str | list) and any(
        name in fields for name in ("statuscode", "status", "code", "requestid")
    )


def _read(body: Any, depth: int) -> Failure:
    """Read one level, and what is nested in it; None for what neither has."""
    if depth == 0:
        return Failure()
    if isinstance(body, str):
        return _read_text(body, depth)
    if isinstance(body, list):
        return _read_list(body, depth)
    if not isinstance(body, dict):
        return Failure()
    fields = _by_plain_name(body)
    failure = _read_fields(fields, depth)
    for name in _HOLDERS:
        failure = _prefer(_read_nested(fields.get(name), depth), failure)
    for name in _DETAILS:
        if failure.message is None:
            failure = _prefer(failure, _read_nested(fields.get(name), depth))
    if failure.message is None:
        failure = evolve(failure, message=_quoted(fields, ("errors", "detail", "error")))
    return _with_upstream(failure, fields, depth)


def _read_nested(value: Any, depth: int) -> Failure:
    return _read(value, depth - 1) if isinstance(value, dict | list) else Failure()


def _prefer(one: Failure, other: Failure) -> Failure:
    return Failure(
        one.message or other.message,
        one.code or other.code,
        one.status or other.status,
        other.request_id or one.request_id,
    )


def _quoted(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    found = (value for name in names if (value := fields.get(name)))
    return next(
        (_shorten(quote(value, 500)[1:-1]) for value in found if isinstance(value, list | dict)),
        None,
    )


def _read_fields(fields: dict[str, Any], depth: int) -> Failure:
    """Read the fields of one object, apart from the objects nested in it."""
    failure = Failure(
        status=next((number for name in _STATUSES if (number := _status(fields.get(name)))), None),
        code=next(
            (
                text
                for name in _CODES
                if isinstance(text := fields.get(name), str) and text and _status(text) is None
                if text != "error"
            ),
            None,
        ),
        request_id=next(
            (text for name in _REQUEST_IDS if isinstance(text := fields.get(name), str)), None
        ),
    )
    # A text beside ``error`` is more specific: {"error": "Bad Request", "message": "n is wrong"}.
    for name in (*_MESSAGES, "error", "errors"):
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            nested = _read_text(value, depth - 1)
            if name == "msg" and "loc" in fields:  # FastAPI: which field of the request is wrong
                where = quote(fields["loc"])[1:-1]
                nested = evolve(nested, message=f"{nested.message} (at {where})")
            return _prefer(nested, failure)
        if name == "message" and isinstance(value, list | dict) and value:
            nested = _prefer(_read_nested(value, depth), failure)
            return evolve(nested, message=nested.message or _quoted(fields, ("message",)))
    return failure


def _read_list(items: list[Any], depth: int) -> Failure:
    """Read the first few errors of a list as one, with the messages of all of them."""
    found = [
        _read(item, depth - 1) for item in items[:_MOST_ERRORS] if isinstance(item, dict | list)
    ]
    messages = [failure.message for failure in found if failure.message]
    first = next((failure for failure in found if failure.message), Failure())
    return evolve(first, message=_shorten("; ".join(dict.fromkeys(messages))) or None)


def _read_text(text: str, depth: int) -> Failure:
    """Read text: JSON, or a sentence with JSON in it, or an HTML page."""
    plain = Failure(message=_shorten(_untagged(text)) or None)
    start = None if _is_html(text) else re.search(r"[\[{]", text[:_LONGEST_TEXT])
    if depth <= 0 or start is None:
        return plain
    try:
        nested, _ = json.JSONDecoder().raw_decode(text, start.start())
    except (ValueError, RecursionError):
        return plain
    failure = _read(nested, depth - 1) if isinstance(nested, dict | list) else Failure()
    if failure.message is not None and not text[: start.start()].strip(" \t\r\n\"'b:"):
        return failure
    return evolve(failure, message=plain.message)


def _first_sentence(body: Any, depth: int) -> str | None:
    """Return the first text of several words, in a body of a shape that is not known."""
    if isinstance(body, str):
        return _shorten(body) if len(body.split()) > 1 else None
    if depth == 0 or not isinstance(body, dict | list):
        return None
    items = body.values() if isinstance(body, dict) else body
    found = (_first_sentence(item, depth - 1) for item in list(items)[:50])
    return next((text for text in found if text is not None), None)


def _with_upstream(failure: Failure, fields: dict[str, Any], depth: int) -> Failure:
    """Add the message of the service behind a gateway (OpenRouter: ``metadata.raw``)."""
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str | dict) or failure.message is None:
        return failure
    upstream = _read(raw, depth - 1)
    if upstream.message is None or upstream.message in failure.message:
        return failure
    return evolve(
        failure,
        message=_shorten(f"{failure.message}: {upstream.message}"),
        code=failure.code or upstream.code,
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
    failure = _redact_failure(read_failure(body, now=now), secret)
    message = failure.message or "the response gives no explanation"
    if 300 <= status < 400:
        location = redact(headers.get("location"), secret)
        message = f"redirected to {location!r}; redirects are not followed, change base_url"
    kind = error_class(status, failure, quota_names=_quota_names(body))
    hint = _HINTS.get(kind)
    return kind(
        f"{status}: {message}" + (f" ({hint})" if hint else ""),
        status=status,
        code=failure.code,
        request_id=redact(request_id(headers), secret) or failure.request_id,
        retry_after=_retry_delay(status, headers, failure.retry_after, now),
        body=body if not isinstance(body, str) else _shorten(body, 2000),
        headers=redact({name.lower(): value for name, value in headers.items()}, secret),
    )


def _redact_failure(failure: Failure, secret: str) -> Failure:
    """Redact once more: a key that is escaped in JSON inside a string shows when that is read."""
    return evolve(
        failure,
        message=redact(failure.message, secret),
        code=redact(failure.code, secret),
        request_id=redact(failure.request_id, secret),
    )


def _retry_delay(
    status: int, headers: Mapping[str, str], in_body: float | None, now: float
) -> float | None:
    """Return the longest delay that headers and body ask for."""
    requested = retry_after(headers, now=now)
    if in_body is not None and status not in (400, 401, 402, 403, 404, 413, 422):
        requested = max(requested or 0.0, in_body)
    if requested is None and status == 429:
        return reset_delay(headers, now=now)
    return requested


def is_quota(message: str, *, retry_after: float | None = None) -> bool:
    """Whether a 429's message describes a quota, for which waiting seconds does not help.

    ``retry_after``: the delay that the body asks for. Some services word a limit per minute like a
    quota, and say how long to wait.
    """
    if _has(_LONG_PERIOD, message):
        return True
    return _has(_QUOTA, message) and retry_after is None and not _has(_SHORT_PERIOD, message)


def _quota_names(body: Any, depth: int = _DEEPEST) -> str:
    """Return the names of the quotas in a body (Google: ``quotaId`` ends with its period)."""
    if depth == 0 or not isinstance(body, dict | list):
        return ""
    if isinstance(body, list):
        return " ".join(_quota_names(item, depth - 1) for item in body[:_DEEPEST])
    return " ".join(
        value
        if isinstance(value, str) and "quota" in name.lower()
        else _quota_names(value, depth - 1)
        for name, value in list(body.items())[:50]
    )


def error_class(status: int, failure: Failure, *, quota_names: str = "") -> type[APIError]:
    """Return the error class for a status and the body's message and code."""
    text = f"{failure.message or ''} {failure.code or ''} {quota_names}"
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
            quota = is_quota(text, retry_after=failure.retry_after)
            return QuotaExceededError if quota else RateLimitError
        case 500 if _has(_INVALID, text):
            return BadRequestError
        case 498 | 499:  # gateways: the client seemed to have gone, which it had not
            return ServerError
    return ServerError if 500 <= status < 600 else APIError


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the id that the service's support asks for, or None."""
    return headers.get("x-request-id") or headers.get("x-inference-id")


def _status(value: Any) -> int | None:
    """Return a status from 400 to 599, given as a number or as digits; None for anything else."""
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 400 <= value < 600 else None


def _by_plain_name(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields by their names without case, hyphens and underscores."""
    return {re.sub(r"[-_ ]", "", str(name)).lower(): value for name, value in body.items()}


def _is_html(text: str) -> bool:
    return re.match(_HTML, text, re.IGNORECASE) is not None


def _untagged(text: str) -> str:
    if _is_html(text):
        text = re.sub(_TAGS, " ", text[:4000], flags=re.IGNORECASE | re.DOTALL)
        return "an HTML page: " + " ".join(text.split())
    return text


def _shorten(text: str, limit: int = 500) -> str:
    text = text.strip()
    return text if len(text) <= limit else text[:limit] + "…"


def _has(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
