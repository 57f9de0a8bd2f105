"""What goes wrong with streams, by name, and what each client makes of it: a Markdown table.

python benchmarks/faults.py

Runs against the simulator on loopback, in about half a minute. A peer that is not installed
(benchmarks/requirements-peers.txt) is left out. Right is: a right stream read exactly, a broken one
reported by an error of the client's own, within the bound.
"""

import asyncio
import gzip
import importlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

# This tree, before what is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import laplas_async
from benchmarks.fault_classes import Report, reports
from laplas_async import LaplasClient, LaplasError, RetryPolicy, Timeouts
from laplas_async.simulator import Fault, Simulator
from laplas_async.wire.sse import MAX_EVENT_BYTES

PROMPT = "Name a river, with 日本 and 🙂."
KEY = "none"
IDLE = 0.3  # our bound between two pieces of content
PEER_TIMEOUT = 2.0
SLOW = 10.0  # for what is written to its end; a busy machine is no hung client
WHOLE = "Hello you"  # what a broken stream would have said
Calls = tuple[tuple[str, str, str], ...]


@frozen
class Case:
    """A fault, and what is right: this text and these calls, or (text None) that it is reported."""

    name: str
    fault: Fault
    text: str | None
    calls: Calls = ()
    keywords: dict[str, Any] = field(factory=dict)
    whole: str = WHOLE
    plain: bool = False  # requested without streaming

    @property
    def right(self) -> str:
        """In words, for the table."""
        if self.text is None:
            return "reported"
        return "the calls" if self.calls else "the text"


@frozen
class Answer:
    """What a client took for the whole answer."""

    text: str
    calls: Calls = ()


Reader = Callable[[Case], Awaitable[Answer]]


# --- what servers write -----------------------------------------------------------------------


def event(body: Any) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def piece(content: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    if content is not None:
        delta["content"] = content
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


def raw_content(escaped: bytes, finish: bytes = b'"stop"') -> bytes:
    head = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"'
    return head + escaped + b'"},"finish_reason":' + finish + b"}]}\n\n"


DONE = b"data: [DONE]\n\n"
STOP = event(piece(finish="stop"))
HELLO = event(piece("Hel", role="assistant")) + event(piece("lo")) + STOP + DONE
TEXT = event(piece("Hel", role="assistant")) + event(piece("lo"))
ONE_JSON = {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}

RIGHT: dict[str, tuple[bytes, str]] = {
    "as the standard has it": (HELLO, "Hello"),
    "event, id and retry lines": (b"event: chunk\nid: 7\nretry: 10\n" + HELLO, "Hello"),
    "a retry line alone": (b"retry: 3000\n\n" + HELLO, "Hello"),
    "an unknown kind of event": (b"event: ping\ndata: now\n\n" + HELLO, "Hello"),
    "a heartbeat of a lone colon": (b":\n\n" + HELLO, "Hello"),
    "an event with empty data": (b"data:\n\ndata: \n\n" + HELLO, "Hello"),
    "U+2028 in the text": (event(piece("a\u2028b", "stop")) + DONE, "a\u2028b"),
    "empty choices": (event({"choices": []}) + HELLO, "Hello"),
    "choices missing": (event({"id": "x"}) + HELLO, "Hello"),
    "choices null": (event({"choices": None}) + HELLO, "Hello"),
    "delta missing": (event({"choices": [{"index": 0}]}) + HELLO, "Hello"),
    "delta null": (event({"choices": [{"index": 0, "delta": None}]}) + HELLO, "Hello"),
    "content null": (event({"choices": [{"delta": {"content": None}}]}) + HELLO, "Hello"),
    "the role in every chunk": (
        event(piece("Hel", role="assistant")) + event(piece("lo", "stop", role="assistant")),
        "Hello",
    ),
    "usage null": (event({**piece("Hello", "stop"), "usage": None}) + DONE, "Hello"),
    "bytes behind [DONE]": (HELLO + b"data: {nope\n\n<html>", "Hello"),
    "[DONE] without its blank line": (HELLO[:-1], "Hello"),
    "[DONE] without a line end": (HELLO[:-2], "Hello"),
    "[DONE] with spaces": (HELLO[:-2] + b"  \n\n", "Hello"),
    "no blank line behind the last chunk": (event(piece("Hello", "stop"))[:-2], "Hello"),
    "no [DONE], but a finish_reason": (HELLO.removesuffix(DONE), "Hello"),
    "[DONE], but no finish_reason": (event(piece("Hello")) + DONE, "Hello"),
    "content behind the finish_reason": (TEXT + STOP + event(piece(" you")) + DONE, WHOLE),
    "a finish_reason nobody knows": (event(piece("Hello", "because")) + DONE, "Hello"),
    "content in parts": (
        event({"choices": [{"delta": {"content": [{"type": "text", "text": "Hello"}]}}]}) + STOP,
        "Hello",
    ),
    "a character in two halves": (
        raw_content(rb"a\ud83d", b"null") + raw_content(rb"\ude42b"),
        "a🙂b",
    ),
    "half a character": (raw_content(rb"a\ud83d"), "a\ufffd"),
    "bytes that are no UTF-8": (raw_content(b"a\xff"), "a\ufffd"),
    "an event of a megabyte": (event(piece("x" * 1_000_000, "stop")) + DONE, "x" * 1_000_000),
    "one JSON answer in place of a stream": (json.dumps(ONE_JSON).encode(), "Hello"),
}

# Written by the simulator's own pen; the right text is that of the unstreamed answer.
WRITTEN: dict[str, Fault] = {
    "CRLF line ends": Fault.written(line_end="\r\n"),
    "CR line ends": Fault.written(line_end="\r"),
    "CR, byte by byte": Fault.written(line_end="\r", chunk=1),
    "CRLF, byte by byte": Fault.written(line_end="\r\n", chunk=1),
    "a byte-order mark": Fault.written(bom=True),
    "a byte-order mark, byte by byte": Fault.written(bom=True, chunk=1),
    "no space after the colon": Fault.written(space=False),
    "comments": Fault.written(comments=True),
    "data over several lines": Fault.written(multiline=True),
    "id, event and retry with each event": Fault.written(extra_fields=True),
    "byte by byte": Fault.written(chunk=1),
    "seven bytes a piece": Fault.written(chunk=7),
    "five events a piece": Fault.written(per_write=5),
    "gzip, flushed": Fault.gzip(),
    "HTTP/1.0": Fault.http10(),
    "left open behind [DONE]": Fault.keep_open(),
}

CALLS: dict[str, tuple[list[dict[str, Any]], Calls]] = {
    "as the standard has it": (
        [
            {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
            {"index": 0, "function": {"arguments": "{}"}},
        ],
        (("a", "f", "{}"),),
    ),
    "index missing": (
        [
            {"id": "a", "function": {"name": "f", "arguments": "{"}},
            {"function": {"arguments": "}"}},
            {"id": "b", "function": {"name": "g", "arguments": "{}"}},
        ],
        (("a", "f", "{}"), ("b", "g", "{}")),
    ),
    "index from 1": (
        [
            {"index": 1, "id": "a", "function": {"name": "f", "arguments": "{"}},
            {"index": 1, "function": {"arguments": "}"}},
        ],
        (("a", "f", "{}"),),
    ),
    "the same index, a new id": (
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
            {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{"}},
            {"index": 0, "function": {"arguments": "}"}},
        ],
        (("a", "f", "{}"), ("b", "g", "{}")),
    ),
    "id and name in every piece": (
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}},
        ],
        (("a", "f", "{}"),),
    ),
}

