"""What the ports share: importing a framework when it is first used, and failures of the network.

It refuses to install anything, and to know a platform.
"""

from importlib import import_module
from typing import Any

from laplas_async.bots.port import PortError, SlowDown, Uncertain
from laplas_async.errors import ConfigError

# Seconds after which a request is repeated that certainly did not reach the platform.
_UNREACHABLE = 2.0
# Errors of aiohttp and httpx, by name: both are imported by frameworks only.
_NOT_SENT = frozenset(
    (
        *("ClientConnectorError", "ConnectionTimeoutError"),
        *("ConnectError", "ConnectTimeout", "PoolTimeout"),
    )
)


def framework(name: str, install: str) -> Any:
    """The module ``name``. Raises ``ConfigError`` with the command that installs it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        missing = f"{error.name} is not installed: pip install '{install}'"
        raise ConfigError(missing) from error


def network_failure(platform: str, error: BaseException) -> PortError:
    """What a failed request means: one that was certainly not sent may be sent again."""
    cause: BaseException | None = error
    while cause is not None:
        if _NOT_SENT.intersection(kind.__name__ for kind in type(cause).__mro__):
            return SlowDown(_UNREACHABLE, message=f"{platform} cannot be reached: {error!r}")
        cause = cause.__cause__ or cause.__context__
    return Uncertain(f"{platform} did not respond: {error!r}")
