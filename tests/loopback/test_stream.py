"""Streams over a real socket: each right one is read exactly, each broken one is reported."""

import asyncio
import gc
import gzip
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from laplas_async import (
    BadRequestError,
    ChatCompletion,
    ChatCompletionChunk,
    ChatStream,
    ConfigError,
    LaplasClient,
    Message,
    RequestTimeoutError,
    RetryPolicy,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    Timeouts,
)
from laplas_async.simulator import Fault, Simulator
from laplas_async.streaming.reader import StreamReader
from laplas_async.wire.codec import structure
from laplas_async.wire.sse import MAX_EVENT_BYTES

PROMPT = "Name a river, with 日本 and 🙂."

WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "short": {"max_tokens": 1},
    "several choices": {"n": 3},
    "log probabilities": {"logprobs": True, "top_logprobs": 4},
    "choices with log probabilities": {"n": 2, "logprobs": True},
    "a stop string": {"stop": "the"},
    "echo": {"echo": True},
    "a tool call": {"tools": [WEATHER], "tool_choice": "required"},
    "JSON": {"response_format": {"type": "json_object"}},
    "a seed": {"seed": 12},
}


def event(body: Any) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def piece(content: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    if content is not None:
        delta["content"] = content
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


DONE = b"data: [DONE]\n\n"
STOP = event(piece(finish="stop"))


async def read(client: LaplasClient, **keywords: Any) -> ChatCompletion:
    stream: ChatStream = client.stream(PROMPT, **keywords)
    async with stream:
        return await stream.completion()


# --- right streams ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
async def test_streamed_equals_unstreamed(client: LaplasClient, shape: str) -> None:
    plain = await client.complete(PROMPT, **SHAPES[shape])
    assert await read(client, **SHAPES[shape]) == plain


@pytest.mark.parametrize(
    "fault",
    [
        Fault.written(line_end="\r\n"),
        Fault.written(line_end="\r"),
        Fault.written(line_end="\r", chunk=1),
        Fault.written(line_end="\r\n", chunk=1),
        Fault.written(bom=True),
        Fault.written(bom=True, chunk=1),
        Fault.written(space=False),
        Fault.written(comments=True),
        Fault.written(multiline=True),
        Fault.written(chunk=1),
        Fault.written(chunk=7),
        Fault.written(per_write=5),
        Fault.gzip(),
        Fault.http10(),
        Fault.no_done(),
        Fault.keep_open(),
        Fault.json_instead(),
    ],
    ids=repr,
)
async def test_however_it_is_written(
    client: LaplasClient, simulator: Simulator, fault: Fault
) -> None:
    plain = await client.complete(PROMPT)
    simulator.script(fault)
    assert await read(client) == plain
    assert simulator.counts.requests == 2


HELLO = event(piece("Hel", role="assistant")) + event(piece("lo")) + STOP + DONE

RIGHT: dict[str, tuple[bytes, str]] = {
    "as the standard has it": (HELLO, "Hello"),
    "event, id and retry lines": (b"event: chunk\nid: 7\nretry: 10\n" + HELLO, "Hello"),
    "a retry line alone": (b"retry: 3000\n\n" + HELLO, "Hello"),
    "an unknown kind of event": (b"event: ping\ndata: now\n\n" + HELLO, "Hello"),
    "an event with empty data": (b"data:\n\ndata: \n\n" + HELLO, "Hello"),
    "U+2028 in the text": (event(piece("a\u2028b", "stop")) + DONE, "a\u2028b"),
    "a raw U+2028": (
        'data: {"choices":[{"delta":{"content":"a\u2028b"},"finish_reason":"stop"}]}\n\n'.encode(),
        "a\u2028b",
    ),
    "choices empty, missing, null": (
        event({"choices": []}) + event({"id": "x"}) + event({"choices": None}) + HELLO,
        "Hello",
    ),
    "delta missing or null": (
        event({"choices": [{"index": 0}]}) + event({"choices": [{"delta": None}]}) + HELLO,
        "Hello",
    ),
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
    "[DONE] with no finish_reason": (event(piece("Hello")) + DONE, "Hello"),
    "a finish_reason nobody knows": (event(piece("Hello", "because")) + DONE, "Hello"),
    "content in parts": (
        event({"choices": [{"delta": {"content": [{"type": "text", "text": "Hello"}]}}]}) + STOP,
        "Hello",
    ),
    "a character in two halves": (
        b"""data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n
data: {"choices":[{"delta":{"content":"\\ude42b"},"finish_reason":"stop"}]}\n\n""",
        "a🙂b",
    ),
    "half a character": (
        b'data: {"choices":[{"delta":{"content":"a\\ud83d"},"finish_reason":"stop"}]}\n\n',
        "a\ufffd",
    ),
    "bytes that are no UTF-8": (
        b'data: {"choices":[{"delta":{"content":"a\xff"},"finish_reason":"stop"}]}\n\n',
        "a\ufffd",
    ),
    "an event of a megabyte": (event(piece("x" * 1_000_000, "stop")) + DONE, "x" * 1_000_000),
    "whole JSON in place of a stream": (
        orjson.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}),
        "Hello",
    ),
}


