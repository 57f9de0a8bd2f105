"""Error bodies of every shape seen become the right error, with their message."""

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from laplas_async.wire.error_body import (
    Failure,
    api_error,
    is_failure,
    is_quota,
    read_failure,
    request_id,
)

NOW = 1_700_000_000.0
SERVICE_BODY = {
    "message": "Body validation error!",
    "path": "/v1/chat/completions",
    "requestId": "r-1",
    "statusCode": 400,
    "timestamp": "2025-01-01T00:00:00Z",
}
QUOTA = "Free-tier limit: You've reached your free limit for the hour. Try again later."


def error_of(status: int, body: Any = b"", **headers: str) -> APIError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api_error(status, named, raw, now=NOW)


# --- message, code, status ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (SERVICE_BODY, Failure("Body validation error!", None, 400, "r-1")),
        (SERVICE_BODY | {"statusCode": "400"}, Failure("Body validation error!", None, 400, "r-1")),
        (
            {"error": {"message": "m", "type": "invalid_request_error", "param": None}},
            Failure("m", "invalid_request_error", 400),
        ),
        (
            {"error": {"message": "m", "type": "t", "code": "insufficient_quota"}},
            Failure("m", "insufficient_quota", 429),
        ),
        ({"error": {"message": "m", "code": 429}}, Failure("m", None, 429)),
        ({"error": {"message": "m", "code": "503"}}, Failure("m", None, 503)),
        ({"error": {"message": "m"}, "statusCode": 500}, Failure("m", None, 500)),
        ({"error": "text"}, Failure("text")),
        ({"error": "Bad Request", "message": "n is wrong"}, Failure("n is wrong")),
        ({"error": {}, "message": "m"}, Failure("m")),
        ({"error": None, "message": "m"}, Failure("m")),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            Failure("m", "overloaded_error", 503),
        ),
        ({"detail": "Not Found"}, Failure("Not Found")),
        ({"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, None),
        ({"title": "Bad", "status": 400}, Failure("Bad", None, 400)),
        ({"errors": ["a", "b"]}, Failure("['a', 'b']")),
        ({"message": ["n must be a number"]}, Failure("['n must be a number']")),
        ({"message": "  "}, Failure()),
        ({"request_id": "r"}, Failure(request_id="r")),
        ({"requestId": 5, "status": True, "code": 200}, Failure()),
        ({}, Failure()),
        ([], Failure()),
        (None, Failure()),
        (5, Failure()),
        ("", Failure()),
        ("  plain text ", Failure("plain text")),
    ],
)
def test_message_code_status_and_id_are_found_in_every_shape(
    body: Any, failure: Failure | None
) -> None:
    if failure is None:  # FastAPI's list of errors: all of it is the message
        message = read_failure(body).message or ""
        assert "'n'" in message
        assert "bad" in message
    else:
        assert read_failure(body) == failure


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([{"error": {"message": "m", "code": 400}}], "m"),
        ([[{"error": {"message": "m"}}]], "m"),
        ({"error": json.dumps({"message": "m", "code": 400})}, "m"),
        ({"message": json.dumps({"error": json.dumps({"message": "m"})})}, "m"),
        (f"b'{json.dumps({'error': {'message': 'm'}})}'", "m"),
        ('upstream: {"error": {"message": "m"}}', 'upstream: {"error": {"message": "m"}}'),
        ({"error_type": "t", "error_message": "m"}, "m"),
        ({"errorMessage": "m"}, "m"),
        ({"Message": "m", "__type": "ThrottlingException"}, "m"),
        ({"success": False, "errors": [{"code": 7, "message": "a"}, {"message": "b"}]}, "a; b"),
        ({"errors": {"message": "m"}}, "m"),
        ({"detail": {"error": {"message": "m"}}}, "m"),
        ({"message": "own", "details": [{"description": "other"}]}, "own"),
        ({"fault": {"faultstring": "m", "detail": {"errorcode": "c"}}}, "m"),
        ({"error": {"error": {"message": "m"}}}, "m"),
        ({"error": True, "message": "m"}, "m"),
        (
            {"error": {"message": "Provider error", "metadata": {"raw": '{"message": "m"}'}}},
            "Provider error: m",
        ),
        ({"unknown": {"field": "two words"}}, "two words"),
        ({"detail": [{"loc": ["body"], "msg": "a"}]}, "a (at ['body'])"),
        ("[not JSON", "[not JSON"),
    ],
)
def test_the_message_is_found_wherever_it_is(body: Any, message: str) -> None:
    assert read_failure(body).message == message


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RESOURCE_EXHAUSTED", 429),
        ("rate_limit_exceeded", 429),
        ("UNAVAILABLE", 503),
        ("insufficient_system_resource", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("INVALID_ARGUMENT", 400),
        ("BadRequestError", 400),
        ("invalid_api_key", 401),
        ("permission_denied", 403),
        ("model_not_found", 404),
        ("something_else", None),
    ],
)
def test_a_code_implies_a_status(code: str, status: int | None) -> None:
    assert read_failure({"error": {"message": "m", "code": code}}).status == status
    assert read_failure({"error": {"message": "m", "code": code}, "status": 418}).status == 418


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<html><h1>502 Bad Gateway</h1><hr>nginx</html>", "an HTML page: 502 Bad Gateway nginx"),
        ("<!DOCTYPE html>\n<body>a &amp; b", "an HTML page: a &amp; b"),
        (" <HTML><style>p{x}</style><script>var a;</script>gone", "an HTML page: gone"),
        ("<?xml version='1.0'?><Error><Code>Busy</Code></Error>", "an HTML page: Busy"),
        ("<html></html>", "an HTML page:"),
        ("less < more", "less < more"),
    ],
)
def test_an_html_page_is_quoted_without_its_tags(page: str, text: str) -> None:
    assert read_failure(page).message == text


