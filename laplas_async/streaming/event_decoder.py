"""``EventDecoder``: from the blocks of a stream to its chunks and what it reports.

It refuses to judge: an event that is no chunk is returned as the error it is, ``reader`` raises it.
"""

import re
from typing import Any, Literal

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.chunks import ChunkDecoder, FailureEvent
from laplas_async.wire.codec import DecodeError
from laplas_async.wire.sse import ServerSentEvent, SSEParser

DONE: Literal["done"] = "done"
# As servers write the end marker, and heartbeats inside of data.
_DONE = (b"[DONE]", b"DONE")
_NOTHING = (b"", b"null", b"ping", b"keepalive", b"keep-alive", b"heartbeat")
# A line that is neither a comment nor a field of server-sent events.
_IGNORED_TEXT = re.compile(rb"^(?!:|data|event|id|retry)\s*\S", re.MULTILINE)
Decoded = ChatCompletionChunk | FailureEvent | DecodeError | Literal["done"] | None
DecodedBlock = Decoded | list[Any]  # a block without blank lines may hold several events


class EventDecoder:
    """Parses and decodes the events of one stream, in order."""

    __slots__ = ("_decoder", "ignored", "learner", "parser")

    def __init__(self) -> None:
        self.parser = SSEParser(stray_json=True)
        self.ignored = b""  # the last text beside the events, or in one that adds nothing
        self._decoder = ChunkDecoder()
        self.learner = self._decoder.learner  # of the form that the stream's chunks have

    def decode(self, block: bytes) -> DecodedBlock:
        """Decode a block; it shares nothing with its caller, so a thread can do it."""
        if b"\n" not in block and (event := self.parser.read(block)) is not None:
            return self.decode_event(event)  # the usual case: one line
        events = self.parser.events(block)
        if not events and _IGNORED_TEXT.search(block):
            self.ignored = block
        return self.decode_events(events)

    def finish(self, rest: bytes = b"") -> DecodedBlock:
        """At the end of the bytes, ``rest`` being the last ones: what lacks only its blank line."""
        parser = self.parser
        events = [event for block in parser.split(rest) for event in parser.events(block)]
        if _IGNORED_TEXT.search(last := b"".join(parser.pieces)):
            self.ignored = last
        return self.decode_events(events + parser.unfinished_events())

    def decode_events(self, events: list[ServerSentEvent]) -> DecodedBlock:
        """Decode parsed events; a list if there are several."""
        if len(events) < 2:
            return self.decode_event(events[0]) if events else None
        decoded = [self.decode_event(event) for event in events]
        return [item for some in decoded for item in (some if isinstance(some, list) else [some])]

    def decode_event(self, event: ServerSentEvent) -> DecodedBlock:
        """Decode a parsed event; None if it holds nothing."""
        decoded = self._decode_data(event.data, event.event)
        if decoded is None or (type(decoded) is ChatCompletionChunk and not decoded.choices):
            self.ignored = event.data
        if b"\n" not in event.data or not isinstance(decoded, DecodeError):
            return decoded
        # Events separated by single newlines, which the standard reads as one: each line is JSON.
        lines = [self._decode_data(line, event.event) for line in event.data.split(b"\n")]
        broken = any(isinstance(line, DecodeError) for line in lines[:-1])
        return decoded if broken or not any(lines[:-1]) else lines

    def _decode_data(self, data: bytes, kind: str) -> Decoded:
        if data[:1] != b"{":
            if data.strip(b'" \r\n\t')[:6].upper() in _DONE:
                return DONE
            if data[:1] == b":":  # a proxy may wrap a comment: "data: : PROCESSING"
                data = b"\n".join(line for line in data.split(b"\n") if line[:1] != b":")
            if data.strip(b'"[] \r\n\t').lower() in _NOTHING and kind != "error":
                return None
        try:
            return self._decoder.decode(data, kind)
        except (FailureEvent, DecodeError) as error:
            return error
