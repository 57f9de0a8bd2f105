"""How long a service asks a client to wait: ``Retry-After`` and ``x-ratelimit-*``.

Pure: headers in, seconds out. It refuses to wait, and to guess where a header is missing or makes
no sense.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

# "1s", "6m0s", "17ms", "1h2m3.5s": as OpenAI, Groq and others write a duration.
_DURATION = r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
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

    ``retry-after-ms``, which some services send too, is more precise and takes precedence. A date
    in the past is 0; a value that is neither is None.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None


def reset_delay(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds until the next request is allowed, if ``x-ratelimit-remaining*`` is 0.

    None if some remain or no header reports it. At most 60.

    ``x-ratelimit-reset-requests`` (OpenAI, Groq) is when *all* of ``x-ratelimit-limit-requests``
    are available again, so the first one is after its share of that time. ``x-ratelimit-reset``
    (Together and many gateways) is when the window ends, in seconds or as seconds since the epoch.
    """
    delay: float | None = None
    for kind in _KINDS:
        remaining = headers.get("x-ratelimit-remaining" + kind)
        if remaining is None or _seconds(remaining) != 0:
            continue
        reset = _duration(headers.get("x-ratelimit-reset" + kind), now)
        if reset is None:
            continue
        limit = _seconds(headers.get("x-ratelimit-limit" + kind))
        if kind == "-requests" and limit:
            reset /= limit
        delay = max(delay or 0.0, min(reset, _LONGEST))
    return delay


def _duration(value: str | None, now: float) -> float | None:
    seconds = _seconds(value)
    if seconds is None:
        match = re.fullmatch(_DURATION, (value or "").strip())
        if match is None or not any(match.groups()):
            return None
        hours, minutes, secs, millis = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + secs + millis / 1000
    if seconds >= _EPOCH_MS:
        seconds /= 1000
    return max(0.0, seconds - now) if seconds >= _EPOCH else seconds


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