def test_messages_and_bodies_are_shortened() -> None:
    for body in ({"message": "x" * 10_000}, "y" * 10_000, "<html>" + "z" * 100_000):
        assert len(read_failure(body).message or "") <= 501
    error = error_of(500, b"x" * 60_000)
    assert len(str(error)) < 600
    assert len(error.body) <= 2001


@pytest.mark.parametrize(
    "page", ["<script " * 2500, "<" * 20_000, "<style " * 3000 + "</script>", "<a " * 7000]
)
def test_only_the_beginning_of_a_hostile_page_is_parsed(page: str) -> None:
    # This runs on the event loop, and unclosed tags cost time quadratic in what is parsed.
    assert "the end" not in (read_failure(f"<html>{page}the end").message or "")


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        ({"error": {"message": "m"}}, True),
        ({"error": "m"}, True),
        ({"error": {"message": "m"}, "choices": []}, True),
        (SERVICE_BODY, True),
        ({"type": "error"}, True),
        ({"message": ["m"], "code": 5}, True),
        ({"error": None, "choices": []}, False),
        ({"error": {}, "choices": []}, False),
        ({"error": "", "choices": []}, False),
        ({"choices": [], "message": "m", "status": 1}, False),
        ({"message": "m"}, False),
        ({"error_type": "t", "error_message": "m"}, True),
        ({"object": "error", "message": "m"}, True),
        ({"detail": "Not Found"}, True),
        ({"errors": [{"message": "m"}]}, True),
        ({"success": False}, True),
        ([{"error": {"message": "m"}}], True),
        ([], False),
        ("error", False),
        ({"usage": {}}, False),
        ({"id": "c", "object": "chat.completion.chunk"}, False),
        ({}, False),
    ],
)
def test_an_error_is_distinguished_from_a_completion(body: dict[str, Any], failed: bool) -> None:
    assert is_failure(body) is failed


# --- the class --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "Body validation error!", BadRequestError),
        (413, "", BadRequestError),
        (422, "", BadRequestError),
        (401, "This request requires a valid API key.", AuthenticationError),
        (402, "", OutOfCreditsError),
        (403, "You've run out of credits. Please top up your balance.", OutOfCreditsError),
        (403, "Forbidden", PermissionDeniedError),
        (403, "", PermissionDeniedError),
        (404, "", NotFoundError),
        (408, "", APIError),
        (409, "", APIError),
        (418, "", APIError),
        (429, "Too Many Requests", RateLimitError),
        (429, "", RateLimitError),
        (429, "Rate limit reached: 20 requests per minute", RateLimitError),
        (429, QUOTA, QuotaExceededError),
        (429, "You exceeded your current quota", QuotaExceededError),
        (429, "Tokens per day: limit 100000", QuotaExceededError),
        (500, "Internal server error", ServerError),
        (502, "Bad Gateway", ServerError),
        (503, "Service unavailable", ServerError),
        (504, "Generation timeout", ServerError),
        (599, "", ServerError),
        (302, "", APIError),
        (600, "", APIError),
    ],
)
def test_status_and_message_decide_the_class(
    status: int, message: str, kind: type[APIError]
) -> None:
    error = error_of(status, SERVICE_BODY | {"message": message, "statusCode": status})
    assert type(error) is kind
    assert error.status == status
    assert message in str(error)
    assert str(error).startswith(f"{status}: ")
    assert error.request_id == "r-1"


