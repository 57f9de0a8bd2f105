"""What a body is that should be a stream: a stream, one JSON value, or a page.

Servers and proxies answer with the last two, whatever the content type says. No line of a stream
begins with a brace, a bracket or a tag, so the first byte tells. It refuses to read what it keeps.
"""

from laplas_async.errors import StreamProtocolError

MAX_PAGE_BYTES = 4096
BLANK = b" \t\r\n\xef\xbb\xbf"


class Sniffer:
    """Fed the bytes of a body as they come; keeps a body that is no stream.

    ``max_bytes`` of such a body are kept, of a page ``MAX_PAGE_BYTES``.
    """

    __slots__ = ("_kept", "_lead", "_max", "_size", "is_page")

    def __init__(self, *, max_bytes: int) -> None:
        self._max = max_bytes
        self._lead: bytes | None = b""  # the first bytes, until they tell
        self._kept: list[bytes] | None = None
        self._size = 0
        self.is_page = False

    def feed(self, data: bytes) -> bytes:
        """The bytes as far as they are a stream's. Raises ``StreamProtocolError`` past the size."""
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
            raise StreamProtocolError(f"the answer is larger than {self._max} bytes")
        return b""

    @property
    def other(self) -> bytes | None:
        """What came so far of a body that is no stream; None: it is one."""
        return None if self._kept is None else b"".join(self._kept)

    @property
    def has_enough(self) -> bool:
        """Whether a page has told what pages tell; the rest need not be waited for."""
        return self.is_page and self._size > MAX_PAGE_BYTES
