"""Streams with the faults of real servers: the text is complete, or an error is raised (law 1)."""

import json
from typing import Any

import pytest

from laplas_async import (
    ConfigError,
    LaplasClient,
    RetryPolicy,
    ServerError,
    StreamAPIError,
    StreamProtocolError,
    StreamTruncatedError,
    to_dict,
)
from laplas_async.simulator import Fault, Simulator

DONE = b"data: [DONE]\n\n"


def chunk(delta: Any = None, reason: Any = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "finish_reason": reason, **fields}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice]}


def event(body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def said(text: str, reason: Any = None) -> bytes:
    return event(chunk({"content": text}, reason))


def ended(reason: str = "stop") -> bytes:
    return event(chunk({}, reason))


def whole(message: dict[str, Any], **choice: Any) -> dict[str, Any]:
    choices = [{"index": 0, "message": message, "finish_reason": "stop", **choice}]
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": choices}


LINES = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (chunk({"content": "He"}), chunk({"content": "llo"}), chunk({}, "stop"))
)
COMPLETE = {
    "an empty reason in each chunk": (said("He", ""), said("llo", ""), ended(), DONE),
    "an empty reason, without the end marker": (said("He", ""), said("llo", ""), ended()),
    "stop in every chunk": (said("He", "stop"), said("llo", "stop"), DONE),
    "stop in every chunk, and alone": (said("He", "stop"), said("llo", "stop"), ended()),
    "stop in the first chunk, which has no text": (
        event(chunk({"role": "assistant"}, "stop")),
        said("Hello"),
        ended(),
    ),
    "stop after the thoughts": (
        event(chunk({"reasoning_content": "hm"})),
        ended(),
        said("Hello"),
        ended(),
    ),
    "stop with the thoughts, then with the text": (
        event(chunk({"reasoning": "hm"})),
        ended(),
        said("He"),
        said("llo", "stop"),
    ),
    "a message instead of a delta": (event(whole({"role": "assistant", "content": "Hello"})), DONE),
    "messages in pieces": (
        event(whole({"content": "He"}, finish_reason=None)),
        event(whole({"content": "llo"})),
    ),
    "deltas, then the whole message again": (
        said("He"),
        said("llo"),
        event(whole({"role": "assistant", "content": "Hello"})),
    ),
    "parts of text": (
        event(chunk({"content": [{"type": "text", "text": "He"}]})),
        event(chunk({"content": [{"type": "text", "text": "llo"}]})),
        ended(),
    ),
    "single newlines": (
        said("He").strip() + b"\n" + said("llo").strip() + b"\n" + ended().strip() + b"\n",
        b"data: [DONE]\n",
    ),
    "a comment inside data": (b"data: : PROCESSING\n\n", said("Hello"), ended(), DONE),
    "a completion with the end marker": (
        json.dumps(whole({"content": "Hello"})).encode() + b"\n\n",
        DONE,
    ),
    "an unknown reason": (said("Hello"), ended("eos"), DONE),
    "false for no reason": (event(chunk({"content": "He"}, reason=False)), said("llo"), ended()),
    "a message beside a delta without content": (
        event(whole({"content": "Hello"}, delta={"role": "assistant", "content": ""})),
        DONE,
    ),
    "a message that is text": (event({"choices": [{"message": "Hello"}]}), DONE),
    "text, as in the older completions API": (
        event({"choices": [{"index": 0, "text": "He", "finish_reason": None}]}),
        event({"choices": [{"index": 0, "text": "llo", "finish_reason": "stop"}]}),
    ),
    "a part that is text": (event(chunk({"content": ["He", "llo"]}, "stop")), DONE),
    "lines of JSON": (LINES,),
    "lines of JSON without the last line end": (LINES.rstrip(),),
    "lines of JSON and the end marker": (LINES, b"[DONE]\n"),
    "a list of chunks": (b"[" + LINES.strip().replace(b"\n", b",") + b"]",),
    "single newlines, each with the kind of its event": tuple(
        b"event: message\n" + piece.strip() + b"\n" for piece in (said("He"), said("llo"), ended())
    ),
    "a comment inside data, before a chunk in the same event": (
        b"data: : PROCESSING\n" + said("Hello"),
        DONE,
    ),
    "heartbeats inside data": (
        b"data: [PING]\n\ndata: keep-alive\n\ndata: null\n\n",
        said("Hello", "stop"),
    ),
    "the end marker as JSON": (said("Hello"), b'data: "[DONE]"\n\n'),
    "the end marker in small letters": (said("Hello"), b"data: [done]\n\n"),
}


