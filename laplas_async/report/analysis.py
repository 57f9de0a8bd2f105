"""From the rows of a run to the numbers of its report: pure arithmetic.

Distributions are exact percentiles (nearest rank) and binned counts, the run over time is binned to
at most 180 intervals, so the report of a million rows is as small as that of a thousand. It refuses
to read files and to know HTML.
"""

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import asdict, field, frozen

from laplas_async.report.rows import MISSING, Rows

BINS = 180  # of the time axis: one for each five pixels of a page
# Seconds; narrower intervals hold so few rows that their rates are noise.
_NARROWEST = 0.5
_BARS = 30  # of a histogram, at most
# Seconds without any attempt after which the time axis is cut: a night between two runs says
# nothing about the speed. At least a twentieth of the active time, so short runs keep their pauses.
_GAP, _GAP_SHARE = 60.0, 0.05


@frozen
class Distribution:
    """How a number is distributed over rows: ``bars`` are (from, to, rows)."""

    count: int
    mean: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    bars: tuple[tuple[float, float, int], ...] = field(repr=False)


@frozen
class Interval:
    """An interval of the run: rates per second, and means of what was in flight and waiting."""

    start: float  # seconds since the run began, idle time between runs left out
    rows: float
    tokens: float
    failed: float
    in_flight: float
    waiting: float
    rejected: int
    limit_rate: float | None
    limit_concurrency: int | None


