"""Numbers for people, and foreign text that stays text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.report.text import amount, compact, foreign, money, plural, seconds, share


@given(st.text(max_size=400))
def test_foreign_text_has_no_markup_and_no_control_characters(text: str) -> None:
    shown = foreign(text)
    assert shown.startswith("<bdi>")
    inner = shown.removeprefix("<bdi>").removesuffix("</bdi>")
    assert not set(inner) & set("<>\"'\u202e\u2066\x00\x1b\n")
    inner.encode()  # no lone surrogate


def test_foreign_text_is_shortened() -> None:
    assert len(foreign("x" * 10_000)) < 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.00025, "0.25 ms"),
        (0.12, "120 ms"),
        (0.9999, "1 s"),
        (2.5, "2.5 s"),
        (89.4, "89.4 s"),
        (119.9, "2 min 0 s"),
        (3725, "62 min 5 s"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


def test_large_numbers_are_compact() -> None:
    assert [compact(n) for n in (0, 99_999_999, 685_392_874, 12 * 10**9)] == [
        "0", "99,999,999", "685.4 M", "12.0 G",
    ]  # fmt: skip


def test_amounts_money_and_plurals() -> None:
    assert [amount(v) for v in (0, 3.0, 0.1234, 12345.6, 0.00001)] == [
        "0", "3", "0.123", "12,346", "1.0e-05",
    ]  # fmt: skip
    assert [money(v) for v in (0, 0.0123, 12.345)] == ["$0.00", "$0.0123", "$12.35"]
    assert [plural(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_share_is_all_or_nothing_only_if_it_is(part: int, whole: int) -> None:
    part = min(part, whole)
    assert (share(part, whole) == "100 %") == (part == whole)
    assert (share(part, whole) == "0 %") == (part == 0)
