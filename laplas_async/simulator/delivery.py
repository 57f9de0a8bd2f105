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
from laplas_async.simulator.encode import Event, completion, events, frame
from laplas_async.simulator.faults import Body, End, Fault
from laplas_async.simulator.sse_variants import encode_variant, slices

QUOTA_MESSAGE: Final = "Free-tier limit: You've reached your free limit for the hour. Try later."
CREDITS_MESSAGE: Final = "You've run out of credits. Please top up your balance."
_MESSAGES: Final = {
    400: "Body validation error!",
    401: "This request requires a valid API key.",
    403: CREDITS_MESSAGE,
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal server error",
    502: "Bad Gateway",
    503: "Service unavailable",
    504: "Generation timeout",
}
_PAGE: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>"
    b"<body><h1>Checking your browser</h1></body></html>\n"
)
_JSON: Final = "application/json; charset=utf-8"
_STREAM: Final = "text/event-stream; charset=utf-8"
# One piece of a line without an end; its size only sets the number of writes.
_LINE: Final = b"x" * 65_536

Piece = tuple[bytes, int]
"""What one write sends, and how many content chunks start in it."""


@frozen(kw_only=True)
class Delivery:
    """What the handler sends for one request.

    ``framing`` is how the end of the body is marked: "length" (the header is set), "chunked", or
    "http10" (the connection closes). ``end`` is what follows the last piece; a stall with a
    ``heartbeat`` sends it every ``interval`` seconds. ``yield_every`` is the number of writes after
    which other tasks may run; 1 keeps the pieces apart on the wire. ``delay`` is in seconds before
    the status line. ``paced``: pieces with content wait until they are due; otherwise ``tokens``
    sets the delay of the whole response. ``drop`` sends nothing at all.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict)
    pieces: Sequence[Piece] = ()
    framing: Literal["length", "chunked", "http10"] = "length"
    end: End = "clean"
    heartbeat: bytes | None = None
    interval: float = 1.0
    # Few enough that others run every millisecond, enough that benchmarks measure the client.
    yield_every: int = 32
    delay: float = 0.0
    paced: bool = False
    tokens: int = 0
    drop: bool = False


@frozen(kw_only=True)
class ErrorContext:
    """What an error body holds beside its message; ``timestamp`` is ISO 8601."""

    path: str
    request_id: str
    timestamp: str

    def body(self, status: int, message: str | None = None, **more: Any) -> dict[str, Any]:
        """Return the service's own error body for the status, with ``more`` keys added."""
        return {
            "message": message or _MESSAGES.get(status, "Internal server error"),
            "path": self.path,
            "requestId": self.request_id,
            "statusCode": status,
            "timestamp": self.timestamp,
            **more,
        }


def make_refusal(status: int, body: Body, headers: Mapping[str, str] | None = None) -> Delivery:
    """Return a response that is not an answer; its body is a dict (as JSON), text, or bytes."""
    data, content_type = _encoded(body)
    return _plain(data, status, {"Content-Type": content_type, **(headers or {})})


def make_delivery(
    answer: Answer,
    fault: Fault | None,
    context: ErrorContext,
    *,
    stream: bool = False,
    include_usage: bool = False,
    status: int = 200,
) -> Delivery:
    """Return how to send ``answer``, with ``fault`` if any; ``status`` is that of success."""
    if fault is not None:
        if (whole := _without_answer(fault, context, status)) is not None:
            return whole
        if fault.kind == "json_instead":
            stream = False
    if stream:
        stream_events = events(answer, include_usage=include_usage)
        return _streamed(stream_events, fault, context, status)
    data = orjson.dumps(completion(answer))
    whole = _plain(data, status, {"Content-Type": _JSON}, tokens=answer.completion_tokens)
    return whole if fault is None else _plain_with_fault(whole, data, fault, context)


def _without_answer(fault: Fault, context: ErrorContext, status: int) -> Delivery | None:
    """Return the delivery of a fault that needs no answer, or None."""
    kind = fault.kind
    code = fault.code or status
    if kind == "status":
        body = context.body(code) if fault.body is None else fault.body
        return make_refusal(code, body, fault.headers)
    if kind == "quota":
        return make_refusal(code, context.body(code, QUOTA_MESSAGE))
    if kind == "redirect":
        return make_refusal(code, b"", fault.headers)
    if kind == "html":
        return make_refusal(code, _PAGE, {"Content-Type": "text/html; charset=utf-8"})
    if kind == "drop":
        return Delivery(status=status, drop=True)
    if kind == "raw":
        headers = {"Content-Type": fault.content_type}
        if fault.content_encoding is not None:
            headers["Content-Encoding"] = fault.content_encoding
        pieces = fault.pieces if fault.pieces is not None else slices(fault.data, fault.chunk)
        return Delivery(
            status=code,
            headers=headers,
            pieces=[(piece, 0) for piece in pieces],
            framing="chunked",
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


def _streamed(
    stream_events: list[Event], fault: Fault | None, context: ErrorContext, status: int
) -> Delivery:
    whole = Delivery(
        status=status,
        headers={"Content-Type": _STREAM, "Cache-Control": "no-cache"},
        pieces=_pieces(stream_events),
        framing="chunked",
        paced=True,
    )
    if fault is None:
        return whole
    kind = fault.kind
    if kind in ("no_done", "no_finish"):
        omitted = "done" if kind == "no_done" else "finish"
        return evolve(whole, pieces=_pieces([one for one in stream_events if one.kind != omitted]))
    if kind == "slow_headers":
        return evolve(whole, delay=fault.seconds)
    if kind == "http10":
        return evolve(whole, framing="http10")
    if kind == "gzip":
        return _gzipped(whole)
    if kind == "written":
        yield_every = whole.yield_every if fault.chunk is None else 1
        return evolve(whole, pieces=encode_variant(stream_events, fault), yield_every=yield_every)
    if kind == "keep_open":
        return evolve(whole, end=fault.end)
    first = _pieces(_first_chunks(stream_events, fault.after))
    if kind == "error_event":
        body, _ = _encoded(context.body(500) if fault.body is None else fault.body)
        name = f"event: {fault.event}\n".encode() if fault.event else b""
        return evolve(whole, pieces=[*first, (name + frame(body), 0)])
    if kind == "garbage":
        return evolve(whole, pieces=[*first, (fault.data, 0)])
    heartbeat = b": ping\n\n" if kind == "heartbeats" else None
    return evolve(whole, pieces=first, end=fault.end, heartbeat=heartbeat, interval=fault.seconds)


def _plain_with_fault(
    whole: Delivery, data: bytes, fault: Fault, context: ErrorContext
) -> Delivery:
    """Return a plain answer with a fault that happens after it has started."""
    kind = fault.kind
    if kind == "slow_headers":
        return evolve(whole, delay=fault.seconds)
    if kind == "http10":
        return evolve(whole, framing="http10", headers=_without_length(whole))
    if kind == "gzip":
        return _gzipped(whole)
    if kind == "written" and fault.chunk is not None:
        return evolve(
            whole, pieces=[(piece, 0) for piece in slices(data, fault.chunk)], yield_every=1
        )
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
