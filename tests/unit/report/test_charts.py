"""The shapes of charts: within the plot, interrupted where nothing is known, with a text."""

import re

import pytest

from laplas_async.report.analysis import distribution
from laplas_async.report.charts import Marks, Series, histogram, round_up, time_chart
from laplas_async.report.text import seconds


def numbers(chart: str) -> list[float]:
    return [
        float(n) for path in re.findall(r' d="([^"]*)"', chart) for n in re.findall(r"[\d.]+", path)
    ]


def test_a_line_stays_within_the_plot() -> None:
    chart = time_chart(
        "T", "S", [Series("rows", "area", [0.0, 5.0, 123.4, 0.0])], [], ["0 s", "4 s"]
    )
    assert all(0 <= n <= 100 for n in numbers(chart))
    assert 'aria-label="T. S"' in chart


def test_a_limit_is_a_step_and_is_not_drawn_above_the_chart() -> None:
    data = Series("rows", "area", [10.0] * 6)
    limit = Series("limit", "limit", [None, 5.0, 5.0, 8.0, 1000.0, 5.0])
    chart = time_chart("T", "S", [data, limit], [], [])
    [path] = re.findall(r'class="limit" d="([^"]*)"', chart)
    assert re.fullmatch(r"M1 [\d.]+H3V[\d.]+H4M5 [\d.]+H6", path)
    assert "up to 1,000, above the chart" in chart
    alone = time_chart("T", "S", [data, Series("limit", "limit", [99.0] * 6)], [], [])
    assert 'path class="limit"' not in alone
    unknown = time_chart("T", "S", [data, Series("limit", "limit", [None] * 6)], [], [])
    assert "limit" not in unknown


def test_marks_have_a_key_only_if_there_are_any() -> None:
    data = Series("rows", "area", [1.0, 2.0])
    assert "429" in time_chart("T", "S", [data], [Marks("429", "rejected", [1])], [])
    assert "429" not in time_chart("T", "S", [data], [Marks("429", "rejected", [])], [])


def test_nothing_at_all_is_an_empty_chart() -> None:
    assert "<svg" in time_chart("T", "S", [Series("rows", "area", [0.0, 0.0])], [], [])


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [0.001, 1000.0], [5.0] * 10])
def test_a_histogram_has_a_bar_for_every_value_and_both_percentiles(values: list[float]) -> None:
    found = distribution(values)
    assert found is not None
    chart = histogram("Latency", found, seconds)
    assert chart.count('class="bar"') == len(found.bars)
    assert chart.count("<line") == 2
    width = len(found.bars)
    assert all(0 <= float(x) <= width for x in re.findall(r'x1="([^"]*)"', chart))


@pytest.mark.parametrize("value", [0.0, 0.001, 0.97, 1.0, 9.9, 99.9, 123.0, 1e6])
def test_the_top_of_an_axis_is_above_the_value(value: float) -> None:
    assert value < round_up(value) <= max(1.0, 2.1 * value)
