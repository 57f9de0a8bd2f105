"""``Timeouts``: what is accepted, what is refused, and what "auto" means."""

from typing import Any

import pytest

from laplas_async.errors import ConfigError
from laplas_async.timeouts import Timeouts

NAMES = ["connect", "first_token", "idle", "total"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.001, 1, 1.5, 1e9, float("inf"), None])
def test_a_timeout_is_positive_seconds_or_none(name: str, value: float | None) -> None:
    assert getattr(Timeouts(**{name: value}), name) == value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 0.0, -1, True, float("nan"), "5", "", [], 1j])
def test_an_invalid_timeout_is_refused_by_name_and_value(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^Timeouts\.{name}=.*more than 0") as caught:
        Timeouts(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["connect", "first_token", "idle"])
def test_only_the_total_may_be_auto(name: str) -> None:
    with pytest.raises(ConfigError):
        Timeouts(**{name: "auto"})  # type: ignore[arg-type]


def test_by_default_a_plain_call_has_a_total_and_a_stream_has_none() -> None:
    assert Timeouts().total_for(stream=False) == 600.0
    assert Timeouts().total_for(stream=True) is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("total", [5, None])
def test_a_configured_total_applies_to_both_kinds_of_call(
    total: float | None, *, stream: bool
) -> None:
    assert Timeouts(total=total).total_for(stream=stream) == total
