"""From an unexplained rejection to the next acceptance: when to probe, and what that shows."""

import math

from attrs import define

from laplas_async.pacing.ledger import Held, Ticket
from laplas_async.pacing.tuning import TUNING
from laplas_async.pacing.window import Window


@define(eq=False, repr=False)
class Closure:
    """One probe at a time, at growing gaps that prefer round periods counted from ``opened``.

    ``decided``: what was sent until then belongs to the lesson that closed. ``since``: the gaps
    grow with the time since then. ``first`` and ``last``: when the first and the last rejected
    request were sent. ``accepted``: how many were, since ``origin``. ``level``: a probe after a
    completion goes only below so many in flight. ``completed``: whether there was a completion.
    ``held``: what the rejected request had waited for. ``measured``: the window whose period is
    measured again, whatever else is believed. ``asked``: seconds that the service asked for.
    ``slack``: seconds by which one request may arrive before an earlier one.
    """

    decided: float
    since: float
    first: float
    last: float
    opened: float
    origin: float
    accepted: int
    next_at: float = 0.0
    level: float = math.inf
    completed: bool = False
    probes: int = 0
    held: Held = Held.NOTHING
    measured: Window | None = None
    asked: float = 0.0
    slack: float = TUNING.settle_slack

    def reject(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        """A probe was rejected."""
        self.asked = 0.0  # and that was not the reason
        if self.completed and ticket.level <= self.level:
            self.level = max(1, ticket.level // 2)
        self.last = ticket.started
        self.probes += 1
        if retry_after is None:
            self.schedule(now)
        else:
            self.next_at = now + min(retry_after, TUNING.pause_most)

    def schedule(self, now: float) -> None:
        """Set the next probe's time."""
        closed = max(0.0, now - self.since)
        short = closed < TUNING.probe_short
        growth = TUNING.probe_growth_short if short else TUNING.probe_growth
        gap = min(max(TUNING.probe_first, growth * closed), TUNING.probe_longest)
        wanted, best = now + gap, TUNING.snap * gap
        self.next_at = wanted
        for period in TUNING.round_periods:
            at = self.opened + period
            if at > now and abs(at - wanted) < best:
                best, self.next_at = abs(at - wanted), at + self.slack

    def refill(self, now: float) -> float:
        """The most that a bucket could have gained by now, being empty for the last probe."""
        if self.asked >= TUNING.asked_most:  # a bucket would have had room for one by then
            return 1.0 + max(0.0, now - self.first - self.asked) / self.asked
        closed = self.last - self.first
        return 1.0 + (now - self.last) / closed if closed > 0 else math.inf