@pytest.mark.parametrize("cut", [None, 1, 1000], ids=["whole", "byte by byte", "in pieces"])
@pytest.mark.parametrize("name", RIGHT)
async def test_a_right_stream_is_read_exactly(
    client: LaplasClient, simulator: Simulator, name: str, cut: int | None
) -> None:
    data, text = RIGHT[name]
    if cut == 1 and len(data) > 10_000:
        cut = 100
    simulator.script(Fault.raw(data=data, chunk=cut))
    completion = await read(client)
    assert completion.text == text
    assert completion.text.encode()
    assert simulator.counts.requests == 1


TOKENS = ["Der", " Fluß", '"', "", "\n", "河", "🙂", '"},{"', "\\", " The", " end"] * 3


def as_gateways(number: int, text: str) -> dict[str, Any]:
    return {**piece(text), "id": f"c-{number}", "created": 10 + number // 4}


def as_openai(number: int, text: str) -> dict[str, Any]:
    return {**piece(text), "obfuscation": "x" * (number * 7 % 16)}


def as_together(number: int, text: str) -> dict[str, Any]:
    body = piece(text, token_id=number * 31, role="assistant", tool_calls=None)
    body["choices"][0] |= {"text": text, "seed": None}
    return body


@pytest.mark.parametrize("cut", [None, 7, 100])
@pytest.mark.parametrize("write", [as_gateways, as_openai, as_together])
async def test_events_with_more_than_their_text_of_their_own(
    client: LaplasClient, simulator: Simulator, write: Any, cut: int | None
) -> None:
    head = {"object": "chat.completion.chunk", "created": 17, "model": "m"}
    bodies = [head | write(number, text) for number, text in enumerate(TOKENS)]
    data = b"".join(map(event, bodies)) + STOP + DONE
    simulator.script(Fault.raw(data=data, chunk=cut), Fault.raw(data=data, chunk=cut))
    async with client.stream(PROMPT) as stream:
        chunks = [chunk async for chunk in stream]
        completion = await stream.completion()
    assert chunks[:-1] == [structure(body, ChatCompletionChunk) for body in bodies]
    last = bodies[-1]
    assert completion.text == "".join(TOKENS)
    assert completion.id == bodies[0]["id"]
    assert completion.extra.get("obfuscation") == last.get("obfuscation")
    assert completion.message.extra.get("token_id") == last["choices"][0]["delta"].get("token_id")
    async with client.stream(PROMPT) as stream:
        assert [text async for text in stream.text()] == [text for text in TOKENS if text]


async def test_gzip_in_one_piece(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script(Fault.raw(data=gzip.compress(HELLO), content_encoding="gzip"))
    assert (await read(client)).text == "Hello"


async def test_partial_usage_is_put_together(client: LaplasClient, simulator: Simulator) -> None:
    data = (
        event({**piece("Hello"), "usage": {"prompt_tokens": 3}})
        + event({**piece(finish="stop"), "usage": {"completion_tokens": 2, "total_tokens": 5}})
        + DONE
    )
    simulator.script(Fault.raw(data=data))
    usage = (await read(client)).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 2, 5)


CALLS: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str, str]]]] = {
    "index missing": (
        [
            {"id": "a", "function": {"name": "f", "arguments": "{"}},
            {"function": {"arguments": "}"}},
            {"id": "b", "function": {"name": "g", "arguments": "{}"}},
        ],
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "index from 1": (
        [
            {"index": 1, "id": "a", "function": {"name": "f", "arguments": "{"}},
            {"index": 1, "function": {"arguments": "}"}},
        ],
        [("a", "f", "{}")],
    ),
    "the same index with a new id is a new call": (
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
            {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{"}},
            {"index": 0, "function": {"arguments": "}"}},
        ],
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "id and name in every piece": (
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}},
        ],
        [("a", "f", "{}")],
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_tool_calls_as_servers_tell_them(
    client: LaplasClient, simulator: Simulator, name: str
) -> None:
    deltas, calls = CALLS[name]
    data = b"".join(event(piece(tool_calls=[delta])) for delta in deltas)
    simulator.script(Fault.raw(data=data + event(piece(finish="tool_calls")) + DONE))
    completion = await read(client)
    assert [(c.id, c.function.name, c.function.arguments) for c in completion.tool_calls] == calls
    assert completion.message.content is None


async def test_tokens_are_handed_out_as_they_come(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=3))  # the rest never comes
    async with client.stream(PROMPT) as stream:
        pieces = [text async for text in Take(stream.text(), 3)]
    assert len(pieces) == 3
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)


