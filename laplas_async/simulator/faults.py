"""What can go wrong with a response: ``Fault`` values, built by name, and the script of them.

Pure; it refuses to produce bytes, which ``delivery`` does from a fault and an answer. ``after``
counts content chunks of a stream: 0 is before the first. The effect on a plain (not streamed)
response is documented where there is one; otherwise the plain response is normal.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from attrs import field, fields, frozen
from attrs.validators import ge, optional

End = Literal["clean", "cut", "reset", "stall", "open"]
Body = dict[str, Any] | list[Any] | str | bytes | None


def _is_status(_fault: Any, _attribute: Any, value: int) -> None:
    if not 200 <= value <= 599:
        raise ValueError(f"a status must be 200 to 599, not {value!r}")


@frozen(kw_only=True, repr=False)
class Fault:
    """One fault. Build it with a class method, such as ``Fault.cut(after=3)``."""

    kind: str
    after: int = field(default=0, validator=ge(0))
    code: int | None = field(default=None, validator=optional(_is_status))
    body: Body = None
    headers: Mapping[str, str] = field(factory=dict)
    data: bytes = b""
    pieces: tuple[bytes, ...] | None = None
    chunk: int | None = None
    end: End = "clean"
    content_type: str = "text/event-stream"
    content_encoding: str | None = None
    seconds: float = field(default=0.0, validator=ge(0))
    size: int = 0
    event: str | None = None
    line_end: str = "\n"
    bom: bool = False
    space: bool = True
    comments: bool = False
    multiline: bool = False
    extra_fields: bool = False
    per_write: int = field(default=1, validator=ge(1))

    def __repr__(self) -> str:
        """Show the kind and the values that differ from the defaults."""
        plain = Fault(kind=self.kind)
        names = [one.name for one in fields(Fault) if one.name != "kind"]
        values = [
            f"{name}={getattr(self, name)!r}"
            for name in names
            if getattr(self, name) != getattr(plain, name)
        ]
        return f"Fault.{self.kind}({', '.join(values)})"

    @classmethod
    def status(
        cls,
        code: int,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
        retry_after: float | str | None = None,
    ) -> Self:
        """Respond with an HTTP status (200 to 599; others raise ``ValueError``).

        ``body``: None is the service's own error body for the status; a dict or list is sent as
        JSON, a string as text (HTML if it starts with "<"), bytes as they are. ``retry_after`` is
        in seconds, or a string sent verbatim.
        """
        sent = dict(headers or {})
        if retry_after is not None:
            sent["Retry-After"] = str(retry_after)
        return cls(kind="status", code=code, body=body, headers=sent)

    @classmethod
    def quota(cls) -> Self:
        """Respond 429 with the message of an exhausted quota: waiting seconds does not help."""
        return cls(kind="quota", code=429)

    @classmethod
    def cut(cls, *, after: int = 0) -> Self:
        """Close the connection after ``after`` chunks, without the final chunk of HTTP chunking.

        A plain response is cut in the middle (``after=0``: before the body).
        """
        return cls(kind="cut", after=after, end="cut")

    @classmethod
    def truncate(cls, *, after: int = 0) -> Self:
        """End the response cleanly after ``after`` chunks: no finish_reason and no ``[DONE]``.

        A plain response is the first half of its JSON, ended cleanly.
        """
        return cls(kind="truncate", after=after)

    @classmethod
    def no_done(cls) -> Self:
        """Leave out ``[DONE]`` but send the finish_reason."""
        return cls(kind="no_done")

    @classmethod
    def no_finish(cls) -> Self:
        """Leave out every finish_reason but send ``[DONE]``."""
        return cls(kind="no_finish")

    @classmethod
    def reset(cls, *, after: int = 0) -> Self:
        """Reset the TCP connection after ``after`` chunks (a plain response in the middle)."""
        return cls(kind="reset", after=after, end="reset")

    @classmethod
    def stall(cls, *, after: int = 0) -> Self:
        """Send ``after`` chunks and then nothing until the client disconnects."""
        return cls(kind="stall", after=after, end="stall")

    @classmethod
    def heartbeats(cls, *, after: int = 0, interval: float = 1.0) -> Self:
        """Send ``after`` chunks and then only comments, one every ``interval`` seconds.

        A plain response is spaces at that interval, as some proxies send, and never ends.
        """
        return cls(kind="heartbeats", after=after, seconds=interval, end="stall")

    @classmethod
    def keep_open(cls) -> Self:
        """Send everything, ``[DONE]`` too, but do not end the response."""
        return cls(kind="keep_open", end="open")

    @classmethod
    def error_event(cls, *, after: int = 0, body: Body = None, event: str | None = None) -> Self:
        """Send an error event after ``after`` chunks, then end without finish_reason or ``[DONE]``.

        ``body``: None is the service's own 500 body. ``event``: the name of the event, if any. A
        plain response is that body with the status of success.
        """
        return cls(kind="error_event", after=after, body=body, event=event)

    @classmethod
    def garbage(cls, *, after: int = 0, data: bytes = b'data: {"id": \xff<oops\n\n') -> Self:
        """Send ``data`` in place of the rest, then end cleanly."""
        return cls(kind="garbage", after=after, data=data)

    @classmethod
    def empty(cls) -> Self:
        """Succeed with an empty body, as llama-cpp-python does for a prompt that is too long."""
        return cls.raw()

    @classmethod
    def broken_error(cls, *, after: int = 0) -> Self:
        """Report an error whose message breaks its JSON, as the server of transformers can."""
        return cls.garbage(after=after, data=b'data: {"error": "no \'model" here"}\n\n')

    @classmethod
    def raw(
        cls,
        data: bytes = b"",
        *,
        pieces: Sequence[bytes] | None = None,
        chunk: int | None = None,
        end: End = "clean",
        status: int | None = None,
        content_type: str = "text/event-stream",
        content_encoding: str | None = None,
    ) -> Self:
        """Send these bytes verbatim as the whole body, for example a captured response.

        They are written as ``pieces``, or as ``data`` in slices of ``chunk`` bytes (1: byte by
        byte; None: at once). ``end`` is what follows. ``status`` defaults to the simulator's.
        """
        return cls(
            kind="raw",
            code=status,
            data=data,
            pieces=None if pieces is None else tuple(pieces),
            chunk=_check_chunk(chunk),
            end=end,
            content_type=content_type,
            content_encoding=content_encoding,
        )

    @classmethod
    def slow_headers(cls, seconds: float) -> Self:
        """Wait before the status line, then respond normally."""
        return cls(kind="slow_headers", seconds=seconds)

    @classmethod
    def drop(cls) -> Self:
        """Close the connection before any response."""
        return cls(kind="drop")

    @classmethod
    def redirect(cls, location: str, *, status: int = 307) -> Self:
        """Redirect the client to ``location``."""
        return cls(kind="redirect", code=status, headers={"Location": location})

    @classmethod
    def html(cls, *, status: int = 200) -> Self:
        """Respond with the HTML page of a proxy."""
        return cls(kind="html", code=status)

    @classmethod
    def json_instead(cls) -> Self:
        """Respond to a streaming request with one whole JSON completion."""
        return cls(kind="json_instead")

    @classmethod
    def gzip(cls) -> Self:
        """Compress the response with gzip; a stream is flushed after each event."""
        return cls(kind="gzip")

    @classmethod
    def http10(cls) -> Self:
        """Respond in HTTP/1.0, without chunking or length: the connection's end is the body's."""
        return cls(kind="http10")

    @classmethod
    def written(
        cls,
        *,
        line_end: Literal["\n", "\r", "\r\n"] = "\n",
        bom: bool = False,
        space: bool = True,
        chunk: int | None = None,
        comments: bool = False,
        multiline: bool = False,
        extra_fields: bool = False,
        per_write: int = 1,
    ) -> Self:
        """Encode the whole stream unusually but within the standard for server-sent events.

        ``bom``: start with a byte-order mark. ``space``: put one after the colon. ``chunk``: bytes
        per write, across events. ``comments``: a comment before each event. ``multiline``: data
        over several lines. ``extra_fields``: id, event and retry lines, also ``retry:`` by itself.
        ``per_write``: events per write.
        """
        return cls(
            kind="written",
            line_end=line_end,
            bom=bom,
            space=space,
            chunk=_check_chunk(chunk),
            comments=comments,
            multiline=multiline,
            extra_fields=extra_fields,
            per_write=per_write,
        )

    @classmethod
    def never_ends(cls, size: int = 64 * 1024 * 1024) -> Self:
        """Send an unfinished line of about ``size`` bytes, then nothing more.

        The size is rounded up to whole 64 KiB; it is written no faster than the client reads.
        """
        return cls(kind="never_ends", size=size, end="stall")


FaultRule = Callable[[dict[str, Any], int], Fault | None]


class Script:
    """The faults of the next requests: one entry each, and then one rule for all that follow.

    An entry of None is no fault. Safe to use from several threads.
    """

    def __init__(self, entries: Sequence[Fault | None] = ()) -> None:
        self._entries = deque(entries)
        self._always: Fault | FaultRule | None = None

    def add(self, *entries: Fault | None) -> None:
        """Append entries, one per request in order of arrival."""
        self._entries.extend(entries)

    def always(self, rule: Fault | FaultRule | None) -> None:
        """Set the fault once no entries are left; a callable receives (body, number)."""
        self._always = rule

    def clear(self) -> None:
        """Remove all faults."""
        self._entries.clear()
        self._always = None

    def take(self) -> Fault | FaultRule | None:
        """Return the fault of the request that has just arrived and use up its entry."""
        try:
            return self._entries.popleft()
        except IndexError:
            return self._always


def _check_chunk(chunk: int | None) -> int | None:
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be 1 or more bytes, not {chunk!r}")
    return chunk
