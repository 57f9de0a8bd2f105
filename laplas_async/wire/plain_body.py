"""The body of a successful response to a plain call, in every form that servers send it.

A completion in JSON, also behind heartbeats or before ``[DONE]``; the events of a stream, from
servers that stream regardless; an error with a success status; a body that was cut. Pure: bytes in,
a completion or one of three errors out. It refuses to decide what is retried.
"""

import json
import re
from collections.abc import Set as AbstractSet
from typing import Any

from laplas_async.types import ChatCompletion
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.body_kind import BLANK, as_events, has_choices, has_deltas, is_chunk_line
from laplas_async.wire.chunks import ChunkDecoder, FailureEvent, to_messages
from laplas_async.wire.codec import DecodeError, completion_from, dumps, loads, quote, repaired
from laplas_async.wire.error_body import is_failure
from laplas_async.wire.finish_reason import FAILED_FINISH_REASONS, failed_choice
from laplas_async.wire.sse import SSEParser

# What may follow a completion: the end of a stream that was none, and heartbeats.
_AFTER = rb"(\s|data:|\[DONE\]|:[^\r\n]*)*"
_EVENTS = rb"(data|event|id|retry|error):"


class IncompleteBody(ValueError):  # noqa: N818 - what was received; it does not leave the library
    """The body is empty, or ends before the completion does."""


def read_body(
    data: bytes, failed_reasons: AbstractSet[str] = FAILED_FINISH_REASONS
) -> ChatCompletion:
    """Read a body. Raises ``IncompleteBody``, ``FailureEvent`` for an error, ``DecodeError``.

    ``failed_reasons``: the finish reasons that report a failure.
    """
    if data.startswith(b"{") and b"\n" not in data:  # the usual case
        return _read_completion(load_whole(data), failed_reasons)
    start = _skip_heartbeats(data)
    if start == len(data):
        raise IncompleteBody("the response body is empty")
    rest = data[start:] if start else data
    if any(name.startswith(rest) for name in (b"data:", b"event:")):
        raise IncompleteBody(f"the response body is cut: {quote(rest)}")
    if re.match(_EVENTS, rest):
        return _read_events(rest, failed_reasons)
    first, _, more = rest.partition(b"\n")
    if more and is_chunk_line(first):
        return _read_events(as_events(rest.split(b"\n")), failed_reasons)
    return _read_completion(load_whole(rest), failed_reasons)


def _skip_heartbeats(data: bytes) -> int:
    """Return where blank lines and comments end; some servers send them while they work."""
    start = len(data) - len(data.lstrip(BLANK))
    while data[start : start + 1] == b":":
        end = re.compile(rb"[\r\n]|$").search(data, start)
        start = len(data) if end is None else end.end()
        start = len(data) - len(data[start:].lstrip(BLANK))
    return start


def load_whole(data: bytes) -> Any:
    """Decode the JSON of a body, without an end marker or heartbeats after it.

    Raises ``IncompleteBody`` for JSON that is cut, ``DecodeError`` for what is no JSON.
    """
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


def _read_completion(body: Any, failed_reasons: AbstractSet[str]) -> ChatCompletion:
    if isinstance(body, str) and body.lstrip().startswith("{"):  # JSON inside a string
        body = loads(body.encode())
    if is_failure(body):
        raise FailureEvent(body)
    if isinstance(body, list) and body and all(map(has_choices, body)):
        if len(body) > 1 or has_deltas(body[0]):
            return _read_events(as_events(map(dumps, body)), failed_reasons)
        body = body[0]
    if isinstance(body, dict) and (failure := failed_choice(body, failed_reasons)) is not None:
        raise FailureEvent(failure)
    if has_deltas(body):
        return _read_events(as_events([dumps(body)]), failed_reasons)
    to_messages(body)
    completion = completion_from(body)
    if not completion.choices:
        raise IncompleteBody("the response has no choices")
    return completion


def _read_events(data: bytes, failed_reasons: AbstractSet[str]) -> ChatCompletion:
    parser, decoder, accumulator = SSEParser(stray_json=True), ChunkDecoder(), Accumulator()
    events = parser.feed(data)
    unfinished = parser.unfinished_events()
    last = unfinished[-1] if unfinished else None
    done = False
    for event in (*events, *unfinished):
        for line in _split(event.data):
            if line.startswith(b"[DONE]"):
                done = True
            elif line and not line.isspace():
                body = _whole(line, failed_reasons)
                if body is not None:
                    return _read_completion(body, failed_reasons)
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


def _whole(data: bytes, failed_reasons: AbstractSet[str]) -> Any:
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
    return body if failed_choice(body, failed_reasons) is not None else None
