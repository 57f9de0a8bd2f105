"""``ChatStream``: entering, reading, leaving; what it held is returned once, however it ends."""

import asyncio
import gc
from typing import Any

import pytest

from laplas_async.errors import (
    ConfigError,
    RequestTimeoutError,
    StreamAPIError,
    StreamTruncatedError,
)
from laplas_async.streaming.chat_stream import Begun, ChatStream
from laplas_async.types import Attempt, Cost, Usage
from tests.unit.streaming.conftest import DONE, Open, event

ATTEMPT = Attempt(started=1.0, status=200)


class Held:
    """What a stream holds while it runs."""

    def __init__(self) -> None:
        self.returned: list[str] = []

    def succeed(self, usage: Usage | None, cost: Cost | None = None) -> None:
        self.returned.append("succeed")

    def release(self) -> None:
        self.returned.append("release")


class Opening:
    """Begins streams with these bytes, and counts those that ended."""

    def __init__(self, open_reader: Open, *pieces: bytes, stays_open: bool = False) -> None:
        self.held = Held()
        self.ended = 0
        self._open = open_reader
        self._pieces = pieces
        self._stays_open = stays_open

    def stream(self) -> ChatStream:
        return ChatStream(self._begin, self._end)

    async def _begin(self) -> Begun:
        reader = await self._open(*self._pieces, stays_open=self._stays_open)
        return Begun(reader, self.held, (ATTEMPT,))

    def _end(self, _: ChatStream) -> None:
        self.ended += 1


HELLO = (event("He"), event("llo"), event({}, "stop"), DONE)


async def test_a_stream_read_to_its_end_returns_what_it_held(open_reader: Open) -> None:
    opening = Opening(open_reader, *HELLO)
    async with opening.stream() as stream:
        assert [chunk.text async for chunk in stream] == ["He", "llo", ""]
        completion = await stream.completion()
    assert completion.text == "Hello"
    assert completion.attempts == stream.attempts == (ATTEMPT,)
    assert (stream.request_id, stream.status) == ("r-1", 200)
    assert stream.headers["x-request-id"] == "r-1"
    assert (opening.held.returned, opening.ended) == (["succeed"], 1)


async def test_text_alone_is_never_empty(open_reader: Open) -> None:
    async with Opening(open_reader, *HELLO).stream() as stream:
        assert [text async for text in stream.text()] == ["He", "llo"]


async def test_leaving_early_returns_it_too_and_the_rest_is_a_truncation(open_reader: Open) -> None:
    opening = Opening(open_reader, event("He"), stays_open=True)
    async with opening.stream() as stream:
        await anext(stream)
    assert opening.ended == 1
    assert len(opening.held.returned) == 1
    assert stream.partial.text == "He"
    with pytest.raises(StreamTruncatedError):
        await stream.completion()
    await stream.aclose()
    assert opening.ended == 1


async def test_an_error_has_the_attempts_and_the_partial(open_reader: Open) -> None:
    opening = Opening(open_reader, event("He"), b'data: {"error": {"message": "no"}}\n\n')
    with pytest.raises(StreamAPIError) as caught:
        async with opening.stream() as stream:
            await stream.completion()
    (attempt,) = caught.value.attempts
    assert caught.value.partial.attempts == (attempt,)
    assert (attempt.started, attempt.status) == (1.0, 200)
    assert "no" in (attempt.error or "")
    assert caught.value.partial.text == "He"
    assert opening.ended == 1


async def test_what_is_used_wrongly_says_how_to_use_it(open_reader: Open) -> None:
    stream = Opening(open_reader, *HELLO).stream()
    assert stream.partial.text == ""
    assert (stream.request_id, stream.status, stream.headers) == (None, None, {})
    with pytest.raises(ConfigError, match="async with"):
        await anext(stream)
    async with stream:
        with pytest.raises(ConfigError, match="entered already"):
            await stream.__aenter__()
    with pytest.raises(ConfigError, match="closed"):
        await stream.start()


async def test_a_stream_can_be_started_without_a_block(open_reader: Open) -> None:
    stream = Opening(open_reader, *HELLO).stream()
    await stream.start()
    with pytest.raises(ConfigError, match="started already"):
        await stream.start()
    assert (await stream.completion()).text == "Hello"


@pytest.mark.parametrize("error", [RequestTimeoutError("late"), RuntimeError("a defect")])
async def test_what_beginning_raises_is_raised_and_ends_it(error: Exception) -> None:
    ended: list[Any] = []

    async def begin() -> Begun:
        raise error

    stream = ChatStream(begin, ended.append)
    with pytest.raises(type(error)):
        await stream.start()
    assert ended == [stream]


async def test_closing_while_it_begins_ends_the_wait() -> None:
    waiting = asyncio.Event()

    async def begin() -> Begun:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    stream = ChatStream(begin, lambda _: None)
    starting = asyncio.ensure_future(stream.start())
    await waiting.wait()
    await stream.aclose()
    with pytest.raises(StreamTruncatedError, match="before it began"):
        await starting


async def test_a_stream_that_is_dropped_warns_and_returns_what_it_held(open_reader: Open) -> None:
    opening = Opening(open_reader, event("He"), stays_open=True)
    streams = [opening.stream()]
    await streams[0].start()

    def drop() -> None:
        streams.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="dropped before its end"):
        drop()
    while "release" not in opening.held.returned:
        await asyncio.sleep(0)
