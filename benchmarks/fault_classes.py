"""The classes of fault in public reports, a few members of each by name, for ``faults.py``.

Each entry: what the simulator does with the requests in turn (the last one is repeated), what the
answer is (None: an error is right), a text that the error must contain, and how many requests are
right at most. They are cases like those of the reports, not the reports themselves.
"""

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from laplas_async.simulator import Fault

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DONE = b"data: [DONE]\n\n"
WRONG = {"error": {"code": 400, "message": "n is wrong"}}
Calls = tuple[tuple[str, str], ...]  # name and arguments


@frozen(kw_only=True)
class Report:
    """One case of a class. ``faults``: by request, None answers; ``plain``: without streaming."""

    name: str
    faults: tuple[Fault | None, ...]
    text: str | None
    calls: Calls = ()
    says: str = ""
    most: int = 1
    plain: bool = False


def event(body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def chunk(delta: Any = None, reason: Any = None, **choice: Any) -> bytes:
    made = {"index": 0, "delta": delta or {}, "finish_reason": reason, **choice}
    return event({**HEAD, "choices": [made]})


def said(text: str, reason: Any = None) -> bytes:
    return chunk({"content": text}, reason)


def whole(message: Any, reason: str | None = "stop", **choice: Any) -> dict[str, Any]:
    made = {"index": 0, "message": message, "finish_reason": reason, **choice}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [made]}


def raw(*pieces: bytes, end: Any = "clean") -> Fault:
    return Fault.raw(b"".join(pieces), end=end)


def plain(body: Any) -> Fault:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Fault.raw(data, content_type="application/json")


HELLO = whole({"role": "assistant", "content": "Hello"})
GOOD = raw(said("Hello"), chunk({}, "stop"), DONE)
GOOD_PLAIN = plain(HELLO)


def call(name: str, arguments: str, **fields: Any) -> bytes:
    function = {"name": name, "arguments": arguments}
    made = {"index": 0, "id": "", "type": "function", "function": function, **fields}
    return chunk({"tool_calls": [made]})


TWO: Calls = (("get_weather", '{"a":1}'), ("get_time", '{"b":2}'))
END = chunk({}, "tool_calls") + DONE


def streams() -> Iterator[tuple[str, tuple[Fault | None, ...], str | None, str, int]]:
    """Streams: name, faults, text, what the error says, most requests."""
    stop = chunk({}, "stop")
    yield "1 empty reasons, truncated", (raw(said("He", ""), said("l", "")),), None, "", 1
    yield (
        "1 stop in every chunk, truncated",
        (raw(said("He", "stop"), said("l", "stop")),),
        None,
        "",
        1,
    )
    yield "1 stop before the text, truncated", (raw(stop, said("He"), said("l")),), None, "", 1
    yield (
        "1 stop after the reasoning",
        (raw(chunk({"reasoning": "hm"}), stop, said("Hello"), stop),),
        "Hello",
        "",
        1,
    )
    for reason in ("abort", "error", "network_error", "insufficient_system_resource"):
        yield f"2 {reason} after text", (raw(said("He"), chunk({}, reason), DONE),), None, reason, 1
    yield "2 abort before text", (raw(chunk({}, "abort"), DONE), GOOD), "Hello", "", 2
    yield (
        "2 an error in a choice",
        (raw(said("He"), chunk({}, "error", error={"code": 502, "message": "upstream died"})),),
        None,
        "upstream died",
        1,
    )
    yield (
        "2 an unknown reason is an end",
        (raw(said("Hello"), chunk({}, "eos"), DONE),),
        "Hello",
        "",
        1,
    )
    yield "3 a message instead of a delta", (raw(event(HELLO), DONE),), "Hello", "", 1
    yield (
        "3 messages in pieces",
        (raw(event(whole({"content": "He"}, None)), event(whole({"content": "llo"}))),),
        "Hello",
        "",
        1,
    )
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hello"},
    ]
    yield (
        "4 parts of thoughts and text",
        (raw(chunk({"content": parts}, "stop"), DONE),),
        "Hello",
        "",
        1,
    )
    yield (
        "5 reasoning kept apart",
        (raw(chunk({"reasoning_content": "hm"}), said("Hello", "stop"), DONE),),
        "Hello",
        "",
        1,
    )
    bare = json.dumps(WRONG).encode()
    for name, data in (
        ("an error line", b"error: " + bare + b"\n\n"),
        ("an error line after a ping", b": ping\n\nerror: " + bare + b"\n\n"),
        ("an error line before [DONE]", b"error: " + bare + b"\n" + DONE),
        ("bare JSON", bare),
        ("bare JSON after a comment", b": ping\n\n" + bare),
        ("other names", event({"error_type": "bad_request", "error_message": "n is wrong"})),
        ("event: error", b"event: error\ndata: " + bare + b"\n\n"),
    ):
        yield f"7 {name}, first", (raw(data),), None, "n is wrong", 1
        yield f"7 {name}, after text", (raw(said("He"), data),), None, "n is wrong", 1
    yield "9 an empty stream", (raw(), GOOD), "Hello", "", 2
    single = (said("He") + said("llo") + stop + DONE).replace(b"\n\n", b"\n")
    yield "11 single newlines", (raw(single),), "Hello", "", 1
    yield (
        "11 a comment inside data",
        (raw(b"data: : PROCESSING\n\n", said("Hello"), stop, DONE),),
        "Hello",
        "",
        1,
    )
    lines = b"".join(
        part.removeprefix(b"data: ").strip() + b"\n" for part in (said("He"), said("llo"), stop)
    )
    yield "11 lines of JSON", (raw(lines),), "Hello", "", 1
    yield (
        "20 framing broken with the first events",
        (Fault.broken_chunking(after=2), GOOD),
        "Hello",
        "",
        2,
    )


