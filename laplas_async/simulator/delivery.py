"""An answer with a fault applied: the exact bytes to write, in which pieces, and how to end.

Pure. It decides everything but the timing, which is ``handler``'s; and it refuses to let the
handler know what a fault is.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import orjson
from attrs import evolve, field, frozen

from laplas_async.simulator.answers import Answer
from laplas_async.simulator.encode import DONE, Event, completion, events, frame
from laplas_async.simulator.error_bodies import QUOTA_MESSAGE, ErrorContext
from laplas_async.simulator.fault_fields import Body, End
from laplas_async.simulator.faults import Fault
from laplas_async.simulator.shape_variants import shape_completion, shape_events
from laplas_async.simulator.sse_variants import encode_variant, slices

_PAGE: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>"
    b"<body><h1>Checking your browser</h1></body></html>\n"
)
_JSON: Final = "application/json; charset=utf-8"
_STREAM: Final = "text/event-stream; charset=utf-8"
# One piece of a line without an end; its size only sets the number of writes.
_LINE: Final = b"x" * 65_536

# The kinds that break a stream off after some chunks.
_BREAKS: Final = frozenset(
    {
        "broken_chunking",
        "cut",
        "error_event",
        "garbage",
        "heartbeats",
        "reset",
        "stall",
        "truncate",
    }
)

Piece = tuple[bytes, int]
"""What one write sends, and how many content chunks start in it."""


@frozen(kw_only=True)
class Delivery:
    """What the handler sends for one request.

    ``framing`` is how the end of the body is marked: "length" (the header is set), "chunked",
    "http10" (the connection closes), or "verbatim" (the pieces are the whole HTTP response).
    ``end`` is what follows the last piece; a stall with a ``heartbeat`` sends it every ``interval``
    seconds. ``yield_every`` is the number of writes after which other tasks may run; 1 keeps the
    pieces apart on the wire. ``delay`` is in seconds before the status line. ``paced``: pieces with
    content wait until they are due; otherwise ``tokens`` sets the delay of the whole response.
    ``pause`` seconds pass before the content chunk number ``pause_before``. ``drop`` sends nothing.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict)
    pieces: Sequence[Piece] = ()
    framing: Literal["length", "chunked", "http10", "verbatim"] = "length"
    end: End = "clean"
    heartbeat: bytes | None = None
    interval: float = 1.0
    # Few enough that others run every millisecond, enough that benchmarks measure the client.
    yield_every: int = 32
    delay: float = 0.0
    paced: bool = False
    tokens: int = 0
    pause_before: int = 0
    pause: float = 0.0
    drop: bool = False


def make_refusal(status: int, body: Body, headers: Mapping[str, str] | None = None) -> Delivery:
    """Return a response that is not an answer; its body is JSON, text, or bytes."""
    data, content_type = _encoded(body)
    return _plain(data, status, {"Content-Type": content_type, **(headers or {})})


def make_delivery(
    answer: Answer,
    fault: Fault | None,
    context: ErrorContext,
    *,
    stream: bool | None = None,
    include_usage: bool = False,
    status: int = 200,
) -> Delivery:
    """Return how to send ``answer``, with ``fault`` if any.

    ``stream`` is what the request says, None if it does not; ``status`` is that of success.
    """
    if fault is None:
        if stream:
            return _stream(events(answer, include_usage=include_usage), status)
        return _completion(completion(answer), answer, status)
    if (without := _without_answer(fault, context, status)) is not None:
        return without
    if fault.kind == "finish":
        answer = _finish_answer(answer, fault)
    if _streams(fault, stream):
        stream_events = _faulty_events(events(answer, include_usage=include_usage), answer, fault)
        return _faulty_stream(stream_events, fault, context, status)
    whole = completion(answer)
    if fault.kind == "shape":
        whole = shape_completion(whole, fault.shapes)
    if fault.error is not None:
        for choice in whole["choices"]:
            choice["error"] = fault.error
    return _faulty_completion(_completion(whole, answer, status), fault, context)


def _streams(fault: Fault, stream: bool | None) -> bool:
    if fault.kind == "stream_unless_false":
        return stream is not False
    if fault.kind == "stream_instead":
        return True
    return bool(stream) and fault.kind != "json_instead"


