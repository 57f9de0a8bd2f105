"""Which errors are retried, how often, and after what delay; no clock, no waiting."""

import itertools
import random
from typing import Any

import backoff
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.calls.policy import RetryPolicy
from laplas_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StreamAPIError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)

BUSY = ServerError("503: busy", status=503)


def no_jitter(delay: float) -> float:
    """No jitter."""
    return delay


def delays(policy: RetryPolicy, count: int) -> list[float]:
    return list(itertools.islice(policy.delays(), count))


def delay_of(
    policy: RetryPolicy,
    error: LaplasError = BUSY,
    base: float = 1.0,
    *,
    attempts: int = 1,
    elapsed: float = 0.0,
) -> float | None:
    return policy.delay(error, base, attempts=attempts, elapsed=elapsed)


# --- the sequence, over the backoff package ---------------------------------------------------


def test_the_package_yields_once_before_the_first_delay() -> None:
    """Of ``backoff`` 2.2 and of ``python-backoff`` 3: ``delays`` relies on it."""
    sequence = backoff.expo(base=2, factor=0.5, max_value=3)
    assert next(sequence) in (None, 0)  # 2.2 yields None, 3 yields 0; neither is a delay
    assert [next(sequence) for _ in range(5)] == [0.5, 1, 2, 3, 3]
    assert all(0 <= backoff.full_jitter(2.0) <= 2 for _ in range(100))


def test_delays_double_up_to_the_longest() -> None:
    assert delays(RetryPolicy(), 9) == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert delays(RetryPolicy(first_delay=3, max_delay=2), 3) == [2, 2, 2]


@pytest.mark.parametrize("first", [0, 0.0, 1e-300, 0.5])
@pytest.mark.parametrize("longest", [0, 30.0, 1e308, float("inf")])
def test_delays_never_end_nor_overflow(first: float, longest: float) -> None:
    assert all(
        delay >= 0 for delay in delays(RetryPolicy(first_delay=first, max_delay=longest), 3000)
    )


def test_each_call_has_its_own_sequence() -> None:
    policy = RetryPolicy()
    delays(policy, 5)
    assert delays(policy, 1) == [0.5]


@settings(deadline=None)
@given(st.floats(0, 1000))
def test_full_jitter_lies_between_0_and_the_delay(base: float) -> None:
    delay = delay_of(RetryPolicy(max_elapsed=float("inf")), base=base)
    assert delay is not None
    assert 0 <= delay <= base


def test_full_jitter_fills_its_range() -> None:
    random.seed(1)
    drawn = [delay_of(RetryPolicy()) or 0.0 for _ in range(1000)]
    assert min(drawn) < 0.05
    assert max(drawn) > 0.95
    assert 0.45 < sum(drawn) / 1000 < 0.55


# --- which errors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (ConfigError("no"), False),
        *((kind(), False) for kind in (BadRequestError, AuthenticationError, NotFoundError)),
        (BadRequestError(status=500), False),
        (PermissionDeniedError(status=403), False),
        (OutOfCreditsError(status=403), False),
        (APIError(status=408), True),
        (APIError(status=409), True),
        (APIError(status=418), False),
        (APIError(status=302), False),
        (APIError(), False),
        (RateLimitError(status=429), True),
        (QuotaExceededError(status=429), False),
        *((ServerError(status=status), True) for status in (500, 502, 503, 504, 529)),
        (ConnectionFailedError(), True),
        (ConnectionFailedError(sent=False), True),
        (ConnectionFailedError(permanent=True), False),
        (RequestTimeoutError(phase="connect"), True),
        (RequestTimeoutError(phase="first_token"), True),
        (RequestTimeoutError(phase="total"), False),
        (StreamTruncatedError(), True),
        (StreamTimeoutError(), False),
        (StreamProtocolError(), False),
        (StreamAPIError(), False),
        (StreamAPIError(status=429), True),
        (StreamAPIError(status=503), True),
        (StreamAPIError(status=400), False),
        (StreamAPIError("your free limit for the hour", status=429), False),
        (StreamAPIError(status=429, code="insufficient_quota"), False),
        (LaplasError(), False),
    ],
    ids=repr,
)
def test_recoverable_errors_are_retried(error: LaplasError, retried: bool) -> None:
    policy = RetryPolicy(jitter=no_jitter)
    assert policy.retries(error) is retried
    assert delay_of(policy, error) == (1.0 if retried else None)


