"""Settings of a call and parameters of its request."""

from typing import Any

import pytest

from laplas_async.calls.arguments import (
    SETTINGS,
    check_labels,
    parameters_of,
    settings_of,
    size_of,
)
from laplas_async.errors import ConfigError
from laplas_async.pacing.reservation import RequestSize

ARGUMENTS = {"model": "m", "temperature": 0.0, "extra_body": {"x": 1}, "stop": None}


def test_every_setting_is_given_and_is_none_where_the_arguments_do_not_name_it() -> None:
    settings = settings_of(ARGUMENTS)
    assert tuple(settings) == SETTINGS
    assert {k: v for k, v in settings.items() if v is not None} == {
        "model": "m",
        "extra_body": {"x": 1},
    }


def test_what_is_no_setting_is_a_parameter_even_if_it_is_none_or_unknown() -> None:
    assert parameters_of(ARGUMENTS) == {"temperature": 0.0, "stop": None}
    assert parameters_of({"unknown": 1}) == {"unknown": 1}


@pytest.mark.parametrize(
    ("parameters", "extra_body", "size"),
    [
        ({}, None, RequestSize(9, None, 1)),
        ({"max_tokens": 100, "n": 3}, None, RequestSize(9, 100, 3)),
        ({"max_tokens": 5000.0}, None, RequestSize(9, 5000, 1)),
        ({"max_tokens": 100}, {"max_tokens": 7}, RequestSize(9, 7, 1)),
        ({"max_tokens": 100}, {"max_completion_tokens": 900}, RequestSize(9, 900, 1)),
        ({"n": None}, {"n": 2, "max_tokens": "many"}, RequestSize(9, None, 2)),
    ],
)
def test_the_size_of_a_request_is_that_of_what_is_sent(
    parameters: dict[str, Any], extra_body: dict[str, Any] | None, size: RequestSize
) -> None:
    assert size_of(9, parameters, extra_body) == size


@pytest.mark.parametrize("labels", [None, {}, {"job": "nightly", "try": 2, "dry": True}])
def test_labels_are_names_with_plain_values(labels: Any) -> None:
    check_labels(labels)


@pytest.mark.parametrize("labels", ["job", ["job"], {"job": None}, {1: "job"}, {"job": {}}])
def test_other_labels_are_refused(labels: Any) -> None:
    with pytest.raises(ConfigError, match="labels"):
        check_labels(labels)