@pytest.mark.parametrize("pieces", COMPLETE.values(), ids=COMPLETE.keys())
@pytest.mark.parametrize("size", [None, 1], ids=["whole", "byte by byte"])
async def test_the_text_is_complete(
    client: LaplasClient, simulator: Simulator, pieces: tuple[bytes, ...], size: int | None
) -> None:
    simulator.script_always(Fault.raw(b"".join(pieces), chunk=size))
    async with client.stream("Anything.") as stream:
        texts = [text async for text in stream.text()]
        completion = await stream.completion()
    assert "".join(texts) == completion.text == "Hello"
    assert simulator.counts.requests == 1


TRUNCATED = {
    "an empty reason in each chunk": (said("He", ""), said("l", "")),
    "stop in every chunk": (said("He", "stop"), said("l", "stop")),
    "stop after the thoughts": (event(chunk({"reasoning": "hm"})), ended(), said("He"), said("l")),
    "stop before the text": (event(chunk({"role": "assistant"}, "stop")), said("He"), said("l")),
    "stop with the role, then in every chunk": (
        event(chunk({"role": "assistant"}, "stop")),
        said("He", "stop"),
        said("l", "stop"),
    ),
    "stop in the middle, before more events of the form": (
        said("H"),
        said("e"),
        ended(),
        said("l"),
    ),
    "lines of JSON": (
        json.dumps(chunk({"content": "He"})).encode() + b"\n",
        json.dumps(chunk({"content": "l"})).encode() + b"\n",
    ),
    "text that explains it": (said("He"), said("l"), b"Internal Server Error"),
    "single newlines": (said("He").strip() + b"\n", said("l").strip() + b"\n"),
}


@pytest.mark.parametrize("pieces", TRUNCATED.values(), ids=TRUNCATED.keys())
@pytest.mark.parametrize("size", [None, 1], ids=["whole", "byte by byte"])
async def test_a_premature_reason_does_not_hide_a_truncation(
    client: LaplasClient, simulator: Simulator, pieces: tuple[bytes, ...], size: int | None
) -> None:
    simulator.script_always(Fault.raw(b"".join(pieces), chunk=size))
    with pytest.raises(StreamTruncatedError) as caught:
        async with client.stream("Anything.") as stream:
            await stream.completion()
    assert caught.value.partial.text == "Hel"
    assert caught.value.partial.finish_reason is None
    assert simulator.counts.requests == 1


