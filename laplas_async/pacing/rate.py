"""Estimates the rate of a token bucket from the times at which it was empty."""

import math
from typing import Self

from attrs import define

from laplas_async.pacing.closure import Closure
from laplas_async.pacing.ledger import RateBook, Rule
from laplas_async.pacing.tuning import TUNING


@define(eq=False, repr=False)
class Rate:
    """A bucket is empty at each rejection.

    If A were accepted in the dt seconds between two of them, the rate is between (A-1)/dt and
    (A+1)/dt. The pace swings from a little below the estimate to a little above: a rejection is
    due about once in fifty requests. When it is overdue the pace rises ever faster.
    """

    base: float  # requests a second
    burst: float
    book: RateBook
    since: float
    _sum_accepted: float
    _sum_seconds: float
    _empty_at: float
    _accepted: int = 0  # since
    _held: int = 0  # of those, how many had waited for the pace

    @classmethod
    def begin(cls, now: float, *, accepted: int, trial: Closure) -> Self:
        """So many were ``accepted`` from the rejection that closed to the one at ``now``."""
        seconds = max(1e-3, now - trial.first)
        base = max(TUNING.rate_least, max(accepted, 0.7) / seconds)
        # What was let in before, above what the rate gives meanwhile, was saved up.
        saved = trial.accepted - base * (trial.first - trial.origin)
        burst = max(1.0, saved / 2)
        rate = cls(base, burst, RateBook(base), now, float(accepted), seconds, now)
        rate._restart(now, 0)
        return rate

    @property
    def low(self) -> float:
        """Requests a second that are sure to be accepted."""
        return self.base

    @property
    def rule(self) -> Rule:
        """The rate, as it is enforced on average."""
        accepted, seconds = self._sum_accepted, self._sum_seconds
        evidence = f"{accepted:.0f} accepted in {seconds:.3g} s from one rejection to another"
        return Rule("rate", self.base, burst=self.burst, since=self.since, evidence=evidence)

    def accept(self, now: float, *, held: bool) -> None:
        """One more was accepted; ``held``: it had waited for the pace."""
        self._accepted += 1
        if held:
            self._held += 1
            self.book.change(self.base * self._factor(), self._allowed(), now)

    def interrupt(self) -> None:
        """Something else held requests back: the time since the last rejection shows no rate."""
        self._empty_at = -math.inf

    def reject(self, sent: float, later: int) -> None:
        """The bucket was empty for the request of ``sent``; ``later`` were sent after it."""
        if self._empty_at == -math.inf:
            self._restart(sent, later)
            return
        accepted, seconds = self._accepted, max(1e-3, sent - self._empty_at)
        low, high = max(0, accepted - 1) / seconds, (accepted + 1) / seconds
        sum_a, sum_s = self._sum_accepted, self._sum_seconds
        if not (low <= (sum_a + 1) / sum_s and (sum_a - 1) / sum_s <= high):
            sum_a = sum_s = 0.0  # they contradict: the limit has moved
        if sum_a > TUNING.sum_most:
            sum_a, sum_s = sum_a / 2, sum_s / 2
        self._sum_accepted, self._sum_seconds = sum_a + accepted, sum_s + seconds
        if self._sum_accepted >= TUNING.sum_least:
            self.base = self._sum_accepted / self._sum_seconds
        else:
            self.base = min(max(self.base, low), high)
        self.base = max(TUNING.rate_least, self.base)
        self._restart(sent, later)

    def _restart(self, sent: float, later: int) -> None:
        self._empty_at, self._accepted, self._held = sent, 0, 0
        self.book.change(self.base * self._factor(), self._allowed(), sent)
        self.book.empty(sent, later)

    def _allowed(self) -> float:
        return TUNING.burst_none if self.burst < TUNING.burst_least else self.burst / 2

    def _factor(self) -> float:
        tuning = TUNING
        swing = max(tuning.swing, min(tuning.swing_most, 0.5 / max(1.0, self._sum_accepted)))
        span = min(tuning.span_most, max(tuning.span_least, self._sum_accepted))
        share = self._held / span
        if share <= 1:
            return 1.0 - swing + 2 * swing * share
        return float((1.0 + swing) * 2.0 ** min(20.0, (share - 1) / tuning.overdue))
