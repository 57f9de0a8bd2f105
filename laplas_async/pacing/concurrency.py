"""Estimates how many may be in flight at once. The evidence is one-sided.

An acceptance proves room for the requests certainly inside. A rejection proves that there is none
beyond those possibly inside.
"""

import math

from attrs import define

from laplas_async.pacing.ledger import Rule, Ticket
from laplas_async.pacing.tuning import TUNING


@define(eq=False, repr=False)
class Concurrency:
    """``limit``: believed; infinite where none is. ``proven`` <= C <= ``cap`` by the evidence."""

    limit: float = math.inf
    proven: int = 0
    cap: float = math.inf
    since: float = 0.0
    _over: int = 0  # accepted while at the limit, since it was last probed
    _probe_after: int = TUNING.probe_after_first
    _step: float = 0.5
    _duration: float = 0.0  # seconds, of a request, on average
    _strikes: int = 0  # rejections at the limit that nothing had been added to
    _sure: float = math.inf  # accepted with so many inside, since it was last probed
    _found: int = 0  # times at the same place
    doubts: int = 0  # verdicts to come for which it is out of the question

    @property
    def believed(self) -> bool:
        """Whether there is a limit."""
        return self.limit < math.inf

    @property
    def rule(self) -> Rule:
        """The limit, as it is enforced."""
        evidence = "rejected one above it, and accepted again as soon as a request had ended"
        return Rule("concurrency", int(self.limit), since=self.since, evidence=evidence)

    @property
    def feasible(self) -> bool:
        """Whether a limit on the number at once could explain the rejections so far."""
        return not self.doubts and self.proven <= self.cap < math.inf

    @property
    def sure(self) -> float:
        """How many may be in flight without a doubt; one more is an experiment."""
        return self._sure if self._sure < self.limit else math.inf

    @property
    def gap(self) -> float:
        """Seconds since the last request after which one more than that may be sent.

        One that is sent together with another is also rejected where there is a rate without burst.
        """
        return TUNING.trial_gap * self._duration / max(1.0, self._sure)

    def end(self, duration: float) -> None:
        """One that took so long is over."""
        weight = TUNING.duration_weight if self._duration else 1.0
        self._duration += weight * (duration - self._duration)

    def held(self, level: int) -> bool:
        """Whether a request with ``level`` in flight is at the limit, or above what is sure."""
        return self.believed and level >= min(self.limit, self._sure + 1, self.proven + 1)

    def accept(self, ticket: Ticket, ended: int) -> None:
        """It was accepted; ``ended``: how many requests have ended, ever."""
        certain = ticket.level - (ended - ticket.ended)
        self.proven = max(self.proven, certain)
        if self.limit < math.inf and ticket.level >= self.limit:
            self._feel(certain)

    def _feel(self, certain: int) -> None:
        self._over += 1
        if self._over == self._probe_after:
            self._step = 1.0
            self._sure = math.floor(self.limit)
            self.limit = self._sure + 1
        elif self._over > self._probe_after and (
            certain >= self.limit or self._over >= self._probe_after + TUNING.raise_after_accepted
        ):
            self._over = self._probe_after
            self._sure = math.floor(self.limit)
            self._step *= 2.0  # one more was accepted: the limit has moved
            self.limit = math.floor(self.limit + max(1.0, min(self._step, self.limit / 8)))

    def reject(self, ticket: Ticket, overtakers: int) -> None:
        """It was rejected; so many that were sent later may have been let in before it."""
        self.cap = min(self.cap, ticket.level - 1 + overtakers)

    def retract(self, ticket: Ticket) -> None:
        """What was taken for accepted was rejected."""
        self.proven = min(self.proven, ticket.level - 1)

    def lower(self, ticket: Ticket) -> bool:
        """It was rejected at the believed limit. Whether that refutes the belief."""
        tried = self._over >= self._probe_after  # one more than the limit
        self._strikes = 0 if tried else self._strikes + 1
        self._found += tried
        if tried:  # found again where it was thought to be: look less often
            self._probe_after = min(TUNING.probe_after_most, 3 * self._probe_after)
        self._over, self._sure = 0, math.inf
        cut = self.limit if tried else max(float(self.proven), TUNING.level_cut * self.limit)
        self.limit = max(1.0, min(cut, ticket.level - 1))
        self.restart()
        if self._strikes < TUNING.strikes:
            return False
        self.limit, self._strikes, self.doubts = math.inf, 0, TUNING.strikes
        return True

    def believe(self, now: float) -> None:
        """The verdict is a limit on the number at once."""
        if not self.believed:
            self.since = now
        self.limit = max(1.0, self.proven, self.cap // 2)
        self._over, self._probe_after, self._step = 0, TUNING.probe_after_first, 0.5
        self._sure = max(1.0, self.proven)
        self.cap = math.inf  # what was proven holds against the next one
        self._found = 0

    def refute(self) -> None:
        """The evidence contradicts a limit that was believed only now."""
        if self.believed and not self._found:
            self.limit = self._sure = math.inf

    def forgive(self) -> None:
        """A verdict has passed: one doubt less."""
        self.doubts = max(0, self.doubts - 1)

    def restart(self) -> None:
        """What was learned of the bounds is used up, or contradicts itself."""
        self.proven, self.cap = 0, math.inf
