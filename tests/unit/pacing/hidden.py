"""The limits that services hide, in virtual time: what a request that arrives now meets.

Each limit answers ``room(now, cost)`` without changing, takes a request in with ``take``, and tells
with ``free_at`` when the next one may fit, which the oracle and ``Retry-After`` use.
"""

import math
from collections import deque
from typing import Protocol

from attrs import define, field

# Keeps a bucket that should hold exactly one token from missing it by a rounding error.
SLACK = 1e-9


class Hidden(Protocol):
    """One hidden limit. ``free_at`` is infinite where only a leaving request makes room."""

    def room(self, now: float, cost: float) -> bool: ...
    def take(self, now: float, cost: float) -> None: ...
    def leave(self, now: float) -> None: ...
    def free_at(self, now: float, cost: float) -> float: ...
    def scale(self, factor: float, now: float) -> None: ...


@define
class Bucket:
    """``rate`` a second, at most ``burst`` saved up; burst 1 is nginx's ``limit_req``."""

    rate: float
    burst: float
    tokens: bool = False  # counts tokens and not requests
    _level: float = field(init=False)
    _at: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._level = self.burst

    def _price(self, cost: float) -> float:
        return cost if self.tokens else 1.0

    def _now(self, now: float) -> float:
        return min(self.burst, self._level + max(0.0, now - self._at) * self.rate)

    def room(self, now: float, cost: float) -> bool:
        return self._now(now) >= self._price(cost) - SLACK

    def take(self, now: float, cost: float) -> None:
        self._level, self._at = self._now(now) - self._price(cost), max(now, self._at)

    def leave(self, now: float) -> None:
        pass

    def free_at(self, now: float, cost: float) -> float:
        return now + max(0.0, self._price(cost) - self._now(now)) / self.rate + SLACK

    def scale(self, factor: float, now: float) -> None:
        self._level, self._at = self._now(now), now
        self.rate *= factor
        self.burst = max(1.0, self.burst * factor)
        self._level = min(self._level, self.burst)


@define
class FixedWindow:
    """``number`` in each window of ``period`` seconds of the server's clock."""

    number: float
    period: float
    phase: float = 0.0  # the share of a window that is over when the job begins
    tokens: bool = False
    _window: int = -1
    _used: float = 0.0

    def _of(self, now: float) -> int:
        return math.floor(now / self.period + self.phase + SLACK)

    def room(self, now: float, cost: float) -> bool:
        used = self._used if self._of(now) == self._window else 0.0
        return used + (cost if self.tokens else 1.0) <= self.number

    def take(self, now: float, cost: float) -> None:
        if self._of(now) != self._window:
            self._window, self._used = self._of(now), 0.0
        self._used += cost if self.tokens else 1.0

    def leave(self, now: float) -> None:
        pass

    def free_at(self, now: float, cost: float) -> float:
        if self.room(now, cost):
            return now
        return (self._of(now) + 1 - self.phase) * self.period

    def scale(self, factor: float, now: float) -> None:
        self.number = max(1.0, math.floor(self.number * factor))


@define
class SlidingLog:
    """``number`` in any ``period`` seconds."""

    number: float
    period: float
    tokens: bool = False
    _log: deque[tuple[float, float]] = field(factory=deque)
    _used: float = 0.0

    def _forget(self, now: float) -> None:
        while self._log and self._log[0][0] <= now - self.period + SLACK:
            self._used -= self._log.popleft()[1]

    def room(self, now: float, cost: float) -> bool:
        self._forget(now)
        return self._used + (cost if self.tokens else 1.0) <= self.number

    def take(self, now: float, cost: float) -> None:
        price = cost if self.tokens else 1.0
        self._log.append((now, price))
        self._used += price

    def leave(self, now: float) -> None:
        pass

    def free_at(self, now: float, cost: float) -> float:
        self._forget(now)
        over = self._used + (cost if self.tokens else 1.0) - self.number
        for at, price in self._log:
            if over <= 0:
                break
            over -= price
            now = max(now, at + self.period)
        return now

    def scale(self, factor: float, now: float) -> None:
        self.number = max(1.0, math.floor(self.number * factor))


@define
class Places:
    """``number`` in flight at once."""

    number: int
    inside: int = 0

    def room(self, now: float, cost: float) -> bool:
        return self.inside < self.number

    def take(self, now: float, cost: float) -> None:
        self.inside += 1

    def leave(self, now: float) -> None:
        self.inside -= 1

    def free_at(self, now: float, cost: float) -> float:
        return now if self.room(now, cost) else math.inf

    def scale(self, factor: float, now: float) -> None:
        self.number = max(1, math.floor(self.number * factor))


@define
class Together:
    """Several limits, all of which must have room."""

    parts: list[Hidden]

    def room(self, now: float, cost: float) -> bool:
        return all(part.room(now, cost) for part in self.parts)

    def take(self, now: float, cost: float) -> None:
        for part in self.parts:
            part.take(now, cost)

    def leave(self, now: float) -> None:
        for part in self.parts:
            part.leave(now)

    def free_at(self, now: float, cost: float) -> float:
        return max(part.free_at(now, cost) for part in self.parts)

    def scale(self, factor: float, now: float) -> None:
        for part in self.parts:
            part.scale(factor, now)
