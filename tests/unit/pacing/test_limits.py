"""What may be configured."""

from typing import Any

import pytest

from laplas_async import ConfigError, Limits


@pytest.mark.parametrize(
    "arguments",
    [
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"requests_per_minute": -1},
        {"tokens_per_minute": True},
        {"max_wait": -1},
        {"max_wait": "long"},
    ],
    ids=repr,
)
def test_an_impossible_limit_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Limits(**arguments)
