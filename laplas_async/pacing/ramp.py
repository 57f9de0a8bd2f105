"""How fast to send while no rule says it: by round trips, so that a rejection comes in time.

Each round (the time in which a rejection would come back) carries a share of all that was accepted
since the last opening, spread over the round. That bounds what is sent after the first rejection.
"""

import math

from attrs import define

from laplas_async.pacing.tuning import TUNING


@define(eq=False, repr=False)
class Ramp:
    """``next_at``: when the next may go."""

    next_at: float = -math.inf

    def grope(self, now: float, since: float) -> None:
        """One is sent while the distance is not known: the time since the first one doubles."""
        self.next_at = now + min(TUNING.settle_unknown, max(TUNING.grope_first, now - since))

    def send(self, now: float, accepted: int, round_trip: float, *, doubling: bool) -> None:
        """One is sent; ``accepted`` were since the opening. ``doubling``: after a reopening."""
        if doubling:
            width = max(1.0, TUNING.trial_share * accepted)
        else:
            width = TUNING.ramp_first + TUNING.ramp_share * accepted
        # The schedule goes on from where it was, so that a late timer costs nothing.
        late = now - self.next_at
        self.next_at = (self.next_at if late < round_trip / 4 else now) + round_trip / width
