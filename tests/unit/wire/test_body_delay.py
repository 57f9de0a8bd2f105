"""The delay that an error body asks for, in a field or in prose."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.wire.body_delay import body_delay, prose_delay

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("Please try again in 1m3.5s.", 63.5),
        ("Please retry in 28.123456s.", 28.123456),
        ("retry after 6 seconds", 6.0),
        ("Please wait for 20 seconds and try again", 20.0),
        ("Try your request again in 500ms", 0.5),
        ("try again in 1 hour, 2 minutes and 3 seconds", 3723.0),
        ("Rate limit resets in 2 days", 172_800.0),
        ("RETRY IN 7M12S", 432.0),
        ("try again at 2023-11-14T22:14:50Z", 90.0),
        ("resets at 2023-11-14 22:13:10+00:00", 0.0),
        ("try again later", None),
        ("try again in a few seconds", None),
        ("the limit is 20 per 60 seconds", None),
        ("used 15m tokens", None),
        ("retry in 5 models", None),
        ("", None),
    ],
)
def test_a_sentence_gives_a_delay_or_none(text: str, delay: float | None) -> None:
    found = prose_delay(text, now=NOW)
    assert found == (None if delay is None else pytest.approx(delay))


@pytest.mark.parametrize(
    ("body", "delay"),
    [
        ({"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "28s"}]}}, 28.0),
        ([{"error": {"details": [{"retryDelay": {"seconds": 5, "nanos": 5 * 10**8}}]}}], 5.5),
        ({"retry_after": 3}, 3.0),
        ({"error": {"Retry-After": "4"}}, 4.0),
        ({"retry_after_ms": 1500}, 1.5),
        ({"error": {"metadata": {"headers": {"Retry-After": "7"}}}}, 7.0),
        (
            {"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}}},
            9.0,
        ),
        ({"message": "retry in 2s", "retry_after": 8}, 8.0),
        ("plain text: retry in 2s", 2.0),
        ({"retry_after": None, "message": ["x"]}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": -1}, None),
        ({"retryDelay": {"seconds": "many"}}, None),
        ({"headers": {"retry-after": None}}, None),
        (None, None),
        (5, None),
    ],
)
def test_a_body_gives_the_longest_delay_or_none(body: Any, delay: float | None) -> None:
    assert body_delay(body, now=NOW) == (None if delay is None else pytest.approx(delay))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["retry_after", "retryDelay", "headers", "seconds", "message"]), inner
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_every_body_gives_a_finite_delay_or_none(body: Any) -> None:
    delay = body_delay(body, now=NOW)
    assert delay is None or 0 <= delay < float("inf")


def test_a_hostile_text_is_searched_in_linear_time() -> None:
    """Bounded by its first characters: this runs on the event loop."""
    for text in ("retry in " * 100_000, "wait 1s" + "1s" * 100_000, "retry" + "1" * 100_000):
        prose_delay(text, now=NOW)
