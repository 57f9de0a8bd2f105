"""Which proxy the environment configures, and what NO_PROXY exempts."""

import sys
from typing import Any

import pytest
import yarl
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.errors import ConfigError
from laplas_async.http.proxy import bypasses, environment_proxy, load_socks


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://h/v1", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://h/v1", "http://p:3128"),
        ({"https_proxy": "http://p:3128"}, "https://h/v1", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://h/v1", None),
        ({"HTTP_PROXY": "http://p:3128"}, "http://h/v1", "http://p:3128"),
        ({"ALL_PROXY": "http://p:3128"}, "https://h/v1", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p", "ALL_PROXY": "socks5://q"}, "https://h/v1", "http://p"),
        ({"HTTPS_PROXY": "p:3128"}, "https://h/v1", "http://p:3128"),
        ({"HTTPS_PROXY": "https://p"}, "https://h/v1", "https://p"),
        ({"HTTPS_PROXY": "http://u:w@p:1"}, "https://h/v1", "http://u:w@p:1"),
        ({"HTTPS_PROXY": "socks5://p"}, "https://h/v1", "socks5://p"),
        ({"ALL_PROXY": "socks5h://u:w@p:1080"}, "https://h/v1", "socks5h://u:w@p:1080"),
        ({"ALL_PROXY": "socks4://p"}, "http://localhost:1/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://127.0.0.1:1/v1", None),
        ({"HTTPS_PROXY": ""}, "https://h/v1", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "h"}, "https://h/v1", None),
        ({"ALL_PROXY": "socks5://p", "NO_PROXY": ".h"}, "https://a.h/v1", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "other"}, "https://h/v1", "http://p"),
        ({"ALL_PROXY": "ftp://p", "NO_PROXY": "h"}, "https://h/v1", None),
    ],
)
def test_the_proxy_is_the_one_the_environment_configures(
    environment: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    found = environment_proxy(yarl.URL(url))
    assert found == (None if proxy is None else yarl.URL(proxy))


@pytest.mark.parametrize(
    "proxy", ["ftp://p", "wss://p", "http://", "http://p:x", "socks5://", "socks5://p:x"]
)
def test_an_unusable_proxy_is_an_error_and_not_bypassed(
    environment: pytest.MonkeyPatch, proxy: str
) -> None:
    environment.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match=r"environment's proxy"):
        environment_proxy(yarl.URL("https://h/v1"))


def test_the_password_of_an_unusable_proxy_is_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", "ftp://user:hush@p")
    with pytest.raises(ConfigError) as caught:
        environment_proxy(yarl.URL("https://h/v1"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "exempt"),
    [
        ("", "h", 443, False),
        ("*", "h", 443, True),
        ("h", "h", 443, True),
        ("H", "h", 443, True),
        ("h", "a.h", 443, True),
        ("h", "ah", 443, False),
        (".h", "h", 443, True),
        (".h", "a.h", 443, True),
        ("*.h", "a.h", 443, True),
        ("h.", "h", 443, True),
        ("other, h", "h", 443, True),
        ("other h", "h", 443, True),
        ("h:8443", "h", 8443, True),
        ("h:8443", "h", 443, False),
        (".h:8443", "a.h", 8443, True),
        ("https://h:443", "h", 443, True),
        ("http://h/", "h", 443, True),
        ("192.168.*", "192.168.1.1", 443, True),
        ("192.168.*", "192.169.1.1", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3/8", "10.9.9.9", 443, True),
        ("10.0.0.1", "10.0.0.1", 443, True),
        ("10.0.0.1:80", "10.0.0.1", 443, False),
        ("10.0.0.0/8", "h", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("[fd00::1]", "fd00::1", 443, True),
        ("[fd00::1]:443", "[fd00::1]", 443, True),
        ("fd00::1", "fd00::2", 443, False),
        (".", "h", 443, False),
        (",,", "h", 443, False),
    ],
)
def test_no_proxy_exempts_names_domains_addresses_and_ranges(
    no_proxy: str, host: str, port: int, *, exempt: bool
) -> None:
    assert bypasses(no_proxy, host, port) is exempt


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=10), st.integers(0, 65535))
def test_every_no_proxy_exempts_or_not(no_proxy: str, host: str, port: int) -> None:
    assert bypasses(no_proxy, host, port) in (True, False)


def test_a_missing_extra_is_a_one_line_error_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing: dict[str, Any] = {"aiohttp_socks": None}
    monkeypatch.setitem(sys.modules, "aiohttp_socks", missing["aiohttp_socks"])
    with pytest.raises(ConfigError, match=r"pip install 'laplas-async\[socks\]'") as caught:
        load_socks()
    assert "\n" not in str(caught.value)
