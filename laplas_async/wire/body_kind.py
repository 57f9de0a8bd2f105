"""Which kind of body was received in place of a stream: a stream, one JSON value, or a page.

Servers and proxies respond with the last two, whatever the content type says. No line of a stream
begins with a brace, a bracket or a tag, so the first byte decides. A first line that is a whole
chunk begins a stream of lines, which are turned into events. It refuses to decode what it keeps.
"""

from collections.abc import Iterable
from typing import Any

from laplas_async.errors import StreamProtocolError
from laplas_async.wire.chunks import dicts
from laplas_async.wire.codec import DecodeError, loads

# Bytes of a page that are kept for the error message; its title and heading are within them.
MAX_PAGE_BYTES = 4096
# Bytes of a first line that is examined: a chunk is shorter, and this is done on the event loop.
_LONGEST_LINE = 64 * 1024
_FIELDS = (b"data:", b"event:", b"error:", b":")  # some servers end such a stream like others
BLANK = b" \t\r\n\xef\xbb\xbf"


class BodyKind:
    """Is fed the bytes of a body as they arrive, and keeps a body that is not a stream.

    ``max_bytes`` of such a body are kept, of a page ``MAX_PAGE_BYTES``.
    """

    __slots__ = ("_kept", "_lead", "_lines", "_max", "_size", "is_page")

    def __init__(self, *, max_bytes: int) -> None:
        self._max = max_bytes
        self._lead: bytes | None = b""  # the first bytes, until they decide
        self._kept: list[bytes] | None = None
        self._size = 0
        self._lines: bool | None = None  # whether it consists of chunks; None: not decided
        self.is_page = False

    def feed(self, data: bytes) -> bytes:
        """Return what belongs to a stream. Raises ``StreamProtocolError`` past the size."""
        if self._lead is not None:
            self._lead += data
            start = self._lead.lstrip(BLANK)[:1]
            if start in (b"{", b"[", b"<"):
                self._kept = []
                data, self.is_page = self._lead, start == b"<"
            if start or len(self._lead) > MAX_PAGE_BYTES:
                self._lead = None
        if self._kept is None:
            return data
        self._kept.append(data)
        if self._lines is None and b"\n" in data:
            first = b"".join(self._kept).lstrip(BLANK).partition(b"\n")
            if first[1]:
                self._lines = is_chunk_line(first[0])
        if self._lines and b"\n" in data:
            return self._events()
        self._size += len(data)
        if self._size > self._max:
            raise StreamProtocolError(f"the response is larger than {self._max} bytes")
        return b""

    def _events(self) -> bytes:
        """The events of all whole lines that were kept."""
        lines, _, rest = b"".join(self._kept or ()).rpartition(b"\n")
        self._kept, self._size = [rest], len(rest)
        return as_events(lines.lstrip(BLANK).split(b"\n")) + b"\n\n"

    def finish(self) -> bytes:
        """At the end of the bytes: what belongs to a stream and was not returned yet."""
        if not self._lines or self._kept is None:
            return b""
        rest, self._kept = b"".join(self._kept), []
        return as_events([rest])

    @property
    def other(self) -> bytes | None:
        """What has been received of a body that is not a stream; None: it is one."""
        return None if self._kept is None or self._lines else b"".join(self._kept)

    @property
    def has_enough(self) -> bool:
        """Whether enough of a page has been received; the rest need not be read."""
        return self.is_page and self._size > MAX_PAGE_BYTES


# --- chunks as lines of JSON (NDJSON), without server-sent events -----------------------------


def is_chunk_line(line: bytes) -> bool:
    """Whether a line is one whole chunk, so that the following lines are further ones."""
    if len(line) > _LONGEST_LINE or b'"choices"' not in line:
        return False
    try:
        body = loads(line)
    except DecodeError:
        return False
    return has_deltas(body) or any("text" in choice for choice in dicts(body, "choices"))


def has_deltas(body: Any) -> bool:
    """Whether plain JSON is a chunk."""
    return any("delta" in choice and "message" not in choice for choice in dicts(body, "choices"))


def has_choices(body: Any) -> bool:
    """Whether plain JSON is a chunk or a completion."""
    return type(body) is dict and type(body.get("choices")) is list


def as_events(lines: Iterable[bytes]) -> bytes:
    """The lines as server-sent events; the last one may be cut, so it is left open."""
    return b"\n\n".join(
        line if line.startswith(_FIELDS) else b"data: " + line
        for line in map(bytes.strip, lines)
        if line
    )
