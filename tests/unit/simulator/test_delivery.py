"""Each fault gives the bytes, the status and the ending that it documents."""

import gzip
from typing import Any

import orjson
import pytest

from laplas_async.simulator import Fault
from laplas_async.simulator.answers import make_answer
from laplas_async.simulator.delivery import Delivery, make_delivery
from laplas_async.simulator.error_bodies import ErrorContext

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "n": 2}
ANSWER = make_answer(BODY)
CONTEXT = ErrorContext(path="/v1/chat/completions", request_id="r", timestamp="t")


def sent(fault: Fault | None = None, *, stream: bool = True) -> Delivery:
    return make_delivery(ANSWER, fault, CONTEXT, stream=stream, include_usage=True)


def joined(result: Delivery) -> bytes:
    return b"".join(data for data, _ in result.pieces)


def datas(data: bytes) -> list[Any]:
    """Read events as the standard has them: a slow, simple reader."""
    text = data.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line.startswith("data:")]
        if lines:
            found.append("\n".join(line[5:].removeprefix(" ") for line in lines))
    return [one if one == "[DONE]" else orjson.loads(one) for one in found]


WHOLE = datas(joined(sent()))


def finishes(result: Delivery) -> int:
    return sum(
        choice["finish_reason"] is not None
        for one in datas(joined(result))
        if one != "[DONE]"
        for choice in one["choices"]
    )


def test_a_normal_stream() -> None:
    result = sent()
    assert (result.framing, result.end, result.status) == ("chunked", "clean", 200)
    assert sum(count for _, count in result.pieces) == 18
    assert finishes(result) == 2
    assert WHOLE[-1] == "[DONE]"


@pytest.mark.parametrize("after", [0, 1, 5, 18, 99])
@pytest.mark.parametrize("name", ["cut", "truncate", "reset", "stall", "heartbeats"])
def test_broken_streams_have_exactly_the_chunks_requested(name: str, after: int) -> None:
    result = sent(getattr(Fault, name)(after=after))
    assert sum(count for _, count in result.pieces) == min(after, 18)
    assert finishes(result) == 0
    assert b"[DONE]" not in joined(result)
    ends = {"cut": "cut", "reset": "reset", "truncate": "clean"}
    assert result.end == ends.get(name, "stall")
    assert (result.heartbeat is not None) == (name == "heartbeats")


def test_no_done_and_no_finish() -> None:
    assert finishes(sent(Fault.no_done())) == 2
    assert datas(joined(sent(Fault.no_done()))) == WHOLE[:-1]
    assert finishes(sent(Fault.no_finish())) == 0
    assert datas(joined(sent(Fault.no_finish())))[-1] == "[DONE]"


def test_error_events() -> None:
    result = joined(sent(Fault.error_event(after=2, event="error")))
    assert b'event: error\ndata: {"message":"Internal server error"' in result
    data = joined(sent(Fault.error_event(body={"error": "x"})))
    assert data.endswith(b'data: {"error":"x"}\n\n')
    assert orjson.loads(joined(sent(Fault.error_event(), stream=False)))["statusCode"] == 500


def test_statuses_and_their_bodies() -> None:
    result = sent(Fault.status(429, retry_after=1))
    assert (result.status, result.headers["Retry-After"]) == (429, "1")
    assert orjson.loads(joined(result)) == {
        "message": "Too Many Requests",
        "path": "/v1/chat/completions",
        "requestId": "r",
        "statusCode": 429,
        "timestamp": "t",
    }
    assert joined(sent(Fault.status(500, ""))) == b""
    assert joined(sent(Fault.status(502, "<html>"))) == b"<html>"
    assert "html" in sent(Fault.status(502, "<html>")).headers["Content-Type"]
    assert b"free limit" in joined(sent(Fault.quota()))
    result = sent(Fault.status(503, {"error": "x"}, headers={"Content-Type": "text/odd"}))
    assert result.headers["Content-Type"] == "text/odd"


def test_gzip_is_flushed_each_event() -> None:
    result = sent(Fault.gzip())
    assert gzip.decompress(joined(result)) == joined(sent())
    assert all(data for data, _ in result.pieces)
    whole = sent(Fault.gzip(), stream=False)
    assert "Content-Length" not in whole.headers
    assert gzip.decompress(joined(whole)) == joined(sent(stream=False))


def test_raw_bytes() -> None:
    result = sent(Fault.raw(b"abcde", chunk=2, end="cut", content_encoding="br", status=206))
    assert [data for data, _ in result.pieces] == [b"ab", b"cd", b"e"]
    assert (result.end, result.status, result.headers["Content-Encoding"]) == ("cut", 206, "br")
    assert [data for data, _ in sent(Fault.raw(pieces=[b"a", b"b"])).pieces] == [b"a", b"b"]


def test_other_kinds() -> None:
    assert sent(Fault.drop()).drop
    assert sent(Fault.redirect("/x", status=308)).status == 308
    assert joined(sent(Fault.html())).startswith(b"<!DOCTYPE")
    assert orjson.loads(joined(sent(Fault.json_instead())))["object"] == "chat.completion"
    assert sent(Fault.slow_headers(3)).delay == 3
    assert sent(Fault.http10()).framing == "http10"
    assert sent(Fault.keep_open()).end == "open"
    assert joined(sent(Fault.garbage(data=b"\xff"))).endswith(b"\n\n\xff")
    result = sent(Fault.never_ends(200_000))
    assert len(joined(result)) >= 200_000
    assert b"\n" not in joined(result)


