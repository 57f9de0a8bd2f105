"""The types of option values: what they accept, and how they refuse the rest."""

import argparse
from collections.abc import Callable

import pytest

from laplas_async.cli.options import count, number, port, seconds, usd


def test_numbers_stay_integers_if_written_so() -> None:
    assert [number(text) for text in ("5", "-1.5", "1e3")] == [5, -1.5, 1000.0]
    assert [type(number(text)) for text in ("5", "5.0")] == [int, float]


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (count, "0"),
        (count, "-1"),
        (count, "1.5"),
        (count, ""),
        (seconds, "0"),
        (seconds, "inf"),
        (seconds, "nan"),
        (seconds, "-1"),
        (usd, "-0.01"),
        (usd, "inf"),
        (usd, "nan"),
        (port, "-1"),
        (port, "65536"),
        (number, "hot"),
    ],
)
def test_values_out_of_range_are_refused(read: Callable[[str], float], text: str) -> None:
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        read(text)


def test_values_in_range_are_read() -> None:
    assert (usd("0"), usd("25")) == (0.0, 25.0)
    assert (count("7"), seconds("0.5"), port("0"), port("65535")) == (7, 0.5, 0, 65535)
