"""Which workers share a limit, and by which way: from a client's settings to a gate.

It refuses to connect: that happens in the event loop of the first call.
"""

import os
from collections.abc import Callable

from laplas_async.errors import ConfigError
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared.gate import Link, SharedGate
from laplas_async.types import DEFAULT_BASE_URL


def make_gate(
    api_key: str | None, base_url: str | None, model: str, limits: Limits | None, url: str | None
) -> SharedGate:
    """See ``Gate.shared``."""
    key = api_key if api_key is not None else os.environ.get("LAPLAS_API_KEY", "")
    if not key:
        raise ConfigError("no API key: set LAPLAS_API_KEY, or pass api_key=")
    default_url = os.environ.get("LAPLAS_BASE_URL") or DEFAULT_BASE_URL
    service = default_url if base_url is None else base_url
    if url is not None:
        raise ConfigError(f"shared={url!r}: must be True, for the processes of this machine")
    return SharedGate(limits, _on_this_machine(service, key, model))


def _on_this_machine(service: str, key: str, model: str) -> Callable[[SharedGate], Link]:
    try:
        from laplas_async.pacing.shared import directory, unix  # noqa: PLC0415 - Unix only
    except ImportError:  # no fcntl
        raise ConfigError(
            "shared=True needs Unix sockets, which this platform lacks: use shared='redis://...'"
        ) from None
    group = directory.group_name(service, key, model)
    place = directory.MeetingPlace(directory.runtime_directory(), group)
    return lambda gate: unix.UnixLink(place, gate)
