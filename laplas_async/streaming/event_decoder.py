"""``EventDecoder``: from the blocks of a stream to its chunks and what it reports.

It refuses to judge: an event that is no chunk is returned as the error it is, ``reader`` raises it.
"""

from typing import Any, Literal

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.chunks import ChunkDecoder, FailureEvent
from laplas_async.wire.codec import DecodeError
from laplas_async.wire.sse import ServerSentEvent, SSEParser

DONE: Literal["done"] = "done"
Decoded = ChatCompletionChunk | FailureEvent | DecodeError | Literal["done"] | None
DecodedBlock = Decoded | list[Any]  # a block without blank lines may hold several events


class EventDecoder:
    """Parses and decodes the events of one stream, in order."""

    __slots__ = ("_decoder", "learner", "parser")

    def __init__(self) -> None:
        self.parser = SSEParser(stray_json=True)
        self._decoder = ChunkDecoder()
        self.learner = self._decoder.learner  # of the form that the stream's chunks have

    def decode(self, block: bytes) -> DecodedBlock:
        """Decode a block; it shares nothing with its caller, so a thread can do it."""
        event = self.parser.read(block)
        return None if event is None else self.decode_event(event)

    def decode_event(self, event: ServerSentEvent) -> DecodedBlock:
        """Decode a parsed event; None if it holds nothing."""
        decoded = self._decode_data(event.data, event.event)
        if not isinstance(decoded, DecodeError) or b"\n" not in event.data:
            return decoded
        # Events separated by single newlines, which the standard reads as one: each line is JSON.
        lines = [self._decode_data(line, event.event) for line in event.data.split(b"\n")]
        broken = any(isinstance(line, DecodeError) for line in lines[:-1])
        return decoded if broken or not any(lines[:-1]) else lines

    def _decode_data(self, data: bytes, kind: str) -> Decoded:
        if data[:6] == b"[DONE]":
            return DONE
        # A proxy may wrap a comment: "data: : PROCESSING".
        if not data or data.isspace() or data[:1] == b":":
            return None
        try:
            return self._decoder.decode(data, kind)
        except (FailureEvent, DecodeError) as error:
            return error
