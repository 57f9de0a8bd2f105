"""Which proxy the environment configures for a URL: ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.

It refuses to bypass a proxy that it cannot use: a program behind one must not connect directly
without anybody noticing.
"""

import fnmatch
import importlib
import re
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import yarl

from laplas_async.errors import ConfigError
from laplas_async.http.endpoint import is_loopback

HTTP_SCHEMES = ("http", "https")
# Name resolution is left to the proxy for all of them, also for those that allow it to be local:
# otherwise the name of the service would still be looked up outside of the proxy.
SOCKS_SCHEMES = {
    "socks": "SOCKS5",
    "socks5": "SOCKS5",
    "socks5h": "SOCKS5",
    "socks4": "SOCKS4",
    "socks4a": "SOCKS4",
}
_SOCKS_PORT = 1080  # registered for it


def environment_proxy(url: yarl.URL) -> yarl.URL | None:
    """Return the proxy that the environment configures for a URL, or None.

    Blocks: some systems keep their proxy settings in files or a registry. Raises ``ConfigError``
    for a proxy of a kind that is not supported; the message does not show its password.
    """
    host = url.host or ""
    if is_loopback(host):
        return None
    proxies = urllib.request.getproxies()
    if bypasses(proxies.get("no", ""), host, url.port or 0):
        return None
    if not urllib.request.getproxies_environment() and urllib.request.proxy_bypass(host):
        return None  # the system's own settings
    configured = (proxies.get(url.scheme) or proxies.get("all") or "").strip()
    if not configured:
        return None
    if "://" not in configured:
        configured = f"http://{configured}"
    scheme = configured.partition("://")[0].lower()
    if scheme not in (*HTTP_SCHEMES, *SOCKS_SCHEMES):
        raise ConfigError(
            f"the environment's proxy has the scheme {scheme}://, which is not supported; set "
            f"{url.scheme.upper()}_PROXY to http://, https:// or socks5://, or NO_PROXY={host}"
        )
    try:
        proxy = yarl.URL(configured)
    except ValueError:
        proxy = None
    if proxy is None or not proxy.host:
        raise ConfigError(
            f"the environment's proxy is not a URL with a host; check {url.scheme.upper()}_PROXY "
            "and ALL_PROXY"
        )
    return proxy


def bypasses(no_proxy: str, host: str, port: int) -> bool:
    """Whether ``NO_PROXY`` exempts a host: by name, address or range, with or without a port.

    Entries are separated by commas or spaces. "example.com", ".example.com" and "*.example.com"
    cover the domain and all below it; "*" covers everything.
    """
    host = host.rstrip(".").lower().strip("[]")
    return any(
        _matches(entry.lower(), host, port) for entry in re.split(r"[,\s]+", no_proxy) if entry
    )


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "://" in entry:  # some write a whole URL
        entry = entry.partition("://")[2].partition("/")[0]
    with_port = re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d+)", entry)
    if with_port is not None:
        entry = with_port[1]
        if int(with_port[2]) != port:
            return False
    entry = entry.strip("[]")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass  # one of them is a name
    domain = entry.removeprefix("*").strip(".")
    if "*" in domain:  # "192.168.*"
        return fnmatch.fnmatchcase(host, entry)
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def load_socks() -> Any:
    """Import ``aiohttp_socks``, the extra ``socks``. Raises ``ConfigError`` if it is missing."""
    try:
        return importlib.import_module("aiohttp_socks")
    except ImportError:
        raise ConfigError(
            "the environment configures a SOCKS proxy: pip install 'laplas-async[socks]' "
            "(or set NO_PROXY to connect without it)"
        ) from None


def socks_connector(module: Any, proxy: yarl.URL, options: Mapping[str, Any]) -> Any:
    """Return an aiohttp connector that connects through a SOCKS proxy."""
    return module.ProxyConnector(
        proxy_type=getattr(module.ProxyType, SOCKS_SCHEMES[proxy.scheme]),
        host=proxy.host,
        port=proxy.port or _SOCKS_PORT,
        username=proxy.user,
        password=proxy.password,
        rdns=True,  # see SOCKS_SCHEMES
        **options,
    )


def proxy_errors(module: Any) -> tuple[type[Exception], ...]:
    """Return the errors of ``aiohttp_socks`` that aiohttp does not know; none without it."""
    return () if module is None else (module.ProxyError,)


def is_proxy_error(error: BaseException) -> bool:
    """Whether ``aiohttp_socks`` raised an error, that is, before a request was sent."""
    return type(error).__module__.partition(".")[0] in ("aiohttp_socks", "python_socks")