@pytest.mark.parametrize("name", ["cut", "reset", "stall", "truncate"])
def test_plain_responses_break_in_the_middle(name: str) -> None:
    whole = joined(sent(stream=False))
    result = sent(getattr(Fault, name)(after=1), stream=False)
    assert joined(result) == whole[: len(whole) // 2]
    lengths = {"truncate": None}
    assert result.headers.get("Content-Length") == lengths.get(name, str(len(whole)))


@pytest.mark.parametrize("after", [0, 3, None])
@pytest.mark.parametrize("done", [True, False])
def test_a_finish_reason_ends_streams_and_completions(after: int | None, done: bool) -> None:
    fault = Fault.finish("abort", after=after, done=done)
    chunks = datas(joined(sent(fault)))
    reasons = {
        choice["finish_reason"] for one in chunks if one != "[DONE]" for choice in one["choices"]
    }
    assert reasons == {None, "abort"}
    assert (chunks[-1] == "[DONE]") == done
    whole = orjson.loads(joined(sent(fault, stream=False)))
    assert {choice["finish_reason"] for choice in whole["choices"]} == {"abort"}
    expected = 18 if after is None else 2 * after
    assert whole["usage"]["completion_tokens"] == expected
    assert sum(count for _, count in sent(fault).pieces) == expected


def test_a_choice_error_ends_streams_and_completions() -> None:
    fault = Fault.choice_error(code=503, message="overloaded", after=2)
    error = {"code": 503, "message": "overloaded"}
    chunks = [one for one in datas(joined(sent(fault))) if one != "[DONE]"]
    errors = [choice["error"] for one in chunks for choice in one["choices"] if "error" in choice]
    assert errors == [error, error]
    whole = orjson.loads(joined(sent(fault, stream=False)))
    assert whole["choices"][0]["error"] == error
    assert sent(fault).status == 200


def test_error_framings() -> None:
    body = {"error": {"code": 500, "message": "x"}}
    line = joined(sent(Fault.error_event(body=body, framing="line", after=1, ping=True)))
    assert line.endswith(b': ping\n\nerror: {"error":{"code":500,"message":"x"}}\n\n')
    bare = joined(sent(Fault.error_event(body=body, framing="bare")))
    assert bare.endswith(b'\n\n{"error":{"code":500,"message":"x"}}\n')
    done = joined(sent(Fault.error_event(body=body, after=99, done=True)))
    assert done.endswith(b'"x"}}\n\ndata: [DONE]\n\n')
    assert b'"finish_reason":"' not in done


def test_streams_and_completions_in_place_of_each_other() -> None:
    stream = joined(sent())
    assert joined(sent(Fault.stream_instead(), stream=False)) == stream
    for requested, streams in ((None, True), (True, True), (False, False)):
        made = make_delivery(
            ANSWER, Fault.stream_unless_false(), CONTEXT, stream=requested, include_usage=True
        )
        assert (joined(made) == stream) == streams
    trailing = joined(sent(Fault.trailing_done(), stream=False))
    assert trailing == joined(sent(stream=False)) + b"\n\ndata: [DONE]\n\n"


def test_events_without_the_empty_line_and_comments_as_data() -> None:
    single = joined(sent(Fault.single_newlines()))
    assert b"\n\n" not in single
    assert single.count(b"\n") == joined(sent()).count(b"data: ")
    assert joined(sent(Fault.comment_in_data())).startswith(b"data: : PROCESSING\n\n")


def test_chunks_as_lines_of_json_and_as_one_array() -> None:
    lines = joined(sent(Fault.json_lines())).splitlines()
    chunks = [orjson.loads(line) for line in lines]
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert len(chunks) == joined(sent()).count(b"data: ") - 1  # [DONE] is left out
    assert orjson.loads(joined(sent(Fault.json_array()))) == chunks


def test_large_headers_are_added_to_a_normal_response() -> None:
    for stream in (True, False):
        made = sent(Fault.large_headers(20_000), stream=stream)
        assert sum(map(len, made.headers.values())) > 20_000
        assert joined(made) == joined(sent(stream=stream))


@pytest.mark.parametrize("after", [0, 3])
def test_chunked_framing_breaks_in_the_write_of_the_first_chunks(after: int) -> None:
    made = sent(Fault.broken_chunking(after=after))
    assert (made.framing, made.end, len(made.pieces)) == ("verbatim", "cut", 1)
    head, _, rest = joined(made).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert rest.endswith(b"\r\nbroken\r\n")
    size = int(rest.partition(b"\r\n")[0], 16)
    assert rest.partition(b"\r\n")[2][:size] == joined(sent(Fault.truncate(after=after)))


def test_verbatim_bytes_are_the_whole_response() -> None:
    made = sent(Fault.verbatim(b"HTTP/1.1 200 OK\r\n\r\nabc", chunk=7, end="reset"))
    assert joined(made) == b"HTTP/1.1 200 OK\r\n\r\nabc"
    assert (made.framing, made.end, len(made.pieces)) == ("verbatim", "reset", 4)


def test_a_pause_and_other_messages() -> None:
    made = sent(Fault.pause(7, after=3))
    assert (made.pause_before, made.pause) == (3, 7)
    assert joined(made) == joined(sent())
    assert b"per-day" in joined(sent(Fault.quota("free-models-per-day")))
    assert joined(sent(Fault.blank())).strip() == b""
    assert orjson.loads(joined(sent(Fault.status(500, [{"error": "x"}])))) == [{"error": "x"}]


def test_a_shape_changes_streams_and_completions() -> None:
    fault = Fault.shape("reasoning", "early_stop", pause=7, after=6)
    made = sent(fault)
    assert b'"reasoning":"First"' in joined(made)
    assert (made.pause_before, made.pause) == (6, 7)
    assert b'"reasoning":"First, I' in joined(sent(fault, stream=False))
