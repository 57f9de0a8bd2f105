"""Whether a stream was complete (law 1)."""

from typing import Any

import pytest

from laplas_async.errors import (
    ConnectionFailedError,
    LaplasError,
    StreamAPIError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from laplas_async.streaming.verdict import Verdict, drain
from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta
from laplas_async.wire.accumulate import Accumulator
from tests.unit.streaming.conftest import Respond


async def verdict(respond: Respond, *reasons: str | None, choices: int = 1, text: str = "a") -> Any:
    """The verdict on a stream of as many choices as there are reasons."""
    accumulator = Accumulator()
    for index, reason in enumerate(reasons):
        chunk = ChatCompletionChunk(choices=[ChunkChoice(index, Delta(content=text), reason)])
        accumulator.add(chunk)
    return Verdict(await respond(), accumulator, choices)


async def test_a_finish_reason_for_every_choice_is_complete(respond: Respond) -> None:
    one = await verdict(respond, "stop", "length", choices=2)
    assert one.finished
    assert one.judge(None) is None


@pytest.mark.parametrize("done", [False, True])
async def test_the_end_marker_stands_for_missing_reasons(respond: Respond, *, done: bool) -> None:
    one = await verdict(respond, None)
    one.done = done
    assert (one.judge(None) is None) is done


async def test_the_end_marker_alone_is_no_completion(respond: Respond) -> None:
    one = await verdict(respond)
    one.done = True
    assert "no content before it" in str(one.judge(None))


async def test_a_choice_that_is_missing_is_a_truncation(respond: Respond) -> None:
    one = await verdict(respond, "stop", choices=2)
    assert isinstance(one.judge(None), StreamTruncatedError)


async def test_a_lost_connection_is_a_cut_with_its_cause(respond: Respond) -> None:
    lost = ConnectionFailedError("reset")
    cut = (await verdict(respond, None)).judge(lost)
    assert isinstance(cut, StreamTruncatedError)
    assert cut.__cause__ is lost


@pytest.mark.parametrize("error", [StreamTruncatedError("cut"), StreamTimeoutError("late")])
async def test_a_break_after_every_finish_reason_loses_nothing(
    respond: Respond, error: LaplasError
) -> None:
    assert (await verdict(respond, "stop")).reach(error) is None
    unfinished = await verdict(respond, None)
    assert unfinished.reach(error) is unfinished.failure is error
    assert error.request_id == "r-1"


async def test_an_error_that_the_service_reports_outweighs_finish_reasons(respond: Respond) -> None:
    one = await verdict(respond, "stop")
    one.pending = StreamAPIError("no")
    assert not one.finished
    assert one.reach(one.pending) is one.pending


@pytest.mark.parametrize(
    ("started", "kind"), [(True, StreamTruncatedError), (False, StreamProtocolError)]
)
async def test_what_the_service_says_beside_the_events_is_in_the_error(
    respond: Respond, kind: type[LaplasError], *, started: bool
) -> None:
    one = await (verdict(respond, None) if started else verdict(respond))
    one.ignored = b"<html><title>502</title>Bad Gateway</html>"
    error = one.judge(None)
    assert type(error) is kind
    assert "Bad Gateway" in str(error)


async def test_the_rest_of_a_transfer_is_drained_in_bounded_time_and_bytes(
    respond: Respond,
) -> None:
    assert await drain(await respond(b"x" * 1000)) is None
    assert await drain(await respond(b"x" * 100_000, b"x" * 100_000, stays_open=True)) is None
    assert await drain(await respond(stays_open=True)) is None
