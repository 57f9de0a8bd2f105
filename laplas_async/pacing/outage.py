"""Is the service down? Then single probes go, ever rarer, and never stop for good."""

from attrs import define

from laplas_async.pacing.tuning import TUNING


@define(eq=False, repr=False)
class Outage:
    """Failures in a row, with no success between."""

    failures: int = 0

    @property
    def down(self) -> bool:
        """Whether only probes go."""
        return self.failures >= TUNING.down_after

    def succeed(self) -> None:
        """A request was accepted."""
        self.failures = 0

    def fail(self) -> float:
        """One failed; the seconds for which nothing goes."""
        self.failures += 1
        if not self.down:
            return 0.0
        steps = min(self.failures - TUNING.down_after, 10)
        return min(TUNING.pause_most, TUNING.down_first * 2.0**steps)
