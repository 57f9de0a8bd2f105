"""What a connection is made from: headers, URL, key, proxy, socket; nothing is opened."""

import logging
import socket
import traceback
import warnings
from typing import Any

import pytest
import yarl
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.errors import ConfigError
from laplas_async.http.endpoint import (
    Secret,
    check_headers,
    check_url,
    make_socket,
)

# --- headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-A", "x_a", "!#$%&'*+.^_`|~0aZ-"])
@pytest.mark.parametrize("value", ["", "a b", "\ta", "é", "\xa0", "x" * 10_000])
def test_a_valid_header_is_returned_unchanged(name: str, value: str) -> None:
    assert check_headers({name: value}) == {name: value}


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", "é", "a\n", "\r\na", "(a)", "a\x00", 5, None, b"a"]
)
def test_an_invalid_header_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="headers"):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    "value",
    ["a\nb", "a\rb", "a\r\nX: y", "a\x00", "\x7f", "\x1b", "€", "\ud83d", 5, None, b"a", ["a"]],
)
def test_an_invalid_header_value_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"headers\['X-A'\]") as caught:
        check_headers({"X-A": value})
    assert "X: y" not in str(caught.value)


@pytest.mark.parametrize("headers", [[("a", "b")], "a: b", 5, {"a"}])
def test_headers_must_be_a_mapping(headers: Any) -> None:
    with pytest.raises(ConfigError, match=r"^headers"):
        check_headers(headers)


def test_no_headers_are_an_empty_mapping() -> None:
    assert check_headers(None) == check_headers({}) == {}


def test_a_header_value_does_not_show_in_a_repr() -> None:
    assert "tok" not in repr(check_headers({"Cookie": "tok"}))


# --- the key ----------------------------------------------------------------------------------


def test_a_secret_equals_its_text_and_does_not_show_in_a_repr() -> None:
    secret = Secret("sk-1")
    assert secret == "sk-1"
    assert isinstance(secret, str)
    assert f"Bearer {secret}" == "Bearer sk-1"
    shown = [repr(secret), f"{secret!r}", "%r" % secret, repr({"key": [secret]}), ascii(secret)]  # noqa: UP031
    assert not any("sk-1" in text for text in shown)


def test_a_secret_among_the_locals_of_a_traceback_does_not_show() -> None:
    def fail(key: str) -> None:
        raise RuntimeError("no")

    try:
        fail(Secret("sk-1"))
    except RuntimeError as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        assert "key = '***'" in "".join(lines)


def test_a_secret_in_log_arguments_does_not_show(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").warning("headers %s", {"Authorization": Secret("sk-1")})
    assert "sk-1" not in caplog.text


# --- the URL ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.apilaplas.com/v1", "https://api.apilaplas.com/v1/chat/completions"),
        ("https://api.apilaplas.com/v1/", "https://api.apilaplas.com/v1/chat/completions"),
        ("https://h", "https://h/chat/completions"),
        ("https://h///", "https://h/chat/completions"),
        ("HTTPS://H/V1", "https://h/V1/chat/completions"),
        ("https://h:8443/a%2Fb", "https://h:8443/a%2Fb/chat/completions"),
        ("https://[::1]:8/v1", "https://[::1]:8/v1/chat/completions"),
        ("http://localhost:8/v1", "http://localhost:8/v1/chat/completions"),
        ("http://a.localhost", "http://a.localhost/chat/completions"),
        ("http://127.0.0.2", "http://127.0.0.2/chat/completions"),
        ("http://[::1]", "http://[::1]/chat/completions"),
        (yarl.URL("https://h/v1"), "https://h/v1/chat/completions"),
    ],
)
def test_the_endpoint_is_under_the_base_url(base_url: Any, url: str) -> None:
    assert str(check_url(base_url)) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "h", "//h", "/v1", "https://", "https:///v1", "ftp://h", "wss://h", "file:///etc"),
        *("https://h:x", "https://h:99999", "https://[::1", "https://xn--", "https://\ud800"),
        *("https://user@h", "https://u:p@h", "https://:p@h", "https://h?a=1", "https://h#a"),
        *("https://h/v1/chat/completions", "https://h/v1/chat/completions/"),
        *("https://ho st/v1", "https://h\\x", None, 5, b"https://h", ["https://h"]),
    ],
)
def test_an_invalid_url_is_refused(url: Any) -> None:
    with pytest.raises(ConfigError, match=r"^base_url"):
        check_url(url)


@pytest.mark.parametrize("url", ["https://u:hush@h", "ftp://u:hush@h", "https://u:hush@h:x"])
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://h", "http://10.0.0.1", "http://localhost.evil.com", "http://127.0.0.1.evil.com"]
)
def test_http_to_another_host_warns(url: str) -> None:
    with pytest.warns(UserWarning, match="can be read on the way"):
        check_url(url)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(exclude_categories=[]), max_size=8),
    st.sampled_from(
        ["", "https://", "http://", "https://h/", "https://h:", "https://[", "https://x@"]
    ),
)
def test_any_text_is_either_a_url_or_refused(text: str, before: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            url = check_url(before + text)
        except ConfigError:
            return
    assert url.scheme in ("http", "https")
    assert url.path.endswith("/chat/completions")


# --- the socket -------------------------------------------------------------------------------


def test_a_dead_peer_is_detected() -> None:
    with make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", None)) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, most in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 5)):
            if hasattr(socket, name):
                assert 0 < made.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) <= most


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets here")
def test_a_socket_without_keep_alive_is_better_than_none() -> None:
    with make_socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", None)) as made:
        assert made.family == socket.AF_UNIX
