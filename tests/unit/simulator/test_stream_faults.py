"""Faults in the content of a response; ``test_delivery`` shows the bytes that they give."""

import pytest

from laplas_async.simulator import Fault


def test_an_unknown_shape_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match="'early' is not a known shape; known are: empty_finish"):
        Fault.shape("early_stop", "early")


def test_shapes_keep_their_order() -> None:
    assert Fault.shape("reasoning", "early_stop").shapes == ("reasoning", "early_stop")


def test_a_choice_error_has_a_code_and_a_message() -> None:
    fault = Fault.choice_error(code=429, message="upstream limit", after=2)
    assert fault.error == {"code": 429, "message": "upstream limit"}
    assert (fault.reason, fault.tokens) == ("error", 2)


def test_only_error_events_are_built_with_their_framing() -> None:
    assert Fault.error_event().framing == "data"
    assert Fault.error_event(framing="bare", ping=True).ping