ERRORS = {
    "an error line": b'error: {"code": 400, "message": "n is wrong"}\n\n',
    "an error line before the end marker": b'error: {"code":400,"message":"n is wrong"}\n' + DONE,
    "bare JSON": b'{"error": {"code": 400, "message": "n is wrong"}}\n',
    "bare JSON over lines": b'{\n "error": {\n  "code": 400,\n  "message": "n is wrong"}\n}\n\n',
    "other names": event({"error_type": "bad_request", "error_message": "n is wrong"}),
    "an event of kind error": b'event: error\ndata: {"code": 400, "message": "n is wrong"}\n\n',
    "an error in a choice": event(chunk({}, None, error={"code": 400, "message": "n is wrong"})),
    "an error in a delta": event(chunk({"error": {"code": 400, "message": "n is wrong"}})),
    "an error line in capitals": b'Error: {"code": 400, "message": "n is wrong"}\n\n',
    "an exception": b'event: exception\ndata: {"code": 400, "message": "n is wrong"}\n\n',
    "a list": event([{"error": {"code": 400, "message": "n is wrong"}}]),
    "a bare list": b'[{"error": {"code": 400, "message": "n is wrong"}}]\n\n',
    "JSON in a string": event(json.dumps({"error": {"code": 400, "message": "n is wrong"}})),
    "a short name for the message": event({"code": 400, "msg": "n is wrong"}),
    "an error with a reason": event(
        chunk({}, "error", error={"code": 400, "message": "n is wrong"})
    ),
}
BEFORE = {
    "first": b"",
    "after a comment": b": ping\n\n",
    "after a role": event(chunk({"role": "assistant"})),
    "after text": said("Hel"),
    "after a form": said("H") + said("e") + said("l"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())
async def test_an_error_in_a_stream_is_raised_with_its_message_and_never_repeated(
    client: LaplasClient, simulator: Simulator, before: bytes, error: bytes
) -> None:
    simulator.script_always(Fault.raw(before + error))
    with pytest.raises(StreamAPIError, match="n is wrong") as caught:
        async with client.stream("Anything.") as stream:
            await stream.completion()
    assert caught.value.status == 400
    assert caught.value.partial.text == ("Hel" if b"content" in before else "")
    assert simulator.counts.requests == 1


@pytest.mark.parametrize("line", [b"error: ", b""], ids=["error line", "bare JSON"])
async def test_an_error_right_after_data_is_raised_although_no_blank_line_separates_them(
    client: LaplasClient, simulator: Simulator, line: bytes
) -> None:
    error = line + b'{"error": {"code": 400, "message": "n is wrong"}}\n\n'
    simulator.script_always(Fault.raw(said("Hel")[:-1] + error + DONE))
    with pytest.raises(StreamAPIError, match="n is wrong") as caught:
        async with client.stream("Anything.") as stream:
            await stream.completion()
    assert caught.value.partial.text == "Hel"


@pytest.mark.parametrize(
    "body",
    [event({"message": "n is wrong"}), b"event: info\ndata: n is wrong\n\n", b"n is wrong\n"],
    ids=["a message alone", "an unknown kind", "plain text"],
)
async def test_a_stream_without_chunks_is_not_repeated_where_the_service_explains_it(
    client: LaplasClient, simulator: Simulator, body: bytes
) -> None:
    simulator.script_always(Fault.raw(body))
    with pytest.raises(StreamProtocolError, match="n is wrong"):
        async with client.stream("Anything.") as stream:
            await stream.completion()
    assert simulator.counts.requests == 1


async def test_json_in_place_of_a_stream_that_is_cut_is_requested_again(
    client: LaplasClient, simulator: Simulator
) -> None:
    cut = json.dumps(whole({"content": "Hello"})).encode()[:60]
    simulator.script(Fault.raw(cut), Fault.raw(said("Hello", "stop")))
    async with client.stream("Anything.") as stream:
        assert (await stream.completion()).text == "Hello"
    assert simulator.counts.requests == 2


async def test_a_delay_that_an_error_event_asks_for_is_in_the_error(
    client: LaplasClient, simulator: Simulator
) -> None:
    error = {"error": {"code": 429, "message": "slow", "details": [{"retryDelay": "600s"}]}}
    simulator.script_always(Fault.raw(event(error)))
    with pytest.raises(StreamAPIError) as caught:
        await client.stream("Anything.").start()
    assert caught.value.retry_after == 600


async def test_the_finish_reasons_that_report_a_failure_are_configurable(
    simulator: Simulator, key: str
) -> None:
    reasons = LaplasClient.FAILED_FINISH_REASONS - {"abort"} | {"timeout"}
    simulator.script_always(Fault.raw(said("Hel") + ended("abort")))
    async with LaplasClient(key, simulator.base_url, failed_finish_reasons=reasons) as client:
        async with client.stream("Anything.") as stream:
            assert (await stream.completion()).finish_reason == "abort"
        simulator.script_always(Fault.raw(said("Hel") + ended("timeout")))
        with pytest.raises(StreamAPIError, match="timeout"):
            async with client.stream("Anything.") as stream:
                await stream.completion()
        with pytest.raises(ServerError, match="timeout"):
            await client.complete("Anything.", retry=RetryPolicy(max_attempts=1))
    with pytest.raises(ConfigError, match="collection of words"):
        LaplasClient(key, simulator.base_url, failed_finish_reasons="abort")


@pytest.mark.parametrize(
    "reason", ["abort", "error", "network_error", "insufficient_system_resource"]
)
@pytest.mark.parametrize("done", [DONE, b""], ids=["done", "no end marker"])
async def test_a_failure_in_place_of_an_end_is_raised_with_the_partial(
    client: LaplasClient, simulator: Simulator, reason: str, done: bytes
) -> None:
    simulator.script_always(Fault.raw(said("H") + said("e", reason) + done))
    texts: list[str] = []

    async def read() -> None:
        async with client.stream("Anything.") as stream:
            async for text in stream.text():
                texts.append(text)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(StreamAPIError, match=reason) as caught:
        await read()
    assert texts == ["H", "e"]
    assert caught.value.partial.text == "He"
    assert simulator.counts.requests == 1


@pytest.mark.parametrize("reason", ["abort", "network_error"])
async def test_a_failure_before_any_content_is_retried(
    client: LaplasClient, simulator: Simulator, reason: str
) -> None:
    simulator.script(Fault.raw(ended(reason) + DONE), Fault.raw(said("Hello") + ended()))
    async with client.stream("Anything.") as stream:
        assert (await stream.completion()).text == "Hello"
    assert simulator.counts.requests == 2


PARTS: list[list[Any]] = [
    [{"type": "thinking", "thinking": [{"type": "text", "text": "be"}]}],
    [{"type": "thinking", "thinking": [{"type": "text", "text": "cause"}]}],
    [{"type": "text", "text": "Ye"}, {"type": "reference", "reference_ids": [1]}],
    [{"type": "reference", "reference_ids": [2]}, {"type": "text", "text": "s"}],
]


async def test_content_parts_add_up_to_those_of_a_plain_completion(
    client: LaplasClient, simulator: Simulator
) -> None:
    events = [event(chunk({"content": parts})) for parts in PARTS]
    simulator.script_always(Fault.raw(b"".join(events) + said("!") + said("?") + ended() + DONE))
    async with client.stream("Anything.") as stream:
        chunks = [item async for item in stream]
        message = (await stream.completion()).message
    assert "".join(item.text for item in chunks) == message.text == "Yes!?"
    assert "".join(item.reasoning for item in chunks) == message.reasoning == "because"
    assert message.content == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "because"}]},
        {"type": "text", "text": "Ye"},
        {"type": "reference", "reference_ids": [1]},
        {"type": "reference", "reference_ids": [2]},
        {"type": "text", "text": "s!?"},
    ]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_thoughts_are_kept_apart_under_either_name(
    client: LaplasClient, simulator: Simulator, name: str
) -> None:
    thoughts = b"".join(event(chunk({name: text, "content": None})) for text in ("be", "cau", "se"))
    simulator.script_always(Fault.raw(thoughts + said("Yes") + ended() + DONE))
    async with client.stream("Anything.") as stream:
        chunks = [item async for item in stream]
        completion = await stream.completion()
    assert [item.reasoning for item in chunks[:3]] == ["be", "cau", "se"]
    assert completion.message.reasoning == "because"
    assert completion.text == "Yes"


