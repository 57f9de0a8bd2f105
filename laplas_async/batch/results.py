"""The lines of the output: a result as OpenAI's Batch API writes it, and ours under ``laplas``.

There, an answer of the service, be it an error, is a ``response`` with ``error`` null; where none
came, ``response`` is null and ``error`` has a code and words. Pure. It refuses to know files.
"""

import re
from typing import Any

from attrs import frozen

from laplas_async.batch import jsonl
from laplas_async.batch.rows import BadRow, Row
from laplas_async.errors import APIError, ConfigError, LaplasError
from laplas_async.types import Attempt, ChatCompletion
from laplas_async.wire.codec import to_dict

# So begins each line; what begins otherwise is not ours to cut.
OPENING = b'{"id":"batch_req_'
_PREFIX = "batch_req_"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LONGEST_WORDS = 300


@frozen
class Known:
    """What a line of the output says of its row; ``asked`` is a digest."""

    key: bytes
    asked: bytes
    answered: bool


def answer_line(
    row: Row, completion: ChatCompletion, *, latency: float, first_token: float | None = None
) -> bytes:
    """The line of a row that was answered; seconds."""
    attempts = completion.attempts
    ours = _ours(row, attempts)
    ours["latency"] = round(latency, 4)
    if first_token is not None:
        ours["first_token"] = round(first_token, 4)
    if (cost := completion.cost) is not None:
        if cost.usd_spent is not None:
            ours["usd"] = cost.usd_spent
        if cost.credits_used is not None:
            ours["credits"] = cost.credits_used
    response = {
        "status_code": (attempts[-1].status if attempts else None) or 200,
        "request_id": completion.request_id,
        "body": to_dict(completion),
    }
    return _line(row, response, None, ours)


def failure_line(row: Row, error: LaplasError) -> bytes:
    """The line of a row that failed for good."""
    ours = _ours(row, error.attempts)
    if isinstance(error, APIError) and error.status and not 200 <= error.status < 300:
        response = {
            "status_code": error.status,
            "request_id": error.request_id,
            "body": _error_body(error),
        }
        return _line(row, response, None, ours)
    told = {"code": code_of(error), "message": error.message[:_LONGEST_WORDS]}
    return _line(row, None, told, ours)


def bad_line(row: BadRow) -> bytes:
    """The line of a row that could not be asked."""
    told = {"code": row.code, "message": f"line {row.line}: {row.message}"[:_LONGEST_WORDS]}
    return _line(row, None, told, {"line": row.line, "asked": row.asked.hex(), "attempts": 0})


def read_line(line: bytes) -> Known:
    """What a line says of its row. Raises ``ValueError`` if it is none of ours."""
    value = jsonl.read(line)
    try:
        name, asked = value["id"], bytes.fromhex(value["laplas"]["asked"])
        key = bytes.fromhex(name.removeprefix(_PREFIX))
        response, error = value["response"], value["error"]
        answered = error is None and 200 <= response["status_code"] < 300
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError("is no result of a batch of ours") from None
    if not (name.startswith(_PREFIX) and len(key) == len(asked) == 16):
        raise ValueError("is no result of a batch of ours")
    return Known(key, asked, answered)


def code_of(error: LaplasError) -> str:
    """An error's name as OpenAI spells its codes: ``request_timeout``."""
    if isinstance(error, ConfigError):
        return "invalid_request"
    return _HUMP.sub("_", type(error).__name__.removesuffix("Error")).lower()


def _line(row: Row | BadRow, response: Any, error: Any, ours: dict[str, Any]) -> bytes:
    return jsonl.write(
        {
            "id": _PREFIX + row.key.hex(),
            "custom_id": row.custom_id,
            "response": response,
            "error": error,
            "laplas": ours,
        }
    )


def _ours(row: Row, attempts: tuple[Attempt, ...]) -> dict[str, Any]:
    ours: dict[str, Any] = {
        "line": row.line,
        "asked": row.asked.hex(),
        "attempts": len(attempts),
        "waited": round(sum(attempt.waited for attempt in attempts), 4),
    }
    if len(attempts) > 1:
        ours["tries"] = [_try(attempt) for attempt in attempts]
    if row.maybe_twice:
        ours["maybe_twice"] = True
    return ours


def _try(attempt: Attempt) -> dict[str, Any]:
    told: dict[str, Any] = {"status": attempt.status, "waited": round(attempt.waited, 4)}
    if attempt.error is not None:
        told["error"] = attempt.error[:_LONGEST_WORDS]
    if attempt.may_be_billed:
        told["may_be_billed"] = True
    return told


def _error_body(error: APIError) -> dict[str, Any]:
    """What the service sent; its words are also where OpenAI's readers look for them."""
    body = error.body if isinstance(error.body, dict) else {}
    if "error" in body:
        return body
    told = {"message": error.message, "type": code_of(error), "param": None, "code": error.code}
    return body | {"error": told}