def bodies() -> Iterator[tuple[str, tuple[Fault | None, ...], str | None, str, int]]:
    """Plain calls, as ``streams``."""
    cut = json.dumps(HELLO).encode()[:60]
    yield "2 abort", (plain(whole({"content": "He"}, "abort")), GOOD_PLAIN), "Hello", "", 2
    yield (
        "2 an error in a choice",
        (plain(whole({"content": ""}, "error", error={"code": 400, "message": "n is wrong"})),),
        None,
        "n is wrong",
        1,
    )
    for name, body in (
        ("a list", [WRONG]),
        ("JSON in a string", {"error": json.dumps(WRONG)}),
        ("detail", {"detail": [{"loc": ["body"], "msg": "n is wrong"}]}),
        ("errors", {"errors": [{"message": "n is wrong"}]}),
    ):
        fault = Fault.status(400, body=json.dumps(body))
        yield f"8 {name}", (fault,), None, "n is wrong", 1
    yield "8 plain text", (Fault.status(400, body="n is wrong"),), None, "n is wrong", 1
    yield "9 an empty body", (plain(b""), GOOD_PLAIN), "Hello", "", 2
    yield "9 a blank body", (plain(b" \n"), GOOD_PLAIN), "Hello", "", 2
    yield "9 a cut body", (plain(cut), GOOD_PLAIN), "Hello", "", 2
    yield (
        "9 [DONE] after the completion",
        (plain(json.dumps(HELLO).encode() + b"\n\n" + DONE),),
        "Hello",
        "",
        1,
    )
    yield (
        "9 events in response to a plain call",
        (raw(said("He"), said("llo"), chunk({}, "stop"), DONE),),
        "Hello",
        "",
        1,
    )
    yield "9 a server that streams unless false", (Fault.stream_unless_false(),), "*", "", 1
    yield "10 headers of 16 KiB", (Fault.large_headers(16_384),), "*", "", 1
    yield "12 a Retry-After of a day", (Fault.status(429, retry_after=86_400),), None, "", 1
    for quota in ("free-models-per-day", "tokens per day (TPD)", "monthly limit", "hourly limit"):
        message = json.dumps({"error": {"message": f"Rate limit exceeded: {quota}"}})
        yield f"14 {quota}", (Fault.status(429, body=message),), None, quota, 1
    for status in (498, 499, 520, 529):
        yield f"14 status {status}", (Fault.status(status), GOOD_PLAIN), "Hello", "", 2
    yield "15 a connection lost after sending, always", (Fault.drop(),), None, "", 3


def reports() -> Iterator[Report]:
    """All cases, by class."""
    for name, faults, text, says, most in streams():
        yield Report(name=name, faults=faults, text=text, says=says, most=most)
    pieces = {
        "a chunk each": call("get_weather", '{"a":1}') + call("get_time", '{"b":2}'),
        "in pieces": call("get_weather", '{"a"') + call("", ":1}") + call("get_time", '{"b":2}'),
        "without an index": call("get_weather", '{"a":1}', index=None)
        + call("get_time", '{"b":2}', index=None),
    }
    for name, data in pieces.items():
        yield Report(
            name=f"6 two calls at one index, {name}", faults=(raw(data, END),), text="", calls=TWO
        )
    for name, faults, text, says, most in bodies():
        yield Report(
            name=f"{name} (plain)", faults=faults, text=text, says=says, most=most, plain=True
        )
