"""Estimates the least spacing of a limit without burst: one request in any 1/r seconds."""

from typing import Self

from attrs import define

from laplas_async.pacing.closure import Closure
from laplas_async.pacing.ledger import RateBook, Rule
from laplas_async.pacing.tuning import TUNING


@define(eq=False, repr=False)
class Spacing:
    """The pace lies between ``low``, at which requests were accepted, and ``high``.

    It rises from one to the other; a rejection ends the rise there and begins it anew, more slowly.
    """

    low: float
    high: float
    book: RateBook
    since: float
    _risen: int = 0  # accepted at a rising pace, since the last rejection
    _span: float = TUNING.span_least  # accepted from ``low`` to ``high``

    @classmethod
    def begin(cls, now: float, *, start: float, trial: Closure) -> Self:
        """One was accepted when it opened, and the next not before ``start``."""
        low = 1.0 / max(1e-3, start - trial.origin)
        high = 1.0 / max(1e-3, trial.last - trial.origin) if trial.probes else 2 * low
        book = RateBook(low, TUNING.burst_none)
        book.empty(start, 0)
        return cls(low, high, book, now)

    @property
    def rule(self) -> Rule:
        """The spacing, as a rate without burst."""
        evidence = f"accepted at {self.low:.3g} per second, rejected at {self.high:.3g}"
        return Rule("rate", self.low, since=self.since, evidence=evidence)

    def accept(self, now: float, *, held: bool) -> None:
        """One more was accepted; ``held``: it had waited for the pace."""
        if not held:
            return
        self._risen += 1
        share = self._risen / self._span
        if share <= 1:
            pace = self.low + (self.high - self.low) * share
        else:
            pace = self.high * 2.0 ** min(20.0, (share - 1) / TUNING.overdue)
        self.book.change(pace, TUNING.burst_none, now)

    def interrupt(self) -> None:
        """Something else held requests back."""

    def reject(self, sent: float, later: int) -> None:
        """The one of ``sent`` was rejected; ``later``: how many were sent after it."""
        pace, share = self.book.rate, min(1.0, self._risen / self._span)
        if self._risen > self._span:  # it was higher than thought: find it fast
            self._span = TUNING.span_least
        self.high = pace
        low = min(max(self.low, TUNING.step_back * pace), TUNING.below * pace)
        self.low = max(TUNING.rate_least, low * (1 - TUNING.early_cut * (1 - share)))
        self._span = min(TUNING.span_most, TUNING.span_growth * self._span)
        self._risen = 0
        self.book.change(self.low, TUNING.burst_none, sent)
        self.book.empty(sent, later)
