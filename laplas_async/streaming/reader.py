"""``StreamReader``: one streamed response, from its first byte to the verdict at its end.

Bytes go in, chunks come out. Here it is decided whether a stream was complete (law 1); whether it
is still alive, ``watchdog`` decides. It refuses to retry: until content has been received,
``calls`` may drop it and begin another.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from laplas_async.errors import (
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from laplas_async.http.transport import MAX_BODY_BYTES, Response
from laplas_async.streaming.watchdog import Watchdog
from laplas_async.timeouts import Timeouts
from laplas_async.types import ChatCompletion, ChatCompletionChunk, Cost
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.body_kind import BLANK, BodyKind
from laplas_async.wire.chunks import (
    ChunkDecoder,
    FailureEvent,
    chunk_from_completion,
    has_content,
)
from laplas_async.wire.codec import DecodeError, cost_from, loads, quote
from laplas_async.wire.error_body import is_failure, read_failure
from laplas_async.wire.fast.text_form import SingleReader
from laplas_async.wire.finish_reason import failed_choice
from laplas_async.wire.large_json import LARGE
from laplas_async.wire.sse import ServerSentEvent, SSEParser

# After [DONE], reusing the connection is worth waiting this long (seconds) for the end of the
# response, and reading this much (bytes); opening a new one costs about as much.
DRAIN_SECONDS = 0.05
_DRAIN_BYTES = 64 * 1024
# Chunks without content that are kept back, so that the call may still be retried; a server that
# sends more of them is streaming something, and its chunks are passed on (test_stream).
_MOST_HELD_BACK = 64
_DONE: Literal["done"] = "done"
_Decoded = ChatCompletionChunk | FailureEvent | DecodeError | Literal["done"] | None
_Block = _Decoded | list[Any]  # a block without blank lines may hold several events


class StreamReader:
    """The chunks of one response, in order. For one reader at a time; ``close`` from any task.

    ``choices`` is how many were requested, ``sent_at`` the loop's time of sending. ``on_end`` is
    called once, when the stream has ended for whatever reason, with the error or None.
    """

    __slots__ = (
        "_at",
        "_at_end",
        "_blocks",
        "_body_kind",
        "_choices",
        "_chunk_of",
        "_contents",
        "_decoder",
        "_done",
        "_ended",
        "_failure",
        "_index",
        "_large",
        "_parser",
        "_pending",
        "_read_single",
        "_ready",
        "_watchdog",
        "accumulator",
        "begun",
        "close_on_cancel",
        "on_end",
        "response",
        "waiting",
    )

    def __init__(
        self, response: Response, timeouts: Timeouts, *, choices: int, sent_at: float
    ) -> None:
        self.response = response
        self.accumulator = Accumulator()
        self.on_end: Callable[[LaplasError | None], None] | None = None
        self.close_on_cancel = True  # no block will close it
        self.begun = False  # content has been received
        self.waiting = False  # a task is waiting for the next chunk
        self._choices = choices
        self._parser = SSEParser(stray_json=True)
        self._decoder = ChunkDecoder()
        self._blocks: list[bytes] = []  # received, and not decoded from ``_at`` on
        self._at = 0
        # Chunks to be returned, the next one last: an empty deque takes 760 bytes. An item of a
        # form stands for the chunk that ``_chunk_of`` makes of it: chunks made one by one live
        # shortly, and cost half of what hundreds at once do.
        self._ready: list[Any] = []
        self._chunk_of: Callable[[Any], ChatCompletionChunk] = _no_form
        self._index = 0  # the choice of such items
        # Reads bytes that are exactly one event of the known form, as they mostly are when tokens
        # arrive slowly; None while anything else may follow.
        self._read_single: SingleReader | None = None
        self._contents = 0  # chunks with content, without those read by a form
        self._large: asyncio.Future[_Block] | None = None  # the block at ``_at``, in a thread
        self._body_kind = BodyKind(max_bytes=MAX_BODY_BYTES)
        self._done = False  # [DONE] has been received
        self._at_end = False  # the transfer has ended cleanly
        self._ended = False
        self._failure: LaplasError | None = None
        self._pending: LaplasError | None = None  # to be raised after the chunks that are ready
        self._watchdog = Watchdog(timeouts, sent_at)

    async def open(self) -> None:
        """Read until the first content has been received, or the end.

        Raises as ``next`` does. Cancelling it closes the connection.
        """
        self._watchdog.check(self)
        try:
            while not self.begun and (held := len(self._ready)) < _MOST_HELD_BACK:
                await self._fill()
                if len(self._ready) == held:
                    break
        except BaseException:
            self.close()
            raise
        self.begun = True
        if not self._ended:
            self._watchdog.check(self)

    async def next(self) -> ChatCompletionChunk:
        """The next chunk, as soon as it is received.

        Raises ``StopAsyncIteration`` after a complete response, otherwise the ``StreamError`` with
        which it ended, each time it is called. Cancelling it loses nothing, but closes the stream
        if ``close_on_cancel``.
        """
        ready = self._ready
        if not ready:
            if self.waiting:
                raise ConfigError("another task is reading this stream")
            self.waiting = True
            try:
                if (read_single := self._read_single) is None:
                    await self._fill()
                else:
                    data = await self.response.read()
                    if data and (chunk := read_single(data)) is not None:
                        return chunk
                    await self._fill(data)
            except LaplasError as error:
                self._conclude(error)  # the transfer broke; nothing new where it had ended
                if self._failure is not None:
                    raise self._failure from self._failure.__cause__
            except asyncio.CancelledError:
                if self.close_on_cancel:
                    self.close()
                raise
            finally:
                self.waiting = False
            if not ready:
                raise StopAsyncIteration
        item = ready.pop()
        return item if type(item) is ChatCompletionChunk else self._chunk_of(item)

    def next_text(self) -> str | None:
        """A text of choice 0 that is ready, without making its chunk; None: ask ``next``."""
        ready = self._ready
        while ready and self._index == 0 and type(ready[-1]) is str:
            if text := ready.pop():
                return str(text)
        return None

    def completion(self) -> ChatCompletion:
        """What has been received so far."""
        whole = self._ended and self._failure is None
        completion = self.accumulator.completion(partial=not whole)
        completion.request_id = self.response.request_id
        completion.cost = self.cost
        completion.headers = self.response.plain_headers
        return completion

    @property
    def cost(self) -> Cost | None:
        """The cost that the service reported, in the stream or in a header."""
        return self.accumulator.cost or cost_from(None, self.response.headers)

    @property
    def progress(self) -> int:
        """A number that grows with all content that is received."""
        return self._contents + self.accumulator.size

    @property
    def finished(self) -> bool:
        """Every choice that was requested has its finish_reason."""
        return self._pending is None and self.accumulator.finished(self._choices)

    @property
    def settled(self) -> bool:
        """It is ``finished``, and no content is expected any more."""
        return self.finished and self.accumulator.settled(self._choices)

    @property
    def ended(self) -> bool:
        """Whether the verdict has been reached."""
        return self._ended

    def close(self, reason: LaplasError | None = None) -> None:
        """End it at once. Unless it was complete, a waiting reader gets ``reason``."""
        self._ready.clear()
        self._settle(reason or StreamTruncatedError("the stream was closed before its end"))
        self.response.close(reason)

    # --- from bytes to chunks -----------------------------------------------------------------

    async def _fill(self, data: bytes | None = None) -> None:
        """Read until a chunk is ready or the response has ended; ``data`` was read already.

        Raises the error with which it ended.
        """
        self._read_single = None
        try:
            while not self._ended:
                if self._pending is not None:
                    self._conclude(self._pending)
                elif self._at < len(self._blocks) and not self._done:
                    if len(self._blocks[self._at]) > LARGE and not await self._decode_large():
                        break  # closed meanwhile
                    if self._decode_blocks():
                        self._prepare_single()
                        return
                elif self._done:  # anything after it is ignored
                    self._conclude(await self._drain())
                elif self._at_end:
                    self._conclude(None)
                elif received := await self.response.read() if data is None else data:
                    self._blocks, self._at = self._split(received), 0
                    data = None
                elif self._finish_transfer():
                    return
        except LaplasError as error:
            self._conclude(error)
        if self._failure is not None:
            raise self._failure

    def _prepare_single(self) -> None:
        """If nothing else is pending, let the next event be read by the form alone."""
        if self._at < len(self._blocks) or self._parser.pieces:
            return
        form = self._decoder.learner.form
        # After a finish reason, the text of a form would revoke it: that takes the general path.
        if form is not None and not self.accumulator.can_end(form.index):
            self._read_single = form.single_reader(self.accumulator)

    def _split(self, data: bytes) -> list[bytes]:
        data = self._body_kind.feed(data)
        if self._body_kind.has_enough:
            self._read_other(self._body_kind.other or b"")
        return self._parser.split(data)

    def _finish_transfer(self) -> bool:
        """The transfer has ended. Whether that makes a chunk ready: then the verdict waits."""
        self._at_end = True
        if (other := self._body_kind.other) is not None:
            self._read_other(other)
            return True
        last = self._parser.unfinished()
        return last is not None and self._deliver(self._decode_event(last)) is not None

    def _decode_blocks(self) -> bool:
        """Decode the next blocks; whether a chunk is ready now."""
        learner = self._decoder.learner
        form = None if self._large else learner.form
        if form is not None and (items := form.read(self._blocks, self._at)):
            self._at += len(items)
            form.add(items, self.accumulator)
            self._chunk_of, self._index = form.chunk, form.index
            self._ready[:0] = items[::-1]
            return True
        block = self._blocks[self._at]
        self._at += 1
        if self._large is None:
            decoded = self._decode(block)
        else:
            decoded, self._large = self._large.result(), None
        chunk = self._deliver(decoded)
        if chunk is None:
            return False
        if isinstance(decoded, ChatCompletionChunk):
            learner.learn(block, chunk)
        return True

    async def _decode_large(self) -> bool:
        """Decode the next block in a thread (law 6); False if the stream was closed meanwhile.

        Cancelling it loses nothing: the next call waits for the same thread.
        """
        if self._large is None:
            block, loop = self._blocks[self._at], asyncio.get_running_loop()
            self._large = loop.run_in_executor(None, self._decode, block)
        await asyncio.wait([self._large])
        return not self._ended

    def _decode(self, block: bytes) -> _Block:
        """Decode a block; it uses parser and decoder alone, so a thread can do it."""
        event = self._parser.read(block)
        return None if event is None else self._decode_event(event)

    def _decode_event(self, event: ServerSentEvent) -> _Block:
        decoded = self._decode_data(event.data, event.event)
        if not isinstance(decoded, DecodeError) or b"\n" not in event.data:
            return decoded
        # Events separated by single newlines, which the standard reads as one: each line is JSON.
        lines = [self._decode_data(line, event.event) for line in event.data.split(b"\n")]
        broken = any(isinstance(line, DecodeError) for line in lines[:-1])
        return decoded if broken or not any(lines[:-1]) else lines

    def _decode_data(self, data: bytes, kind: str) -> _Decoded:
        if data[:6] == b"[DONE]":
            return _DONE
        # A proxy may wrap a comment: "data: : PROCESSING".
        if not data or data.isspace() or data[:1] == b":":
            return None
        try:
            return self._decoder.decode(data, kind)
        except (FailureEvent, DecodeError) as error:
            return error

    def _deliver(self, decoded: _Block) -> ChatCompletionChunk | None:
        """Make what was decoded ready; the last chunk of it, or None if there is none.

        Raises what it reports, after chunks before it have been delivered.
        """
        delivered: ChatCompletionChunk | None = None
        for item in decoded if isinstance(decoded, list) else (decoded,):
            if self._done or self._pending is not None:
                break
            try:
                chunk = self._judge(item)
            except LaplasError as error:
                if delivered is None:
                    raise
                self._pending = error
                break
            if chunk is not None:
                self._ready.insert(0, chunk)
                delivered = chunk
        return delivered

    def _judge(self, decoded: _Decoded) -> ChatCompletionChunk | None:
        if isinstance(decoded, ChatCompletionChunk):
            self._add(decoded)
            if (failure := _failed_choice(decoded)) is not None:
                error = self._api_error(failure)
                if not any(choice.delta.content for choice in decoded.choices):
                    raise error
                self._pending = error
            return decoded
        if isinstance(decoded, FailureEvent):
            raise self._api_error(decoded.body)
        if isinstance(decoded, DecodeError):
            if self._at_end:  # the last event lacked its end, so it was cut off
                raise StreamTruncatedError(f"the stream ended inside an event: {decoded}")
            raise StreamProtocolError(f"an event is not a chunk: {self._redact(decoded)}")
        self._done = decoded is _DONE
        return None

    def _add(self, chunk: ChatCompletionChunk) -> None:
        self.accumulator.add(chunk)
        if has_content(chunk):
            self.begun = True
            self._contents += 1
            if chunk.choices[0].finish_reason is not None:
                self._watchdog.check(self)  # shorten the idle timeout

    def _read_other(self, body: bytes) -> None:
        """Read a body that is not a stream: one completion, an error in JSON, or a page."""
        try:
            value = loads(_without_done(body.lstrip(BLANK)))
            if isinstance(value, dict | list) and is_failure(value):
                raise self._api_error(value)
            if isinstance(value, dict):
                self._deliver(chunk_from_completion(value))
                self._done = True
                return
        except DecodeError as error:
            message = read_failure(body.decode("utf-8", "replace")).message or str(error)
        else:
            message = quote(body)
        raise StreamProtocolError(f"received in place of a stream: {self._redact(message)}")

    async def _drain(self) -> LaplasError | None:
        """After [DONE]: read to the end, so that the connection can be reused.

        Returns the error if the transfer breaks there. Bounded in time and bytes.
        """
        if self.response.ended:  # the usual case: the end was received together with [DONE]
            return None
        size = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while size < _DRAIN_BYTES and (data := await self.response.read()):
                    size += len(data)
        except TimeoutError:
            return None  # kept open by the server, which has declared the end
        except ConnectionFailedError as error:
            return error
        return None

    # --- the verdict --------------------------------------------------------------------------

    def _conclude(self, error: LaplasError | None) -> None:
        """Reading has ended: with ``error``, or at the clean end of the transfer."""
        if self._ended:
            return
        if error is None and not self._is_complete():
            error = StreamTruncatedError(self._missing())
        elif isinstance(error, ConnectionFailedError):
            cause, error = error, StreamTruncatedError(f"the stream was cut: {error}")
            error.__cause__ = cause
        self._settle(error)
        self.response.close()

    def _is_complete(self) -> bool:
        """Whether a complete response was received, given that the transfer ended cleanly."""
        return self.finished or (self._done and self.accumulator.has_content)

    def _settle(self, error: LaplasError | None) -> None:
        """Reach the verdict: once, and for good."""
        if self._ended:
            return
        self._ended = True
        self._read_single = None
        self._watchdog.stop()
        if self._large is not None:
            self._large.cancel()
        if isinstance(error, StreamTruncatedError | StreamTimeoutError) and self.finished:
            error = None  # every choice had its finish_reason, so the text is complete
        self._failure = error
        if error is not None:
            error.request_id = self.response.request_id
        if isinstance(error, StreamError):
            error.partial = self.completion()
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(error)

    def _missing(self) -> str:
        if self._done:
            return "[DONE] was received, but no content before it"
        if self.accumulator.finished():
            return f"the stream ended without [DONE] and not all {self._choices} choices"
        if self.accumulator.started:
            return "the stream ended with neither finish_reason nor [DONE]"
        return f"a stream without any chunk (status {self.response.status})"

    def _api_error(self, body: object) -> StreamAPIError:
        clean = self.response.redact(body)
        failure = read_failure(clean)
        return StreamAPIError(
            f"the service reported an error in the stream: {failure.message or quote(clean, 500)}",
            status=failure.status,
            code=failure.code,
            body=clean,
        )

    def _redact(self, message: object) -> str:
        return str(self.response.redact(str(message)))


def _failed_choice(chunk: ChatCompletionChunk) -> dict[str, Any] | None:
    """The error of a choice that ended in a failure (law 1), or None."""
    for choice in chunk.choices:
        if choice.finish_reason is not None or choice.extra:
            fields = {"finish_reason": choice.finish_reason, "error": choice.extra.get("error")}
            if (failure := failed_choice({"choices": [fields]})) is not None:
                return failure
    return None


def _without_done(body: bytes) -> bytes:
    """Remove the ``data: [DONE]`` that some servers send after a completion."""
    while (rest := body.rstrip()).endswith(b"[DONE]"):
        body = rest.removesuffix(b"[DONE]").rstrip().removesuffix(b"data:")
    return body


def _no_form(item: object) -> ChatCompletionChunk:
    raise AssertionError(item)  # items are ready only when their form is known
