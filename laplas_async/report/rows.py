"""The output of a batch, read back: a few numbers of each row, in columns.

About 60 bytes a row, so that a million rows fit. Lines of earlier versions, which lack some of the
fields, are read too. It refuses to keep requests and completions.
"""

import heapq
import math
import os
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field

from laplas_async.batch import jsonl
from laplas_async.batch.index import Index
from laplas_async.batch.inflight import count_left
from laplas_async.batch.results import known_from
from laplas_async.errors import ConfigError, JournalError

MISSING = -1.0  # of a number that a line does not have
_MAX_KINDS = 50  # of finish reasons and failures that are counted apart, however a file looks
_MAX_LINES = 12  # line numbers that are listed of a failure
_SLOWEST = 10  # rows that are listed
_OTHER = "other"
_YEAR_3000 = 32_503_680_000.0
_MOST = 2**31  # attempts that a column can hold
_BAD_ROW = "bad row"  # as the batch names rows that could not be sent
_STATUS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    422: "BadRequestError",
    429: "RateLimitError",
}


@define
class Failure:
    """Rows that failed in one way: ``kind`` is the error's class, ``code`` the service's or ours.

    ``lines`` are the first line numbers of the input; ``example`` the first row's id; ``message``
    its error message, which may quote the request.
    """

    kind: str
    code: str
    count: int = 0
    lines: list[int] = field(factory=list)
    example: str = ""
    message: str = ""


@define
class Rows:
    """What the output says about its rows. Times are wall-clock seconds since 1970.

    The columns have one number per row, ``MISSING`` where the line has none: ``started`` and
    ``latency`` of the last attempt, ``waited`` at the gate and in backoff in all attempts.
    """

    path: str = ""
    started: "array[float]" = field(factory=lambda: array("d"))
    latency: "array[float]" = field(factory=lambda: array("d"))
    first_token: "array[float]" = field(factory=lambda: array("d"))
    waited: "array[float]" = field(factory=lambda: array("d"))
    prompt_tokens: "array[float]" = field(factory=lambda: array("d"))
    completion_tokens: "array[float]" = field(factory=lambda: array("d"))
    attempts: "array[int]" = field(factory=lambda: array("I"))
    completed: bytearray = field(factory=bytearray)  # 0 or 1
    limits: list[tuple[float, float | None, int]] = field(factory=list)  # time, rate, concurrency
    rejections: "array[float]" = field(factory=lambda: array("d"))  # their times, where known
    rejected: int = 0
    # latency, line, id, attempts, completed; the least of them first
    slowest: list[tuple[float, int, str, int, bool]] = field(factory=list)
    retries: Counter[str] = field(factory=Counter)
    finish_reasons: Counter[str] = field(factory=Counter)
    models: Counter[str] = field(factory=Counter)
    failures: dict[tuple[str, str], Failure] = field(factory=dict)
    usd: float | None = None  # as far as it is known
    usd_by_source: dict[str, float] = field(factory=dict)
    usd_may_be_billed: float = 0.0  # at most, of the attempts whose price is known
    credits: float | None = None
    priced: int = 0  # completed rows whose cost is known
    may_be_billed: int = 0  # attempts
    possibly_duplicated: int = 0
    superseded: int = 0  # lines that a later one replaces
    incomplete_lines: int = 0  # at the end of the output
    left_in_flight: int = 0
    stopped: str = ""  # why the run that wrote it stopped early; the output itself does not say

    def __len__(self) -> int:
        return len(self.completed)


def read_rows(output: str | os.PathLike[str]) -> Rows:
    """Read the output of a batch that has ended, was killed, or still runs.

    Raises ``ConfigError`` if there is no such file, ``JournalError`` with the number of a line
    that is not a result line; an incomplete last line is only counted.
    """
    path = os.fspath(output)
    try:
        rows, superseded = _scan(path, frozenset())
        if superseded:  # as a killed run leaves them: the last line of a row counts
            rows, _ = _scan(path, superseded)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    rows.superseded = len(superseded)
    rows.left_in_flight = count_left(path)
    return rows


def _scan(path: str, superseded: frozenset[int]) -> tuple[Rows, frozenset[int]]:
    rows, index = Rows(path), Index()
    position = number = 0
    with Path(path).open("rb") as file:
        for line in file:
            number += 1
            at, position = position, position + len(line)
            if line.isspace():
                continue
            try:
                value = jsonl.read(line)
                known = known_from(value)
            except ValueError as error:
                if not line.endswith(b"\n") and len(rows):
                    rows.incomplete_lines += 1
                    break
                message = f"{path}, line {number}: {error}"
                raise JournalError(message, path=path, line=number) from None
            index.record(known.key, known.asked, at, completed=known.completed)
            _add_costs(rows, value["laplas"], completed=known.completed)
            if at not in superseded:
                _add(rows, value, completed=known.completed)
    return rows, frozenset(index.superseded)


