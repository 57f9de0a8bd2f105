"""Enforces rules, configured and learned alike: "N in any W seconds" and "a rate with a burst".

A rule is a frozen description; a book is what was sent under it. The ledger refuses to learn: it
is given rules, and answers from when one more request fits all of them.
"""

import math
from collections import deque
from enum import Enum
from typing import Literal, Protocol

from attrs import define, field, frozen

from laplas_async.pacing.tuning import TUNING

# Requests sent within a 512th of a window are counted as one group that leaves the window with its
# last member: at most 0.2 % late, and 100,000 requests a minute need 512 numbers
# (test_memory_is_bounded). Windows of up to 512 requests are exact.
_GROUPS = 512

# A period this close to a second, a minute or an hour is printed as one (test_ledger).
_NAMED = 0.01

Unit = Literal["requests", "tokens"]


class Held(Enum):
    """What a request had waited for just before it was sent."""

    NOTHING = "nothing"
    PLACES = "a place among those in flight"
    PACE = "the pace"
    WINDOW = "the window"
    LONGER = "the longer window"


@frozen
class Rule:
    """A limit as it is enforced. ``number`` in any ``period`` seconds, or at once.

    ``since``: when it was first believed, in seconds of the gate's clock (for a configured rule
    0). ``evidence``: why it is believed.
    """

    kind: Literal["window", "rate", "concurrency"]
    number: float
    period: float = 1.0
    burst: float = 1.0
    unit: Unit = "requests"
    since: float = 0.0
    evidence: str = "configured"

    def __str__(self) -> str:
        unit = "" if self.unit == "requests" else " tokens"
        if self.kind == "concurrency":
            return f"{self.number:,.0f} at once"
        if self.kind == "rate":
            return f"{self.number:,.3g}{unit} per second, burst {max(1.0, self.burst):,.0f}"
        return f"{self.number:,.0f}{unit} per {_period(self.period)} (window)"


def _period(seconds: float) -> str:
    """A measured period within 1 % of a unit is called by it."""
    for name, length in (("second", 1.0), ("minute", 60.0), ("hour", 3600.0)):
        if math.isclose(seconds, length, rel_tol=_NAMED):
            return name
    return f"{seconds:,.3g} s"


@define(eq=False, repr=False, slots=True)
class Ticket:
    """One request that was let through.

    ``level``: the requests in flight with it when it was sent. ``ended``: how many had ended, ever,
    at that moment. ``held``: what it had waited for. ``settled``: known as accepted or rejected.
    """

    started: float
    level: int
    tokens: int = 0
    ended: int = 0
    held: Held = Held.NOTHING
    settled: bool = False
    accepted: bool = False


class Book(Protocol):
    """What was sent under one rule. ``free_at`` does not mutate."""

    def free_at(self, now: float, tokens: int) -> float:
        """From when a request fits that reserves so many tokens; ``now`` or earlier: at once."""
        ...

    def enter(self, now: float, tokens: int) -> None:
        """One is sent."""
        ...

    def refund(self, started: float, tokens: int) -> None:
        """The one sent at ``started`` was rejected, or used so many tokens less."""
        ...


@define(eq=False, repr=False)
class WindowBook:
    """``number`` in any ``period`` seconds, counted from sending."""

    number: float
    period: float
    unit: Unit = "requests"
    used: float = 0.0
    _groups: deque[list[float]] = field(factory=deque)  # [first sent, last sent, amount]

    def free_at(self, now: float, tokens: int) -> float:
        """From when one more fits; ``now`` or earlier: at once."""
        amount = 1.0 if self.unit == "requests" else float(tokens)
        over = self.used + min(amount, self.number) - self.number
        if over <= 0 or not amount:
            return now
        for _, last, group in self._groups:
            over -= group
            if over <= 0:
                return last + self.period
        return now

    def enter(self, now: float, tokens: int) -> None:
        """One is sent."""
        self.forget(now)
        amount = 1.0 if self.unit == "requests" else float(tokens)
        groups = self._groups
        if groups and self.number > _GROUPS and now - groups[-1][0] < self.grain(now):
            groups[-1][1] = now
            groups[-1][2] += amount
        elif amount:
            groups.append([now, now, amount])
        self.used += amount

    def correct(self, ticket: Ticket, tokens: int) -> None:
        """``ticket`` used so many tokens, in place of those reserved."""
        if self.unit == "tokens" and ticket.tokens:
            self.refund(ticket.started, ticket.tokens - tokens)

    def grain(self, now: float) -> float:
        """How long one group may last."""
        if self.period < math.inf:
            return self.period / _GROUPS
        return (now - self._groups[0][0]) / _GROUPS

    def refund(self, started: float, tokens: int) -> None:
        """One sent at ``started`` used so many tokens (or requests) less than was entered."""
        amount = 1.0 if self.unit == "requests" else float(tokens)
        for group in reversed(self._groups):
            if group[0] <= started:
                if started <= group[1]:
                    group[2] -= amount
                    self.used -= amount
                return

    def used_at(self, now: float) -> float:
        """How much of the number is used at ``now``."""
        used = self.used
        for _, last, amount in self._groups:
            if last > now - self.period:
                break
            used -= amount
        return used

    def forget(self, now: float) -> None:
        """Drop what has left the window."""
        self.forget_before(now - self.period)

    def forget_before(self, at: float) -> None:
        """Drop what was sent until ``at``."""
        groups = self._groups
        while groups and groups[0][1] <= at:
            self.used -= groups.popleft()[2]


@define(eq=False, repr=False)
class RateBook:
    """``rate`` a second; up to ``burst`` at once after a pause."""

    rate: float
    burst: float = 1.0
    _due: float = -math.inf  # when all that was sent has been made up for

    def free_at(self, now: float, tokens: int) -> float:  # noqa: ARG002 - requests are counted
        """From when one more fits."""
        return self._due - (self.burst - 1.0) / self.rate

    def enter(self, now: float, tokens: int) -> None:  # noqa: ARG002 - requests are counted
        """One is sent."""
        self._due = max(now, self._due) + 1.0 / self.rate

    def refund(self, started: float, tokens: int) -> None:
        """A rejected request took nothing; ``empty`` says what its rejection means."""

    def just_free(self, now: float) -> bool:
        """Whether a request that is sent now had probably waited for the pace."""
        return now - self.free_at(now, 0) < TUNING.pace_slack / self.rate + TUNING.timer_slack

    def empty(self, at: float, later: int) -> None:
        """There was no room at ``at``, and ``later`` more were sent since."""
        self._due = at + (self.burst + later) / self.rate

    def change(self, rate: float, burst: float, now: float) -> None:
        """Go on from here with another rate."""
        ahead = max(0.0, self._due - now) * self.rate
        self.rate, self.burst = rate, burst
        if self._due > now:
            self._due = now + ahead / rate