class Take:
    """The first few of an async iterator."""

    def __init__(self, source: Any, count: int) -> None:
        self.source, self.left = source, count

    def __aiter__(self) -> "Take":
        return self

    async def __anext__(self) -> Any:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return await anext(self.source)


async def test_unknown_fields_are_kept(client: LaplasClient, simulator: Simulator) -> None:
    first = {**piece("Hi", reasoning="so "), "system_fingerprint": "fp", "new": [1]}
    data = event(first) + event(piece(finish="stop", reasoning="what")) + DONE
    simulator.script(Fault.raw(data=data))
    async with client.stream(PROMPT) as stream:
        chunk = await anext(stream)
        assert chunk.extra == {"system_fingerprint": "fp", "new": [1]}
        assert chunk.choices[0].delta.extra == {"reasoning": "so "}
        completion = await stream.completion()
    assert completion.extra == {"system_fingerprint": "fp", "new": [1]}
    assert completion.message.extra == {"reasoning": "so what"}


# --- broken streams ---------------------------------------------------------------------------

TEXT = event(piece("Hel")) + event(piece("lo"))

BROKEN: dict[str, tuple[Fault, type[StreamError], str]] = {
    "cut in the middle": (Fault.raw(data=TEXT, end="cut"), StreamTruncatedError, "Hello"),
    "reset in the middle": (Fault.raw(data=TEXT, end="reset"), StreamTruncatedError, "Hello"),
    "a clean end, but no end": (Fault.raw(data=TEXT), StreamTruncatedError, "Hello"),
    "cut inside an event": (
        Fault.raw(data=TEXT + event(piece("more"))[:40], end="cut"),
        StreamTruncatedError,
        "Hello",
    ),
    "a clean end inside an event": (
        Fault.raw(data=TEXT + event(piece("more"))[:40]),
        StreamTruncatedError,
        "Hello",
    ),
    "cut behind [DONE] with no finish_reason": (
        Fault.raw(data=TEXT + DONE, end="cut"),
        StreamTruncatedError,
        "Hello",
    ),
    "an error event of this service": (
        Fault.raw(data=TEXT + event({"message": "Bad Gateway", "statusCode": "502"})),
        StreamAPIError,
        "Hello",
    ),
    "an error event of OpenAI's shape": (
        Fault.raw(data=TEXT + event({"error": {"message": "no", "type": "t", "code": None}})),
        StreamAPIError,
        "Hello",
    ),
    "an error event that is text": (
        Fault.raw(data=TEXT + b"event: error\ndata: overloaded\n\n"),
        StreamAPIError,
        "Hello",
    ),
    "an error event with a short text": (
        Fault.raw(data=TEXT + event({"error": "overloaded"})),
        StreamAPIError,
        "Hello",
    ),
    "an error beside choices": (
        Fault.raw(data=TEXT + event({**piece(finish="error"), "error": {"message": "no"}})),
        StreamAPIError,
        "Hello",
    ),
    "cut JSON": (
        Fault.raw(data=TEXT + b'data: {"choices":[{"del\n\n' + STOP + DONE),
        StreamProtocolError,
        "Hello",
    ),
    "not JSON": (Fault.raw(data=TEXT + b"data: hello\n\n"), StreamProtocolError, "Hello"),
    "JSON, but no chunk": (Fault.raw(data=TEXT + b"data: [1]\n\n"), StreamProtocolError, "Hello"),
    "a content that is no text": (
        Fault.raw(data=TEXT + event({"choices": [{"delta": {"content": 5}}]})),
        StreamProtocolError,
        "Hello",
    ),
    "an error whose words break its JSON": (
        Fault.broken_error(),
        StreamProtocolError,
        "",
    ),
    "an HTML page": (Fault.html(), StreamProtocolError, ""),
    "an error in JSON with 200": (
        Fault.raw(data=orjson.dumps({"error": {"message": "no such model", "code": 404}})),
        StreamAPIError,
        "",
    ),
    "JSON of another kind": (Fault.raw(data=b'{"hello": 1}'), StreamProtocolError, ""),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_is_reported(
    client: LaplasClient, simulator: Simulator, name: str
) -> None:
    fault, error, partial = BROKEN[name]
    simulator.script(fault)
    with pytest.raises(error) as caught:
        await read(client)
    assert caught.value.partial.text == partial
    assert caught.value.request_id
    assert len(caught.value.attempts) == 1
    assert simulator.counts.requests == 1
    assert await simulator.wait_idle()


@pytest.mark.parametrize(
    "fault",
    [Fault.empty(), Fault.raw(data=DONE), Fault.raw(data=b": hi\n\n"), Fault.cut()],
    ids=repr,
)
async def test_a_stream_that_breaks_before_its_first_content_is_asked_again(
    client: LaplasClient, simulator: Simulator, fault: Fault
) -> None:
    simulator.script(fault)
    completion = await read(client)
    assert completion.text
    first, second = completion.attempts
    assert first.error is not None
    assert first.error.startswith("StreamTruncatedError")
    assert first.may_be_billed
    assert second.error is None
    assert simulator.counts.requests == 2


async def test_nothing_is_asked_twice_once_text_has_come(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.error_event(after=1, body={"statusCode": 503, "message": "gone"}))
    with pytest.raises(StreamAPIError) as caught:
        await read(client)
    assert caught.value.status == 503
    assert simulator.counts.requests == 1


async def test_an_error_event_before_any_text_is_retried_by_its_status(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.error_event(after=0, body={"statusCode": 503, "message": "gone"}))
    assert (await read(client)).text
    assert simulator.counts.requests == 2


async def test_a_page_is_quoted(client: LaplasClient, simulator: Simulator) -> None:
    page = b"<!DOCTYPE html><html><title>Gateway</title><body>We are <b>tired</b></body></html>"
    simulator.script(Fault.raw(data=page, content_type="text/html"))
    with pytest.raises(StreamProtocolError, match="Gateway We are tired"):
        await read(client)


async def test_a_line_that_never_ends_is_bounded(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.never_ends(MAX_EVENT_BYTES + 1_000_000))
    with pytest.raises(StreamProtocolError, match="larger than"):
        await read(client)


async def test_the_error_is_raised_again_not_forgotten(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.raw(data=TEXT, end="cut"))
    async with client.stream(PROMPT) as stream:
        for _ in range(2):
            with pytest.raises(StreamTruncatedError):
                await stream.completion()
        assert stream.partial.text == "Hello"


# --- time -------------------------------------------------------------------------------------


async def test_no_first_token(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script(Fault.stall(), Fault.heartbeats(interval=0.01), None)
    timeouts = Timeouts(first_token=0.05)
    completion = await read(client, timeouts=timeouts)
    assert [a.error is not None and "first_token" in a.error for a in completion.attempts] == [
        True,
        True,
        False,
    ]


async def test_no_first_token_at_last(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script_always(Fault.stall())
    with pytest.raises(RequestTimeoutError) as caught:
        await read(client, timeouts=Timeouts(first_token=0.01))
    assert caught.value.phase == "first_token"
    assert all(attempt.may_be_billed for attempt in caught.value.attempts)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.stall(after=2),
        Fault.heartbeats(after=2, interval=0.01),
        Fault.raw(data=TEXT + event(piece("")) + event({"choices": []}), end="stall"),
    ],
    ids=repr,
)
async def test_only_content_is_a_sign_of_life(
    client: LaplasClient, simulator: Simulator, fault: Fault
) -> None:
    simulator.script(fault)
    with pytest.raises(StreamTimeoutError) as caught:
        await read(client, timeouts=Timeouts(idle=0.1))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.phase == "idle"
    assert caught.value.partial.text
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)