def _without_answer(fault: Fault, context: ErrorContext, status: int) -> Delivery | None:
    """Return the delivery of a fault that needs no answer, or None."""
    kind = fault.kind
    code = fault.code or status
    if kind == "status":
        body = context.body(code) if fault.body is None else fault.body
        return make_refusal(code, body, fault.headers)
    if kind == "quota":
        message = fault.body if isinstance(fault.body, str) else QUOTA_MESSAGE
        return make_refusal(code, context.body(code, message))
    if kind == "redirect":
        return make_refusal(code, b"", fault.headers)
    if kind == "html":
        return make_refusal(code, _PAGE, {"Content-Type": "text/html; charset=utf-8"})
    if kind == "drop":
        return Delivery(status=status, drop=True)
    if kind in ("raw", "verbatim"):
        headers = {"Content-Type": fault.content_type}
        if fault.content_encoding is not None:
            headers["Content-Encoding"] = fault.content_encoding
        pieces = fault.pieces if fault.pieces is not None else slices(fault.data, fault.chunk)
        return Delivery(
            status=code,
            headers=headers,
            pieces=[(piece, 0) for piece in pieces],
            framing="chunked" if kind == "raw" else "verbatim",
            end=fault.end,
            yield_every=1,
        )
    if kind == "never_ends":
        count = -(-fault.size // len(_LINE))
        return Delivery(
            status=status,
            headers={"Content-Type": _STREAM},
            pieces=[(b'data: {"id":"', 0), *([(_LINE, 0)] * count)],
            framing="chunked",
            end=fault.end,
        )
    return None


def _finish_answer(answer: Answer, fault: Fault) -> Answer:
    """Return the answer as it ends under ``Fault.finish``: with its reason, and cut."""
    choices = [
        evolve(
            choice,
            finish_reason=fault.reason or choice.finish_reason,
            tokens=None if choice.tokens is None else choice.tokens[: fault.tokens],
        )
        for choice in answer.choices
    ]
    written = sum(len(choice.tokens or ()) for choice in choices)
    count = answer.completion_tokens if fault.tokens is None else written
    return evolve(answer, choices=tuple(choices), completion_tokens=count)


def _faulty_events(stream_events: list[Event], answer: Answer, fault: Fault) -> list[Event]:
    """Return the events of a stream with a fault that concerns what they say."""
    if fault.kind == "shape":
        return shape_events(stream_events, fault.shapes, completion(answer))
    omitted = {"no_done": "done", "no_finish": "finish"}.get(fault.kind)
    if fault.kind == "finish" and not fault.done:
        omitted = "done"
    stream_events = [one for one in stream_events if one.kind != omitted]
    if fault.kind == "finish" and fault.error is not None:
        stream_events = [
            _with_error(one, fault.error) if one.kind == "finish" else one for one in stream_events
        ]
    return stream_events


def _with_error(event: Event, error: object) -> Event:
    chunk = orjson.loads(event.data)
    chunk["choices"][0]["error"] = error
    return event._replace(data=orjson.dumps(chunk))


def _stream(stream_events: list[Event], status: int) -> Delivery:
    return Delivery(
        status=status,
        headers={"Content-Type": _STREAM, "Cache-Control": "no-cache"},
        pieces=_pieces(stream_events),
        framing="chunked",
        paced=True,
    )


def _faulty_stream(
    stream_events: list[Event], fault: Fault, context: ErrorContext, status: int
) -> Delivery:
    whole = _stream(stream_events, status)
    kind = fault.kind
    if (common := _faulty_response(whole, fault)) is not None:
        return common
    if kind == "gzip":
        return _gzipped(whole)
    if kind == "written":
        yield_every = whole.yield_every if fault.chunk is None else 1
        return evolve(whole, pieces=encode_variant(stream_events, fault), yield_every=yield_every)
    if kind == "keep_open":
        return evolve(whole, end=fault.end)
    if kind in ("single_newlines", "json_lines", "json_array"):
        return _unseparated(whole, kind)
    if kind == "comment_in_data":
        comment = (frame(b": PROCESSING"), 0)
        return evolve(whole, pieces=[comment, comment, *whole.pieces])
    if kind in ("pause", "shape"):
        return evolve(whole, pause_before=fault.after, pause=fault.seconds)
    if kind not in _BREAKS:
        return whole
    first = _pieces(_first_chunks(stream_events, fault.after))
    if kind == "broken_chunking":
        return _broken_chunking(whole, b"".join(data for data, _ in first), fault)
    if kind == "error_event":
        return evolve(whole, pieces=[*first, *_error_pieces(fault, context)])
    if kind == "garbage":
        return evolve(whole, pieces=[*first, (fault.data, 0)])
    heartbeat = b": ping\n\n" if kind == "heartbeats" else None
    return evolve(whole, pieces=first, end=fault.end, heartbeat=heartbeat, interval=fault.seconds)


def _unseparated(whole: Delivery, kind: str) -> Delivery:
    """The events without blank lines, or the chunks alone: as lines of JSON, or one array."""
    if kind == "single_newlines":
        return evolve(whole, pieces=[(data[:-1], count) for data, count in whole.pieces])
    lines = [(data.removeprefix(b"data: ").strip(), count) for data, count in whole.pieces]
    chunks = [(data, count) for data, count in lines if data != DONE]
    if kind == "json_lines":
        pieces = [(data + b"\n", count) for data, count in chunks]
        headers = {**whole.headers, "Content-Type": "application/x-ndjson"}
        return evolve(whole, pieces=pieces, headers=headers)
    array = [(b"," * bool(place) + data, count) for place, (data, count) in enumerate(chunks)]
    headers = {**whole.headers, "Content-Type": "application/json"}
    return evolve(whole, pieces=[(b"[", 0), *array, (b"]", 0)], headers=headers)


def _error_pieces(fault: Fault, context: ErrorContext) -> list[Piece]:
    body, _ = _encoded(context.body(500) if fault.body is None else fault.body)
    error = frame(body)
    if fault.framing == "line":
        error = b"error: " + body + b"\n\n"
    elif fault.framing == "bare":
        error = body + b"\n"
    elif fault.event:
        error = f"event: {fault.event}\n".encode() + error
    pieces: list[Piece] = [(b": ping\n\n", 0)] if fault.ping else []
    return [*pieces, (error, 0), *([(frame(DONE), 0)] if fault.done else [])]


def _broken_chunking(whole: Delivery, data: bytes, fault: Fault) -> Delivery:
    lines = [f"HTTP/1.1 {whole.status} OK", *(f"{k}: {v}" for k, v in whole.headers.items())]
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()
    # One good chunk of HTTP's framing, and then a size that is not hexadecimal.
    good = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    pieces: list[Piece] = [(head + good + b"broken\r\n", fault.after)]
    return evolve(whole, pieces=pieces, framing="verbatim", end=fault.end, paced=False)


def _completion(body: dict[str, Any], answer: Answer, status: int) -> Delivery:
    data = orjson.dumps(body)
    return _plain(data, status, {"Content-Type": _JSON}, tokens=answer.completion_tokens)


def _faulty_completion(whole: Delivery, fault: Fault, context: ErrorContext) -> Delivery:
    """Return a plain response with a fault that happens after it has started."""
    kind = fault.kind
    data = whole.pieces[0][0]
    if (common := _faulty_response(whole, fault)) is not None:
        return common
    if kind == "gzip":
        return _gzipped(whole)
    if kind == "trailing_done":
        headers = {"Content-Type": _JSON}
        return _plain(data + b"\n\n" + frame(DONE), whole.status, headers, tokens=whole.tokens)
    if kind == "written" and fault.chunk is not None:
        pieces = [(piece, 0) for piece in slices(data, fault.chunk)]
        return evolve(whole, pieces=pieces, yield_every=1)
    if kind == "error_event":
        body = context.body(500) if fault.body is None else fault.body
        return make_refusal(whole.status, body)
    if kind == "garbage":
        return make_refusal(whole.status, fault.data, {"Content-Type": _JSON})
    half = [(data[: len(data) // 2], 0)]
    if kind == "truncate":
        return evolve(whole, pieces=half, framing="chunked", headers=_without_length(whole))
    if kind in ("cut", "reset", "stall"):
        return evolve(whole, pieces=half if fault.after else [], end=fault.end)
    if kind == "heartbeats":
        return evolve(
            whole,
            pieces=[],
            framing="chunked",
            headers=_without_length(whole),
            end=fault.end,
            heartbeat=b" ",
            interval=fault.seconds,
        )
    return whole


def _faulty_response(whole: Delivery, fault: Fault) -> Delivery | None:
    """Return the delivery with a fault that treats streams and completions alike, or None."""
    if fault.kind == "slow_headers":
        return evolve(whole, delay=fault.seconds)
    if fault.kind == "large_headers":
        return evolve(whole, headers={**whole.headers, "x-debug-trace": "x" * fault.size})
    if fault.kind == "http10":
        return evolve(whole, framing="http10", headers=_without_length(whole))
    return None


def _plain(data: bytes, status: int, headers: Mapping[str, str], *, tokens: int = 0) -> Delivery:
    return Delivery(
        status=status,
        headers={**headers, "Content-Length": str(len(data))},
        pieces=[(data, 0)],
        tokens=tokens,
    )


def _encoded(body: Body) -> tuple[bytes, str]:
    if isinstance(body, dict | list):
        return orjson.dumps(body), _JSON
    if isinstance(body, str):
        html = body.lstrip().startswith("<")
        return body.encode(), f"text/{'html' if html else 'plain'}; charset=utf-8"
    return body or b"", "application/octet-stream"


def _pieces(stream_events: list[Event]) -> list[Piece]:
    return [(frame(data), 1 if kind == "content" else 0) for kind, data in stream_events]


def _first_chunks(stream_events: list[Event], after: int) -> list[Event]:
    """Return the start events and the first ``after`` content events, and nothing else."""
    kept: list[Event] = []
    for one in stream_events:
        if one.kind == "content":
            if after == 0:
                break
            after -= 1
        # One of several choices may have finished already; a cut stream has no finish at all.
        if one.kind in ("start", "content"):
            kept.append(one)
    return kept


def _gzipped(whole: Delivery) -> Delivery:
    packer = zlib.compressobj(wbits=31)
    pieces: list[Piece] = [
        (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH), count)
        for data, count in whole.pieces
    ]
    pieces.append((packer.flush(zlib.Z_FINISH), 0))
    headers = {**_without_length(whole), "Content-Encoding": "gzip"}
    return evolve(whole, pieces=pieces, headers=headers, framing="chunked")


def _without_length(whole: Delivery) -> dict[str, str]:
    return {name: value for name, value in whole.headers.items() if name != "Content-Length"}