@frozen
class Timeline:
    """The run over time. ``gaps``: (start, seconds) of idle times that were left out."""

    width: float = 1.0  # of an interval, in seconds
    seconds: float = 0.0  # active time
    began: float | None = None  # since 1970
    intervals: tuple[Interval, ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()


@frozen
class Goals:
    """Limits that a good row keeps, in seconds: to the first token, and to the end."""

    first_token: float | None = None
    latency: float | None = None


@frozen
class Numbers:
    """Every number of the report."""

    rows: int
    completed: int
    failed: int
    attempts: int
    rejected: int
    may_be_billed: int
    possibly_duplicated: int
    superseded: int
    incomplete_lines: int
    left_in_flight: int
    prompt_tokens: int
    completion_tokens: int
    rows_without_usage: int
    usd: float | None
    usd_by_source: dict[str, float]
    usd_may_be_billed: float
    credits: float | None
    rows_priced: int
    rows_per_second: float | None
    tokens_per_second: float | None
    goodput: float | None  # rows per second that keep the goals; None without goals
    good_rows: int | None
    waited: Distribution | None
    first_token: Distribution | None
    latency: Distribution | None
    time_per_output_token: Distribution | None
    output_tokens: Distribution | None
    timeline: Timeline

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def analyze(rows: Rows, goals: Goals | None = None) -> Numbers:
    """The numbers of a run."""
    done = rows.completed
    timeline = make_timeline(rows)
    seconds = timeline.seconds
    prompt = sum(n for n in rows.prompt_tokens if n >= 0)
    completion = sum(n for n in rows.completion_tokens if n >= 0)
    completed = sum(done)
    good = None if goals is None else _count_good(rows, goals)
    has_time = timeline.began is not None and seconds > 0
    return Numbers(
        rows=len(rows),
        completed=completed,
        failed=len(rows) - completed,
        attempts=sum(rows.attempts),
        rejected=rows.rejected,
        may_be_billed=rows.may_be_billed,
        possibly_duplicated=rows.possibly_duplicated,
        superseded=rows.superseded,
        incomplete_lines=rows.incomplete_lines,
        left_in_flight=rows.left_in_flight,
        prompt_tokens=int(prompt),
        completion_tokens=int(completion),
        rows_without_usage=sum(
            1 for ok, n in zip(done, rows.completion_tokens, strict=True) if ok and n < 0
        ),
        usd=rows.usd,
        usd_by_source=dict(rows.usd_by_source),
        usd_may_be_billed=rows.usd_may_be_billed,
        credits=rows.credits,
        rows_priced=rows.priced,
        rows_per_second=completed / seconds if has_time else None,
        tokens_per_second=(prompt + completion) / seconds if has_time else None,
        goodput=good / seconds if has_time and good is not None else None,
        good_rows=good,
        waited=distribution(w for w, n in zip(rows.waited, rows.attempts, strict=True) if n),
        first_token=distribution(_of_completed(rows, rows.first_token)),
        latency=distribution(_of_completed(rows, rows.latency)),
        time_per_output_token=distribution(_times_per_token(rows)),
        output_tokens=distribution(_of_completed(rows, rows.completion_tokens)),
        timeline=timeline,
    )


def _of_completed(rows: Rows, column: "Sequence[float]") -> Iterable[float]:
    return (value for value, ok in zip(column, rows.completed, strict=True) if ok)


def _times_per_token(rows: Rows) -> Iterable[float]:
    columns = zip(rows.latency, rows.first_token, rows.completion_tokens, strict=True)
    for latency, first, tokens in columns:
        if latency >= first >= 0 and tokens > 1:
            yield (latency - first) / (tokens - 1)


def _count_good(rows: Rows, goals: Goals) -> int:
    good = 0
    columns = zip(rows.completed, rows.latency, rows.first_token, strict=True)
    for ok, latency, first in columns:
        in_time = goals.latency is None or 0 <= latency <= goals.latency
        soon = goals.first_token is None or 0 <= first <= goals.first_token
        good += bool(ok and in_time and soon)
    return good


# --- distributions --------------------------------------------------------------------------------


def distribution(values: Iterable[float]) -> Distribution | None:
    """The distribution of the values that are not ``MISSING``; None if there are none."""
    order = sorted(value for value in values if value != MISSING and value >= 0)
    if not order:
        return None
    p50, p90, p95, p99 = (percentile(order, p) for p in (0.5, 0.9, 0.95, 0.99))
    mean = math.fsum(order) / len(order)
    bars = _bars(order)
    return Distribution(len(order), mean, order[0], p50, p90, p95, p99, order[-1], bars)


def percentile(order: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile: the least of the sorted values that covers this fraction."""
    return order[max(0, math.ceil(fraction * len(order)) - 1)]


def _bars(order: Sequence[float]) -> tuple[tuple[float, float, int], ...]:
    """Counts between round edges, in equal ratios if the values span more than a decade or so."""
    edges = _edges(order[0], order[-1])
    cuts = [bisect.bisect_left(order, edge) for edge in edges]
    cuts[0], cuts[-1] = 0, len(order)
    pairs = zip(edges, edges[1:], cuts, cuts[1:], strict=False)
    return tuple((low, high, b - a) for low, high, a, b in pairs)


def _edges(least: float, most: float) -> list[float]:
    positive = max(least, most / 1000)
    if positive > 0 and most / positive > 20:
        per_decade = max(2, min(10, int(_BARS / max(1.0, math.log10(most / positive)))))
        first = math.floor(math.log10(positive) * per_decade)
        last = math.floor(math.log10(most) * per_decade) + 1
        edges = [10 ** (n / per_decade) for n in range(first, last + 1)]
        return [0.0, *edges] if least < edges[0] else edges
    step = _round_step((most - least) / (_BARS - 4) or max(abs(most) / 10, 1e-3))
    first = math.floor(least / step)
    last = math.floor(most / step) + 1
    return [n * step for n in range(first, last + 1)]


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * 0.999)


# --- the run over time ----------------------------------------------------------------------------


class _Axis:
    """Wall-clock time to seconds of activity: idle times between runs are left out."""

    def __init__(self, spans: list[tuple[float, float]]) -> None:
        merged: list[list[float]] = []
        for start, end in sorted(spans):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        busy = sum(end - start for start, end in merged)
        shortest = max(_GAP, _GAP_SHARE * busy)
        self.began = merged[0][0]
        self._starts = [self.began]  # of the parts that are kept, by the wall clock
        self._offsets = [0.0]  # of the same, on the axis
        self.gaps: list[tuple[float, float]] = []
        for (_, end), (start, _) in itertools.pairwise(merged):
            if start - end >= shortest:
                at = self.place(end)
                self.gaps.append((at, start - end))
                self._starts.append(start)
                self._offsets.append(at)
        self.seconds = self.place(merged[-1][1])

    def place(self, time: float) -> float:
        """Where a moment is on the axis."""
        part = max(0, bisect.bisect_right(self._starts, time) - 1)
        place = self._offsets[part] + time - self._starts[part]
        if part + 1 < len(self._offsets):
            place = min(place, self._offsets[part + 1])
        return max(0.0, place)


def make_timeline(rows: Rows) -> Timeline:
    """The run over time; empty if no line has a start time."""
    columns = zip(rows.started, rows.latency, rows.waited, strict=True)
    spans = [
        (started - max(0.0, waited), started + max(0.0, latency))
        for started, latency, waited in columns
        if started >= 0
    ]
    if not spans:
        return Timeline()
    axis = _Axis(spans)
    width = _round_step(max(axis.seconds / BINS, _NARROWEST))
    count = max(1, min(BINS, math.ceil(axis.seconds / width - 1e-9)))
    bins = _Bins(count, width, axis.seconds)
    for n, (queued, end) in enumerate(_times(rows)):
        if end < 0:
            continue
        start, finish = axis.place(rows.started[n]), axis.place(end)
        bins.in_flight.add(start, finish)
        bins.waiting.add(axis.place(queued), start)
        at = bins.at(finish)
        tokens = max(0.0, rows.prompt_tokens[n]) + max(0.0, rows.completion_tokens[n])
        bins.tokens[at] += tokens
        bins.rows[at] += rows.completed[n]
        bins.failed[at] += not rows.completed[n]
    for time in rows.rejections:
        bins.rejected[bins.at(axis.place(time))] += 1
    for time, rate, concurrency in sorted(rows.limits, key=lambda limit: limit[0]):
        bins.limits[bins.at(axis.place(time))] = (rate, concurrency)
    return Timeline(width, axis.seconds, axis.began, bins.intervals(), tuple(axis.gaps))


def _times(rows: Rows) -> Iterable[tuple[float, float]]:
    """When each row was queued and when it ended; (-1, -1) if its line has no start time."""
    for started, latency, waited in zip(rows.started, rows.latency, rows.waited, strict=True):
        if started < 0:
            yield MISSING, MISSING
        else:
            yield started - max(0.0, waited), started + max(0.0, latency)


class _Coverage:
    """How many spans cover each bin, in seconds, from their ends alone (a difference array).

    The last bin reaches to ``end``, whatever its width: widths are rounded (``_round_step``), so
    that bins of equal width may end a little before the last span does.
    """

    def __init__(self, count: int, width: float, end: float) -> None:
        self._width = width
        self._widths = [width] * (count - 1) + [max(0.0, end - (count - 1) * width)]
        self._end = end
        self._whole = [0.0] * count  # spans that begin or end in the bin before
        self._partial = [0.0] * count  # seconds, in the bin itself
        self._last = count - 1

    def add(self, start: float, end: float) -> None:
        """One more span."""
        self._step(start, 1.0)
        self._step(end, -1.0)

    def _step(self, time: float, sign: float) -> None:
        at = min(int(time / self._width), self._last)
        edge = self._end if at == self._last else (at + 1) * self._width
        self._partial[at] += sign * max(0.0, edge - time)
        if at < self._last:
            self._whole[at + 1] += sign

    def sums(self) -> list[float]:
        """The seconds of all spans in each bin."""
        level, found = 0.0, []
        for whole, partial, width in zip(self._whole, self._partial, self._widths, strict=True):
            level += whole
            found.append(max(0.0, level * width + partial))
        return found


class _Bins:
    """The sums of each interval; the last one ends at ``end``."""

    def __init__(self, count: int, width: float, end: float) -> None:
        self._count, self._width = count, width
        # The last interval is as wide as the run lasts, or its rates would seem to drop.
        self._widths = [width] * (count - 1) + [max(end - (count - 1) * width, width / 10)]
        self.rows, self.tokens, self.failed = ([0.0] * count for _ in range(3))
        self.rejected = [0] * count
        self.limits: list[tuple[float | None, int] | None] = [None] * count
        self.in_flight, self.waiting = (_Coverage(count, width, end) for _ in range(2))

    def at(self, time: float) -> int:
        """The bin of a moment."""
        return min(int(time / self._width), self._count - 1)

    def intervals(self) -> tuple[Interval, ...]:
        """The intervals; a limit holds until the next one is known."""
        found, limit = [], None
        in_flight, waiting = self.in_flight.sums(), self.waiting.sums()
        for n, width in enumerate(self._widths):
            limit = self.limits[n] or limit
            found.append(
                Interval(
                    start=n * self._width,
                    rows=self.rows[n] / width,
                    tokens=self.tokens[n] / width,
                    failed=self.failed[n] / width,
                    in_flight=in_flight[n] / width,
                    waiting=waiting[n] / width,
                    rejected=self.rejected[n],
                    limit_rate=None if limit is None else limit[0],
                    limit_concurrency=None if limit is None else limit[1],
                )
            )
        return tuple(found)