async def test_a_slow_reader_is_not_a_silent_server(
    client: LaplasClient, simulator: Simulator
) -> None:
    # The reader takes so long for one chunk that the watchdog checks more than once.
    async with client.stream(PROMPT, timeouts=Timeouts(idle=0.01)) as stream:
        await anext(stream)
        reader = stream._reader
        assert reader is not None
        for _ in range(3):
            timer = reader._watchdog._timer
            while reader._watchdog._timer is timer:
                await asyncio.sleep(0)
        assert (await stream.completion()).text


async def test_a_total_for_a_stream(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script(Fault.stall(after=2))
    with pytest.raises(StreamTimeoutError) as caught:
        await read(client, timeouts=0.1)
    assert caught.value.phase == "total"
    assert caught.value.partial.text


async def test_the_idle_timeout_is_short_after_the_last_finish_reason(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.raw(data=TEXT + STOP, end="stall"))
    completion = await read(client, timeouts=Timeouts(idle=0.05))
    assert completion.text == "Hello"  # complete: every choice had its finish_reason


# --- a large event, decoded in a thread -------------------------------------------------------

LARGE_TEXT = 'Er sagte: "Das Wasser fließt." 🙂 河流\\n' * 20_000


def large_event(simulator: Simulator) -> None:
    data = event(piece("first ")) + event(piece(LARGE_TEXT)) + event(piece(" last")) + STOP + DONE
    simulator.script(Fault.raw(data=data))


async def test_a_large_event_in_its_place(client: LaplasClient, simulator: Simulator) -> None:
    large_event(simulator)
    async with client.stream(PROMPT) as stream:
        texts = [text async for text in stream.text()]
    assert texts == ["first ", LARGE_TEXT, " last"]
    assert (await stream.completion()).text == "".join(texts)


async def until_a_thread_decodes(stream: ChatStream) -> None:
    while stream._reader is None or stream._reader._large is None:
        await asyncio.sleep(0)


async def test_cancelling_while_a_thread_decodes_loses_nothing(
    client: LaplasClient, simulator: Simulator
) -> None:
    large_event(simulator)
    async with client.stream(PROMPT) as stream:
        reader = asyncio.create_task(stream.completion())
        await until_a_thread_decodes(stream)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert (await stream.completion()).text == f"first {LARGE_TEXT} last"


async def test_closing_while_a_thread_decodes(client: LaplasClient, simulator: Simulator) -> None:
    large_event(simulator)
    async with client.stream(PROMPT) as stream:
        reader = asyncio.create_task(stream.completion())
        await until_a_thread_decodes(stream)
        await stream.aclose()
        with pytest.raises(StreamTruncatedError) as caught:
            await reader
    assert caught.value.partial.text == "first "


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (event({"error": {"message": "x" * 400_000}}), StreamAPIError),
        (b"data: {" + b"x" * 400_000 + b"\n\n", StreamProtocolError),
    ],
)
async def test_a_large_event_that_is_none(
    client: LaplasClient, simulator: Simulator, data: bytes, error: type[StreamError]
) -> None:
    simulator.script(Fault.raw(data=event(piece("first ")) + data))
    with pytest.raises(error) as caught:
        await read(client)
    assert caught.value.partial.text == "first "