ERROR_MESSAGE = {"message": "no", "type": "t", "code": None}
BROKEN: dict[str, Fault] = {
    "cut in the middle": Fault.raw(TEXT, end="cut"),
    "reset in the middle": Fault.raw(TEXT, end="reset"),
    "a clean end, but no end": Fault.raw(TEXT),
    "cut inside an event": Fault.raw(TEXT + event(piece(" you"))[:40], end="cut"),
    "a clean end inside an event": Fault.raw(TEXT + event(piece(" you"))[:40]),
    "cut behind [DONE], no finish_reason": Fault.raw(TEXT + DONE, end="cut"),
    "cut inside gzip": Fault.raw(gzip.compress(TEXT)[:-12], content_encoding="gzip", end="cut"),
    "gzip that ends too early": Fault.raw(gzip.compress(TEXT)[:-12], content_encoding="gzip"),
    "an error event of this service": Fault.raw(
        TEXT + event({"message": "Bad Gateway", "statusCode": "502"})
    ),
    "an error event of OpenAI's shape": Fault.raw(TEXT + event({"error": ERROR_MESSAGE})),
    "an error event that is text": Fault.raw(TEXT + b"event: error\ndata: overloaded\n\n"),
    "an error event with a short text": Fault.raw(TEXT + event({"error": "overloaded"})),
    "an error beside choices": Fault.raw(
        TEXT + event({**piece(finish="error"), "error": {"message": "no"}})
    ),
    "cut JSON": Fault.raw(TEXT + b'data: {"choices":[{"del\n\n' + STOP + DONE),
    "not JSON": Fault.raw(TEXT + b"data: hello\n\n"),
    "JSON, but no chunk": Fault.raw(TEXT + b"data: [1]\n\n"),
    "a content that is no text": Fault.raw(
        TEXT + event({"choices": [{"delta": {"content": 5}}]}) + STOP + DONE
    ),
    "an HTML page": Fault.html(),
    "an error in JSON with 200": Fault.raw(
        json.dumps({"error": {"message": "no such model", "code": 404}}).encode(),
        content_type="application/json",
    ),
    "JSON of another kind": Fault.raw(b'{"hello": 1}', content_type="application/json"),
    "no event at all": Fault.raw(),
    "[DONE] alone": Fault.raw(DONE),
    "comments alone": Fault.raw(b": hi\n\n"),
    "cut before the first event": Fault.cut(),
    "nothing comes any more": Fault.raw(TEXT, end="stall"),
    "nothing comes from the start": Fault.stall(),
    "only heartbeats come": Fault.heartbeats(after=2, interval=0.1),
    "only heartbeats from the start": Fault.heartbeats(interval=0.1),
    "a line that never ends": Fault.never_ends(MAX_EVENT_BYTES + 1_000_000),
}


