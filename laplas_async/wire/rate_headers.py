"""How long a service asks to be left alone: ``Retry-After`` and ``x-ratelimit-*``.

Pure: headers in, seconds out. It refuses to wait, and to guess where nothing is told.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

# "1s", "6m0s", "17ms", "1h2m3.5s": as OpenAI, Groq and others write a duration.
_DURATION = r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
_EPOCH = 1e9  # a "reset" beyond this is a moment, not a duration
_EPOCH_MS = 1e12
_LONGEST = 60.0  # seconds; beyond that, asking once is better than trusting an odd header
_KINDS = ("-requests", "-tokens", "")


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """``Retry-After`` (RFC 9110: seconds or an HTTP date) in seconds from ``now``, or None.

    ``retry-after-ms``, which some services send beside it, is finer and counts first. A date that
    is past is 0; words that make no sense are None.
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


def pause_told(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds until the next request may go, where ``x-ratelimit-remaining*`` says that none is
    left; None where some are, or nothing is told. At most 60: then it is worth asking.

    ``x-ratelimit-reset-requests`` (OpenAI, Groq) is when *all* of ``x-ratelimit-limit-requests``
    are back, so the first is back after its share of it. ``x-ratelimit-reset`` (Together and many
    gateways) is when the window ends, in seconds or as seconds since the epoch.
    """
    pause: float | None = None
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
        pause = max(pause or 0.0, min(reset, _LONGEST))
    return pause


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