# --- how it is used ---------------------------------------------------------------------------


async def test_it_must_be_entered(client: LaplasClient) -> None:
    stream = client.stream(PROMPT)
    with pytest.raises(ConfigError, match="async with"):
        await anext(stream)
    await stream.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await stream.start()


async def test_closing_after_a_failed_request_does_nothing(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.status(400))
    stream = client.stream(PROMPT)
    with pytest.raises(BadRequestError):
        await stream.start()
    await stream.aclose()
    await stream.aclose()


async def test_closing_twice_while_it_is_being_opened(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=0))
    stream = client.stream(PROMPT)
    opening = asyncio.create_task(stream.start())
    assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=20)
    closing = [asyncio.create_task(stream.aclose()) for _ in range(3)]
    with pytest.raises(StreamTruncatedError):
        await opening
    await asyncio.gather(*closing)
    await stream.aclose()


def answers() -> set[int]:
    """Those in memory, by their ids: an error of another test may hold some."""
    return {id(known) for known in gc.get_objects() if isinstance(known, StreamReader)}


async def test_what_has_ended_is_free_at_once(client: LaplasClient) -> None:
    await read(client)
    gc.collect()
    gc.disable()  # no cycle is left to the collector
    try:
        before = answers()
        for _ in range(3):
            await read(client)
        assert answers() <= before
    finally:
        gc.enable()


