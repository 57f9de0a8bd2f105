"""The upstream side of a relay: opened once, closed in any case, and its errors' statuses."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from laplas_async.bots.relay_formats import new_format
from laplas_async.bots.relay_source import Source, open_or_gone, retry_after, status_of
from laplas_async.errors import (
    APIError,
    AuthenticationError,
    ChatBusyError,
    ConfigError,
    ConnectionFailedError,
    ConversationError,
    LaplasError,
    RateLimitError,
    RequestTimeoutError,
    StreamAPIError,
    StreamTruncatedError,
)


class Pieces:
    """An async iterator of texts, which knows whether it was closed."""

    def __init__(self, *pieces: str | BaseException) -> None:
        self.pieces = list(pieces)
        self.closed = 0

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> str:
        if not self.pieces:
            raise StopAsyncIteration
        piece = self.pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        if piece == "wait":
            await asyncio.Event().wait()
        return piece

    async def aclose(self) -> None:
        self.closed += 1


async def events(source: Source, name: str = "sse") -> list[str]:
    form = new_format(name, ("sse", "text"))
    return [event.event or event.data async for event in source.events(form, None)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AuthenticationError("x", status=401), 401),
        (RateLimitError("x", status=429), 429),
        (APIError("x", status=200), 502),
        (StreamAPIError("x", status=503), 503),
        (StreamAPIError("x"), 502),
        (StreamTruncatedError("x"), 502),
        (ConnectionFailedError("x"), 502),
        (RequestTimeoutError("x"), 504),
        (ConfigError("x"), 400),
        (ChatBusyError("x"), 409),
        (ConversationError("x"), 500),
    ],
)
def test_the_status_is_that_of_the_service_or_a_gateways(error: LaplasError, status: int) -> None:
    assert status_of(error) == status


def test_the_reader_is_asked_to_wait_as_long_as_the_service_asks() -> None:
    assert retry_after(RateLimitError(retry_after=2.4)) == {"Retry-After": "2"}
    assert retry_after(RateLimitError(retry_after=0.2)) == {"Retry-After": "1"}
    assert retry_after(RateLimitError()) == {}


async def test_a_stream_is_read_and_closed() -> None:
    pieces = Pieces("a", "b")
    source = Source(pieces)
    await source.open()
    assert await events(source) == ["text", "text", "done"]
    assert pieces.closed == 1
    await source.aclose()
    assert pieces.closed == 1


async def test_an_async_generator_is_a_stream() -> None:
    async def generate() -> AsyncIterator[str]:
        yield "a"

    source = Source(generate())
    await source.open()
    assert await events(source) == ["text", "done"]


async def test_an_empty_stream_is_a_complete_answer() -> None:
    source = Source(Pieces())
    await source.open()
    assert await events(source) == ["done"]


async def test_a_failure_is_one_event_and_closes_the_stream() -> None:
    pieces = Pieces("a", StreamTruncatedError("cut"))
    source = Source(pieces)
    await source.open()
    assert await events(source) == ["text", "error"]
    assert (pieces.closed, source.failed) == (1, True)


async def test_a_failure_of_another_kind_is_an_event_and_raised() -> None:
    pieces = Pieces("a", KeyError("bug"))
    source = Source(pieces)
    await source.open()
    written = source.events(new_format("sse", ("sse",)), None)
    assert (await anext(written)).data == '"a"'
    assert "bug" not in (await anext(written)).data
    with pytest.raises(KeyError):
        await anext(written)
    assert pieces.closed == 1


async def test_plain_text_raises_its_failure() -> None:
    source = Source(Pieces("a", StreamTruncatedError("cut")))
    await source.open()
    with pytest.raises(StreamTruncatedError):
        await events(source, "text")


async def test_a_failure_before_the_first_text_is_raised_by_opening() -> None:
    with pytest.raises(StreamTruncatedError):
        await Source(Pieces(StreamTruncatedError("cut"))).open()


async def test_a_reader_that_leaves_ends_the_opening() -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pieces = Pieces("wait")
    task = asyncio.create_task(open_or_gone(Source(pieces), gone))
    await asyncio.sleep(0)
    gone.set_result(None)
    assert await task is False
    assert [one for one in asyncio.all_tasks() if one is not asyncio.current_task()] == []


async def test_a_cancelled_opening_leaves_no_task() -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(open_or_gone(Source(Pieces("wait")), gone))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [one for one in asyncio.all_tasks() if one is not asyncio.current_task()] == []


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be a stream"):
        Source("text")


async def test_the_log_has_no_message(caplog: pytest.LogCaptureFixture) -> None:
    """An error's message may quote what was received (law 7)."""
    source = Source(Pieces("a", StreamTruncatedError("ended inside: 'a private text'")))
    await source.open()
    await events(source)
    assert "StreamTruncatedError" in caplog.text
    assert "private" not in caplog.text