def test_a_quota_is_also_recognised_by_its_code() -> None:
    error = error_of(429, {"error": {"message": "no", "code": "insufficient_quota"}})
    assert type(error) is QuotaExceededError
    assert error.code == "insufficient_quota"
    assert is_quota(QUOTA)
    assert not is_quota("Too Many Requests")


@pytest.mark.parametrize(
    ("message", "quota"),
    [
        ("free-models-per-day", True),
        ("Limit 100000 tokens per day (TPD). Please try again in 7m12s", True),
        ("monthly_limit_reached", True),
        ("hourly", True),
        ("50 requests every 24 hours", True),
        ("100 requests/day", True),
        ("You exceeded your current quota, please check your plan and billing", True),
        ("You exceeded your current quota. Please retry in 1.2s", False),
        ("free tier: 10 requests per minute", False),
        ("quota of tokens per min exceeded", False),
        ("Too many requests, please wait a day or two", False),
        ("Rate limit: try again in 20s", False),
        ("max 5 concurrent requests", False),
    ],
)
def test_a_long_period_is_a_quota_and_a_short_one_is_not(message: str, *, quota: bool) -> None:
    kind = QuotaExceededError if quota else RateLimitError
    for body in ({"message": message}, {"error": {"message": message}}, [{"error": message}]):
        assert type(error_of(429, body)) is kind
    assert type(error_of(429, message.encode())) is kind


def test_a_quota_named_in_the_details_is_recognised() -> None:
    """Google words every limit alike; only ``quotaId`` tells the minute from the day."""

    def body(period: str) -> Any:
        violation = {"quotaId": f"GenerateRequestsPer{period}PerProject-FreeTier"}
        details = [{"violations": [violation]}, {"@type": "RetryInfo", "retryDelay": "28s"}]
        message = "You exceeded your current quota. Please retry in 28.5s."
        return [{"error": {"code": 429, "message": message, "details": details}}]

    error = error_of(429, body("Minute"))
    assert type(error) is RateLimitError
    assert error.retry_after == 28.5
    assert type(error_of(429, body("Day"))) is QuotaExceededError


def test_the_longest_delay_of_headers_and_body_counts() -> None:
    body = {"message": "retry in 3s"}
    assert error_of(429, body, retry_after="1").retry_after == 3.0
    assert error_of(503, body, retry_after="9").retry_after == 9.0
    assert error_of(503, body).retry_after == 3.0
    assert error_of(400, body).retry_after is None


@pytest.mark.parametrize("status", [498, 499, 520, 521, 525, 529, 530])
def test_a_gateway_s_own_status_is_a_server_error(status: int) -> None:
    assert type(error_of(status)) is ServerError


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "LAPLAS_API_KEY"), (402, "credits"), (404, "LAPLAS_BASE_URL")]
)
def test_an_error_says_what_to_do(status: int, hint: str) -> None:
    assert hint in str(error_of(status))


def test_a_redirect_is_an_error_that_names_the_location() -> None:
    error = error_of(307, location="https://elsewhere/v1")
    assert "'https://elsewhere/v1'" in str(error)
    assert "base_url" in str(error)


def test_an_empty_body_is_an_error_without_explanation() -> None:
    error = error_of(500)
    assert str(error) == "500: the response gives no explanation"
    assert error.body == ""


def test_the_body_is_kept_unchanged() -> None:
    assert error_of(400, SERVICE_BODY).body == SERVICE_BODY
    assert error_of(400, b"plain").body == "plain"
    assert error_of(400, b"{\xff").body == "{\ufffd"


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({"x-request-id": "a", "x-inference-id": "b"}, "a"),
        ({"x-inference-id": "b"}, "b"),
        ({"x-request-id": ""}, None),
        ({}, None),
    ],
)
def test_the_request_id_is_taken_from_the_headers(
    headers: dict[str, str], known: str | None
) -> None:
    assert request_id(headers) == known


