"""What answers and rejections teach about a service's hidden limit; pure arithmetic over ``now``.

It refuses to wait and to know who waits: ``gate`` asks it ``delay(now)`` and tells it what became
of each request.
"""

import math
import random
from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen

from laplas_async.errors import ConfigError

_WINDOW = 60.0  # the told limits are per minute


@frozen
class Limits:
    """What is known of the service's limits; None where nothing is.

    ``concurrency``: requests in flight at once; a stream counts until it ends.
    ``requests_per_minute`` is kept in any window of 60 s. ``adaptive``: learn from rejections,
    below what is told; with False a rejection only delays the request that met it.
    """

    concurrency: int | None = None
    requests_per_minute: int | None = None
    adaptive: bool = True

    def __attrs_post_init__(self) -> None:
        for name in ("concurrency", "requests_per_minute"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(
                    f"Limits.{name}={value!r}: must be an integer, at least 1, or None"
                )


@define
class Limiter:
    """How many may be in flight, and from when.

    It starts with ``window`` requests at once and adds one for each answer. A rejection of a
    request that was sent after the last cut halves the window and closes the gate for a pause
    that doubles with each cut until something is answered again; it reopens with one request,
    then more with each answer, never as a herd.
    """

    limits: Limits = field(factory=Limits)
    ceiling: int = 1000
    window: float = 20.0
    jitter: Callable[[float, float], float] = random.uniform
    in_flight: int = 0
    rejected: int = 0
    _open_at: float = 0.0
    _cut_at: float = -math.inf
    _cuts: int = 0
    _threshold: float = math.inf
    _sent: deque[float] = field(factory=deque)

    def delay(self, now: float) -> float:
        """Seconds until the next request may go; 0: now; infinite: when one in flight has ended."""
        if self.in_flight >= self.concurrency:
            return math.inf
        delay = max(0.0, self._open_at - now)
        rate = self.limits.requests_per_minute
        if rate is not None and len(self._sent) >= rate:
            delay = max(delay, self._sent[-rate] + _WINDOW - now)
        return delay

    @property
    def concurrency(self) -> int:
        """How many may be in flight now."""
        learned = int(self.window) if self.limits.adaptive else self.ceiling
        told = self.limits.concurrency
        return max(1, min(learned, self.ceiling if told is None else told))

    def start(self, now: float) -> None:
        """One goes."""
        self.in_flight += 1
        if self.limits.requests_per_minute is not None:
            while self._sent and self._sent[0] <= now - _WINDOW:
                self._sent.popleft()
            self._sent.append(now)

    def end(self) -> None:
        """One is over, however it went."""
        self.in_flight -= 1

    def answered(self) -> None:
        """One was answered: the service can take this much, and maybe more."""
        self._cuts = 0
        fast = self.window < self._threshold
        self.window = min(self.ceiling, self.window + (1.0 if fast else 1.0 / self.window))

    def reject(self, started: float, now: float, retry_after: float | None = None) -> None:
        """One was rejected for the rate or the number at once.

        A burst of rejections is one lesson: those sent before the last cut teach nothing new.
        """
        self.rejected += 1
        if not self.limits.adaptive:
            return
        if started > self._cut_at:
            self._cut_at = now
            self._cuts += 1
            self._threshold = max(1.0, self.in_flight / 2)
            self.window = max(1.0, self._threshold / 2)
            pause = min(0.25 * 2**self._cuts, 15.0)
            self._open_at = max(self._open_at, now + self.jitter(pause / 2, pause))
        if retry_after is not None:
            self._open_at = max(self._open_at, now + retry_after)