def call(name: str, arguments: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **fields}


SHARED = {"index": 0, "id": ""}
CALLS = {
    "one chunk each": [
        [call("get_weather", '{"city":"Rome"}', **SHARED)],
        [call("get_time", '{"zone":"CET"}', **SHARED)],
    ],
    "one chunk for both": [
        [
            call("get_weather", '{"city":"Rome"}', **SHARED),
            call("get_time", '{"zone":"CET"}', **SHARED),
        ]
    ],
    "in pieces": [
        [call("get_weather", "", **SHARED)],
        [call("", '{"city":', **SHARED)],
        [call("", '"Rome"}', **SHARED)],
        [call("get_time", "", **SHARED)],
        [call("", '{"zone":"CET"}', **SHARED)],
    ],
    "without index or id": [
        [call("get_weather", '{"city":"Rome"}')],
        [call("get_time", '{"zone":"CET"}')],
    ],
    "each piece with an id of its own": [
        [call("get_weather", '{"city":', index=0, id="a")],
        [{"index": 0, "id": "b", "function": {"arguments": '"Rome"}'}}],
        [call("get_time", '{"zone":"CET"}', index=0, id="c")],
    ],
    "names repeated": [
        [call("get_weather", '{"city":', **SHARED)],
        [call("get_weather", '"Rome"}', **SHARED)],
        [call("get_weather", "", **SHARED)],
        [call("get_time", '{"zone":', **SHARED)],
        [call("get_time", '"CET"}', **SHARED)],
    ],
}


@pytest.mark.parametrize("deltas", CALLS.values(), ids=CALLS.keys())
async def test_tool_calls_that_share_an_index_stay_apart(
    client: LaplasClient, simulator: Simulator, deltas: list[Any]
) -> None:
    events = b"".join(event(chunk({"tool_calls": calls})) for calls in deltas)
    simulator.script_always(Fault.raw(events + ended("tool_calls") + DONE))
    async with client.stream("Anything.") as stream:
        calls = (await stream.completion()).tool_calls
    assert [(known.function.name, known.function.arguments) for known in calls] == [
        ("get_weather", '{"city":"Rome"}'),
        ("get_time", '{"zone":"CET"}'),
    ]


async def test_two_calls_of_one_function_at_one_index_stay_apart(
    client: LaplasClient, simulator: Simulator
) -> None:
    events = [event(chunk({"tool_calls": [call("f", a, **SHARED)]})) for a in ('{"a":1}', '"{}"')]
    simulator.script_always(Fault.raw(b"".join(events) + ended("tool_calls")))
    async with client.stream("Anything.") as stream:
        message = to_dict((await stream.completion()).message)
    assert [known["function"]["arguments"] for known in message["tool_calls"]] == [
        '{"a":1}',
        '"{}"',
    ]


@pytest.mark.parametrize("fault", [Fault.json_lines(), Fault.json_array(), Fault.single_newlines()])
async def test_a_stream_without_events_equals_the_one_with_them(
    client: LaplasClient, simulator: Simulator, fault: Fault
) -> None:
    simulator.script(None, fault)
    completions = []
    for _ in range(2):
        async with client.stream("Anything.", seed=7) as stream:
            completions.append(await stream.completion())
    assert completions[1].choices == completions[0].choices
    assert completions[1].usage == completions[0].usage