def test_a_request_id_in_the_headers_takes_precedence_over_the_body() -> None:
    assert error_of(400, SERVICE_BODY, x_request_id="h").request_id == "h"


# --- the key ----------------------------------------------------------------------------------

KEY = "sk-a/b+c="


def spellings() -> list[Any]:
    plain = f"Incorrect API key provided: {KEY}."
    return [
        pytest.param(plain.encode(), id="plain"),
        pytest.param(json.dumps({"message": plain}).encode(), id="JSON"),
        pytest.param(json.dumps({"error": {"message": plain, "code": KEY}}).encode(), id="code"),
        pytest.param(json.dumps({KEY: KEY, "requestId": KEY}).encode(), id="names"),
        pytest.param(json.dumps({"detail": [{"input": KEY}]}).encode(), id="detail"),
        pytest.param(json.dumps({"message": plain}).replace("/", "\\/").encode(), id="escaped /"),
        pytest.param(
            ('{"message": "' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}').encode(),
            id="escaped all",
        ),
        pytest.param(f"<html>{plain}</html>".encode(), id="page"),
    ]


def shows_the_key(error: APIError) -> bool:
    shown = [str(error), repr(error), repr(error.body), repr(vars(error)), str(vars(error))]
    plain = pickle.loads(pickle.dumps(error))
    shown += [str(plain), str(plain.body), str(plain.request_id)]
    values = [error.body, error.code, error.request_id, error.message]
    return any(KEY in text for text in shown) or any(KEY in text for text in texts(values))


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for text in texts(list(pair))]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("body", spellings())
def test_the_key_is_redacted_from_a_body_however_it_is_escaped(body: bytes) -> None:
    assert not shows_the_key(api_error(401, {}, body, now=NOW, secret=KEY))


def test_a_key_escaped_in_json_inside_a_string_is_redacted() -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)
    body = json.dumps({"error": f'{{"message": "bad key {escaped}"}}'}).encode()
    error = api_error(401, {}, body, now=NOW, secret=KEY)
    assert KEY not in str(error)
    assert "bad key ***" in str(error)


@pytest.mark.parametrize("name", ["location", "x-request-id", "x-inference-id"])
def test_the_key_is_redacted_from_a_header(name: str) -> None:
    assert not shows_the_key(
        api_error(302, {name: f"https://x/?k={KEY}"}, b"", now=NOW, secret=KEY)
    )


# --- arbitrary bodies --------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.integers(100, 999),
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "status", "detail", "type"]), inner
            )
        ),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_every_body_makes_an_error_that_can_be_printed_and_pickled(status: int, raw: bytes) -> None:
    error = api_error(status, {}, raw, now=NOW, secret="key")
    assert str(error).encode()
    assert error.status == status
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)


@pytest.mark.parametrize("depth", [300, 480, 600, 900, 960, 1000, 20_000])
@pytest.mark.parametrize(
    "shape",
    [b"%s", b'{"detail":%s}', b'{"error":%s}', b'{"message":%s}', b'{"a":"\\ud83d","x":%s}'],
)
def test_a_deeply_nested_body_makes_an_error(shape: bytes, depth: int) -> None:
    assert error_of(500, shape % (b"[" * depth + b"]" * depth)).status == 500


LLAMA_CPP_PYTHON = {
    "error": {
        "message": "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', "
        "'response_format', 'type'), 'msg': \"Input should be 'text' or 'json_object'\"}",
        "type": "internal_server_error",
        "param": None,
        "code": None,
    }
}


def test_a_500_for_an_invalid_request_is_a_bad_request() -> None:
    """As llama-cpp-python's server answers: repeating the request would give the same."""
    raw = json.dumps(LLAMA_CPP_PYTHON).encode()
    error = api_error(500, {}, raw, now=0.0)
    assert type(error) is BadRequestError
    assert (error.status, "response_format" in str(error)) == (500, True)
    assert type(api_error(500, {}, b'{"error": "a body was lost"}', now=0.0)) is ServerError
