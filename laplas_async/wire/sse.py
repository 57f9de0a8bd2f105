"""Server-sent events without input or output: is fed bytes, returns events.

Exact to the standard (https://html.spec.whatwg.org/multipage/server-sent-events.html, section
9.2.6): CR, LF and CRLF end a line wherever the bytes are cut, one byte-order mark may lead,
nothing else splits a line (U+2028 is text). Every byte is examined a fixed number of times, so
the time is linear however small the pieces are, and the size of one event is bounded.

It refuses to know what is inside an event: the data are bytes, decoded elsewhere.
"""

import json

from attrs import define

from laplas_async.errors import StreamProtocolError

# Law 5. An event with log probabilities or an image fits; an endless line does not.
MAX_EVENT_BYTES = 32 * 1024 * 1024
# Bytes within which two events without a blank line between them are recognised; more would be
# joined again and again (test_sse: single newlines).
_DECIDED_WITHIN = 16 * 1024
BARE = "json"  # the kind of an event that is JSON without ``data:``
_BOM = b"\xef\xbb\xbf"


@define
class ServerSentEvent:
    """One event. ``data`` lines joined by LF, as bytes; ``event`` is "" if it has none."""

    data: bytes
    event: str = ""


class SSEParser:
    """Is fed bytes as they arrive, and returns the events that they complete.

    ``max_event_bytes`` bounds one event, comments and unfinished lines included; past it, a
    ``StreamProtocolError`` is raised, after the events before it have been returned.

    ``stray_json``: also look for what the standard ignores but failing servers send:
    ``error: {...}``, an event of kind ``error``; JSON or ``[DONE]`` at the start of a line, one of
    kind ``BARE``; the kind ``error`` without data; and events without blank lines between them.

    ``last_event_id`` and ``retry`` (milliseconds) are the latest values in the stream.
    """

    __slots__ = (
        "_after_cr",
        "_bom",
        "_by_line",
        "_failure",
        "_max",
        "_size",
        "_stray_json",
        "last_event_id",
        "pieces",
        "retry",
    )

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, stray_json: bool = False) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._max = max_event_bytes
        self._stray_json = stray_json
        # What has been received of an unfinished event, in pieces, so that a line of megabytes in
        # small pieces is joined once. Its line ends are LF already.
        self.pieces: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._by_line = False  # events are separated by single newlines
        self._bom: bytes | None = b""  # a possible byte-order mark; None: decided
        self._failure: StreamProtocolError | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next bytes (cut anywhere, may be empty); return the events that end in them."""
        return [event for block in self.split(data) for event in self.events(block)]

    def split(self, data: bytes) -> list[bytes]:
        """As ``feed``, but returns the blocks of lines as they are, for ``read`` to parse.

        Each holds the lines of one event, or of none; it may begin with a line end.
        """
        if self._failure is not None:
            raise self._failure
        data = self._with_line_feeds(data)
        if not data:
            return []
        return self._split_lines(data) if self._by_line else self._split_blocks(data)

    def _split_blocks(self, data: bytes) -> list[bytes]:
        pieces = self.pieces
        if pieces:
            if data[0] == 0x0A and pieces[-1][-1] == 0x0A:
                pieces[-1] = pieces[-1][:-1]
                data = b"\n" + data
            elif b"\n\n" not in data:
                pieces.append(data)
                self._keep(len(data))
                if self._failure is not None:
                    raise self._failure
                return self._split_lines(b"") if self._lacks_blank_lines(data) else []
        blocks = data.split(b"\n\n")
        if pieces:  # joined only here: each copy of a large event takes milliseconds
            pieces.append(blocks[0])
            blocks[0] = b"".join(pieces)
            pieces.clear()
        self._size = 0
        rest = blocks.pop()
        if len(blocks[0] if blocks else rest) + len(data) > self._max:
            blocks = self._before_large(blocks)
        if rest and self._failure is None:
            pieces.append(rest)
            self._keep(len(rest))
        if self._failure is not None and not blocks:
            raise self._failure
        if not blocks and self._lacks_blank_lines(rest):
            return self._split_lines(b"")
        return blocks

    def _lacks_blank_lines(self, data: bytes) -> bool:
        """Whether events follow each other without blank lines: whole JSON, and more ``data``."""
        if not self._stray_json or b"\n" not in data or self._size > _DECIDED_WITHIN:
            return False
        lines = b"".join(self.pieces).strip(b"\n").split(b"\n")
        data_lines = [line[5:] for line in lines if line.startswith(b"data:")]
        self._by_line = len(data_lines) > 1 and _is_object(data_lines[0])
        return self._by_line

    def _split_lines(self, data: bytes) -> list[bytes]:
        """As ``split``, where each line of data ends an event."""
        self.pieces.append(data)
        if data and b"\n" not in data:
            self._keep(len(data))
            if self._failure is not None:
                raise self._failure
            return []
        *lines, rest = b"".join(self.pieces).split(b"\n")
        self.pieces.clear()
        self._size = 0
        blocks: list[bytes] = []
        block: list[bytes] = []
        for line in lines:
            if line:
                block.append(line)
            if block and (not line or line.startswith(b"data:")):
                blocks.append(b"\n".join(block))
                block.clear()
        rest = b"\n".join([*block, rest])
        if rest:
            self.pieces.append(rest)
            self._keep(len(rest))
        return blocks

    def unfinished(self) -> ServerSentEvent | None:
        """At the end of the bytes: the event that lacks only its blank line, or None.

        The standard drops it. Some servers omit the last line end, so a reader may check whether
        it is whole; it may just as well have been cut off.
        """
        events = self.unfinished_events()
        return events[0] if events else None

    def unfinished_events(self) -> list[ServerSentEvent]:
        """As ``unfinished``, with stray JSON beside the event."""
        if self._failure is not None:
            raise self._failure
        if self._bom:  # a stream of one or two bytes
            self.pieces.append(self._bom)
            self._bom = None
        if not self.pieces:
            return []
        block = b"".join(self.pieces)
        self.pieces.clear()
        if len(block.strip(b"\n")) > self._max:
            self._fail()
            return self.unfinished_events()
        return self.events(block)

    def _with_line_feeds(self, data: bytes) -> bytes:
        """The bytes without a leading mark, and with LF for every line end."""
        if self._bom is not None:
            data = self._bom + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._bom = data
                return b""
            self._bom = None
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 0x0A:  # the CR ended the line; this LF belongs to it
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data[-1] == 0x0D
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _before_large(self, blocks: list[bytes]) -> list[bytes]:
        """The blocks before one that is too large; that one ends the stream."""
        for place, block in enumerate(blocks):
            # It may begin with a line end left over from the previous block.
            if len(block.removeprefix(b"\n")) > self._max:
                self._fail()
                return blocks[:place]
        return blocks

    def read(self, block: bytes) -> ServerSentEvent | None:
        """Return the event in a block of ``split``; None if it holds none."""
        # By far the most common event is one line of data.
        if block[:6] == b"data: " and b"\n" not in block:
            return ServerSentEvent(block[6:])
        lines: list[bytes] = []
        kind = b""
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if name == b"data":
                lines.append(value)
            elif name == b"event":
                kind = value
            elif name == b"id":
                if b"\0" not in value:
                    self.last_event_id = value.decode("utf-8", "replace")
            elif name == b"retry" and value.isdigit() and len(value) < 19:
                self.retry = int(value)
            # Everything else is ignored, comments (an empty name) too.
        if not lines and self._stray_json and kind.lower() == b"error":
            return ServerSentEvent(b"", "error")
        if not lines:
            return None
        return ServerSentEvent(b"\n".join(lines), kind.decode("utf-8", "replace"))

    def events(self, block: bytes) -> list[ServerSentEvent]:
        """As ``read``, with stray JSON after the event beside which it was found."""
        event = self.read(block)
        found = [] if event is None else [event]
        if self._stray_json and (stray := _stray_event(block)) is not None:
            # Before the end marker: what follows that is ignored.
            found.insert(
                0 if event is not None and event.data[:6] == b"[DONE]" else len(found), stray
            )
        return found

    def _keep(self, more: int) -> None:
        self._size += more
        # An event of the full size may still have a line end before and after it.
        if self._size > self._max + 2:
            self._fail()

    def _fail(self) -> None:
        self.pieces.clear()
        self._failure = StreamProtocolError(
            f"an event of the stream is larger than {self._max} bytes"
        )


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _stray_event(block: bytes) -> ServerSentEvent | None:
    """Return JSON that a block holds outside of ``data``, as servers send it that fail."""
    if block[:5] == b"data:" and b"\n" not in block:
        return None
    bare: list[bytes] = []
    for line in block.split(b"\n"):
        if line[:6].lower() == b"error:":
            return ServerSentEvent(line[6:].strip(), "error")
        if line.startswith((b"data:", b"event:")):
            continue
        if bare or line.startswith((b"{", b"[{", b"[DONE]")):
            bare.append(line)
    return ServerSentEvent(b"\n".join(bare), BARE) if bare else None
