"""``StreamReader``: chunks as they arrive, and one verdict at the end, which stays."""

import asyncio
from typing import Any

import pytest

from laplas_async.errors import (
    ConfigError,
    LaplasError,
    StreamAPIError,
    StreamProtocolError,
    StreamTruncatedError,
)
from laplas_async.streaming.reader import StreamReader
from tests.unit.streaming.conftest import DONE, Open, event


async def texts(reader: StreamReader) -> list[str]:
    found = []
    while True:
        try:
            found.append((await reader.next()).text)
        except StopAsyncIteration:
            return found


async def test_chunks_are_given_in_their_order_and_the_end_stays(open_reader: Open) -> None:
    reader = await open_reader(event("He"), event("llo"), event({}, "stop"), DONE)
    assert await texts(reader) == ["He", "llo", ""]
    assert reader.ended
    with pytest.raises(StopAsyncIteration):
        await reader.next()
    completion = reader.completion()
    assert (completion.text, completion.finish_reason) == ("Hello", "stop")
    assert completion.request_id == "r-1"


async def test_a_failure_is_raised_again_each_time(open_reader: Open) -> None:
    reader = await open_reader(event("He"))
    assert (await reader.next()).text == "He"
    for _ in range(2):
        with pytest.raises(StreamTruncatedError) as caught:
            await reader.next()
    assert caught.value.partial.text == "He"
    assert caught.value.request_id == "r-1"


async def test_opening_returns_with_the_first_content(open_reader: Open) -> None:
    reader = await open_reader(event({"role": "assistant"}), event("a"), stays_open=True)
    assert reader.begun
    assert not reader.ended
    assert [(await reader.next()).text for _ in range(2)] == ["", "a"]
    reader.close()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ((), StreamTruncatedError),
        ((DONE,), StreamTruncatedError),
        ((b'data: {"error": {"message": "m", "code": 400}}\n\n',), StreamAPIError),
        ((b"data: {broken\n\n",), StreamProtocolError),
        ((b"<html>502</html>",), StreamProtocolError),
    ],
)
async def test_a_stream_without_content_fails_before_it_is_open(
    open_reader: Open, body: Any, kind: type[LaplasError]
) -> None:
    with pytest.raises(kind):
        await open_reader(*body)


async def test_text_before_an_error_is_given_first(open_reader: Open) -> None:
    reader = await open_reader(event("He") + b'data: {"error": {"message": "no"}}\n\n')
    assert (await reader.next()).text == "He"
    with pytest.raises(StreamAPIError, match="no"):
        await reader.next()


async def test_a_choice_that_fails_gives_its_text_and_then_the_error(open_reader: Open) -> None:
    reader = await open_reader(event("He"), event("llo", "abort"), DONE)
    assert [(await reader.next()).text for _ in range(2)] == ["He", "llo"]
    with pytest.raises(StreamAPIError, match="abort"):
        await reader.next()


async def test_every_choice_that_was_requested_must_have_its_end(open_reader: Open) -> None:
    reader = await open_reader(event("a", "stop"), choices=2)
    with pytest.raises(StreamTruncatedError):
        await texts(reader)
    reader = await open_reader(event("a", "stop"), event("b", "stop", index=1), choices=2)
    assert await texts(reader) == ["a", ""]


async def test_closing_wakes_a_waiting_task(open_reader: Open) -> None:
    reader = await open_reader(event("a"), stays_open=True)
    await reader.next()
    waiting = asyncio.ensure_future(reader.next())
    while not reader.waiting:
        await asyncio.sleep(0)
    with pytest.raises(ConfigError, match="another task"):
        await reader.next()
    reader.close()
    with pytest.raises(StreamTruncatedError, match="closed"):
        await waiting


async def test_cancelling_closes_it_only_outside_of_a_block(open_reader: Open) -> None:
    for in_block in (True, False):
        reader = await open_reader(event("a"), stays_open=True)
        reader.close_on_cancel = not in_block
        await reader.next()
        waiting = asyncio.ensure_future(reader.next())
        while not reader.waiting:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert reader.ended is not in_block
        reader.close()


async def test_on_end_is_called_once_with_the_error_or_none(open_reader: Open) -> None:
    ends: list[LaplasError | None] = []
    reader = await open_reader(event("a"), event({}, "stop"), DONE)
    reader.on_end = ends.append
    await texts(reader)
    reader.close()
    assert ends == [None]


async def test_texts_are_given_without_their_chunks(open_reader: Open) -> None:
    pieces = [f"token {number} " for number in range(20)]
    reader = await open_reader(b"".join(map(event, pieces)) + event({}, "stop") + DONE)
    found: list[str] = []
    while (text := reader.next_text()) is not None or not reader.ended:
        if text is not None:
            found.append(text)
            continue
        try:
            found.append((await reader.next()).text)
        except StopAsyncIteration:
            break
    assert "".join(found) == "".join(pieces) == reader.completion().text


async def test_reasoning_is_never_given_as_text(open_reader: Open) -> None:
    thoughts = [event({"content": None, "reasoning": f"r{number}"}) for number in range(20)]
    reader = await open_reader(b"".join(thoughts) + event("Yes", "stop") + DONE)
    assert reader.next_text() is None
    assert "".join(await texts(reader)) == "Yes"
    assert reader.completion().message.reasoning == "".join(f"r{number}" for number in range(20))