def cases(simulated: str) -> Iterator[Case]:
    for name, (data, text) in RIGHT.items():
        yield Case(name, Fault.raw(data), text)
    yield Case(
        "gzip in one piece", Fault.raw(gzip.compress(HELLO), content_encoding="gzip"), "Hello"
    )
    yield Case("left open behind the finish_reason", Fault.raw(TEXT + STOP, end="stall"), "Hello")
    for name, fault in WRITTEN.items():
        yield Case(f"written: {name}", fault, simulated)
    for name, (deltas, calls) in CALLS.items():
        body = b"".join(event(piece(tool_calls=[delta])) for delta in deltas)
        fault = Fault.raw(body + event(piece(finish="tool_calls")) + DONE)
        yield Case(f"tool calls: {name}", fault, "", calls)
    for name, fault in BROKEN.items():
        yield Case(name, fault, None)
    second = {"index": 1, "delta": {"content": "Hel"}, "finish_reason": None}
    both = TEXT + STOP + event({"id": "c", "choices": [second]})
    yield Case("one of two choices has no end", Fault.raw(both), None, (), {"n": 2}, "HelloHello")


# --- the clients ------------------------------------------------------------------------------


def our_reader(base_url: str) -> Reader:
    timeouts = Timeouts(first_token=IDLE, idle=IDLE)
    retry = RetryPolicy(jitter=lambda _delay: 0.0)

    async def read(case: Case) -> Answer:
        # A client for each: one that met so many faults in a row would spare the service.
        async with LaplasClient(KEY, base_url, timeouts=timeouts, retry=retry) as client:
            if case.plain:
                completion = await client.complete(PROMPT, **case.keywords)
            else:
                async with client.stream(PROMPT, **case.keywords) as stream:
                    completion = await stream.completion()
        calls = tuple(
            (call.id, call.function.name, call.function.arguments) for call in completion.tool_calls
        )
        return Answer("".join(choice.message.text for choice in completion.choices), calls)

    return read


def openai_reader(client: Any) -> Reader:
    """The loop of its documents, for text and for tool calls (put together by their index)."""

    async def read(case: Case) -> Answer:
        text = ""
        calls: dict[int, list[str]] = {}
        messages = [{"role": "user", "content": PROMPT}]
        if case.plain:
            completion = await client.chat.completions.create(model="any", messages=messages)
            if completion.choices[0].finish_reason is None:
                raise AssertionError("not a completion")  # of ours: what a careful program checks
            return Answer(completion.choices[0].message.content or "")
        async with await client.chat.completions.create(
            model="any", messages=messages, stream=True, **case.keywords
        ) as stream:
            async for chunk in stream:
                if not chunk.choices:
                    continue
                delta = chunk.choices[0].delta
                text += delta.content or ""
                for part in delta.tool_calls or ():
                    call = calls.setdefault(part.index, ["", "", ""])
                    call[0] = part.id or call[0]
                    call[1] = part.function.name or call[1]
                    call[2] += part.function.arguments or ""
        return Answer(text, tuple((call[0], call[1], call[2]) for call in calls.values()))

    return read


async def verdict(case: Case, read: Reader, own: type[Exception]) -> str:
    """What one client makes of one case, in words."""
    bound = PEER_TIMEOUT if case.fault.end in ("stall", "open") else SLOW
    try:
        async with asyncio.timeout(bound + 0.5) as scope:  # the client's own bound comes first
            answer = await read(case)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked for
        if scope.expired():
            return f"hung > {bound:g} s"
        name = type(error).__name__
        if not isinstance(error, own):
            return f"WRONG: crashed with {type(error).__module__.partition('.')[0]}.{name}"
        return f"reported ({name})" if case.text is None else f"WRONG: refused with {name}"
    if case.text is None:
        return f"WRONG: accepted {len(answer.text)} of {len(case.whole)} characters as whole"
    if answer == Answer(case.text, case.calls):
        return "exact"
    if case.calls:
        if len(answer.calls) != len(case.calls):
            return f"WRONG: read {len(answer.calls)} of {len(case.calls)} calls"
        return f"WRONG: read {answer.calls}"
    try:
        answer.text.encode()
    except UnicodeEncodeError:
        return "WRONG: text that cannot be encoded"
    return f"WRONG: read {len(answer.text)} characters, not the {len(case.text)}"


