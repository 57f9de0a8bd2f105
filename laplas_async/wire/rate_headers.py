"""How long a service asks a client to wait: ``Retry-After`` and ``x-ratelimit-*``.

Pure: headers in, seconds out. It refuses to wait, and to guess where a header is missing or makes
no sense.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# "1s", "6m0s", "17ms", "1h2m3.5s", "1d": as OpenAI, Groq and Go servers write a duration.
_UNITS = (("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us|µs", 1e-6))
_DURATION = "".join(rf"(?:(\d+(?:\.\d+)?)(?:{unit})(?![a-z]))?" for unit, _ in _UNITS)
# A reset of at least this many seconds (32 years) is a point in time, not a duration; from
# _EPOCH_MS on, one in milliseconds. Fixed by test_rate_headers.py.
_EPOCH = 1e9
_EPOCH_MS = 1e12
# Seconds. A limit per minute is back after at most 60; beyond that, one request that may be
# rejected costs less than trusting an implausible header.
_LONGEST = 60.0
_KINDS = ("-requests", "-tokens", "")


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return ``Retry-After`` (RFC 9110: seconds or an HTTP date) in seconds from ``now``, or None.

    The largest value counts where there are several: next to ``retry-after-ms``, which some
    services send too, or because a proxy folded two headers into "3, 2". A date in the past is 0;
    a value that is neither is None.
    """
    found = [
        seconds
        for value in _values(headers, "retry-after")
        if (seconds := _seconds_or_date(value, now)) is not None
    ]
    found += [
        milliseconds / 1000
        for name in ("retry-after-ms", "x-ms-retry-after-ms")  # the second is Azure's
        for value in _values(headers, name)
        if (milliseconds := _seconds(value)) is not None
    ]
    return max(found, default=None)


def reset_delay(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds until the next request is allowed, if ``x-ratelimit-remaining*`` is 0.

    None if some remain or no header reports it (-1 means unknown). At most 60.

    ``x-ratelimit-reset-requests`` (OpenAI, Groq) is when *all* of ``x-ratelimit-limit-requests``
    are available again, so the first one is after its share of that time. ``x-ratelimit-reset``
    (Together and many gateways) is when the window ends. A reset is a duration ("6m0s", "120ms",
    "1.5"), seconds or milliseconds since the epoch, an ISO 8601 date or an HTTP date.
    """
    delay: float | None = None
    for kind in _KINDS:
        remaining = headers.get("x-ratelimit-remaining" + kind)
        if remaining is None or _number(remaining) != 0:
            continue
        reset = parse_delay(headers.get("x-ratelimit-reset" + kind), now=now)
        if reset is None:
            continue
        limit = _seconds(headers.get("x-ratelimit-limit" + kind))
        if kind == "-requests" and limit:
            reset /= limit
        delay = max(delay or 0.0, min(reset, _LONGEST))
    return delay


def parse_delay(value: str | None, *, now: float) -> float | None:
    """Return a duration, or the time left until a date, in seconds; None if it is neither."""
    seconds = _number(value)
    if seconds is not None:
        # A negative number stands for "unknown", never for a time that has passed.
        return None if seconds < 0 else _from_epoch(seconds, now)
    text = (value or "").strip()
    match = re.fullmatch(_DURATION, text.lower().replace(" ", ""))
    if match is not None and any(match.groups()):
        return sum(
            float(number) * factor
            for number, (_, factor) in zip(match.groups(), _UNITS, strict=True)
            if number is not None
        )
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return _seconds_until_date(text, now)
    return _seconds_until(date, now)


def _seconds_or_date(value: str, now: float) -> float | None:
    seconds = _seconds(value)
    return _from_epoch(seconds, now) if seconds is not None else _seconds_until_date(value, now)


def _from_epoch(seconds: float, now: float) -> float:
    if seconds >= _EPOCH_MS:
        seconds /= 1000
    return max(0.0, seconds - now) if seconds >= _EPOCH else seconds


def _seconds_until_date(text: str, now: float) -> float | None:
    try:
        return _seconds_until(parsedate_to_datetime(text), now)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _seconds_until(date: datetime, now: float) -> float | None:
    try:
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    """Return the values of a header: one per line, and those that a proxy folded into one line."""
    getall = getattr(headers, "getall", None)
    lines = getall(name, []) if getall is not None else [headers.get(name) or ""]
    # The comma after the weekday of an HTTP date separates nothing.
    return [
        value
        for line in lines
        for value in re.split(r"(?<!Mon)(?<!Tue)(?<!Wed)(?<!Thu)(?<!Fri)(?<!Sat)(?<!Sun),", line)
        if value.strip()
    ]


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(value: str | None) -> float | None:
    number = _number(value)
    return None if number is None else max(0.0, number)
