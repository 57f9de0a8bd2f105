"""The lines of the output: OpenAI's shape, nothing of the answer lost, and read back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.batch import jsonl
from laplas_async.batch.results import (
    OPENING,
    RowCost,
    bad_line,
    code_of,
    completion_line,
    failure_line,
    read_line,
)
from laplas_async.batch.rows import BadRow, RequestDefaults, Row
from laplas_async.errors import (
    APIError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    RequestTimeoutError,
    ServerError,
    StreamTruncatedError,
)
from laplas_async.types import Attempt
from laplas_async.wire.codec import decode_completion

BODY = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "é\u2028\U0001f600", "mood": "good"},
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached": 1},
    "meta": {"usage": {"credits_used": 77, "usd_spent": 0.5}},
}
ONCE = (Attempt(1.0, 0.25, 201, "r-1"),)


def row(custom_id: str = "a") -> Row:
    made = RequestDefaults("m").read(
        7, json.dumps({"custom_id": custom_id, "prompt": "x"}).encode()
    )
    assert isinstance(made, Row)
    made.key = jsonl.digest(custom_id.encode())
    return made


def answered(**ours: Any) -> dict[str, Any]:
    completion = decode_completion(json.dumps(BODY).encode())
    completion.attempts, completion.request_id = ours.pop("attempts", ONCE), "r-1"
    line = completion_line(row(), completion, latency=0.5, **ours)
    assert line.startswith(OPENING)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert read_line(line).completed
    value: dict[str, Any] = json.loads(line)
    return value


def test_an_answer() -> None:
    line = answered(first_token=0.125)
    assert line["custom_id"] == "a"
    assert line["error"] is None
    assert line["response"] == {"status_code": 201, "request_id": "r-1", "body": BODY}
    assert line["laplas"] == {
        "line": 7,
        "asked": row().asked.hex(),
        "attempts": 1,
        "waited": 0.25,
        "started": 1.0,
        "latency": 0.5,
        "first_token": 0.125,
        "usd": 0.5,
        "credits": 77,
    }


def test_a_cost_says_where_it_is_known_from_unless_the_service_reported_it() -> None:
    reported = answered(spent=RowCost(0.5, "reported"))["laplas"]
    assert (reported["usd"], "usd_source" in reported) == (0.5, False)
    priced = answered(spent=RowCost(0.25, "price", 0.125))["laplas"]
    assert (priced["usd"], priced["usd_source"], priced["usd_may_be_billed"]) == (
        0.25,
        "price",
        0.125,
    )
    assert "usd" not in answered(spent=RowCost())["laplas"]


def test_a_line_is_read_back_with_what_it_cost() -> None:
    error = ConnectionFailedError("gone")
    assert read_line(failure_line(row(), error, spent=RowCost(None, None, 0.125))).usd == 0.125
    assert read_line(failure_line(row(), error)).usd == 0.0


@pytest.mark.parametrize("usd", [-1, "5", None, True])
def test_a_strange_cost_in_a_line_counts_nothing(usd: Any) -> None:
    line = json.loads(failure_line(row(), ConnectionFailedError("gone")))
    line["laplas"]["usd"] = usd
    assert read_line(jsonl.write(line)).usd == 0.0


def test_attempts_are_listed_if_there_were_several() -> None:
    failed = Attempt(0.5, 0.25, 503, error="ServerError: " + "x" * 999, may_be_billed=True)
    ours = answered(attempts=(failed, *ONCE))["laplas"]
    assert (ours["attempts"], ours["waited"]) == (2, 0.5)
    assert [one["status"] for one in ours["tries"]] == [503, 201]
    assert ours["tries"][0]["may_be_billed"]
    assert len(ours["tries"][0]["error"]) == 300


def test_what_was_possibly_duplicated_is_marked() -> None:
    marked = row()
    marked.possibly_duplicated = True
    line = json.loads(failure_line(marked, ConnectionFailedError("gone")))
    assert line["laplas"]["possibly_duplicated"] is True
    assert "possibly_duplicated" not in answered()["laplas"]


def test_an_error_response() -> None:
    # As OpenAI writes it: response with the status and the error's body, error null.
    body = {"message": "Body validation error!", "statusCode": 400, "path": "/x"}
    error = BadRequestError("400: no", status=400, code="c", request_id="r", body=body)
    error.attempts = (Attempt(1.0, status=400),)
    line = json.loads(failure_line(row(), error))
    assert line["error"] is None
    assert line["response"]["status_code"] == 400
    assert line["response"]["request_id"] == "r"
    described = {"message": "400: no", "type": "bad_request", "param": None, "code": "c"}
    assert line["response"]["body"] == {**body, "error": described}

    own = {"error": {"message": "m", "type": "t", "param": None, "code": None}}
    line = json.loads(failure_line(row(), ServerError("500", status=500, body=own)))
    assert line["response"]["body"] == own
    line = json.loads(failure_line(row(), ServerError("502", status=502, body="<html>")))
    assert line["response"]["body"]["error"]["message"] == "502"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestTimeoutError("late"), "request_timeout"),
        (ConnectionFailedError("gone"), "connection_failed"),
        (StreamTruncatedError("cut"), "stream_truncated"),
        (ConfigError("no"), "invalid_request"),
        (APIError("too large", status=200), "api"),  # an answer came, and was no use
    ],
)
def test_an_error_without_an_answer(error: LaplasError, code: str) -> None:
    data = failure_line(row(), error)
    line = json.loads(data)
    assert code_of(error) == code
    assert line["response"] is None
    assert line["error"] == {"code": code, "message": error.message}
    assert not read_line(data).completed


def test_a_bad_row() -> None:
    bad = RequestDefaults("m").read(7, b"{")
    assert isinstance(bad, BadRow)
    bad.custom_id, bad.key = "line-1", bytes(16)
    line = json.loads(bad_line(bad))
    assert line["response"] is None
    assert line["error"]["code"] == "invalid_json"
    assert line["error"]["message"].startswith("line 7: is not JSON")
    assert line["laplas"] == {"line": 7, "asked": bad.asked.hex(), "attempts": 0}
    assert not read_line(bad_line(bad)).completed


def test_numbers_that_are_odd_are_still_a_line() -> None:
    completion = decode_completion(json.dumps(BODY | {"seed": 2**80}).encode())
    completion.extra |= {"huge": 2**80, "nan": float("nan"), "half": "\ud83d!"}
    line = completion_line(row(), completion, latency=0.0)
    assert read_line(line).completed
    body = json.loads(line)["response"]["body"]
    assert (body["huge"], body["nan"], body["half"]) == (2**80, None, "\ufffd!")


def test_what_it_reads_back() -> None:
    made = row()
    known = read_line(failure_line(made, ConnectionFailedError("gone")))
    assert (known.key, known.asked, known.completed) == (made.key, made.asked, False)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "batch_req_12"},
        {"id": "req_" + "0" * 32},
        {"id": 3},
        {"laplas": None},
        {"laplas": {"asked": "zz"}},
        {"response": {"status_code": "200"}},
    ],
)
def test_other_lines_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not a laplas result line"):
        read_line(json.dumps(answered() | change).encode())


@given(st.binary(max_size=40) | st.sampled_from([b"[]", b"{}", b"3", b'{"id": 3}']))
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the JSON reader says
        read_line(line)
