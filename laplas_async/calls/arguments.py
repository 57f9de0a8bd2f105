"""Keyword arguments of a call, separated into its settings and the parameters of its request.

It refuses to check either: the call itself does.
"""

from collections.abc import Mapping
from typing import Any

SETTINGS = ("model", "timeouts", "retry", "extra_headers", "extra_query", "extra_body")


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a call; None for those that the arguments do not name."""
    return {name: arguments.get(name) for name in SETTINGS}


def parameters_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are no settings: the parameters of the request."""
    return {name: value for name, value in arguments.items() if name not in SETTINGS}