def test_when_replaces_the_rule() -> None:
    policy = RetryPolicy(when=lambda error: isinstance(error, BadRequestError))
    assert policy.retries(BadRequestError())
    assert not policy.retries(BUSY)


# --- how often, and for how long --------------------------------------------------------------


@pytest.mark.parametrize(
    ("maximum", "attempts", "again"), [(1, 1, False), (3, 2, True), (3, 3, False)]
)
def test_max_attempts_bounds_the_attempts(maximum: int, attempts: int, again: bool) -> None:
    assert (delay_of(RetryPolicy(max_attempts=maximum), attempts=attempts) is not None) is again


@pytest.mark.parametrize(
    ("maximum", "ambiguous", "again"),
    [(2, 0, True), (2, 2, True), (2, 3, False), (0, 1, False), (0, 0, True), (9, 9, True)],
)
def test_max_ambiguous_bounds_the_attempts_that_may_be_billed(
    maximum: int, ambiguous: int, *, again: bool
) -> None:
    policy = RetryPolicy(max_ambiguous=maximum)
    error = ConnectionFailedError("lost")
    delay = policy.delay(error, 1.0, attempts=1, elapsed=0.0, ambiguous=ambiguous)
    assert (delay is not None) is again


@pytest.mark.parametrize(("elapsed", "again"), [(0, True), (9, True), (9.01, False), (11, False)])
def test_no_attempt_begins_after_max_elapsed(elapsed: float, again: bool) -> None:
    policy = RetryPolicy(max_elapsed=10, jitter=no_jitter)
    assert (delay_of(policy, elapsed=elapsed) is not None) is again


# --- Retry-After ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RateLimitError, ServerError, StreamAPIError])
def test_retry_after_is_waited_in_full(error: Any) -> None:
    delay = delay_of(RetryPolicy(), error("x", status=503, retry_after=7))
    assert delay is not None
    assert 7 <= delay <= 8


@pytest.mark.parametrize(("asked", "again"), [(20, True), (20.1, False), (3600, False)])
def test_a_retry_after_beyond_the_cap_raises_the_error(asked: float, again: bool) -> None:
    policy = RetryPolicy(max_retry_after=20)
    assert (delay_of(policy, RateLimitError(status=429, retry_after=asked)) is not None) is again


@pytest.mark.parametrize("asked", [0.0, 0.01])
def test_a_short_retry_after_does_not_shorten_the_backoff(asked: float) -> None:
    """It is a floor: a date that is past (a clock is off) must not cause eight attempts at once."""
    error = RateLimitError(status=429, retry_after=asked)
    assert delay_of(RetryPolicy(jitter=no_jitter), error, base=16.0) == pytest.approx(16.0, abs=0.1)


def test_a_wait_past_max_elapsed_is_not_begun() -> None:
    error = RateLimitError(status=429, retry_after=60)
    assert delay_of(RetryPolicy(max_elapsed=30), error) is None


@settings(max_examples=300, deadline=None)
@given(
    st.floats(0, 1e4),
    st.none() | st.floats(0, 1e4),
    st.integers(1, 10),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.sampled_from([backoff.full_jitter, no_jitter, backoff.random_jitter]),
)
def test_a_delay_is_never_negative_nor_below_retry_after_nor_past_max_elapsed(  # noqa: PLR0917
    base: float, asked: float | None, attempts: int, elapsed: float, end: float, jitter: Any
) -> None:
    policy = RetryPolicy(max_elapsed=end, jitter=jitter)
    error = RateLimitError(status=429, retry_after=asked)
    delay = delay_of(policy, error, base, attempts=attempts, elapsed=elapsed)
    if delay is not None:
        assert delay >= (asked or 0.0)
        assert elapsed + delay <= end
        assert attempts < policy.max_attempts
        assert (asked or 0.0) <= policy.max_retry_after


# --- validation of the settings ---------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "3"])
def test_max_attempts_is_at_least_1(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"RetryPolicy\.max_attempts="):
        RetryPolicy(max_attempts=value)


@pytest.mark.parametrize("name", ["max_elapsed", "first_delay", "max_delay", "max_retry_after"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), True, None, "3"])
def test_seconds_are_at_least_0(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"RetryPolicy\.{name}="):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("name", ["when", "jitter"])
def test_hooks_must_be_callable(name: str) -> None:
    arguments: dict[str, Any] = {name: 5}
    with pytest.raises(ConfigError, match=rf"RetryPolicy\.{name}="):
        RetryPolicy(**arguments)
