"""How many tokens a request will use: the estimate before usage is known, and how it learns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.pacing.reservation import (
    DEFAULT_MAX_TOKENS,
    RequestSize,
    TokenEstimate,
    total_tokens,
)
from laplas_async.types import Usage


def test_without_usage_four_bytes_are_one_token() -> None:
    assert TokenEstimate().tokens(RequestSize(400, max_tokens=100)) == 200


def test_max_tokens_defaults_to_the_service_s_own() -> None:
    assert TokenEstimate().tokens(RequestSize(0)) == DEFAULT_MAX_TOKENS


def test_each_choice_is_reserved() -> None:
    assert TokenEstimate().tokens(RequestSize(0, max_tokens=10, choices=3)) == 30


@pytest.mark.parametrize("bytes_per_token", [1.5, 2.9, 4.0, 6.5])
def test_bytes_per_token_follow_the_reported_usage(bytes_per_token: float) -> None:
    estimate = TokenEstimate()
    size = RequestSize(3000, max_tokens=1)
    for _ in range(60):
        estimate.learn(size, Usage(prompt_tokens=round(3000 / bytes_per_token)))
    assert estimate.tokens(size) == pytest.approx(3000 / bytes_per_token, rel=0.02)


def test_one_observation_weighs_a_tenth() -> None:
    estimate = TokenEstimate()
    estimate.learn(RequestSize(300), Usage(prompt_tokens=100))
    assert estimate.bytes_per_token == pytest.approx(3.9)


def test_completions_are_reserved_by_their_mean_but_never_above_max_tokens() -> None:
    estimate = TokenEstimate()
    estimate.learn(RequestSize(), Usage(completion_tokens=40))
    assert estimate.tokens(RequestSize(0, max_tokens=500)) == 60
    assert estimate.tokens(RequestSize(0, max_tokens=50)) == 50


def test_the_mean_is_of_one_choice() -> None:
    estimate = TokenEstimate()
    estimate.learn(RequestSize(choices=4), Usage(completion_tokens=40))
    assert estimate.tokens(RequestSize(max_tokens=500, choices=2)) == 30


def test_an_inline_image_does_not_distort_the_estimate_for_text() -> None:
    estimate = TokenEstimate()
    estimate.learn(RequestSize(4_000_000), Usage(prompt_tokens=800))
    assert estimate.bytes_per_token < 6


@given(
    st.lists(
        st.tuples(st.integers(0, 10**8), st.integers(0, 10**7), st.integers(0, 10**6)), max_size=50
    )
)
def test_any_usage_leaves_a_finite_positive_estimate(seen: list[tuple[int, int, int]]) -> None:
    estimate = TokenEstimate()
    for size, prompt, completion in seen:
        estimate.learn(RequestSize(size), Usage(prompt_tokens=prompt, completion_tokens=completion))
        assert 0.5 <= estimate.bytes_per_token <= 20
        assert estimate.tokens(RequestSize(size)) >= 0


@pytest.mark.parametrize(
    ("usage", "total"),
    [(Usage(3, 4, 9), 9), (Usage(3, 4), 7), (Usage(), None), (Usage(prompt_tokens=2), 2)],
)
def test_the_total_is_the_reported_one_or_the_sum(usage: Usage, total: int | None) -> None:
    assert total_tokens(usage) == total
