"""What is kept of an exchange reads as httpx's; what is not says what to read instead."""

import copy
import pickle

import pytest

from laplas_async.openai.response import URL, Headers, Request, Response


def test_headers_ignore_case_and_list_lower_case_names() -> None:
    headers = Headers({"X-Request-ID": "r", "Retry-After": "2"})
    assert headers["x-request-id"] == headers.get("X-REQUEST-ID") == "r"
    assert dict(headers) == {"x-request-id": "r", "retry-after": "2"}
    assert "retry-after" in headers
    assert headers.get("x") is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://example.org/v1/", ("https", "example.org", None, "/v1/", b"example.org")),
        ("http://127.0.0.1:8000", ("http", "127.0.0.1", 8000, "/", b"127.0.0.1:8000")),
        ("https://example.org:443/a?b=c", ("https", "example.org", None, "/a", b"example.org")),
        ("http://[::1]:80/v1", ("http", "::1", None, "/v1", b"[::1]")),
    ],
)
def test_a_url_has_the_parts_that_httpx_gives_it(text: str, parts: tuple[object, ...]) -> None:
    url = URL(text)
    assert (url.scheme, url.host, url.port, url.path, url.netloc) == parts
    assert url == text
    assert str(url) == text
    assert str(URL("https://example.org/v1/").join("models")) == "https://example.org/v1/models"


def test_a_response_knows_its_kind_and_its_request() -> None:
    request = Request("POST", "https://example.org/v1/chat/completions")
    response = Response(429, {"Retry-After": "2"}, {"error": {"message": "slow"}}, request=request)
    kinds = (response.is_success, response.is_client_error, response.is_server_error)
    assert kinds == (False, True, False)
    assert response.is_error
    assert response.json()["error"]["message"] == "slow"
    assert (response.reason_phrase, Response(599).reason_phrase) == ("Too Many Requests", "")
    assert (response.url.path, response.request.method) == ("/v1/chat/completions", "POST")
    assert Response(200).url == ""


def test_what_is_not_kept_says_what_is() -> None:
    with pytest.raises(AttributeError, match=r"response.iter_lines.*status_code, headers, text"):
        Response(200).iter_lines  # noqa: B018
    with pytest.raises(AttributeError, match=r"request.headers: not kept; method and url are"):
        Request("POST", "https://example.org").headers  # noqa: B018


def test_they_can_be_copied_and_pickled() -> None:
    response = Response(200, {"a": "b"}, request=Request("POST", "https://example.org/"))
    for made in (copy.deepcopy(response), pickle.loads(pickle.dumps(response))):
        assert (made.status_code, made.headers["A"]) == (200, "b")
        assert made.request.url.host == "example.org"
