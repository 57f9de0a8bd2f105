"""The service's hidden limits as values: what kind, how large, and how they change over time.

    HiddenLimit(rate=10, burst=20)                 # a token bucket: 10 a second, 20 after a pause
    HiddenLimit(rate=20, burst=1)                  # no burst, as nginx's limit_req
    HiddenLimit(requests=60, per=60)               # 60 a minute in fixed windows
    HiddenLimit(requests=60, per=60, phase=45)     # the first window ends after 15 seconds
    HiddenLimit(requests=100, per=10, sliding=True)            # 100 in any 10 seconds
    HiddenLimit(tokens=40_000, requests=30, per=60)            # tokens and requests per minute
    HiddenLimit(concurrency=4)                                 # 4 in flight
    HiddenLimit(rate=10, concurrency=8)                        # both
    HiddenLimit(rate=10, also=(HiddenLimit(requests=200, per=60),))     # 10/s and 200/min
    HiddenLimit(rate=20, changes=((30, HiddenLimit(rate=5)),))          # a quarter after 30 s
    HiddenLimit(rate=20, rival=Rival(share=0.5, on=10, off=10))         # another program takes half

Pure data: it refuses to count requests, which ``limiter`` does.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Self

from attrs import evolve, field, fields, frozen
from attrs.validators import and_, ge, gt, in_, lt, optional

Headers = bool | Literal["retry-after", "x-ratelimit"]
Charge = Literal["used", "requested"]
_HEADERS: Final = (False, True, "retry-after", "x-ratelimit")

# Infinite rates have no burst, infinite periods no windows.
_FINITE: Any = and_(gt(0.0), lt(math.inf))


@frozen(kw_only=True)
class Rival:
    """Another program that intermittently consumes ``share`` (above 0, below 1) of a limit.

    It is active for ``on`` seconds and idle for ``off`` seconds by turns, from ``start`` seconds
    after the limit was set; ``off=0`` is always active. While active it uses its share evenly:
    of a bucket's refill, of a window's count, and of the places of a concurrency (rounded down).
    """

    share: float = field(default=0.5, validator=[gt(0), lt(1)])
    on: float = field(default=10.0, validator=_FINITE)
    off: float = field(default=10.0, validator=[ge(0), lt(math.inf)])
    start: float = field(default=0.0, validator=ge(0))

    def active_seconds(self, since: float, until: float) -> float:
        """Return for how much of the time between two moments the rival is active."""
        return self._active_until(until) - self._active_until(since)

    def is_active(self, at: float) -> bool:
        """Return whether the rival is active at a moment."""
        since_start = at - self.start
        return since_start >= 0 and since_start % (self.on + self.off) < self.on

    def _active_until(self, at: float) -> float:
        since_start = max(0.0, at - self.start)
        cycles, rest = divmod(since_start, self.on + self.off)
        return cycles * self.on + min(rest, self.on)


@frozen(kw_only=True)
class HiddenLimit:
    """A limit that no response mentions; requests beyond it are rejected with a 429.

    Bucket: ``rate`` requests per second (above 0), of which up to ``burst`` (at least 1, by default
    the rate rounded up) may arrive at once after a pause; ``burst=1`` allows none.
    Window: ``requests`` and ``tokens`` (each at least 1) in ``per`` seconds. Windows are fixed on
    the server's clock, the first one ``phase`` seconds old (0 to below ``per``) when the limit is
    set; or ``sliding``, which counts the last ``per`` seconds at any time. Tokens are charged on
    arrival: the prompt's plus those ``"used"`` by the completion, or ``"requested"`` by max_tokens.
    Concurrency: ``concurrency`` requests in flight. None is no limit.

    ``also`` holds further limits that apply at the same time. ``changes`` is a schedule of
    ``(seconds, limit)``: that many seconds after the limit was set the other one applies instead;
    buckets keep their level and windows their count. ``rival`` consumes a part of the limit.
    ``headers`` reports the limit after all, ``also`` included: "retry-after" on rejections,
    "x-ratelimit" headers on all responses, or both (True). Raises ``ValueError`` for values out of
    range and for ``changes`` or ``also`` nested in each other.
    """

    rate: float | None = field(default=None, validator=optional(_FINITE))
    burst: int | None = field(default=None, validator=optional(ge(1)))
    concurrency: int | None = field(default=None, validator=optional(ge(0)))
    requests: int | None = field(default=None, validator=optional(ge(1)))
    tokens: int | None = field(default=None, validator=optional(ge(1)))
    per: float = field(default=60.0, validator=_FINITE)
    phase: float = field(default=0.0, validator=ge(0))
    sliding: bool = False
    charge: Charge = field(default="used", validator=in_(("used", "requested")))
    headers: Headers = field(
        default=False, validator=in_((False, True, "retry-after", "x-ratelimit"))
    )
    rival: Rival | None = None
    changes: "tuple[tuple[float, HiddenLimit], ...]" = ()
    also: "tuple[HiddenLimit, ...]" = ()

    def __attrs_post_init__(self) -> None:
        times = [at for at, _ in self.changes]
        if times != sorted(times) or any(at < 0 for at in times):
            raise ValueError(
                f"changes must be in order of their times, which are 0 or more: {times}"
            )
        if any(limit.changes or limit.also for _, limit in self.changes):
            raise ValueError("a limit inside changes cannot have changes or also itself")
        if any(limit.also for limit in self.also):
            raise ValueError("a limit inside also cannot have also itself")
        if self.burst is not None and self.rate is None:
            raise ValueError("burst needs a rate")
        if (self.phase or self.sliding) and not self.has_window:
            raise ValueError("phase and sliding need requests or tokens")
        if self.phase and self.sliding:
            raise ValueError("a sliding window has no phase")
        if self.phase >= self.per:
            raise ValueError(f"phase must be below per, {self.per}, not {self.phase}")

    @classmethod
    def all_of(cls, *limits: "HiddenLimit") -> Self:
        """Return one limit under which all of ``limits`` apply at the same time."""
        parts = [part for limit in limits for part in limit.parts]
        if not parts:
            return cls()
        first, *others = parts
        return evolve(first, also=tuple(others)) if others else first  # type: ignore[return-value]

    @property
    def parts(self) -> "tuple[HiddenLimit, ...]":
        """The limits that apply at the same time, each without ``also``."""
        return (evolve(self, also=()), *self.also)

    @property
    def size(self) -> float:
        """The capacity of the bucket in requests; infinite without a rate."""
        if self.rate is None:
            return math.inf
        return self.burst if self.burst is not None else max(1, math.ceil(self.rate))

    @property
    def has_window(self) -> bool:
        """Whether requests or tokens are counted in windows."""
        return self.requests is not None or self.tokens is not None

    @property
    def stages(self) -> "tuple[HiddenLimit, ...]":
        """This limit and those that it changes to, of all its parts."""
        return tuple(
            stage for part in self.parts for stage in (part, *(later for _, later in part.changes))
        )

    def at(self, elapsed: float) -> "HiddenLimit":
        """Return the limit in force ``elapsed`` seconds after this one was set."""
        current = self
        for start, limit in self.changes:
            if elapsed >= start:
                current = limit
        return current


_NAMES: Final = tuple(one.name for one in fields(HiddenLimit))


def limit_from_json(value: Any) -> HiddenLimit:
    """Return the limit that JSON describes: the fields of ``HiddenLimit``, or a list of such.

    Null and {} are no limit. Raises ``ValueError`` or ``TypeError`` for anything else.
    """
    if value is None:
        return HiddenLimit()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return HiddenLimit.all_of(*map(limit_from_json, value))
    if not isinstance(value, Mapping):
        raise TypeError(f"expected an object, a list or null, not {value!r}")
    if unknown := sorted(set(value) - set(_NAMES)):
        raise ValueError(f"unknown fields {', '.join(unknown)}; known are {', '.join(_NAMES)}")
    given = dict(value)
    if given.get("rival") is not None:
        given["rival"] = Rival(**given["rival"])
    given["changes"] = tuple(
        (at, limit_from_json(limit)) for at, limit in given.get("changes") or ()
    )
    given["also"] = tuple(map(limit_from_json, given.get("also") or ()))
    return HiddenLimit(**given)
