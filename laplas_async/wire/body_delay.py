"""How long an error body asks a client to wait: in a field, or in the prose of its message.

Pure: plain JSON values in, seconds out. It refuses to judge whether waiting helps (a quota, see
``wire.error_body``), and to guess where a message gives no time ("try again later").
"""

import re
from collections.abc import Iterator
from typing import Any

from laplas_async.wire.rate_headers import parse_delay, reset_delay, retry_after

# "retry in 28.5s", "try again in 1m3.5s", "wait for 20 seconds", "retry after 6 minutes"
_IN = r"(?:retry|try\b[^.]{0,20}?\bagain|wait|available|resets?)\b[^.\d]{0,30}?"
_AMOUNT = r"(?<![\d.:-])(\d+(?:\.\d+)?)\s*"
_UNIT = (
    r"(milliseconds?|millis|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)"
    r"(?![a-z])"
)
_PROSE = rf"{_IN}((?:{_AMOUNT}{_UNIT}[,\s]*(?:and\s+)?)+)"
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DATE = r"\b(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)"
_UNTIL = rf"(?:retry|again|wait|available|resets?)\b.{{0,40}}?{_DATE}"
# Names of fields, without case, hyphens and underscores, with what a number in them counts.
_FIELDS = {"retryafter": 1.0, "retryafterseconds": 1.0, "retrydelay": 1.0, "retryafterms": 1e-3}
_DEEPEST = 8  # levels of JSON that are searched: Gemini's are at 4, a gateway around it adds 2
_MOST = 200  # values searched, so that a body of any size costs little on the event loop


def body_delay(body: Any, *, now: float) -> float | None:
    """Return the longest delay that a body asks for, in seconds from ``now``, or None.

    ``body`` is plain JSON values, or text where it was no JSON. Read are fields such as Google's
    ``retryDelay`` and ``retry_after``, the headers of an upstream service where a gateway quotes
    them, and sentences such as "Please retry in 1m3.5s".
    """
    found: list[float] = []
    for name, value in _values(body):
        if isinstance(value, dict):
            if name == "headers":
                found += _from_headers(value, now)
            elif name in _FIELDS and (seconds := _protobuf_duration(value)) is not None:
                found.append(seconds)
        elif name in _FIELDS and type(value) in (int, float, str):
            seconds = parse_delay(str(value), now=now)
            if seconds is not None:
                found.append(seconds * _FIELDS[name])
        elif isinstance(value, str) and (seconds := prose_delay(value, now=now)) is not None:
            found.append(seconds)
    return max(found, default=None)


def prose_delay(text: str, *, now: float) -> float | None:
    """Return the delay that a sentence gives, in seconds from ``now``, or None."""
    text = text[:2000]
    found = re.search(_PROSE, text, re.IGNORECASE)
    if found is not None:
        amounts = re.findall(_AMOUNT + _UNIT, found[1], re.IGNORECASE)
        return sum(float(number) * _SECONDS[_unit(unit.lower())] for number, unit in amounts)
    until = re.search(_UNTIL, text, re.IGNORECASE)
    return None if until is None else parse_delay(until[1], now=now)


def _unit(word: str) -> str:
    return "ms" if word == "ms" or word.startswith(("mil", "mse")) else word[0]


def _protobuf_duration(value: dict[str, Any]) -> float | None:
    seconds, nanos = value.get("seconds", 0), value.get("nanos", 0)
    try:
        return max(0.0, float(seconds) + float(nanos) / 1e9)
    except (TypeError, ValueError):
        return None


def _from_headers(headers: dict[str, Any], now: float) -> Iterator[float]:
    plain = {name.lower(): str(value) for name, value in headers.items()}
    for delay in (retry_after(plain, now=now), reset_delay(plain, now=now)):
        if delay is not None:
            yield delay


def _values(body: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value in a body with the name of its field, breadth first."""
    level: list[tuple[str, Any]] = [("", body)]
    count = 0
    for _ in range(_DEEPEST):
        below: list[tuple[str, Any]] = []
        for name, value in level:
            count += 1
            if count > _MOST:
                return
            yield re.sub(r"[-_ ]", "", name).lower(), value
            if isinstance(value, dict):
                below += value.items()
            elif isinstance(value, list):
                below += ((name, item) for item in value[:_MOST])
        level = below
