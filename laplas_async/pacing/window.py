"""Estimates a window, N requests in any W seconds, from when it closed and opened."""

import math

from attrs import define, field

from laplas_async.pacing.ledger import Rule, WindowBook
from laplas_async.pacing.tuning import TUNING


def _history() -> WindowBook:
    return WindowBook(math.inf, math.inf)


@define(eq=False, repr=False)
class Window:
    """``start`` and ``accepted``: of the present cycle. The book is a mere history at first."""

    start: float = -math.inf
    accepted: int = 0
    number: float = math.inf
    period: float = math.inf
    since: float = 0.0
    book: WindowBook = field(factory=_history)
    cycles: int = 0  # completed since the period was last corrected
    floor: float = 0.0  # seconds after the start of a cycle, at which one was rejected still
    _last_start: float = -math.inf  # of the last cycle in which one was accepted
    _total: int = 0  # accepted since the number was last raised
    _step: float = 1.0

    @property
    def believed(self) -> bool:
        """Whether there is a window."""
        return self.number < math.inf

    @property
    def rule(self) -> Rule:
        """The window, as it is enforced."""
        evidence = "so many were accepted, then none until it was over"
        return Rule("window", self.number, self.period, since=self.since, evidence=evidence)

    @property
    def full(self) -> bool:
        """Whether its number is used up, or one more is tried."""
        return self.book.used + 1 > self.number

    def trying(self, now: float) -> bool:
        """Whether one that is sent now would be more than was ever let in."""
        number = self.number
        return self.book.number > number and self.book.used_at(now) + 1 > number

    def due(self, now: float) -> bool:
        """Whether a cycle begins with a request that is sent now."""
        return now - self.start >= self.book.period

    def just_due(self, now: float) -> bool:
        """Whether a request that is sent now had probably waited for the next cycle."""
        late = now - self.start - self.book.period
        return 0 <= late < TUNING.due_slack * self.book.period + TUNING.timer_slack

    @property
    def established(self) -> bool:
        """Whether its period has held for several cycles."""
        return self.cycles >= TUNING.established

    @property
    def origin(self) -> float:
        """When the last cycle in which one was accepted began."""
        first = self._last_start == -math.inf
        began = self.accepted > 0 and not self.early
        return self.start if began or first else self._last_start

    @property
    def early(self) -> bool:
        """Whether a rejection now says that the last cycle goes on: its period is longer."""
        if not self.believed or (self.book.number > self.number and self.full):
            return False
        return self.accepted < TUNING.early_share * self.number

    @property
    def doubtful(self) -> bool:
        """Whether a rejection now says that the first cycle spanned two windows of the service."""
        tried = self.book.number > self.number
        few = self.accepted < TUNING.doubtful_share * self.number
        return self.believed and not self.cycles and not tried and few and not self.early

    def open(self, start: float) -> None:
        """A cycle begins with a request sent at ``start``."""
        if not self.believed:
            self.book.forget_before(self.start)
        if self.accepted:
            self._last_start = self.start
            self.cycles += self.believed
        self.start, self.accepted = start, 0

    def believe(self, now: float, number: float, opened: float) -> bool:
        """``number`` were let in from ``opened`` on, and then none until this cycle's start.

        Whether there would be room now.
        """
        if not self.believed:
            self.since = now
        self.number, self.period = max(1.0, number), self.start - opened
        self.book.number, self.book.period = self.number, self.period
        self.book.forget(now)
        self._total, self._step, self.cycles = 0, 1.0, 0
        return self.book.used < self.number

    def measure(self, start: float, last: float) -> None:
        """The next cycle begins at ``start``; one that was sent at ``last`` was rejected."""
        self.floor = max(0.0, last - self.origin)
        self.period = self.book.period = start - self.origin
        self.cycles = 0

    def send(self, now: float, slack: float) -> None:
        """One is sent; a cycle may begin with it."""
        if not self.due(now):
            return
        served = self.accepted >= TUNING.doubtful_share * self.number
        if self.shorter and self.accepted:
            self.period = self.book.period
        self.open(now)
        if self.believed and served and self.cycles and self.book.number <= self.number:
            self.book.period = self._candidate(slack + TUNING.settle_slack)

    @property
    def shorter(self) -> bool:
        """Whether a shorter period is tried."""
        return self.book.period < self.period

    def _candidate(self, slack: float) -> float:
        """A shorter period that may do as well: a round one, or the middle of what is open."""
        rounds = TUNING.round_periods
        measured = self.period - slack
        if any(abs(measured - period) < TUNING.round_share * period for period in rounds):
            return self.period
        if self.floor > TUNING.shorter_share * self.period:
            return self.period
        middle = (self.floor + self.period) / 2
        shorter = [at + slack for at in rounds if self.floor < at + slack < self.period]
        return min(shorter, key=lambda period: abs(period - middle), default=middle)

    def lengthen(self) -> None:
        """The shorter period that was tried is too short."""
        self.floor = max(self.floor, self.book.period)
        self.book.period = self.period
        if not self.accepted and self._last_start > -math.inf:
            self.start, self.cycles = self._last_start, self.cycles - 1

    def accept(self) -> None:
        """One was accepted."""
        self.accepted += 1
        self._total += 1
        if not self.believed:
            return
        if self.accepted > self.number:  # more than was thought
            self.number = self.accepted
            if self.number >= self.book.number:
                self._step = max(1.0, min(2 * self._step, self.number / 4))
                self.book.number = self.number + math.floor(self._step)
        elif self._total == TUNING.raise_after + self.number // 2:
            self._step = 1.0
            self.book.number = self.number + 1

    def retract(self) -> None:
        """What was taken for accepted was rejected."""
        self.accepted = max(0, self.accepted - 1)

    def reject(self) -> None:
        """The number is not what it was taken for."""
        if self.book.number > self.number:  # one more was tried
            self.lower(self.number)
        else:
            self.lower(min(self.number - 1, max(self.accepted, self.number // 2)))

    def lower(self, number: float) -> None:
        """No more than so many were let in."""
        self.number = max(1.0, number)
        self._total, self._step = 0, 1.0
        self.book.number = self.number
