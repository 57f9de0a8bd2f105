"""``Verdict``: whether a stream was complete (law 1), reached once and for good.

It refuses to read: ``reader`` reports what it received.
"""

import asyncio

from laplas_async.errors import (
    ConnectionFailedError,
    LaplasError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from laplas_async.http.response import Response
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.codec import quote
from laplas_async.wire.error_body import read_failure

# After [DONE], reusing the connection is worth waiting this long (seconds) for the end of the
# response, and reading this much (bytes); opening a new one costs about as much.
DRAIN_SECONDS = 0.05
_DRAIN_BYTES = 64 * 1024


class Verdict:
    """How one stream has ended, for a response with ``choices`` requested."""

    __slots__ = (
        "_accumulator",
        "_choices",
        "_response",
        "at_end",
        "done",
        "failure",
        "ignored",
        "pending",
        "reached",
    )

    def __init__(self, response: Response, accumulator: Accumulator, choices: int) -> None:
        self._response = response
        self._accumulator = accumulator
        self._choices = choices
        self.done = False  # [DONE] has been received
        self.at_end = False  # the transfer has ended cleanly
        self.pending: LaplasError | None = None  # to be raised after the chunks that are ready
        self.ignored = b""  # text beside the events, perhaps an explanation
        self.reached = False
        self.failure: LaplasError | None = None  # with which it ended

    @property
    def finished(self) -> bool:
        """Every choice that was requested has its finish_reason."""
        return self.pending is None and self._accumulator.finished(self._choices)

    @property
    def settled(self) -> bool:
        """It is ``finished``, and no content is expected any more."""
        return self.finished and self._accumulator.settled(self._choices)

    def judge(self, error: LaplasError | None) -> LaplasError | None:
        """The error of a stream whose reading ended with ``error``, or cleanly."""
        if error is None and not self._is_complete():
            explanation = self._explanation()
            if explanation and not self._accumulator.started:
                return StreamProtocolError(f"{self._missing()}{explanation}")
            return StreamTruncatedError(f"{self._missing()}{explanation}")
        if isinstance(error, ConnectionFailedError):
            cut = StreamTruncatedError(f"the stream was cut: {error}")
            cut.__cause__ = error
            return cut
        return error

    def reach(self, error: LaplasError | None) -> LaplasError | None:
        """End with ``error``, unless the text is complete in spite of it; what it ended with."""
        self.reached = True
        if isinstance(error, StreamTruncatedError | StreamTimeoutError) and self.finished:
            error = None  # every choice had its finish_reason, so the text is complete
        self.failure = error
        if error is not None:
            error.request_id = self._response.request_id
        return error

    def _is_complete(self) -> bool:
        """Whether a complete response was received, given that the transfer ended cleanly."""
        return self.finished or (self.done and self._accumulator.has_content)

    def _explanation(self) -> str:
        """What the service says beside the events, or in such as are no chunks; "": nothing."""
        text = read_failure(self.ignored.decode("utf-8", "replace")).message or ""
        return f"; it says: {self._response.redact(quote(text))}" if " " in text else ""

    def _missing(self) -> str:
        if self.done:
            return "[DONE] was received, but no content before it"
        if self._accumulator.finished():
            return f"the stream ended without [DONE] and not all {self._choices} choices"
        if self._accumulator.started:
            return "the stream ended with neither finish_reason nor [DONE]"
        return f"a stream without any chunk (status {self._response.status})"


async def drain(response: Response) -> LaplasError | None:
    """After [DONE]: read to the end, so that the connection can be reused.

    Returns the error if the transfer breaks there. Bounded in time and bytes.
    """
    if response.ended:  # the usual case: the end was received together with [DONE]
        return None
    size = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while size < _DRAIN_BYTES and (data := await response.read()):
                size += len(data)
    except TimeoutError:
        return None  # kept open by the server, which has declared the end
    except ConnectionFailedError as error:
        return error
    return None
