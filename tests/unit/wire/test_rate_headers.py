"""How long to wait, from Retry-After and x-ratelimit-*."""

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from laplas_async.wire.error_body import api_error
from laplas_async.wire.rate_headers import reset_delay, retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("5", 5.0),
        (" 5 ", 5.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("", None),
        ("soon", None),
        ("inf", None),
        ("-inf", None),
        ("nan", None),
        ("1e999", None),
        ("9" * 400, None),
        ("5s", None),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Tue, 14 Nov 2023 22:14:50", 90.0),
        ("Tue, 14 Nov 2023 23:14:50 +0100", 90.0),
        ("Tue, 99 Nov 2023 22:14:50 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    delay = retry_after({"retry-after": value}, now=NOW)
    if "9999" in value or "0001" in value:
        assert delay is None or delay >= 0
    else:
        assert delay == (None if seconds is None else pytest.approx(seconds))
    assert api_error(429, {"retry-after": value}, b"", now=NOW).retry_after == delay


def test_the_larger_of_seconds_and_milliseconds_counts() -> None:
    assert retry_after({"retry-after": "1", "retry-after-ms": "0"}, now=NOW) == 1.0
    assert retry_after({"retry-after": "1", "retry-after-ms": "2500"}, now=NOW) == 2.5
    assert retry_after({"retry-after-ms": "250"}, now=NOW) == 0.25
    assert retry_after({"retry-after": "9", "retry-after-ms": "x"}, now=NOW) == 9.0
    assert retry_after({}, now=NOW) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3, 2", 3.0),
        ("2,30", 30.0),
        ("soon, 4", 4.0),
        (f"5, {formatdate(NOW + 90, usegmt=True)}", 90.0),
        (f"{formatdate(NOW + 90, usegmt=True)}, {formatdate(NOW + 30, usegmt=True)}", 90.0),
        (",", None),
        (str(NOW + 20), 20.0),
    ],
)
def test_the_largest_of_folded_headers_counts(value: str, seconds: float | None) -> None:
    delay = retry_after({"retry-after": value}, now=NOW)
    assert delay == (None if seconds is None else pytest.approx(seconds))


def test_the_largest_of_repeated_headers_counts() -> None:
    headers = CIMultiDict([("Retry-After", "2"), ("retry-after", "7"), ("Retry-After", "3")])
    assert retry_after(headers, now=NOW) == 7.0


@settings(deadline=None)
@given(st.text(), st.floats(0, 1e10))
def test_every_value_is_a_delay_or_none(value: str, now: float) -> None:
    seconds = retry_after({"retry-after": value, "retry-after-ms": value}, now=now)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1", 1.0),
        ("0.25", 0.25),
        ("17ms", 0.017),
        ("1s", 1.0),
        ("2.5s", 2.5),
        ("0m6s", 6.0),
        ("1m0s", 60.0),
        ("1h0m0s", 60.0),  # at most a minute: then it is worth asking
        (str(NOW + 12), 12.0),
        (str(int((NOW + 12) * 1000)), 12.0),
        (str(NOW - 12), 0.0),
        ("120ms", 0.12),
        ("6 m 0 s", 60.0),
        ("1.5m", 60.0),
        ("500us", 0.0005),
        ("1d", 60.0),
        ("2023-11-14T22:13:32Z", 12.0),
        ("2023-11-14T23:13:32+01:00", 12.0),
        ("2023-11-14T22:13:32", 12.0),
        (formatdate(NOW + 12, usegmt=True), 12.0),
        ("-1", None),
        ("9999-99-99T00:00:00Z", None),
        ("soon", None),
        ("", None),
        ("-", None),
    ],
)
def test_when_none_remain_the_delay_is_the_reset(reset: str, seconds: float | None) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    assert reset_delay(headers, now=NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("remaining", ["-1", "-0.5", "unknown", "", "nan"])
def test_an_unknown_number_remaining_is_not_zero(remaining: str) -> None:
    headers = {"x-ratelimit-remaining": remaining, "x-ratelimit-reset": "9"}
    assert reset_delay(headers, now=NOW) is None


def test_when_some_remain_there_is_no_delay() -> None:
    assert reset_delay({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "9"}, now=NOW) is None
    assert reset_delay({"x-ratelimit-reset": "9"}, now=NOW) is None
    assert reset_delay({"x-ratelimit-remaining": "?", "x-ratelimit-reset": "9"}, now=NOW) is None
    assert reset_delay({}, now=NOW) is None


def test_of_requests_the_first_is_back_after_its_share_of_the_reset() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert reset_delay(headers, now=NOW) == pytest.approx(1.0)
    headers["x-ratelimit-remaining-tokens"] = "0"
    assert reset_delay(headers, now=NOW) == pytest.approx(60.0)


def test_a_429_says_it_as_retry_after_unless_that_is_there() -> None:
    delay = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "3"}
    assert api_error(429, delay, b"", now=NOW).retry_after == 3.0
    assert api_error(429, delay | {"retry-after": "5"}, b"", now=NOW).retry_after == 5.0
    assert api_error(500, delay, b"", now=NOW).retry_after is None


@settings(deadline=None)
@given(st.text(), st.text(), st.text(), st.floats(0, 1e10))
def test_every_limit_header_is_a_delay_or_none(
    remaining: str, reset: str, limit: str, now: float
) -> None:
    names = ("remaining", "reset", "limit")
    for kind in ("", "-requests"):
        headers = {
            f"x-ratelimit-{name}{kind}": value
            for name, value in zip(names, (remaining or "0", reset, limit), strict=True)
        }
        seconds = reset_delay(headers, now=now)
        assert seconds is None or 0 <= seconds <= 60