def is_right(words: str) -> bool:
    return words == "exact" or words.startswith("reported")


async def run_all(simulator: Simulator) -> None:
    async with LaplasClient(KEY, simulator.base_url) as ours:
        simulated = (await ours.complete(PROMPT)).text
        readers: dict[str, tuple[Reader, type[Exception]]] = {
            f"laplas_async {laplas_async.__version__}": (
                our_reader(simulator.base_url),
                LaplasError,
            )
        }
        peer = None
        try:
            openai: Any = importlib.import_module("openai")
        except ImportError:
            print("openai-python is not installed: left out (requirements-peers.txt)\n")
        else:
            peer = openai.AsyncOpenAI(
                api_key=KEY, base_url=simulator.base_url, max_retries=2, timeout=PEER_TIMEOUT
            )
            name = f"openai-python {importlib.metadata.version('openai')}"
            readers[name] = (openai_reader(peer), openai.OpenAIError)
        try:
            await print_table(simulator, list(cases(simulated)), readers)
            await print_reports(simulator, readers)
        finally:
            if peer is not None:
                await peer.close()


async def print_table(
    simulator: Simulator, listed: list[Case], readers: dict[str, tuple[Reader, type[Exception]]]
) -> None:
    print("| fault | what is right | " + " | ".join(readers) + " |")
    print("|---|---|" + "---|" * len(readers))
    right = dict.fromkeys(readers, 0)
    for case in listed:
        simulator.script_always(case.fault)
        row = [case.name, case.right]
        for name, (read, own) in readers.items():
            words = await verdict(case, read, own)
            right[name] += is_right(words)
            row.append(words.replace("|", "\\|"))
        print("| " + " | ".join(row) + " |", flush=True)
    counted = ", ".join(f"{name} {count}" for name, count in right.items())
    print(f"\nRight, of {len(listed)}: {counted}. Python {platform.python_version()}.")


async def judge_report(
    simulator: Simulator, report: Report, read: Reader, own: type[Exception]
) -> str:
    """What one client makes of a case of ``fault_classes``, in words."""
    simulator.script(*report.faults[:-1])
    simulator.script_always(report.faults[-1])
    before = simulator.counts.requests
    case = Case(report.name, Fault.raw(), report.text, plain=report.plain)
    said = ""
    try:
        async with asyncio.timeout(SLOW) as scope:
            answer = await read(case)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked for
        if scope.expired():
            return f"WRONG: hung > {SLOW:g} s"
        said, name = str(error), type(error).__name__
        if not isinstance(error, own):
            words = f"WRONG: crashed with {type(error).__module__.partition('.')[0]}.{name}"
        elif report.text is not None:
            words = f"WRONG: refused with {name}"
        elif report.says not in said:
            words = f"WRONG: {name} without the message"
        else:
            words = f"reported ({name})"
    else:
        calls = tuple((name, arguments) for _, name, arguments in answer.calls)
        if report.text is None:
            words = f"WRONG: accepted {answer.text!r}"
        elif calls != report.calls or report.text not in ("*", answer.text):
            words = f"WRONG: read {answer.text or calls!r}"
        else:
            words = "exact"
    requests = simulator.counts.requests - before
    if requests > report.most:
        words = f"WRONG: {words.removeprefix('WRONG: ')}, after {requests} requests"
    return words


async def print_reports(
    simulator: Simulator, readers: dict[str, tuple[Reader, type[Exception]]]
) -> None:
    """The table of the classes of public reports."""
    print("\n| class and case | " + " | ".join(readers) + " |")
    print("|---|" + "---|" * len(readers))
    listed = list(reports())
    right = dict.fromkeys(readers, 0)
    for report in listed:
        row = [report.name]
        for name, (read, own) in readers.items():
            words = await judge_report(simulator, report, read, own)
            right[name] += is_right(words)
            row.append(words.replace("|", "\\|"))
        print("| " + " | ".join(row) + " |", flush=True)
    counted = ", ".join(f"{name} {count}" for name, count in right.items())
    print(f"\nRight, of {len(listed)}: {counted}.")


async def main() -> None:
    async with Simulator() as simulator:
        await run_all(simulator)


if __name__ == "__main__":
    asyncio.run(main())
