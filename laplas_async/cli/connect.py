"""The client of a command, from its arguments and the environment.

It refuses to take the key from anywhere but ``LAPLAS_API_KEY``.
"""

import argparse
import os
import warnings

from laplas_async import DEFAULT_MODEL, ConfigError, LaplasClient, Limits
from laplas_async.cli.terminal import complain


def check_key() -> None:
    """Raise ``ConfigError`` if no key is set."""
    if not os.environ.get("LAPLAS_API_KEY"):
        raise ConfigError(
            "no API key: set one with `export LAPLAS_API_KEY=...` (or see `laplas demo`, which "
            "needs none)"
        )


def make_client(
    arguments: argparse.Namespace, *, limits: Limits | None = None, shared: bool | str = False
) -> LaplasClient:
    """A client as ``--base-url`` and ``--model`` say. Raises ``ConfigError``."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        client = LaplasClient(
            base_url=arguments.base_url,
            model=DEFAULT_MODEL if arguments.model is None else arguments.model,
            limits=limits,
            shared=shared,
        )
    for warning in found:  # a key over http://: printed without a line of code
        complain(f"warning: {warning.message}")
    return client
