"""Applies hidden limits: admits or rejects each request when it arrives, and counts it.

Pure: ``now`` is in seconds of any monotonic clock. It refuses to queue and to wait. What a
rejection reports as ``retry_after`` is true if nothing changes and no other request is admitted.
"""

import math
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from attrs import frozen

from laplas_async.simulator.limits import Charge, HiddenLimit

Reason = Literal["rate", "window", "tokens", "concurrency"]

# Requests and seconds. A bucket that holds one request but for a rounding error must admit it, and
# a window must count an entry as expired when ``retry_after`` said so
# (test_a_patient_client_is_always_admitted).
_SLACK: Final = 1e-9
# Seconds reported for a full concurrency, whose end nobody knows; a common value among services.
_CONCURRENCY_WAIT: Final = 1.0
# Steps of the search for the end of a wait during which a rival takes part of the refill. Each
# leaves at most the rival's share of the rest, so 0.5 needs 30 for full precision.
_WAIT_STEPS: Final = 200


@frozen
class Admission:
    """The limiter's decision. ``retry_after`` is in seconds, 0 if the request was admitted."""

    admitted: bool
    reason: Reason | None
    retry_after: float
    headers: dict[str, str]


class RequestLimiter:
    """Admits or rejects requests under a hidden limit, which may be replaced at any time.

    Several limits apply at the same time, as ``HiddenLimit.all_of`` combines them. Safe to use from
    several threads.
    """

    def __init__(self, limit: HiddenLimit | Sequence[HiddenLimit] | None, now: float) -> None:
        self._lock = threading.RLock()
        self.in_flight = 0
        self.replace(limit, now)

    def replace(self, limit: HiddenLimit | Sequence[HiddenLimit] | None, now: float) -> None:
        """Apply another limit from ``now``, unused so far; requests in flight still count."""
        if limit is None:
            limit = ()
        if not isinstance(limit, HiddenLimit):
            limit = HiddenLimit.all_of(*limit)
        with self._lock:
            self.limit = limit
            self._parts = [_LimitState(part, now) for part in limit.parts]
            self._reports = any(stage.headers for stage in limit.stages)

    @property
    def charge(self) -> Charge | None:
        """Which tokens ``admit`` must be given; None if no limit counts tokens."""
        charges: list[Charge] = [
            stage.charge for stage in self.limit.stages if stage.tokens is not None
        ]
        return charges[0] if charges else None

    def admit(self, now: float, *, tokens: int = 0) -> Admission:
        """Admit or reject a request of ``tokens``; each admitted one must ``leave`` exactly once.

        A rejected request is not counted.
        """
        with self._lock:
            for part in self._parts:
                part.advance(now)
            waits: list[tuple[float, Reason]] = []
            for part in self._parts:
                waits += part.waits(now, tokens, self.in_flight)
            if not waits:
                self.in_flight += 1
                for part in self._parts:
                    part.count(now, tokens)
                return Admission(True, None, 0.0, self._headers(now, None))  # noqa: FBT003
            wait, reason = max(waits, key=lambda one: one[0])
            return Admission(False, reason, wait, self._headers(now, wait))  # noqa: FBT003

    def leave(self) -> None:
        """Count the end of an admitted request."""
        with self._lock:
            self.in_flight -= 1

    def _headers(self, now: float, wait: float | None) -> dict[str, str]:
        if not self._reports:
            return {}
        wanted = self._parts[0].current(now).headers
        reports = [
            (part, wanted or part.current(now).headers)
            for part in self._parts
            if wanted or part.current(now).headers
        ]
        headers: dict[str, str] = {}
        if wait is not None and any(kind in (True, "retry-after") for _, kind in reports):
            headers["retry-after"] = str(math.ceil(wait))
        shown = [part for part, kind in reports if kind in (True, "x-ratelimit")]
        for unit in ("requests", "tokens"):
            budgets = [budget for part in shown if (budget := part.budget(now, unit)) is not None]
            if budgets:
                # As services with several limits do: the one that is closest to its end.
                limit, remaining, reset = min(budgets, key=lambda budget: budget[1])
                headers[f"x-ratelimit-limit-{unit}"] = str(int(limit))
                headers[f"x-ratelimit-remaining-{unit}"] = str(max(0, int(remaining + _SLACK)))
                headers[f"x-ratelimit-reset-{unit}"] = f"{max(0.0, reset):.3f}s"
        return headers


