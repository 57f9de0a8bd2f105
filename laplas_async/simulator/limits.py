"""The service's hidden limits: a rate with a burst, a concurrency, or both, and changes over time.

Pure: ``now`` is in seconds of any monotonic clock. It refuses to queue: a request is admitted or
rejected when it arrives.
"""

import math
import threading
from typing import Final, Literal

from attrs import field, frozen
from attrs.validators import ge, gt, optional

# Tokens. A bucket that current one token but for a rounding error must admit a request
# (test_a_patient_client_is_always_admitted).
_SLACK: Final = 1e-9


@frozen(kw_only=True)
class HiddenLimit:
    """A limit that no response mentions.

    ``rate`` is requests per second (above 0), ``burst`` how many may arrive at once after a pause
    (at least 1; by default the rate, rounded up), ``concurrency`` how many may be in flight. None
    is no limit. ``headers`` reports the limit after all: ``retry-after`` and ``x-ratelimit-*``.
    ``changes`` is a schedule of ``(seconds, limit)``: that many seconds after the limit was set the
    other one applies, with the bucket's level kept; it must not have ``changes`` itself.
    """

    rate: float | None = field(default=None, validator=optional(gt(0)))
    burst: int | None = field(default=None, validator=optional(ge(1)))
    concurrency: int | None = field(default=None, validator=optional(ge(0)))
    headers: bool = False
    changes: "tuple[tuple[float, HiddenLimit], ...]" = ()

    def __attrs_post_init__(self) -> None:
        times = [at for at, _ in self.changes]
        if times != sorted(times) or any(at < 0 for at in times):
            raise ValueError(
                f"changes must be in order of their times, which are 0 or more: {times}"
            )
        if any(limit.changes for _, limit in self.changes):
            raise ValueError("a limit inside changes cannot have changes itself")
        if self.burst is not None and self.rate is None:
            raise ValueError("burst needs a rate")

    @property
    def size(self) -> float:
        """The capacity of the bucket in tokens; infinite without a rate."""
        if self.rate is None:
            return math.inf
        return self.burst if self.burst is not None else max(1, math.ceil(self.rate))

    def at(self, elapsed: float) -> "HiddenLimit":
        """Return the limit in force ``elapsed`` seconds after this one was set."""
        current = self
        for start, limit in self.changes:
            if elapsed >= start:
                current = limit
        return current


@frozen
class Admission:
    """The limiter's decision. ``retry_after`` is in seconds, 0 if the request was admitted."""

    admitted: bool
    reason: Literal["rate", "concurrency"] | None
    retry_after: float
    headers: dict[str, str]


class RequestLimiter:
    """Admits or rejects requests under a hidden limit, which may be replaced at any time.

    Safe to use from several threads.
    """

    def __init__(self, limit: HiddenLimit | None, now: float) -> None:
        self._lock = threading.RLock()
        self.in_flight = 0
        self.replace(limit, now)

    def replace(self, limit: HiddenLimit | None, now: float) -> None:
        """Apply another limit from ``now``, with a full bucket; requests in flight still count."""
        with self._lock:
            self.limit = limit or HiddenLimit()
            self._set = now
            self._last = now
            self._level = self.limit.at(0).size

    def admit(self, now: float) -> Admission:
        """Admit or reject a request; each admitted one must ``leave`` exactly once."""
        with self._lock:
            return self._admit(now)

    def _admit(self, now: float) -> Admission:
        self._refill(now)
        current = self.limit.at(now - self._set)
        if current.concurrency is not None and self.in_flight >= current.concurrency:
            return Admission(False, "concurrency", 1.0, self._headers(current, 1.0))  # noqa: FBT003
        if current.rate is not None and self._level < 1 - _SLACK:
            wait = (1 - self._level) / current.rate
            return Admission(False, "rate", wait, self._headers(current, wait))  # noqa: FBT003
        self.in_flight += 1
        if current.rate is not None:
            self._level -= 1
        return Admission(True, None, 0.0, self._headers(current, None))  # noqa: FBT003

    def leave(self) -> None:
        """Count the end of an admitted request."""
        with self._lock:
            self.in_flight -= 1

    def _refill(self, now: float) -> None:
        """Refill the bucket up to ``now``, through every scheduled change since the last refill."""
        for start, _ in self.limit.changes:
            if self._last < self._set + start <= now:
                self._refill_within(self._set + start)
                current = self.limit.at(start)
                # A bucket that had no limit before starts full; others keep their level.
                self._level = min(self._level, current.size)
        self._refill_within(now)

    def _refill_within(self, now: float) -> None:
        current = self.limit.at(self._last - self._set)
        if now > self._last:
            if current.rate is not None:
                self._level = min(current.size, self._level + (now - self._last) * current.rate)
            else:
                self._level = math.inf
            self._last = now

    def _headers(self, current: HiddenLimit, wait: float | None) -> dict[str, str]:
        if not current.headers:
            return {}
        headers: dict[str, str] = {}
        if wait is not None:
            headers["retry-after"] = str(math.ceil(wait))
        if current.rate is not None:
            headers["x-ratelimit-limit-requests"] = str(int(current.size))
            headers["x-ratelimit-remaining-requests"] = str(max(0, int(self._level + _SLACK)))
            reset = max(0.0, (current.size - self._level) / current.rate)
            headers["x-ratelimit-reset-requests"] = f"{reset:.3f}s"
        return headers
