"""How the ports import their frameworks: when a port is first used, with a clear error if missing.

It refuses to install anything.
"""

from importlib import import_module
from typing import Any

from laplas_async.errors import ConfigError


def framework(name: str, install: str) -> Any:
    """The module ``name``. Raises ``ConfigError`` with the command that installs it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        missing = f"{error.name} is not installed: pip install '{install}'"
        raise ConfigError(missing) from error