def _add(rows: Rows, value: dict[str, Any], *, completed: bool) -> None:
    extension = value["laplas"]
    started = _time(extension.get("started"))
    latency = _number(extension.get("latency"))
    attempts = min(_MOST, max(0, int(_number(extension.get("attempts")))))
    line = max(0, int(_number(extension.get("line"))))
    rows.completed.append(completed)
    rows.started.append(started)
    rows.latency.append(latency)
    rows.first_token.append(_number(extension.get("first_token")))
    rows.waited.append(_number(extension.get("waited")))
    rows.attempts.append(attempts)
    rows.possibly_duplicated += bool(
        extension.get("possibly_duplicated") or extension.get("maybe_twice")
    )
    response = value.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    body = body if isinstance(body, dict) else {}
    usage = body.get("usage") if completed else None
    usage = usage if isinstance(usage, dict) else {}
    rows.prompt_tokens.append(_number(usage.get("prompt_tokens")))
    rows.completion_tokens.append(_number(usage.get("completion_tokens")))
    limit = extension.get("limit")
    if isinstance(limit, dict) and started >= 0:
        rate, at_once = _number(limit.get("rate")), int(_number(limit.get("concurrency")))
        end = started + max(0.0, latency)
        rows.limits.append((end, None if rate < 0 else rate, max(0, at_once)))
    if completed:
        _count(rows.models, body.get("model"))
        for choice in _objects(body.get("choices")):
            _count(rows.finish_reasons, choice.get("finish_reason"))
    _add_attempts(rows, extension, response, completed=completed)
    slow = (latency, line, str(value.get("custom_id", "")), attempts, completed)
    if latency >= 0:
        if len(rows.slowest) < _SLOWEST:
            heapq.heappush(rows.slowest, slow)
        elif slow > rows.slowest[0]:
            heapq.heapreplace(rows.slowest, slow)
    if not completed:
        _add_failure(rows, value, line)


def _add_costs(rows: Rows, extension: dict[str, Any], *, completed: bool) -> None:
    """What a line says about money, also if a later line supersedes it."""
    usd, credits_used = extension.get("usd"), extension.get("credits")
    if usd is not None:
        amount = max(0.0, _number(usd))
        rows.usd = (rows.usd or 0.0) + amount
        source = str(extension.get("usd_source", "reported"))
        if source not in rows.usd_by_source and len(rows.usd_by_source) >= _MAX_KINDS:
            source = _OTHER
        rows.usd_by_source[source] = rows.usd_by_source.get(source, 0.0) + amount
        rows.priced += completed
    if credits_used is not None:
        rows.credits = (rows.credits or 0.0) + max(0.0, _number(credits_used))
    rows.usd_may_be_billed += max(0.0, _number(extension.get("usd_may_be_billed")))
    billed = extension.get("may_be_billed")
    if billed is None:  # a line of an earlier version
        billed = sum(bool(one.get("may_be_billed")) for one in _objects(extension.get("tries")))
    rows.may_be_billed += max(0, int(_number(billed)))


def _add_attempts(rows: Rows, extension: dict[str, Any], response: Any, *, completed: bool) -> None:
    """The attempts that failed: rejections by time, retries by reason."""
    tries = _objects(extension.get("tries"))
    for one in tries:
        started = _time(one.get("started"))
        if one.get("status") == 429:
            rows.rejected += 1
            if started >= 0:
                rows.rejections.append(started)
    for one in tries[:-1]:  # the last one is the row's result
        reason = str(one.get("error") or one.get("status") or "unknown").partition(":")[0]
        _count(rows.retries, reason if reason.isidentifier() else "unknown")
    if not tries and not completed and isinstance(response, dict):
        rows.rejected += response.get("status_code") == 429


def _add_failure(rows: Rows, value: dict[str, Any], line: int) -> None:
    response, error = value.get("response"), value.get("error")
    kind = value["laplas"].get("failure")
    if isinstance(response, dict):
        status = int(_number(response.get("status_code")))
        body = response.get("body")
        found = body.get("error") if isinstance(body, dict) else None
        found = found if isinstance(found, dict) else {}
        code, message = str(status), found.get("message")
        kind = kind or _STATUS.get(status, "ServerError" if status >= 500 else "APIError")
    else:
        error = error if isinstance(error, dict) else {}
        code, message = str(error.get("code") or "unknown"), error.get("message")
        kind = kind or (_BAD_ROW if not value["laplas"].get("attempts") else _class_name(code))
    key = (str(kind), code)
    if key not in rows.failures and len(rows.failures) >= _MAX_KINDS:
        key = (_OTHER, _OTHER)
    failure = rows.failures.setdefault(key, Failure(*key))
    failure.count += 1
    if len(failure.lines) < _MAX_LINES:
        failure.lines.append(line)
    if failure.count == 1:
        failure.example, failure.message = str(value.get("custom_id", "")), str(message or "")


def _class_name(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("_")) + "Error"


def _count(counter: Counter[str], name: Any) -> None:
    """Count a name; any but the first few as one, so that a strange file stays small."""
    name = str(name) if name is not None else "none"
    if name not in counter and len(counter) >= _MAX_KINDS:
        name = _OTHER
    counter[name] += 1


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _time(value: Any) -> float:
    """Seconds since 1970, up to the year 3000, which every calendar can show."""
    time = _number(value)
    return time if 0 <= time < _YEAR_3000 else MISSING


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return MISSING
    return float(value)
