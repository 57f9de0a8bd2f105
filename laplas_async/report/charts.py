"""Charts as inline SVG: lines over time, and histograms.

The plot is stretched to the width of the page; labels are HTML, so they keep their size on a phone.
Each chart has a text for screen readers. It refuses to need a script: details are ``<title>``s.
"""

import math
from collections.abc import Callable, Sequence

from attrs import frozen

from laplas_async.report.analysis import Distribution
from laplas_async.report.text import amount, escape

_HEIGHT = 100.0  # of a plot, in units of its view box
Label = Callable[[float], str]


@frozen
class Series:
    """A line over time. ``style`` is a class: ``area``, ``line``, ``second`` or ``limit``.

    None in ``values`` interrupts the line.
    """

    name: str
    style: str
    values: Sequence[float | None]


@frozen
class Marks:
    """Intervals that are marked on a chart: ``style`` is ``rejected``, ``paused`` or ``gap``."""

    name: str
    style: str
    at: Sequence[int]


def time_chart(
    title: str, summary: str, series: Sequence[Series], marks: Sequence[Marks], ticks: Sequence[str]
) -> str:
    """Lines over intervals of equal width. ``ticks``: labels from the left end to the right."""
    count = max(1, max((len(one.values) for one in series), default=1))
    data = [one for one in series if one.style != "limit"]
    top = round_up(max((v for one in data for v in one.values if v is not None), default=0.0))
    shapes = [_mark(one, count) for one in marks]
    legend = [(one.name, one.style) for one in marks if one.at]
    for one in series:
        known = [value for value in one.values if value is not None]
        if not known:
            continue
        name = one.name
        if one.style == "limit" and max(known) > top:
            name += f" (up to {amount(max(known))}, above the chart)"
        if min(known) <= top:
            shapes.append(_line(one, top))
        legend.append((name, one.style))
    keys = "".join(
        f'<span class="key"><i class="{style}"></i>{escape(name)}</span>' for name, style in legend
    )
    plot = _svg(count, title, summary, "".join(shapes))
    return _figure(title, keys, plot, _axis([amount(top), amount(top / 2), "0"]), _axis(ticks))


def histogram(title: str, found: Distribution, label: Label) -> str:
    """Rows by value, with p50 and p95 marked."""
    bars = found.bars
    top = max((rows for _, _, rows in bars), default=1) or 1
    shapes = []
    for n, (low, high, rows) in enumerate(bars):
        height = _HEIGHT * rows / top
        if rows:
            height = max(height, 1.0)  # a single row among a million is still visible
        tip = f"{label(low)} to {label(high)}: {rows:,}"
        shapes.append(
            f'<g><title>{escape(tip)}</title><rect class="hit" x="{n}" y="0" width="1" '
            f'height="{_HEIGHT:g}"/><rect class="bar" x="{n + 0.06:.2f}" '
            f'y="{_HEIGHT - height:.2f}" width="0.88" height="{height:.2f}"/></g>'
        )
    for name, value in (("p50", found.p50), ("p95", found.p95)):
        at = _place(bars, value)
        shapes.append(f'<line class="{name}" x1="{at:.2f}" x2="{at:.2f}" y1="0" y2="100"/>')
    points = [("p50", found.p50), ("p90", found.p90), ("p95", found.p95), ("p99", found.p99)]
    summary = (
        f"{found.count:,} values from {label(found.min)} to {label(found.max)}; "
        f"{', '.join(f'{name} {label(value)}' for name, value in points)}"
    )
    keys = (
        f'<span class="key"><i class="p50"></i>p50 {escape(label(found.p50))}</span>'
        f'<span class="key"><i class="p95"></i>p95 {escape(label(found.p95))}</span>'
    )
    middle = bars[len(bars) // 2][0]
    ticks = [label(bars[0][0]), label(middle), label(bars[-1][1])]
    plot = _svg(len(bars), title, summary, "".join(shapes))
    return _figure(title, keys, plot, _axis([f"{top:,}", "0"]), _axis(ticks))


def round_up(value: float) -> float:
    """The top of an axis: a round number, at least 1, with some room above the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * f for f in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15) if power * f >= value * 1.04)


def _place(bars: Sequence[tuple[float, float, int]], value: float) -> float:
    for n, (low, high, _) in enumerate(bars):
        if value < high:
            return n + (value - low) / (high - low) if high > low else float(n)
    return float(len(bars))


def _line(one: Series, top: float) -> str:
    """A path; limits are steps, which hold until they change."""
    parts: list[str] = []
    area: list[str] = []
    before: str | None = None
    for n, value in enumerate(one.values):
        if value is None or value > top:
            before = None
            continue
        y = f"{_HEIGHT * (1 - value / top):.1f}".removesuffix(".0")
        if one.style == "limit":
            if y != before:
                parts.append(f"M{n} {y}" if before is None else f"V{y}")
            parts.append(f"H{n + 1}")
            before = y
        else:
            parts.append(f"{'M' if before is None else 'L'}{n + 0.5:g} {y}")
            area.append(f"L{n + 0.5:g} {y}")
            before = y
    path = _merge_steps(parts)
    shape = f'<path class="{one.style}" d="{path}"/>'
    if one.style == "area":
        end = f"L{len(one.values)} {area[-1].split()[1]}V100H0Z"
        start = f"M0 100V{area[0].split()[1]}"
        shape = f'<path class="fill" d="{start}{"".join(area)}{end}"/>{shape}'
    return shape


def _merge_steps(parts: Sequence[str]) -> str:
    """Without horizontal moves that the next one continues."""
    kept = [
        part
        for part, following in zip(parts, [*parts[1:], ""], strict=True)
        if not (part[0] == "H" and following[:1] == "H")
    ]
    return "".join(kept)


def _mark(one: Marks, count: int) -> str:
    if one.style == "gap":
        return "".join(f'<path class="gap" d="M{at} 0V100"/>' for at in one.at)
    width = max(1.0, count / 200)
    return "".join(
        f'<rect class="{one.style}" x="{at}" y="{94 if one.style == "rejected" else 0}" '
        f'width="{width:g}" height="{6 if one.style == "rejected" else 100}"/>'
        for at in one.at
    )


def _svg(width: int, title: str, summary: str, shapes: str) -> str:
    grid = '<path class="grid" d="M0 0H{0}M0 50H{0}M0 100H{0}"/>'.format(width)  # noqa: UP032
    label = escape(f"{title}. {summary}")
    return (
        f'<svg viewBox="0 0 {width} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{grid}{shapes}</svg>'
    )


def _axis(labels: Sequence[str]) -> str:
    return "".join(f"<span>{escape(label)}</span>" for label in labels)


def _figure(title: str, keys: str, plot: str, y: str, x: str) -> str:
    return (
        f"<figure><figcaption><b>{escape(title)}</b>{keys}</figcaption>"
        f'<div class="plot"><div class="y" aria-hidden="true">{y}</div>{plot}'
        f'<div class="x" aria-hidden="true">{x}</div></div></figure>'
    )
