"""Which finish reasons are failures, and that every unknown one is an end."""

from typing import Any

import pytest

from laplas_async.wire.error_body import read_failure
from laplas_async.wire.finish_reason import FAILED_FINISH_REASONS, failed_choice


@pytest.mark.parametrize("reason", sorted(FAILED_FINISH_REASONS))
def test_a_failed_finish_reason_counts_as_a_5xx(reason: str) -> None:
    failure = read_failure(failed_choice({"choices": [{"finish_reason": reason}]}))
    assert failure.status is not None
    assert failure.status >= 500
    assert reason in (failure.message or "")


@pytest.mark.parametrize(
    "reason",
    [
        *("stop", "length", "content_filter", "tool_calls", "function_call", "eos"),
        *("stop_sequence", "", "ABORT", "aborted", None, 5, [], "something new"),
    ],
)
def test_every_other_finish_reason_is_an_end(reason: Any) -> None:
    assert failed_choice({"choices": [{"finish_reason": reason}]}) is None


def test_a_choice_with_an_error_failed_with_its_status_and_message() -> None:
    error = {"code": 502, "message": "upstream"}
    body = {"choices": [{"finish_reason": "stop"}, {"finish_reason": "stop", "error": error}]}
    failure = read_failure(failed_choice(body))
    assert (failure.status, failure.message) == (502, "upstream")


@pytest.mark.parametrize("error", ["boom", {"message": "boom"}, [{"message": "boom"}]])
def test_an_error_without_a_status_counts_as_a_5xx(error: Any) -> None:
    failure = read_failure(failed_choice({"choices": [{"error": error}]}))
    assert (failure.status, failure.message) == (500, "boom")


def test_the_table_can_be_extended() -> None:
    body = {"choices": [{"finish_reason": "gave_up"}]}
    assert failed_choice(body) is None
    assert failed_choice(body, FAILED_FINISH_REASONS | {"gave_up"}) is not None


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"choices": ["x", None]}, {"choices": 5}])
def test_a_body_of_another_shape_has_no_failed_choice(body: Any) -> None:
    assert failed_choice(body) is None
