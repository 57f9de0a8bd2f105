"""What a connection is made from: URL, headers, certificate authorities, sockets.

Everything is checked here before a connection is opened. This module refuses to open one
(``http.transport`` does).
"""

import re
import socket
import ssl
import warnings
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yarl
from multidict import CIMultiDict

from laplas_async.errors import ConfigError

_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2
_NOT_IN_HEADER_VALUE = r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]"  # RFC 9110, section 5.5
# A NAT or firewall that drops a connection sends nothing, so a silent stream would wait for its
# idle timeout. With these values the kernel reports a dead peer after about 90 s (60 s of silence
# and 3 probes 10 s apart): shorter than the default idle timeout of 120 s, and long enough not to
# wake idle connections often. TCP_USER_TIMEOUT (milliseconds) bounds unacknowledged data the same
# way. Fixed by tests/unit/http/test_endpoint.py.
_KEEPALIVE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 120_000,
}


class Secret(str):
    """A string whose repr is masked, so that logs and tracebacks with locals do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def check_headers(headers: Mapping[Any, Any] | None) -> dict[str, str]:
    """Return the caller's headers, validated: string names and values without line breaks.

    Raises ``ConfigError``.
    """
    if not isinstance(headers, Mapping | None):
        raise ConfigError("headers: must be a mapping from names to strings")
    checked: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not re.fullmatch(_HEADER_NAME, name):
            raise ConfigError(f"headers: {name!r} is not a valid header name")
        # Cookies and Authorization headers are secrets too, so no value is ever shown.
        checked[name] = Secret(check_header_value(f"headers[{name!r}]", value))
    return checked


def check_query(query: Mapping[Any, Any] | None) -> dict[str, str] | None:
    """Return a call's additions to the URL, as strings. Raises ``ConfigError``."""
    if query is None:
        return None
    if not isinstance(query, Mapping):
        raise ConfigError("extra_query: must be a mapping of names to values")
    checked: dict[str, str] = {}
    for name, value in query.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float):
            raise ConfigError(f"extra_query: {name!r} must be a name with a string or a number")
        checked[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return checked


def check_header_value(name: str, value: object) -> str:
    """Return a header's value, validated. Raises ``ConfigError``, which names but not shows it."""
    if not isinstance(value, str):
        raise ConfigError(f"{name}: must be a string, not {type(value).__name__}")
    if re.search(_NOT_IN_HEADER_VALUE, value):
        raise ConfigError(f"{name}: contains a line break or a character not allowed in headers")
    return value


def check_url(base_url: object) -> yarl.URL:
    """Return the URL of the chat completions endpoint under a base URL.

    Raises ``ConfigError``. Warns if the key would be sent unencrypted: ``http://`` to a host that
    is not loopback.
    """
    # A URL with a password in it must not appear in the error.
    shown = "base_url" if "@" in str(base_url) else f"base_url={base_url!r}"
    if not isinstance(base_url, str | yarl.URL):
        raise ConfigError(f"{shown}: must be a URL, like https://api.apilaplas.com/v1")
    try:
        url = yarl.URL(str(base_url).rstrip("/"))
        host = url.host or ""
    except ValueError as error:
        raise ConfigError(f"{shown}: {error if shown != 'base_url' else 'not a URL'}") from None
    if url.scheme not in ("http", "https") or not host or re.search(r"\s", host):
        raise ConfigError(f"{shown}: must begin with https:// (or http://) and a host")
    if url.user or url.password or url.query_string or url.fragment:
        raise ConfigError("base_url: must have no user, password, query or fragment")
    if url.path.endswith("/chat/completions"):
        raise ConfigError(f"{shown}: leave out /chat/completions, it is added")
    if url.scheme == "http" and not is_loopback(host):
        warnings.warn(
            f"{shown}: over http:// the API key can be read on the way; use https://", stacklevel=4
        )
    return url / "chat/completions"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def load_ca(path: str | Path) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file and no others.

    Blocks: it reads and parses the file. Raises ``ConfigError``.
    """
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ca_file={str(path)!r}: {error}") from None


def make_socket(address: tuple[int, int, int, str, object]) -> socket.socket:
    """Return a socket with TCP keep-alive, so that a dead peer is detected. aiohttp calls this."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # each platform supports a different subset
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        pass  # a connection without keep-alive is better than none
    return made


def join_headers(*headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Merge headers; names are case-insensitive and the last value wins."""
    joined: CIMultiDict[str] = CIMultiDict()
    for some in headers:
        joined.update(some)
    return joined


def keep_large_blocks() -> None:
    """Make the C library keep blocks of the size that asyncio reads into (256 KiB).

    glibc maps such a block anew for every read, which costs more than everything else done for a
    token, until a block of at least that size has been freed once: this one. No effect elsewhere.
    """
    bytes(512 * 1024)
