"""One streamed answer, from its first byte to its end: bytes in, chunks out, and the verdict.

Here is decided whether a stream was whole (law 1); whether it still lives, ``watch`` says. It
refuses to retry: until the first content came, ``calls`` may throw it away and begin another.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from laplas_async.errors import (
    ConnectionFailedError,
    LaplasError,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from laplas_async.http.transport import MAX_BODY_BYTES, Response
from laplas_async.streaming.watchdog import Watch
from laplas_async.timeouts import Timeouts
from laplas_async.types import ChatCompletion, ChatCompletionChunk
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.body_kind import BLANK, Sniffer
from laplas_async.wire.chunks import (
    ChunkReader,
    FailureEvent,
    Item,
    chunk_from_completion,
    has_content,
)
from laplas_async.wire.codec import DecodeError, cost_from, loads, quote
from laplas_async.wire.error_body import is_failure, read_failure
from laplas_async.wire.fast.text_form import OneByOne
from laplas_async.wire.large_json import LARGE
from laplas_async.wire.sse import ServerSentEvent, SSEParser

# After [DONE] the connection is worth this much waiting to be used again, and no more.
DRAIN_SECONDS = 0.05
_DRAIN_BYTES = 64 * 1024
# A server may send this many chunks without content before they are handed out; a stream that
# has given anything is not begun again.
_MAX_HELD = 64
_DONE: Literal["done"] = "done"
_Told = ChatCompletionChunk | FailureEvent | DecodeError | Literal["done"] | None


class StreamedAnswer:
    """The chunks of one response, in order. For one reader; ``close`` from any task.

    ``choices`` is how many were asked for, ``sent_at`` the loop's time of sending.
    """

    __slots__ = (
        "_at",
        "_at_end",
        "_blocks",
        "_choices",
        "_contents",
        "_done",
        "_ended",
        "_failure",
        "_large",
        "_parser",
        "_reader",
        "_sniffer",
        "_watch",
        "accumulator",
        "alone",
        "begun",
        "chunk",
        "index",
        "readany",
        "ready",
        "response",
        "waiting",
    )

    def __init__(
        self, response: Response, timeouts: Timeouts, *, choices: int, sent_at: float
    ) -> None:
        self.response = response
        self.readany = response.readany
        self.accumulator = Accumulator()
        self._choices = choices
        self._parser = SSEParser()
        self._reader = ChunkReader()
        self._blocks: list[bytes] = []  # read, and not looked into from ``_at`` on
        self._at = 0
        # To be handed out, the next one last: a deque takes 760 bytes, were it empty. A form's item
        # stands for the chunk that ``chunk`` makes of it: made one by one they are short-lived,
        # and cost half of what hundreds at once do.
        self.ready: list[ChatCompletionChunk | Item] = []
        self.chunk: Callable[[Any], ChatCompletionChunk] = _no_form
        self.index = 0  # of the choice that such items are of
        # Reads by the form of the events, while what comes next may be one and nothing else.
        self.alone: OneByOne | None = None
        self.begun = False  # content has come
        self.waiting = False  # a reader, for what ``next`` gives
        self._contents = 0  # how many chunks had any, those of the form left out
        self._large: asyncio.Future[_Told] | None = None  # the block at ``_at``, in a thread
        self._sniffer = Sniffer(max_bytes=MAX_BODY_BYTES)
        self._done = False  # [DONE] has come
        self._at_end = False  # the bytes have come to their clean end
        self._ended = False
        self._failure: LaplasError | None = None
        self._watch = Watch(timeouts, sent_at)

    async def open(self) -> None:
        """Read until the first content is here (or the end, if there is none)."""
        self._watch.look(self)
        try:
            while not self.begun and (held := len(self.ready)) < _MAX_HELD:
                await self._fill()
                if len(self.ready) == held:
                    break
        except BaseException:
            self.close()
            raise
        self.begun = True
        if not self._ended:
            self._watch.look(self)

    async def next(self, data: bytes | None = None) -> ChatCompletionChunk | None:
        """The next chunk, as it came; None at the end of a whole answer.

        ``data``: bytes of the response that its reader has read already. Raises the
        ``StreamError`` that it ended with, again each time it is asked.

        Where tokens come slowly, each call between the socket and the reader counts. So there is
        a short way: what is in ``ready`` may be taken from its end; and while ``alone`` is there,
        ``readany`` may be awaited in place of this, and what came be given to ``alone``; where
        that gives None, the bytes are for this.
        """
        if not self.ready:
            await self._fill(data)
            if not self.ready:
                return None
        item = self.ready.pop()
        return item if isinstance(item, ChatCompletionChunk) else self.chunk(item)

    def rest(self, error: Exception) -> bytes | None:
        """What had come before ``readany`` raised this; None: nothing, and that was the end."""
        try:
            return self.response.rest(error)
        except LaplasError as told:
            self._conclude(told)
            return None

    def completion(self) -> ChatCompletion:
        """What has come so far."""
        completion = self.accumulator.completion()
        completion.request_id = self.response.request_id
        if completion.cost is None:
            completion.cost = cost_from(None, self.response.headers)
        return completion

    @property
    def progress(self) -> int:
        """A number that grows with all content that comes."""
        return self._contents + self.accumulator.size

    @property
    def finished(self) -> bool:
        """Every choice that was asked for has its finish_reason."""
        return self.accumulator.finished(self._choices)

    @property
    def failure(self) -> LaplasError | None:
        """What it ended with; None while it runs, and when it was whole."""
        return self._failure

    def close(self, reason: LaplasError | None = None) -> None:
        """End it here, at once. Unless it was whole, the reader gets ``reason``."""
        self.ready.clear()
        self._settle(reason or StreamTruncatedError("the stream was closed before its end"))
        self.response.close(reason)

    # --- from bytes to chunks -----------------------------------------------------------------

    async def _fill(self, data: bytes | None = None) -> None:
        """Until a chunk is ready, or the answer is at its end, read, first ``data`` if given.

        Raises what it ended with.
        """
        self.alone = None
        try:
            while not self._ended:
                if self._at < len(self._blocks) and not self._done:
                    if len(self._blocks[self._at]) > LARGE and not await self._decode_large():
                        break  # closed meanwhile
                    if self._take():
                        rest = self._at < len(self._blocks) or self._parser.pieces
                        if not rest and (form := self._reader.form) is not None:
                            self.alone = form.one_by_one(self.accumulator)
                        return
                elif self._done:  # what comes behind it does not count
                    self._conclude(await self._drain())
                elif self._at_end:
                    self._conclude(None)
                elif got := await self.response.read() if data is None else data:
                    self._blocks, self._at = self._split(got), 0
                    data = None
                elif self._end():
                    return
        except LaplasError as error:
            self._conclude(error)
        if self._failure is not None:
            raise self._failure

    def _split(self, data: bytes) -> list[bytes]:
        data = self._sniffer.feed(data)
        if self._sniffer.has_enough:
            self._read_other(self._sniffer.other or b"")
        return self._parser.split(data)

    def _end(self) -> bool:
        """The bytes have come to their end. Whether a chunk is ready: then the verdict waits."""
        self._at_end = True
        if (other := self._sniffer.other) is not None:
            self._read_other(other)
            return True
        last = self._parser.unfinished()
        chunk = None if last is None else self._judge(self._decode_event(last))
        if chunk is None:
            return False
        self.ready.insert(0, chunk)
        return True

    def _take(self) -> bool:
        """Look into the next blocks; whether a chunk is ready now."""
        form = None if self._large else self._reader.form
        if form is not None and (items := form.read(self._blocks, self._at)):
            self._at += len(items)
            form.add(items, self.accumulator)
            self.chunk, self.index = form.chunk, form.index
            self.ready[:0] = items[::-1]
            return True
        block = self._blocks[self._at]
        self._at += 1
        if self._large is None:
            told = self._decode(block)
        else:
            told, self._large = self._large.result(), None
        chunk = self._judge(told)
        if chunk is None:
            return False
        self._reader.learn(block, chunk)
        self.ready.insert(0, chunk)
        return True

    async def _decode_large(self) -> bool:
        """Have a thread decode the next block; False if the answer was closed meanwhile.

        Cancelling it loses nothing: the next call waits for the same.
        """
        if self._large is None:
            block, loop = self._blocks[self._at], asyncio.get_running_loop()
            self._large = loop.run_in_executor(None, self._decode, block)
        await asyncio.wait([self._large])
        return not self._ended

    def _decode(self, block: bytes) -> _Told:
        """What a block says; it touches parser and reader alone, so a thread can do it."""
        event = self._parser.read(block)
        return None if event is None else self._decode_event(event)

    def _decode_event(self, event: ServerSentEvent) -> _Told:
        data = event.data
        if data[:6] == b"[DONE]":
            return _DONE
        if not data or data.isspace():
            return None
        try:
            return self._reader.read(data, event.event)
        except (FailureEvent, DecodeError) as error:
            return error

    def _judge(self, told: _Told) -> ChatCompletionChunk | None:
        if isinstance(told, ChatCompletionChunk):
            self._add(told)
            return told
        if isinstance(told, FailureEvent):
            raise self._api_error(told.body)
        if isinstance(told, DecodeError):
            if self._at_end:  # the last event lacked its end, so it was cut
                raise StreamTruncatedError(f"the stream ended inside an event: {told}")
            raise StreamProtocolError(f"an event is no chunk: {self._clean(told)}")
        self._done = told is _DONE
        return None

    def _add(self, chunk: ChatCompletionChunk) -> None:
        self.accumulator.add(chunk)
        if has_content(chunk):
            self.begun = True
            self._contents += 1
            if chunk.choices[0].finish_reason is not None:
                self._watch.look(self)  # from here on, little is waited for

    def _read_other(self, body: bytes) -> None:
        """A body that is no stream: one JSON answer, an error in JSON, or a page."""
        try:
            answer = loads(body.lstrip(BLANK))
            if isinstance(answer, dict):
                if is_failure(answer):
                    raise self._api_error(answer)
                chunk = chunk_from_completion(answer)
                self._add(chunk)
                self._done = True
                self.ready.insert(0, chunk)
                return
        except DecodeError as error:
            words = read_failure(body.decode("utf-8", "replace")).message or str(error)
        else:
            words = quote(body)
        raise StreamProtocolError(f"in place of a stream came {self._clean(words)}")

    async def _drain(self) -> LaplasError | None:
        """Behind [DONE]: read to the end, so that the connection can be used again.

        Gives the error if the transfer breaks there. Bounded in time and bytes.
        """
        if self.response.ended:  # as nearly always: it came with [DONE]
            return None
        size = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while size < _DRAIN_BYTES and (data := await self.response.read()):
                    size += len(data)
        except TimeoutError:
            return None  # left open by the server; it has said that it is done
        except ConnectionFailedError as error:
            return error
        return None

    # --- the verdict --------------------------------------------------------------------------

    def _conclude(self, error: LaplasError | None) -> None:
        """The reader has come to an end: ``error``, or the clean end of the bytes."""
        if error is None and not self._is_whole():
            error = StreamTruncatedError(self._what_is_missing())
        elif isinstance(error, ConnectionFailedError):
            cause, error = error, StreamTruncatedError(f"the stream was cut: {error}")
            error.__cause__ = cause
        self._settle(error)
        self.response.close()

    def _is_whole(self) -> bool:
        """Whether what has come is a whole answer, the transfer having ended well."""
        return self.finished or (self._done and self.accumulator.has_content)

    def _settle(self, error: LaplasError | None) -> None:
        """The end: once, for good."""
        if self._ended:
            return
        self._ended = True
        self.alone = None
        self._watch.stop()
        if self._large is not None:
            self._large.cancel()
        if isinstance(error, StreamTruncatedError | StreamTimeoutError) and (self.finished):
            error = None  # every choice had its finish_reason: the text is whole
        self._failure = error
        if error is not None:
            error.request_id = self.response.request_id
        if isinstance(error, StreamError):
            error.partial = self.completion()

    def _what_is_missing(self) -> str:
        if self._done:
            return "[DONE] came, but no answer before it"
        if self.accumulator.finished():
            return f"the stream ended without [DONE] and not all {self._choices} choices"
        if self.accumulator.started:
            return "the stream ended with neither finish_reason nor [DONE]"
        return f"a stream with no chunk at all (status {self.response.status})"

    def _api_error(self, body: object) -> StreamAPIError:
        clean = self.response.redact(body)
        failure = read_failure(clean)
        words = failure.message or quote(clean, 500)
        return StreamAPIError(
            f"the service broke off with an error: {words}",
            status=failure.status,
            code=failure.code,
            body=clean,
        )

    def _clean(self, words: object) -> str:
        return str(self.response.redact(str(words)))


def _no_form(item: Item) -> ChatCompletionChunk:
    raise AssertionError(item)  # they are ready only when their form is known
