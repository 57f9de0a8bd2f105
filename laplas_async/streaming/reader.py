"""``StreamReader``: one streamed response, from its first byte to the verdict at its end.

Bytes go in, chunks come out. ``verdict`` decides whether a stream was complete, ``watchdog``
whether it is still alive. It refuses to retry: until content has been received, ``calls`` may drop
it and begin another.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from laplas_async.errors import (
    ConfigError,
    LaplasError,
    StreamError,
    StreamProtocolError,
    StreamTruncatedError,
)
from laplas_async.http.response import MAX_BODY_BYTES, Response
from laplas_async.streaming.event_decoder import DONE, Decoded, DecodedBlock, EventDecoder
from laplas_async.streaming.other_body import failed_choice_of, read_other_body, reported_error
from laplas_async.streaming.verdict import Verdict, drain
from laplas_async.streaming.watchdog import Watchdog
from laplas_async.timeouts import Timeouts
from laplas_async.types import ChatCompletion, ChatCompletionChunk, Cost
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.body_kind import BodyKind
from laplas_async.wire.chunks import FailureEvent, has_content
from laplas_async.wire.codec import DecodeError, cost_from
from laplas_async.wire.fast.text_form import SingleReader
from laplas_async.wire.finish_reason import FAILED_FINISH_REASONS
from laplas_async.wire.large_json import LARGE

# Chunks without content that are kept back, so that the call may still be retried; a server that
# sends more of them is streaming something, and its chunks are passed on (test_stream).
_MOST_HELD_BACK = 64


class ChunkRecorder(Protocol):
    """Is informed of chunks at the moment they are received, to measure the times between them."""

    def chunk(self, chunk: ChatCompletionChunk) -> None:
        """A chunk was received."""
        ...

    def texts(self, count: int) -> None:
        """So many chunks were received together, each with a piece of text."""
        ...


class StreamReader:
    """The chunks of one response, in order. For one reader at a time; ``close`` from any task.

    ``choices`` is how many were requested, ``sent_at`` the loop's time of sending, and
    ``failed_reasons`` the finish reasons that report a failure. ``on_end`` is called once, when the
    stream has ended for whatever reason, with the error or None. ``recorder`` is informed of each
    chunk.
    """

    __slots__ = (
        "_at",
        "_blocks",
        "_body_kind",
        "_chunk_of",
        "_contents",
        "_events",
        "_failed_reasons",
        "_index",
        "_large",
        "_read_single",
        "_ready",
        "_verdict",
        "_watchdog",
        "accumulator",
        "begun",
        "cancelled",
        "close_on_cancel",
        "on_end",
        "recorder",
        "response",
        "waiting",
    )

    def __init__(
        self,
        response: Response,
        timeouts: Timeouts,
        *,
        choices: int,
        sent_at: float,
        failed_reasons: AbstractSet[str] = FAILED_FINISH_REASONS,
    ) -> None:
        self.response = response
        self.accumulator = Accumulator()
        self.on_end: Callable[[LaplasError | None], None] | None = None
        self.recorder: ChunkRecorder | None = None
        self.close_on_cancel = True  # no block will close it
        self.cancelled = False  # and that has closed it
        self.begun = False  # content has been received
        self.waiting = False  # a task is waiting for the next chunk
        self._verdict = Verdict(response, self.accumulator, choices)
        self._failed_reasons = failed_reasons
        self._events = EventDecoder()
        self._blocks: list[bytes] = []  # received, and not decoded from ``_at`` on
        self._at = 0
        # Chunks to be returned, the next one last: an empty deque takes 760 bytes. An item of a
        # form stands for the chunk that ``_chunk_of`` makes of it: chunks made one by one live
        # shortly, and cost half of what hundreds at once do.
        self._ready: list[Any] = []
        self._chunk_of: Callable[[Any], ChatCompletionChunk] = _no_form
        self._index: int | None = 0  # the choice to whose content such items belong
        # Reads bytes that are exactly one event of the known form, as they mostly are when tokens
        # arrive slowly; None while anything else may follow.
        self._read_single: SingleReader | None = None
        self._contents = 0  # chunks with content, without those read by a form
        self._large: asyncio.Future[DecodedBlock] | None = None  # the block at ``_at``, in a thread
        self._body_kind = BodyKind(max_bytes=MAX_BODY_BYTES)
        self._watchdog = Watchdog(timeouts, sent_at)

    async def open(self) -> None:
        """Read until the first content has been received, or the end.

        Raises as ``next`` does. Cancelling it closes the connection.
        """
        self._watchdog.check(self)
        self.response.watch()
        try:
            while not self.begun and (held := len(self._ready)) < _MOST_HELD_BACK:
                await self._fill()
                if len(self._ready) == held:
                    break
        except BaseException:
            self.close()
            raise
        self.begun = True
        if not self._verdict.reached:
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
                if self._verdict.failure is not None:
                    raise self._verdict.failure from self._verdict.failure.__cause__
            except asyncio.CancelledError:
                if self.close_on_cancel:
                    self.cancelled = True
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
        whole = self._verdict.reached and self._verdict.failure is None
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
        return self._verdict.finished

    @property
    def settled(self) -> bool:
        """It is ``finished``, and no content is expected any more."""
        return self._verdict.settled

    @property
    def unread(self) -> bool:
        """Whether closing it now would lose chunks: some are ready, or still to come."""
        return bool(self._ready) or not (self._verdict.reached or self._verdict.finished)

    @property
    def ended(self) -> bool:
        """Whether the verdict has been reached."""
        return self._verdict.reached

    def close(self, reason: LaplasError | None = None) -> None:
        """End it at once. Unless it was complete, a waiting reader gets ``reason``."""
        self._ready.clear()
        closed = StreamTruncatedError("the stream was closed before its end")
        closed.closed = True
        self._settle(reason or closed)
        self.response.close(reason)

    # --- from bytes to chunks -----------------------------------------------------------------

    async def _fill(self, data: bytes | None = None) -> None:
        """Read until a chunk is ready or the response has ended; ``data`` was read already.

        Raises the error with which it ended.
        """
        self._read_single, verdict = None, self._verdict
        try:
            while not verdict.reached:
                if verdict.pending is not None:
                    self._conclude(verdict.pending)
                elif self._at < len(self._blocks) and not verdict.done:
                    if len(self._blocks[self._at]) > LARGE and not await self._decode_large():
                        break  # closed meanwhile
                    if self._decode_blocks():
                        self._prepare_single()
                        return
                elif verdict.done:  # anything after it is ignored
                    self._conclude(await drain(self.response))
                elif verdict.at_end:
                    self._conclude(None)
                elif received := await self.response.read() if data is None else data:
                    self._blocks, self._at = self._split(received), 0
                    data = None
                elif self._finish_transfer():
                    return
        except LaplasError as error:
            self._conclude(error)
        if verdict.failure is not None:
            raise verdict.failure

    def _prepare_single(self) -> None:
        """If nothing else is pending, let the next event be read by the form alone."""
        if self._at < len(self._blocks) or self._events.parser.pieces:
            return
        self._blocks.clear()  # or the last one read this way would be kept as long as the stream
        self._at = 0
        form = self._events.learner.form
        # After a finish reason, the text of a form would revoke it: that takes the general path.
        if form is not None and not self.accumulator.can_end(form.index):
            read_single = form.single_reader(self.accumulator)
            if self.recorder is not None:
                read_single = _recorded(read_single, self.recorder)
            self._read_single = read_single

    def _split(self, data: bytes) -> list[bytes]:
        data = self._body_kind.feed(data)
        if self._body_kind.has_enough:
            self._read_other(self._body_kind.other or b"")
        return self._events.parser.split(data)

    def _finish_transfer(self) -> bool:
        """The transfer has ended. Whether that makes a chunk ready: then the verdict waits."""
        self._verdict.at_end = True
        if (other := self._body_kind.other) is not None:
            self._read_other(other)
            return True
        last = self._events.finish(self._body_kind.finish())
        if self._events.ignored:
            self._verdict.ignored = self._events.ignored
        return self._deliver(last) is not None

    def _decode_blocks(self) -> bool:
        """Decode the next blocks; whether a chunk is ready now."""
        learner = self._events.learner
        form = None if self._large else learner.form
        if form is not None and (items := form.read(self._blocks, self._at)):
            self._at += len(items)
            form.add(items, self.accumulator)
            if self.recorder is not None:
                self.recorder.texts(len(items))
            self._chunk_of, self._index = form.chunk, form.text_index
            self._ready[:0] = items[::-1]
            return True
        block = self._blocks[self._at]
        self._at += 1
        if self._large is None:
            decoded = self._events.decode(block)
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
            self._large = loop.run_in_executor(None, self._events.decode, block)
        await asyncio.wait([self._large])
        return not self._verdict.reached

    def _deliver(self, decoded: DecodedBlock) -> ChatCompletionChunk | None:
        """Make what was decoded ready; the last chunk of it, or None if there is none.

        Raises what it reports, after chunks before it have been delivered.
        """
        delivered: ChatCompletionChunk | None = None
        for item in decoded if isinstance(decoded, list) else (decoded,):
            if self._verdict.done or self._verdict.pending is not None:
                break
            try:
                chunk = self._judge(item)
            except LaplasError as error:
                if delivered is None:
                    raise
                self._verdict.pending = error
                break
            if chunk is not None:
                self._ready.insert(0, chunk)
                delivered = chunk
        return delivered

    def _judge(self, decoded: Decoded) -> ChatCompletionChunk | None:
        if isinstance(decoded, ChatCompletionChunk):
            self._add(decoded)
            if (failure := failed_choice_of(decoded, self._failed_reasons)) is not None:
                error = reported_error(self.response, failure)
                if not any(choice.delta.content for choice in decoded.choices):
                    raise error
                self._verdict.pending = error
            return decoded
        if isinstance(decoded, FailureEvent):
            raise reported_error(self.response, decoded.body)
        if isinstance(decoded, DecodeError):
            if self._verdict.at_end:  # the last event lacked its end, so it was cut off
                raise StreamTruncatedError(f"the stream ended inside an event: {decoded}")
            raise StreamProtocolError(
                f"an event is not a chunk: {self.response.redact(str(decoded))}"
            )
        self._verdict.done = decoded is DONE
        return None

    def _add(self, chunk: ChatCompletionChunk) -> None:
        self.accumulator.add(chunk)
        if self.recorder is not None:
            self.recorder.chunk(chunk)
        if has_content(chunk):
            self.begun = True
            self._contents += 1
            if chunk.choices[0].finish_reason is not None:
                self._watchdog.check(self)  # shorten the idle timeout

    def _read_other(self, body: bytes) -> None:
        chunks = read_other_body(self.response, body)
        self._deliver(list(chunks))
        self._verdict.done = len(chunks) == 1  # a list of chunks needs a finish reason, as events

    # --- the verdict --------------------------------------------------------------------------

    def _conclude(self, error: LaplasError | None) -> None:
        """Reading has ended: with ``error``, or at the clean end of the transfer."""
        if self._verdict.reached:
            return
        self._settle(self._verdict.judge(error))
        self.response.close()

    def _settle(self, error: LaplasError | None) -> None:
        """Reach the verdict: once, and for good."""
        if self._verdict.reached:
            return
        self._read_single = None
        self._watchdog.stop()
        if self._large is not None:
            self._large.cancel()
        error = self._verdict.reach(error)
        if isinstance(error, StreamError):
            error.partial = self.completion()
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(error)


def _recorded(read_single: SingleReader, recorder: ChunkRecorder) -> SingleReader:
    """The same reader, of which ``recorder`` is informed; without one, nothing is paid for it."""

    def read(data: bytes) -> ChatCompletionChunk | None:
        chunk = read_single(data)
        if chunk is not None:
            recorder.texts(1)
        return chunk

    return read


def _no_form(item: object) -> ChatCompletionChunk:
    raise AssertionError(item)  # items are ready only when their form is known
