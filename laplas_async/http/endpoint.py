"""Where requests go, and how to get there: URL, key, headers, proxy, certificates, sockets.

Each is checked here before anything is opened. It refuses to send (``transport`` does).
"""

import re
import socket
import ssl
import urllib.request
import warnings
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yarl

from laplas_async.errors import ConfigError

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2: a header's name
_NOT_IN_VALUE = r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]"  # RFC 9110, 5.5
# A peer that is gone without a word (a NAT that forgot the connection) is noticed after about
# 90 s; the figures are those that peers settled on.
_KEEPALIVE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 120_000,
}


class Secret(str):
    """A text that does not show itself in a repr, so in no log or traceback's locals either."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def check_headers(headers: Mapping[Any, Any] | None) -> dict[str, str]:
    """Headers of the caller's, checked: no line breaks, text only. Raises ``ConfigError``."""
    if not isinstance(headers, Mapping | None):
        raise ConfigError("headers: must be a mapping from names to text")
    checked: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            raise ConfigError(f"headers: {name!r} is not a header's name")
        # What an Authorization or a cookie holds is not shown, here or later.
        checked[name] = Secret(check_header(f"headers[{name!r}]", value))
    return checked


def check_header(name: str, value: object) -> str:
    """The value of a header, checked; it is never shown. Raises ``ConfigError``."""
    if not isinstance(value, str):
        raise ConfigError(f"{name}: must be text, not {type(value).__name__}")
    if re.search(_NOT_IN_VALUE, value):
        raise ConfigError(f"{name}: holds a line break or another character that no header may")
    return value


def check_url(base_url: object) -> yarl.URL:
    """The URL that calls go to, for a base URL. Raises ``ConfigError``.

    Warns where the key would travel in the clear: ``http://`` to anything but loopback.
    """
    # A URL with a password in it is not shown.
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
    if url.scheme == "http" and not _is_loopback(host):
        warnings.warn(
            f"{shown}: over http:// the API key can be read on the way; use https://", stacklevel=4
        )
    return url / "chat/completions"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def environment_proxy(url: yarl.URL) -> str | None:
    """The proxy that the environment names for a URL, None for none. May read files: blocks."""
    if _is_loopback(url.host or "") or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None


def load_ca(path: str | Path) -> ssl.SSLContext:
    """Trust for the authorities in a file, and no others. Blocks. Raises ``ConfigError``."""
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ca_file={str(path)!r}: {error}") from None


def make_socket(address: tuple[int, int, int, str, object]) -> socket.socket:
    """A socket that notices a peer which is gone without a word."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # not every system has every one
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        pass  # a connection without keep-alive is better than none
    return made
