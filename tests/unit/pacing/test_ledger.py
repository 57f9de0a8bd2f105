"""The books against brute force, and how rules read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.pacing.ledger import RateBook, Rule, WindowBook

gaps = st.lists(st.floats(0, 2), min_size=1, max_size=60)


@given(number=st.integers(1, 20), period=st.floats(0.5, 10), gaps=gaps)
def test_a_window_book_equals_brute_force(number: int, period: float, gaps: list[float]) -> None:
    book, now = WindowBook(number, period), 0.0
    sent: list[float] = []
    for gap in gaps:
        now += gap
        recent = [at for at in sent if at + period > now]
        assert (book.free_at(now, 0) <= now) == (len(recent) < number)
        now = max(now, book.free_at(now, 0))
        book.enter(now, 0)
        sent.append(now)
    for first, later in zip(sent, sent[number:], strict=False):
        assert later >= first + period


@given(budget=st.integers(10, 100), amounts=st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_tokens_in_any_window_stay_within_the_budget(budget: int, amounts: list[int]) -> None:
    book, now = WindowBook(budget, 5.0, "tokens"), 0.0
    sent: list[tuple[float, int]] = []
    for amount in amounts:
        now = max(now, book.free_at(now, amount))
        book.enter(now, amount)
        sent.append((now, amount))
        recent = [used for at, used in sent if at + 5.0 > now]
        assert sum(recent) <= budget or len(recent) == 1  # one above the budget goes alone


@given(number=st.integers(600, 5000), seconds=st.integers(10, 40))
def test_a_window_of_many_is_kept_with_few_groups(number: int, seconds: int) -> None:
    book, now, sent = WindowBook(number, 10.0), 0.0, 0
    while now < seconds:
        now += 0.004
        if book.free_at(now, 0) <= now:
            book.enter(now, 0)
            sent += 1
    assert sent <= number * (seconds / 10 + 1)
    assert len(book._groups) <= 600


@given(rate=st.floats(0.5, 50), burst=st.floats(1, 10), gaps=gaps)
def test_a_rate_book_never_exceeds_its_bucket(rate: float, burst: float, gaps: list[float]) -> None:
    book, now, level, seen = RateBook(rate, burst), 0.0, burst, 0.0
    for gap in gaps:
        now = max(now + gap, book.free_at(now + gap, 0))
        book.enter(now, 0)
        level, seen = min(burst, level + (now - seen) * rate) - 1, now
        assert level >= -1e-6


def test_a_rejected_request_is_refunded() -> None:
    book = WindowBook(2, 10.0)
    book.enter(1.0, 0)
    book.enter(2.0, 0)
    assert book.free_at(3.0, 0) == pytest.approx(11.0)
    book.refund(2.0, 0)
    assert book.free_at(3.0, 0) <= 3.0


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule("window", 60, 60.0), "60 per minute (window)"),
        (Rule("window", 40_000, 60.0, unit="tokens"), "40,000 tokens per minute (window)"),
        (Rule("window", 5, 1.004), "5 per second (window)"),
        (Rule("window", 30, 45.2), "30 per 45.2 s (window)"),
        (Rule("rate", 20.0), "20 per second, burst 1"),
        (Rule("concurrency", 4), "4 at once"),
    ],
)
def test_a_rule_reads_as_a_limit(rule: Rule, text: str) -> None:
    assert str(rule) == text
