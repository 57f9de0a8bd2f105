"""Every form of an error body contains the message, and JSON forms are JSON."""

from typing import Any, get_args

import orjson
import pytest

from laplas_async.simulator import error_body
from laplas_async.simulator.error_bodies import ErrorContext, ErrorForm


@pytest.mark.parametrize("form", [form for form in get_args(ErrorForm) if form != "empty"])
def test_every_form_contains_the_message(form: Any) -> None:
    body = error_body(form, status=429, message="Slow down, please")
    assert "Slow down, please" in (body if isinstance(body, str) else orjson.dumps(body).decode())


def test_forms() -> None:
    assert error_body("empty") == ""
    assert error_body("error_text", status=404) == {"error": "Request failed with status 404"}
    assert error_body("list", message="m")[0]["error"]["message"] == "m"
    inner = error_body("nested", status=400, message="m")["error"]["message"]
    assert orjson.loads(inner)["error"]["code"] == 400
    details = error_body("retry_info", status=429, retry_after=1.5)["error"]["details"]
    assert details[0]["retryDelay"] == "1.5s"


def test_an_unknown_form_is_an_error_that_lists_the_known() -> None:
    unknown: Any = "yaml"
    with pytest.raises(ValueError, match="'yaml' is not a known form; known are: openai"):
        error_body(unknown)


def test_the_own_body_of_the_service() -> None:
    context = ErrorContext(path="/p", request_id="r", timestamp="t")
    assert context.body(401)["message"] == "This request requires a valid API key."
    assert context.body(599)["message"] == "Internal server error"
    assert context.body(400, errors=[1])["errors"] == [1]
