"""Which workers share a limit, and by which way: from a client's settings to a gate.

It refuses to connect: that happens in the event loop of the first call.
"""

import hashlib
import os
from collections.abc import Callable

from laplas_async.errors import ConfigError
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared.gate import Link, SharedGate
from laplas_async.types import DEFAULT_BASE_URL


def group_name(base_url: str, api_key: str, model: str) -> str:
    """The name of those who share: a digest, for the key must appear nowhere."""
    text = "\0".join(("laplas-async", base_url.rstrip("/"), api_key, model))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def make_gate(
    api_key: str | None, base_url: str | None, model: str, limits: Limits | None, url: str | None
) -> SharedGate:
    """See ``Gate.shared``."""
    key = api_key if api_key is not None else os.environ.get("LAPLAS_API_KEY", "")
    if not key:
        raise ConfigError("no API key: set LAPLAS_API_KEY, or pass api_key=")
    default_url = os.environ.get("LAPLAS_BASE_URL") or DEFAULT_BASE_URL
    service = default_url if base_url is None else base_url
    group = group_name(service, key, model)
    connect = _on_this_machine(group) if url is None else _through_redis(url, group)
    return SharedGate(limits, connect)


def _on_this_machine(group: str) -> Callable[[SharedGate], Link]:
    try:
        from laplas_async.pacing.shared import directory, unix  # noqa: PLC0415 - Unix only
    except ImportError:  # no fcntl
        raise ConfigError(
            "shared=True needs Unix sockets, which this platform lacks: use shared='redis://...'"
        ) from None
    place = directory.MeetingPlace(directory.runtime_directory(), group)
    return lambda gate: unix.UnixLink(place, gate)


def _through_redis(url: str, group: str) -> Callable[[SharedGate], Link]:
    from laplas_async.pacing.shared import redis  # noqa: PLC0415 - one of two ways

    redis.make_client(url)  # to refuse what cannot be right before anything runs
    return lambda gate: redis.RedisLink(url, group, gate)
