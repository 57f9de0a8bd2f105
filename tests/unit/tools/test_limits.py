"""The limits of a run."""

from typing import Any

import pytest

from laplas_async import ConfigError, Price, RunLimits, Usage


def test_every_limit_has_a_default() -> None:
    limits = RunLimits()
    assert all(value > 0 for value in (limits.rounds, limits.tool_calls, limits.tokens))
    assert limits.seconds > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"rounds": 0},
        {"rounds": 1.5},
        {"rounds": None},
        {"tokens": -1},
        {"tool_calls": True},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"cost_usd": 0},
    ],
)
def test_a_limit_must_be_positive(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="RunLimits"):
        RunLimits(**fields)


def test_a_price_is_per_million_tokens() -> None:
    assert Price(2.0, 8.0).of(Usage(1_000_000, 500_000, 1_500_000)) == 6.0
