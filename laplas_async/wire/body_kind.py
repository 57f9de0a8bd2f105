"""Which kind of body was received in place of a stream: a stream, one JSON value, or a page.

Servers and proxies respond with the last two, whatever the content type says. No line of a stream
begins with a brace, a bracket or a tag, so the first byte decides. It refuses to decode what it
keeps.
"""

from laplas_async.errors import StreamProtocolError

# Bytes of a page that are kept for the error message; its title and heading are within them.
MAX_PAGE_BYTES = 4096
BLANK = b" \t\r\n\xef\xbb\xbf"


class BodyKind:
    """Is fed the bytes of a body as they arrive, and keeps a body that is not a stream.

    ``max_bytes`` of such a body are kept, of a page ``MAX_PAGE_BYTES``.
    """

    __slots__ = ("_kept", "_lead", "_max", "_size", "is_page")

    def __init__(self, *, max_bytes: int) -> None:
        self._max = max_bytes
        self._lead: bytes | None = b""  # the first bytes, until they decide
        self._kept: list[bytes] | None = None
        self._size = 0
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
        self._size += len(data)
        if self._size > self._max:
            raise StreamProtocolError(f"the response is larger than {self._max} bytes")
        return b""

    @property
    def other(self) -> bytes | None:
        """What has been received of a body that is not a stream; None: it is one."""
        return None if self._kept is None else b"".join(self._kept)

    @property
    def has_enough(self) -> bool:
        """Whether enough of a page has been received; the rest need not be read."""
        return self.is_page and self._size > MAX_PAGE_BYTES
