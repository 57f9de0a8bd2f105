"""openai's exceptions: real classes, with its attributes, made of the core's errors."""

import pickle
from typing import Any

import pytest

from laplas_async import errors as core
from laplas_async import openai
from laplas_async.openai.errors import from_core
from laplas_async.openai.response import Response

BODY = {"error": {"message": "no", "type": "t", "param": "p", "code": "c"}}


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (402, openai.PermissionDeniedError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (413, openai.APIStatusError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (529, openai.InternalServerError),
    ],
)
def test_a_status_is_the_exception_that_it_is_there(status: int, cls: type[Any]) -> None:
    made: Any = from_core(
        core.APIError("x", status=status, body=BODY, headers={"x-request-id": "r"})
    )
    assert type(made) is cls
    assert (made.status_code, made.response.status_code, made.request_id) == (status, status, "r")
    assert made.body == BODY["error"]
    assert (made.message, made.type, made.param, made.code) == (str(made), "t", "p", "c")
    assert str(made) == f"Error code: {status} - {BODY}"
    assert made.response.headers["X-Request-Id"] == "r"
    assert made.response.json() == BODY


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (core.ConnectionFailedError("x"), openai.APIConnectionError),
        (core.RequestTimeoutError("x"), openai.APITimeoutError),
        (core.StreamTimeoutError("x"), openai.APITimeoutError),
        (core.StreamTruncatedError("x"), openai.APIConnectionError),
        (core.StreamProtocolError("x"), openai.APIResponseValidationError),
        (core.StreamAPIError("x", body="text"), openai.APIError),
        (core.APIError("x", status=200), openai.APIResponseValidationError),
        (core.ConfigError("x"), openai.BadRequestError),
    ],
)
def test_other_errors_are_what_programs_catch(error: core.LaplasError, cls: type[Any]) -> None:
    made = from_core(error)
    assert isinstance(made, cls)
    assert isinstance(made, openai.APIError)
    assert isinstance(made, core.LaplasError)
    assert "x" in str(made)


def test_an_error_inside_a_stream_has_the_services_message() -> None:
    made: Any = from_core(core.StreamAPIError("the service reported an error: no", body=BODY))
    assert (str(made), made.code, made.body) == ("no", "c", BODY["error"])


@pytest.mark.parametrize("body", ["<html>", None, [1], {"message": "m", "statusCode": 503}])
def test_bodies_of_other_shapes_are_kept_whole(body: Any) -> None:
    made: Any = from_core(core.ServerError("x", status=503, body=body))
    assert made.body == body
    assert isinstance(made.response.text, str)


def test_exceptions_survive_pickling() -> None:
    error = core.RateLimitError("x", status=429, body=BODY, headers={"retry-after": "2"})
    made: Any = pickle.loads(pickle.dumps(from_core(error)))
    assert (made.status_code, made.code, str(made)) == (429, "c", str(from_core(error)))
    assert made.response.headers["Retry-After"] == "2"
    for other in (core.RequestTimeoutError("x"), core.StreamTruncatedError("y")):
        assert str(pickle.loads(pickle.dumps(from_core(other)))) == str(from_core(other))
    cut = openai.LengthFinishReasonError(completion=None)
    assert str(pickle.loads(pickle.dumps(cut))) == str(cut)


def test_programs_can_make_them_as_there() -> None:
    response = Response(429, {"X-Request-ID": "r"}, BODY)
    made = openai.RateLimitError("slow", response=response, body=BODY["error"])
    assert (made.status_code, made.code, made.request_id) == (429, "c", "r")
    assert str(openai.APIConnectionError(request=None)) == "Connection error."
    assert str(openai.APITimeoutError(None)) == "Request timed out."
    assert issubclass(openai.APITimeoutError, openai.APIConnectionError)
    assert openai.APIError("m", None, body=None).code is None
