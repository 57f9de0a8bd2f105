"""The lines of the output: results as OpenAI's Batch API writes them, with more under ``laplas``.

A response of the service, an error too, is a ``response`` with ``error`` null; without a response,
``response`` is null and ``error`` has a code and a message. Pure. It refuses to know files.
"""

import math
import re
from typing import Any

from attrs import frozen

from laplas_async.batch import jsonl
from laplas_async.batch.rows import BadRow, Row
from laplas_async.errors import APIError, ConfigError, LaplasError
from laplas_async.pacing.price import CostSource
from laplas_async.types import Attempt, ChatCompletion
from laplas_async.wire.codec import to_dict

# Each line begins like this; the journal never truncates a line that begins otherwise.
OPENING = b'{"id":"batch_req_'
_PREFIX = "batch_req_"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MAX_MESSAGE = 300  # characters of an error message: enough to act on, and a line stays short


@frozen
class Known:
    """What a line of the output says about its row; ``asked`` is a digest of the request.

    ``usd``: what the row cost or may have cost, as far as the line says.
    """

    key: bytes
    asked: bytes
    completed: bool
    usd: float = 0.0


@frozen
class RowCost:
    """What a row cost, in US dollars.

    ``usd``: its completion, as known from ``source``; None: unknown. ``may_be_billed``: the most
    that its failed attempts can have cost, as far as the price is known.
    """

    usd: float | None = None
    source: CostSource | None = None
    may_be_billed: float = 0.0

    @property
    def total(self) -> float:
        """All that counts against a cap."""
        return (self.usd or 0.0) + self.may_be_billed


@frozen
class LearnedLimit:
    """The limit at one moment: requests per second (None: none is known), and at once."""

    rate: float | None
    concurrency: int


def completion_line(
    row: Row,
    completion: ChatCompletion,
    *,
    latency: float,
    first_token: float | None = None,
    limit: LearnedLimit | None = None,
    spent: RowCost | None = None,
) -> bytes:
    """The line of a row that has a completion. ``latency`` and ``first_token`` are seconds.

    ``limit``: the learned limit, if it has changed since the last line that has one. ``spent``:
    what it cost; None takes what the service reported.
    """
    attempts = completion.attempts
    extension = _extension(row, attempts, latency, limit)
    if first_token is not None:
        extension["first_token"] = round(first_token, 4)
    if (cost := completion.cost) is not None:
        if cost.usd_spent is not None and spent is None:
            extension["usd"] = cost.usd_spent
        if cost.credits_used is not None:
            extension["credits"] = cost.credits_used
    if spent is not None:
        _add_cost(extension, spent)
    response = {
        "status_code": (attempts[-1].status if attempts else None) or 200,
        "request_id": completion.request_id,
        "body": to_dict(completion),
    }
    return _line(row, response, None, extension)


def failure_line(
    row: Row,
    error: LaplasError,
    *,
    latency: float = 0.0,
    limit: LearnedLimit | None = None,
    spent: RowCost | None = None,
) -> bytes:
    """The line of a row that failed for good; the arguments are those of ``completion_line``."""
    extension = _extension(row, error.attempts, latency, limit)
    extension["failure"] = type(error).__name__
    if spent is not None:
        _add_cost(extension, spent)
    if isinstance(error, APIError) and error.status and not 200 <= error.status < 300:
        response = {
            "status_code": error.status,
            "request_id": error.request_id,
            "body": _error_body(error),
        }
        return _line(row, response, None, extension)
    described = {"code": code_of(error), "message": error.message[:_MAX_MESSAGE]}
    return _line(row, None, described, extension)


def bad_line(row: BadRow) -> bytes:
    """The line of a row that could not be sent."""
    described = {"code": row.code, "message": f"line {row.line}: {row.message}"[:_MAX_MESSAGE]}
    return _line(row, None, described, {"line": row.line, "asked": row.asked.hex(), "attempts": 0})


def read_line(line: bytes) -> Known:
    """What a line says about its row. Raises ``ValueError`` if it is not a result line."""
    return known_from(jsonl.read(line))


def known_from(value: Any) -> Known:
    """As ``read_line``, of a line that is parsed already."""
    try:
        name, asked = value["id"], bytes.fromhex(value["laplas"]["asked"])
        key = bytes.fromhex(name.removeprefix(_PREFIX))
        response, error = value["response"], value["error"]
        completed = error is None and 200 <= response["status_code"] < 300
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError("is not a laplas result line") from None
    if not (name.startswith(_PREFIX) and len(key) == len(asked) == 16):
        raise ValueError("is not a laplas result line")
    amounts = (value["laplas"].get(name) for name in ("usd", "usd_may_be_billed"))
    usd = sum(n for n in amounts if type(n) in (int, float) and 0 <= n < math.inf)
    return Known(key, asked, completed, usd)


def code_of(error: LaplasError) -> str:
    """An error's name in the style of OpenAI's codes: ``request_timeout``."""
    if isinstance(error, ConfigError):
        return "invalid_request"
    return _HUMP.sub("_", type(error).__name__.removesuffix("Error")).lower()


def _line(row: Row | BadRow, response: Any, error: Any, extension: dict[str, Any]) -> bytes:
    return jsonl.write(
        {
            "id": _PREFIX + row.key.hex(),
            "custom_id": row.custom_id,
            "response": response,
            "error": error,
            "laplas": extension,
        }
    )


def _extension(
    row: Row, attempts: tuple[Attempt, ...], latency: float, limit: LearnedLimit | None
) -> dict[str, Any]:
    extension: dict[str, Any] = {
        "line": row.line,
        "asked": row.asked.hex(),
        "attempts": len(attempts),
        "waited": round(sum(attempt.waited for attempt in attempts), 4),
    }
    if attempts:  # wall-clock seconds since 1970, of the last one, to which the latency belongs
        extension["started"] = round(attempts[-1].started, 3)
        extension["latency"] = round(latency, 4)
    if (billed := sum(attempt.may_be_billed for attempt in attempts)) > 0:
        extension["may_be_billed"] = billed
    if limit is not None:
        extension["limit"] = {"rate": limit.rate, "concurrency": limit.concurrency}
    if len(attempts) > 1:
        extension["tries"] = [_attempt(attempt) for attempt in attempts]
    if row.possibly_duplicated:
        extension["possibly_duplicated"] = True
    return extension


def _add_cost(extension: dict[str, Any], spent: RowCost) -> None:
    if spent.usd is not None:
        extension["usd"] = spent.usd
        if spent.source != "reported":
            extension["usd_source"] = spent.source
    if spent.may_be_billed:
        extension["usd_may_be_billed"] = round(spent.may_be_billed, 9)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "status": attempt.status,
        "started": round(attempt.started, 3),
        "waited": round(attempt.waited, 4),
    }
    if attempt.error is not None:
        fields["error"] = attempt.error[:_MAX_MESSAGE]
    if attempt.may_be_billed:
        fields["may_be_billed"] = True
    return fields


def _error_body(error: APIError) -> dict[str, Any]:
    """What the service sent, with the message also where readers of OpenAI's files look for it."""
    body = error.body if isinstance(error.body, dict) else {}
    if "error" in body:
        return body
    described = {
        "message": error.message,
        "type": code_of(error),
        "param": None,
        "code": error.code,
    }
    return body | {"error": described}
