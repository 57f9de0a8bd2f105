"""How fast the simulator responds: when the first token is sent, and how quickly the others follow.

Pure: it computes delays in seconds and refuses to wait itself.
"""

import math
from typing import Any, Final

from attrs import Attribute, field, frozen

from laplas_async.simulator.rng import SeededRandom

Seconds = float | tuple[float, float]

# A bounded Pareto distribution: most draws lie near the low end, a few far out, as latencies of
# real services do. With these two the median is about a tenth of the way up and p99 above half
# (tests/unit/simulator/test_timing.py::test_the_tail_is_heavy).
_TAIL: Final = 20.0  # ratio of the largest to the smallest draw before scaling
_SHAPE: Final = 1.1  # the Pareto exponent; closer to 1 is a heavier tail


def _check_range(_timing: Any, attribute: "Attribute[Any]", value: Seconds | None) -> None:
    if value is None and attribute.default is None:
        return
    given: Any = value
    low, high = given if isinstance(given, tuple) else (given, given)
    positive = attribute.name == "tokens_per_second"
    if not (0 <= low <= high < math.inf) or (positive and low == 0):
        least = "above 0" if positive else "0 or more"
        raise ValueError(f"{attribute.name} must be {least}, or a (low, high) range: {value!r}")


@frozen
class Schedule:
    """The timing drawn for one request, in seconds and in tokens per second."""

    first_token: float
    tokens_per_second: float | None
    plain: float | None

    def due(self, tokens: int) -> float:
        """Return when token number ``tokens`` (from 0) is due, in seconds from the start."""
        if self.tokens_per_second is None:
            return self.first_token
        return self.first_token + tokens / self.tokens_per_second

    def whole(self, tokens: int) -> float:
        """Return when a plain (not streamed) response of ``tokens`` tokens is due, in seconds."""
        return self.due(tokens) if self.plain is None else self.plain


@frozen(kw_only=True)
class Timing:
    """How fast responses are sent; the default is as fast as possible.

    ``first_token``: seconds before the first content of a stream. ``tokens_per_second``: the rate
    after it (above 0); None means without delay. ``plain``: seconds before a plain response; None
    means ``first_token + tokens / tokens_per_second``. Each may be a ``(low, high)`` range with a
    heavy tail towards the slow end, drawn from ``seed`` and the request's number. Raises
    ``ValueError`` for values outside these ranges.
    """

    first_token: Seconds = field(default=0.0, validator=_check_range)
    tokens_per_second: Seconds | None = field(default=None, validator=_check_range)
    plain: Seconds | None = field(default=None, validator=_check_range)
    seed: int = 0

    def schedule(self, number: int) -> Schedule:
        """Draw the timing of request ``number``; it depends on no other request."""
        speed = self.tokens_per_second
        if isinstance(speed, tuple):
            low, high = speed
            # The tail is towards the slow end, which for a speed is the low one.
            speed = low + high - _draw(speed, SeededRandom(self.seed, number, "tempo"))
        plain = self.plain
        if plain is not None:
            plain = _draw(plain, SeededRandom(self.seed, number, "plain"))
        first = _draw(self.first_token, SeededRandom(self.seed, number, "first"))
        return Schedule(first_token=first, tokens_per_second=speed, plain=plain)


def _draw(value: Seconds, random: SeededRandom) -> float:
    if not isinstance(value, tuple):
        return value
    low, high = value
    pareto: float = (1 - random.fraction() * (1 - _TAIL**-_SHAPE)) ** (-1 / _SHAPE)
    return low + (high - low) * (pareto - 1) / (_TAIL - 1)
