"""Faults of the HTTP response: their statuses, headers and bodies."""

import pytest

from laplas_async.simulator import Fault


def test_retry_after_is_sent_verbatim() -> None:
    assert Fault.status(503, retry_after=1.5).headers == {"Retry-After": "1.5"}
    assert Fault.status(503, retry_after="3, 2").headers == {"Retry-After": "3, 2"}


def test_a_rate_limit_has_only_the_headers_given() -> None:
    assert Fault.rate_limit() == Fault.status(429)
    fault = Fault.rate_limit(retry_after=1, retry_after_ms=0, remaining=-1, reset="6m0s")
    assert dict(fault.headers) == {
        "Retry-After": "1",
        "retry-after-ms": "0",
        "x-ratelimit-remaining-requests": "-1",
        "x-ratelimit-reset-requests": "6m0s",
    }


def test_an_error_response_has_its_form() -> None:
    fault = Fault.error_response(422, "detail", "too long")
    assert (fault.code, fault.body) == (
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "too long", "type": "value_error"}]},
    )
    fault = Fault.error_response(429, "retry_info", retry_after=2)
    assert "retryDelay" in str(fault.body)


@pytest.mark.parametrize("code", [200, 498, 499, 520, 529, 530, 599])
def test_any_status_of_a_gateway_is_possible(code: int) -> None:
    assert Fault.status(code).code == code