async def nothing_is_kept(before: set[int]) -> bool:
    """Whether none is left but those; the loop drops a closed connection in its next turns."""
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    return answers() <= before


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.stall, (RequestTimeoutError, StreamTimeoutError)),
        (Fault.cut, StreamTruncatedError),
        (Fault.reset, StreamTruncatedError),
        (Fault.error_event, StreamAPIError),
    ],
)
async def test_what_has_failed_is_not_kept(
    key: str, simulator: Simulator, fault: Callable[..., Fault], error: Any, after: int
) -> None:
    timeouts = Timeouts(first_token=0.05, idle=0.05)
    simulator.script_always(fault(after=after))
    gc.collect()
    before = answers()
    async with LaplasClient(
        key, simulator.base_url, timeouts=timeouts, retry=RetryPolicy(max_attempts=1)
    ) as client:
        for _ in range(3):
            with pytest.raises(error):
                await read(client)
        assert await nothing_is_kept(before)


async def test_what_was_closed_under_its_reader_is_not_kept(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script_always(Fault.stall(after=1))
    gc.collect()
    before = answers()
    for _ in range(3):
        async with client.stream(PROMPT) as stream:
            while not (await anext(stream)).text:
                pass
            reader = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
        with pytest.raises(StreamTruncatedError):
            await reader
        del stream, reader
    assert await nothing_is_kept(before)


async def test_a_connection_read_to_done_is_used_again(
    client: LaplasClient, simulator: Simulator
) -> None:
    for _ in range(5):
        await read(client)
    assert simulator.counts.connections == 1


async def test_leaving_early_makes_completion_an_error(client: LaplasClient) -> None:
    async with client.stream(PROMPT) as stream:
        async for _ in stream:
            break
    with pytest.raises(StreamTruncatedError, match="closed"):
        await stream.completion()
    assert stream.partial.choices


async def test_two_readers_at_once_are_refused(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script(Fault.stall(after=1))
    async with client.stream(PROMPT) as stream:
        async for chunk in stream:
            if chunk.text:
                break
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(ConfigError, match="another task"):
            await anext(stream)
        await stream.aclose()
        with pytest.raises(StreamTruncatedError):
            await first


async def test_a_streamed_message_goes_back_as_it_is(client: LaplasClient) -> None:
    completion = await read(client)
    again = await client.complete(
        [Message("user", PROMPT), completion.message, Message("user", "More.")]
    )
    assert again.text
