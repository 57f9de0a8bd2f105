"""How fast the simulator answers: when the first token comes, and how quickly the others.

Pure: it says how long, and refuses to wait itself.
"""

from __future__ import annotations

import math
from typing import Any, Final

from attrs import Attribute, field, frozen

from laplas_async.simulator.rng import Dice

Seconds = float | tuple[float, float]

# A Pareto draw between 1 and this, of this shape: most draws near the low end, few far out.
_TAIL: Final = 20.0
_SHAPE: Final = 1.1


def _is_span(_pace: Any, attribute: Attribute[Any], value: Seconds | None) -> None:
    if value is None and attribute.default is None:
        return
    given: Any = value
    low, high = given if isinstance(given, tuple) else (given, given)
    positive = attribute.name == "tokens_per_second"
    if not (0 <= low <= high < math.inf) or (positive and low == 0):
        least = "above 0" if positive else "0 or more"
        msg = f"{attribute.name} must be {least}, or such a (low, high): {value!r}"
        raise ValueError(msg)


@frozen
class Beat:
    """The pace drawn for one request, in seconds and tokens a second."""

    first_token: float
    tokens_per_second: float | None
    plain: float | None

    def due(self, tokens: int) -> float:
        """Return when token number `tokens` (from 0) is due, in seconds from the start."""
        if self.tokens_per_second is None:
            return self.first_token
        return self.first_token + tokens / self.tokens_per_second

    def whole(self, tokens: int) -> float:
        """Return when an unstreamed answer of `tokens` tokens is due."""
        return self.due(tokens) if self.plain is None else self.plain


@frozen(kw_only=True)
class Pace:
    """How fast answers come.

    `first_token`: seconds before the first content of a stream. `tokens_per_second`: after it;
    None is as fast as it goes. `plain`: seconds before an unstreamed answer; None is
    first_token + tokens / tokens_per_second. Each may be a `(low, high)` range with a heavy
    tail towards the slow end, drawn from `seed` and the request's number.
    """

    first_token: Seconds = field(default=0.0, validator=_is_span)
    tokens_per_second: Seconds | None = field(default=None, validator=_is_span)
    plain: Seconds | None = field(default=None, validator=_is_span)
    seed: int = 0

    def beat(self, number: int) -> Beat:
        """Draw the pace of request `number`; it depends on no other request."""
        tempo = self.tokens_per_second
        if isinstance(tempo, tuple):
            low, high = tempo
            tempo = low + high - _drawn(tempo, Dice(self.seed, number, "tempo"))
        plain = None if self.plain is None else _drawn(self.plain, Dice(self.seed, number, "plain"))
        first = _drawn(self.first_token, Dice(self.seed, number, "first"))
        return Beat(first_token=first, tokens_per_second=tempo, plain=plain)


def _drawn(span: Seconds, dice: Dice) -> float:
    if not isinstance(span, tuple):
        return span
    low, high = span
    pareto: float = (1 - dice.fraction() * (1 - _TAIL**-_SHAPE)) ** (-1 / _SHAPE)
    return low + (high - low) * (pareto - 1) / (_TAIL - 1)
