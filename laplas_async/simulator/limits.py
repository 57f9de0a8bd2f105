"""The limits that the service hides: a rate with a burst, a concurrency, both, and over time.

Pure over `now` (seconds of any clock that never goes back). It refuses to wait: a request is
let in or turned away when it arrives.
"""

from __future__ import annotations

import math
import threading
from typing import Final, Literal

from attrs import field, frozen
from attrs.validators import ge, gt, optional

# Keeps a bucket that should hold exactly one token from missing it by a rounding error.
_SLACK: Final = 1e-9


@frozen(kw_only=True)
class HiddenLimit:
    """A limit that no answer tells.

    `rate` is requests a second (above 0), `burst` how many may come at once after a pause (at
    least 1; by default the rate, rounded up), `concurrency` how many may be in flight. None is
    no limit. `headers` tells clients after all: `retry-after` and `x-ratelimit-*`. `changes`
    is a schedule of `(seconds, limit)`: from that many seconds after the limit was set the
    other holds; a change keeps the bucket's level, and its own `changes` must be empty.
    """

    rate: float | None = field(default=None, validator=optional(gt(0)))
    burst: int | None = field(default=None, validator=optional(ge(1)))
    concurrency: int | None = field(default=None, validator=optional(ge(0)))
    headers: bool = False
    changes: tuple[tuple[float, HiddenLimit], ...] = ()

    def __attrs_post_init__(self) -> None:
        times = [at for at, _ in self.changes]
        if times != sorted(times) or any(at < 0 for at in times):
            msg = f"changes must come in the order of their times, from 0 up: {times}"
            raise ValueError(msg)
        if any(limit.changes for _, limit in self.changes):
            msg = "a limit inside changes cannot have changes of its own"
            raise ValueError(msg)
        if self.burst is not None and self.rate is None:
            msg = "burst needs a rate"
            raise ValueError(msg)

    @property
    def size(self) -> float:
        """How many tokens the bucket holds; infinite without a rate."""
        if self.rate is None:
            return math.inf
        return self.burst if self.burst is not None else max(1, math.ceil(self.rate))

    def at(self, elapsed: float) -> HiddenLimit:
        """Return the limit that holds `elapsed` seconds after this one was set."""
        holds = self
        for start, limit in self.changes:
            if elapsed >= start:
                holds = limit
        return holds


@frozen
class Verdict:
    """What the turnstile said. `retry_after` is in seconds, 0 where the request was let in."""

    admitted: bool
    reason: Literal["rate", "concurrency"] | None
    retry_after: float
    headers: dict[str, str]


class Turnstile:
    """Counts requests in and out under a hidden limit, which may be replaced while it turns.

    Safe to use from several threads.
    """

    def __init__(self, limit: HiddenLimit | None, now: float) -> None:
        self._lock = threading.RLock()
        self.inside = 0
        self.replace(limit, now)

    def replace(self, limit: HiddenLimit | None, now: float) -> None:
        """Set another limit from `now`: with a full bucket, and with those inside still inside."""
        with self._lock:
            self.limit = limit or HiddenLimit()
            self._set = now
            self._last = now
            self._level = self.limit.at(0).size

    def admit(self, now: float) -> Verdict:
        """Let a request in or turn it away; each one let in must `leave` once."""
        with self._lock:
            return self._admit(now)

    def _admit(self, now: float) -> Verdict:
        self._fill(now)
        holds = self.limit.at(now - self._set)
        if holds.concurrency is not None and self.inside >= holds.concurrency:
            return Verdict(False, "concurrency", 1.0, self._headers(holds, 1.0))  # noqa: FBT003
        if holds.rate is not None and self._level < 1 - _SLACK:
            wait = (1 - self._level) / holds.rate
            return Verdict(False, "rate", wait, self._headers(holds, wait))  # noqa: FBT003
        self.inside += 1
        if holds.rate is not None:
            self._level -= 1
        return Verdict(True, None, 0.0, self._headers(holds, None))  # noqa: FBT003

    def leave(self) -> None:
        """Count out a request that was let in."""
        with self._lock:
            self.inside -= 1

    def _fill(self, now: float) -> None:
        """Fill the bucket up to `now`, through every change of the schedule since last time."""
        for start, _ in self.limit.changes:
            if self._last < self._set + start <= now:
                self._fill_within(self._set + start)
                holds = self.limit.at(start)
                # A bucket that held no count before starts full; others keep their level.
                self._level = min(self._level, holds.size)
        self._fill_within(now)

    def _fill_within(self, now: float) -> None:
        holds = self.limit.at(self._last - self._set)
        if now > self._last:
            if holds.rate is not None:
                self._level = min(holds.size, self._level + (now - self._last) * holds.rate)
            else:
                self._level = math.inf
            self._last = now

    def _headers(self, holds: HiddenLimit, wait: float | None) -> dict[str, str]:
        if not holds.headers:
            return {}
        made: dict[str, str] = {}
        if wait is not None:
            made["retry-after"] = str(math.ceil(wait))
        if holds.rate is not None:
            made["x-ratelimit-limit-requests"] = str(int(holds.size))
            made["x-ratelimit-remaining-requests"] = str(max(0, int(self._level + _SLACK)))
            reset = max(0.0, (holds.size - self._level) / holds.rate)
            made["x-ratelimit-reset-requests"] = f"{reset:.3f}s"
        return made
