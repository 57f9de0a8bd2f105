"""The body of a successful response to a plain call, in every form that servers send it.

A completion in JSON, also behind heartbeats or before ``[DONE]``; the events of a stream, from
servers that stream regardless; an error with a success status; a body that was cut. Pure: bytes in,
a completion or one of three errors out. It refuses to decide what is retried.
"""

import json
import re
from typing import Any

from laplas_async.types import ChatCompletion
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.body_kind import BLANK
from laplas_async.wire.chunks import ChunkDecoder, FailureEvent
from laplas_async.wire.codec import DecodeError, completion_from, loads, quote, repaired
from laplas_async.wire.error_body import is_failure
from laplas_async.wire.finish_reason import failed_choice
from laplas_async.wire.sse import SSEParser

# What may follow a completion: the end of a stream that was none, and heartbeats.
_AFTER = rb"(\s|data:|\[DONE\]|:[^\r\n]*)*"
_EVENTS = rb"(data|event|id|retry|error):"


class IncompleteBody(ValueError):  # noqa: N818 - what was received; it does not leave the library
    """The body is empty, or ends before the completion does."""


def read_body(data: bytes) -> ChatCompletion:
    """Read a body. Raises ``IncompleteBody``, ``FailureEvent`` for an error, ``DecodeError``."""
    if data.startswith(b"{"):
        return _read_completion(_load(data))
    start = _skip_heartbeats(data)
    if start == len(data):
        raise IncompleteBody("the response body is empty")
    rest = data[start:] if start else data
    if any(name.startswith(rest) for name in (b"data:", b"event:")):
        raise IncompleteBody(f"the response body is cut: {quote(rest)}")
    if re.match(_EVENTS, rest):
        return _read_events(rest)
    return _read_completion(_load(rest))


def _skip_heartbeats(data: bytes) -> int:
    """Return where blank lines and comments end; some servers send them while they work."""
    start = len(data) - len(data.lstrip(BLANK))
    while data[start : start + 1] == b":":
        end = re.compile(rb"[\r\n]|$").search(data, start)
        start = len(data) if end is None else end.end()
        start = len(data) - len(data[start:].lstrip(BLANK))
    return start


def _load(data: bytes) -> Any:
    try:
        return loads(data)
    except DecodeError as error:
        failure = error
    text = data.decode("utf-8", "replace")
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        if text.startswith(("{", "[")) and _is_cut(text, error):
            raise IncompleteBody(f"the response body is cut: {quote(data)}") from None
        raise failure from None
    except RecursionError:
        raise failure from None
    if re.fullmatch(_AFTER, text[end:].encode("utf-8", "replace")) is None:
        raise failure
    return repaired(value)


def _is_cut(text: str, error: json.JSONDecodeError) -> bool:
    """Whether JSON is invalid only because it ends too early."""
    rest = text[error.pos :].strip()
    return (
        error.msg.startswith("Unterminated string")
        or not rest
        or any(word.startswith(rest) for word in ("true", "false", "null", "-"))
        or re.fullmatch(r"\\?u[0-9a-fA-F]{0,4}\"?", rest) is not None
    )


def _read_completion(body: Any) -> ChatCompletion:
    if isinstance(body, dict | list) and is_failure(body):
        raise FailureEvent(body)
    if isinstance(body, dict) and (failure := failed_choice(body)) is not None:
        raise FailureEvent(failure)
    return completion_from(body)


def _read_events(data: bytes) -> ChatCompletion:
    parser, decoder, accumulator = SSEParser(stray_json=True), ChunkDecoder(), Accumulator()
    events = parser.feed(data)
    last = parser.unfinished()
    done = False
    for event in (*events, *(() if last is None else (last,))):
        for line in _split(event.data):
            if line.startswith(b"[DONE]"):
                done = True
            elif line and not line.isspace():
                body = _whole(line)
                if body is not None:
                    return _read_completion(body)
                try:
                    chunk = decoder.decode(line, event.event)
                except DecodeError as error:
                    if event is not last:
                        raise
                    if accumulator.finished():
                        break  # only what follows the text was cut
                    message = f"the response ends inside an event: {error}"
                    raise IncompleteBody(message) from None
                if chunk is not None:
                    accumulator.add(chunk)
    if not accumulator.finished() and not (done and accumulator.has_content):
        raise IncompleteBody("the response is a stream that ends without finish_reason or [DONE]")
    return accumulator.completion()


def _split(data: bytes) -> list[bytes]:
    """Return the data of an event; by line where events were separated by single newlines."""
    if b"\n" not in data:
        return [data]
    try:
        loads(data)
    except DecodeError:
        return data.split(b"\n")
    return [data]


def _whole(data: bytes) -> Any:
    """Return the JSON of an event that is not a chunk: a completion, or a choice that failed."""
    if b'"message"' not in data and b'"error"' not in data and b'"finish_reason"' not in data:
        return None
    try:
        body = loads(data)
    except DecodeError:
        return None
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and "message" in first and "delta" not in first:
        return body
    return body if failed_choice(body) is not None else None
