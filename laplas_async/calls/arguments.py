"""Keyword arguments of a call, separated into its settings and the parameters of its request.

It refuses to check parameters: the call itself does.
"""

import math
from collections.abc import Mapping
from typing import Any

from laplas_async.errors import ConfigError
from laplas_async.pacing.reservation import RequestSize

SETTINGS = (
    "model",
    "timeouts",
    "retry",
    "extra_headers",
    "extra_query",
    "extra_body",
    "labels",
    "budget",
)


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a call; None for those that the arguments do not name."""
    return {name: arguments.get(name) for name in SETTINGS}


def parameters_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are no settings: the parameters of the request."""
    return {name: value for name, value in arguments.items() if name not in SETTINGS}


def check_labels(labels: object) -> None:
    """Raise ``ConfigError`` unless these are names with plain values, or None."""
    if labels is None:
        return
    if not isinstance(labels, Mapping):
        raise ConfigError(f"labels={labels!r}: must be a mapping, such as {{'job': 'nightly'}}")
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float):
            raise ConfigError(
                f"labels[{name!r}]={value!r}: must be a string, a number or a boolean by its name"
            )


def size_of(
    body_bytes: int, parameters: Mapping[str, Any], extra_body: Mapping[str, Any] | None
) -> RequestSize:
    """The size of a request; fields of ``extra_body`` are sent in place of parameters."""
    sent = {**parameters, **(extra_body or {})}
    bounds = (_whole(sent.get(name)) for name in ("max_tokens", "max_completion_tokens"))
    known = [bound for bound in bounds if bound is not None]
    return RequestSize(body_bytes, max(known, default=None), _whole(sent.get("n")) or 1)


def _whole(value: object) -> int | None:
    """An integer, also if it is written as 100.0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return math.ceil(value) if 0 <= value < math.inf else None