class _LimitState:
    """One limit and what it has counted: the level of its bucket, and the log of its window."""

    def __init__(self, limit: HiddenLimit, now: float) -> None:
        self.limit = limit
        self.set_at = now
        self.last = now
        self.level = limit.at(0).size
        self.log: deque[tuple[float, int]] = deque()  # (time, tokens) of requests in the window
        self.log_tokens = 0
        windows = [stage.per for stage in limit.stages if stage.has_window]
        self.longest_window = max(windows, default=0.0)

    def current(self, now: float) -> HiddenLimit:
        return self.limit.at(now - self.set_at)

    def advance(self, now: float) -> None:
        """Refill the bucket, through every scheduled change, and prune the window's log."""
        for start, _ in self.limit.changes:
            if self.last < self.set_at + start <= now:
                self._refill(self.set_at + start)
                # A bucket that had no limit before starts full; others keep their level.
                self.level = min(self.level, self.limit.at(start).size)
        self._refill(now)
        limit = self.current(now)
        start = self._window_start(limit, now) if limit.has_window else now - self.longest_window
        while self.log and self.log[0][0] < start - _SLACK:
            self.log_tokens -= self.log.popleft()[1]
        # A sliding window of W seconds does not include a request of exactly W seconds ago.
        while limit.sliding and self.log and self.log[0][0] <= start + _SLACK:
            self.log_tokens -= self.log.popleft()[1]

    def waits(self, now: float, tokens: int, in_flight: int) -> list[tuple[float, Reason]]:
        """Return the limits that a request now would exceed, each with the seconds to wait."""
        limit = self.current(now)
        waits: list[tuple[float, Reason]] = []
        if limit.concurrency is not None:
            taken = in_flight
            if limit.rival is not None and limit.rival.is_active(now - self.set_at):
                taken += math.floor(limit.rival.share * limit.concurrency)
            if taken >= limit.concurrency:
                waits.append((_CONCURRENCY_WAIT, "concurrency"))
        if limit.rate is not None and self.level < 1 - _SLACK:
            waits.append((self._refill_time(limit, now, 1 - self.level), "rate"))
        if limit.requests is not None:
            over = len(self.log) + self._rival_use(limit, now, limit.requests) + 1 - limit.requests
            if over > _SLACK:
                waits.append((self._window_wait(limit, now, over, "requests"), "window"))
        if limit.tokens is not None:
            used = self.log_tokens + self._rival_use(limit, now, limit.tokens)
            over = used + tokens - limit.tokens
            if over > _SLACK:
                waits.append((self._window_wait(limit, now, over, "tokens"), "tokens"))
        return waits

    def count(self, now: float, tokens: int) -> None:
        """Count an admitted request."""
        if self.current(now).rate is not None:
            self.level -= 1
        if self.longest_window:
            self.log.append((now, tokens))
            self.log_tokens += tokens

    def budget(self, now: float, unit: str) -> tuple[float, float, float] | None:
        """Return (limit, remaining, seconds until it is unused) for requests or tokens."""
        limit = self.current(now)
        budgets: list[tuple[float, float, float]] = []
        if unit == "requests" and limit.rate is not None:
            reset = (limit.size - self.level) / limit.rate
            budgets.append((limit.size, self.level, reset))
        number = limit.requests if unit == "requests" else limit.tokens
        if number is not None:
            used = len(self.log) if unit == "requests" else self.log_tokens
            remaining = number - used - self._rival_use(limit, now, number)
            if not limit.sliding:
                reset = self._window_start(limit, now) + limit.per - now
            else:
                reset = self.log[-1][0] + limit.per - now if self.log else 0.0
            budgets.append((number, remaining, reset))
        return min(budgets, key=lambda budget: budget[1], default=None)

    def _refill(self, now: float) -> None:
        if now <= self.last:
            return
        limit = self.current(self.last)
        if limit.rate is None:
            self.level = math.inf
        else:
            gained = self._gain(limit, limit.rate, self.last, now)
            self.level = min(limit.size, self.level + gained)
        self.last = now

    def _gain(self, limit: HiddenLimit, rate: float, since: float, until: float) -> float:
        """Return the refill between two moments that a rival leaves."""
        seconds = until - since
        if limit.rival is not None:
            active = limit.rival.active_seconds(since - self.set_at, until - self.set_at)
            seconds -= limit.rival.share * active
        return rate * seconds

    def _refill_time(self, limit: HiddenLimit, now: float, missing: float) -> float:
        """Return the seconds until the bucket has gained ``missing`` requests."""
        rate = limit.rate or math.inf
        wait = missing / rate
        for _ in range(_WAIT_STEPS):
            short = missing - self._gain(limit, rate, now, now + wait)
            if short <= 0:
                break
            wait += short / rate
        return wait

    def _window_start(self, limit: HiddenLimit, now: float) -> float:
        if limit.sliding:
            return now - limit.per
        # A moment that a rounding error puts just before the boundary belongs to the new window.
        origin = self.set_at - limit.phase
        windows = math.floor((now - origin) / limit.per + _SLACK)
        return origin + windows * limit.per

    def _rival_use(self, limit: HiddenLimit, now: float, number: int) -> float:
        """Return how much of the window's ``number`` a rival has used by now."""
        if limit.rival is None:
            return 0.0
        since = max(self.set_at, self._window_start(limit, now)) - self.set_at
        active = limit.rival.active_seconds(since, now - self.set_at)
        return limit.rival.share * number * active / limit.per

    def _window_wait(self, limit: HiddenLimit, now: float, over: float, unit: str) -> float:
        """Return the seconds until ``over`` has left the window, oldest requests first."""
        if not limit.sliding:
            return self._window_start(limit, now) + limit.per - now
        for at, tokens in self.log:
            over -= 1 if unit == "requests" else tokens
            if over <= _SLACK:
                return at + limit.per - now
        return limit.per
