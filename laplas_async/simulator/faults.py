"""What can go wrong with an answer: values that say it, built by name, and nothing that does it.

Pure; `delivery` turns a fault and an answer into bytes. `after` counts content chunks of a
stream: 0 is before the first. What a fault does to an unstreamed answer is told where it
makes sense; where it does not, the answer is whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import field, fields, frozen
from attrs.validators import ge, optional

End = Literal["clean", "cut", "reset", "stall", "open"]
Body = dict[str, Any] | str | bytes | None


def _is_status(_fault: Any, _attribute: Any, value: int) -> None:
    if not 200 <= value <= 599:
        msg = f"a status is 200 to 599, not {value!r}"
        raise ValueError(msg)


@frozen(kw_only=True, repr=False)
class Fault:
    """One fault; build it by a class method, such as `Fault.cut(after=3)`."""

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
        """Show the kind, and what differs from the defaults."""
        plain = Fault(kind=self.kind)
        names = [one.name for one in fields(Fault) if one.name != "kind"]
        told = [
            f"{name}={getattr(self, name)!r}"
            for name in names
            if getattr(self, name) != getattr(plain, name)
        ]
        return f"Fault.{self.kind}({', '.join(told)})"

    @classmethod
    def status(
        cls,
        code: int,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
        retry_after: float | str | None = None,
    ) -> Fault:
        """Answer with an HTTP status (200 to 599).

        `body`: None is the service's own error body for the status, a dict is sent as JSON, a
        string as text (HTML if it starts with "<"), bytes as they are. `retry_after` is
        seconds, or an HTTP date as a string.
        """
        told = dict(headers or {})
        if retry_after is not None:
            told["Retry-After"] = str(retry_after)
        return cls(kind="status", code=code, body=body, headers=told)

    @classmethod
    def quota(cls) -> Fault:
        """Answer 429 with the free tier's words: waiting seconds does not help."""
        return cls(kind="quota", code=429)

    @classmethod
    def cut(cls, *, after: int = 0) -> Fault:
        """Close the connection after `after` chunks, without the end that chunking has.

        An unstreamed answer is cut in its middle (after=0: before the body).
        """
        return cls(kind="cut", after=after, end="cut")

    @classmethod
    def truncate(cls, *, after: int = 0) -> Fault:
        """End the response as HTTP wants it, with neither finish_reason nor `[DONE]`.

        An unstreamed answer is half its JSON, ended cleanly.
        """
        return cls(kind="truncate", after=after)

    @classmethod
    def no_done(cls) -> Fault:
        """Leave out `[DONE]`; the finish_reason comes."""
        return cls(kind="no_done")

    @classmethod
    def no_finish(cls) -> Fault:
        """Leave out every finish_reason; `[DONE]` comes."""
        return cls(kind="no_finish")

    @classmethod
    def reset(cls, *, after: int = 0) -> Fault:
        """Reset the TCP connection after `after` chunks (an unstreamed answer in its middle)."""
        return cls(kind="reset", after=after, end="reset")

    @classmethod
    def stall(cls, *, after: int = 0) -> Fault:
        """Send `after` chunks and then nothing, until the client leaves."""
        return cls(kind="stall", after=after, end="stall")

    @classmethod
    def heartbeats(cls, *, after: int = 0, interval: float = 1.0) -> Fault:
        """Send `after` chunks and then only comments, one each `interval` seconds.

        An unstreamed answer is spaces at that interval, as some proxies send, and never ends.
        """
        return cls(kind="heartbeats", after=after, seconds=interval, end="stall")

    @classmethod
    def keep_open(cls) -> Fault:
        """Stream all, `[DONE]` too, but leave the response open until the client leaves."""
        return cls(kind="keep_open", end="open")

    @classmethod
    def error_event(cls, *, after: int = 0, body: Body = None, event: str | None = None) -> Fault:
        """Send an error as an event, then end cleanly without finish_reason and `[DONE]`.

        `body`: None is the service's own 500 body. `event` is the event's name, "error" or
        none. An unstreamed answer is that body under a success status.
        """
        return cls(kind="error_event", after=after, body=body, event=event)

    @classmethod
    def garbage(cls, *, after: int = 0, data: bytes = b'data: {"id": \xff<oops\n\n') -> Fault:
        """Send raw bytes in place of the rest, then end cleanly."""
        return cls(kind="garbage", after=after, data=data)

    @classmethod
    def empty(cls) -> Fault:
        """Succeed with no byte of a body, as llama-cpp-python does for a prompt too long."""
        return cls.raw()

    @classmethod
    def broken_error(cls, *, after: int = 0) -> Fault:
        """Report an error whose words break its JSON, as transformers' server can."""
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
    ) -> Fault:
        """Replay captured bytes as the whole body.

        They are written as `pieces`, or `data` in slices of `chunk` bytes (1: byte by byte;
        None: in one). `end` is what follows. `status` is by default the simulator's.
        """
        return cls(
            kind="raw",
            code=status,
            data=data,
            pieces=None if pieces is None else tuple(pieces),
            chunk=_chunk(chunk),
            end=end,
            content_type=content_type,
            content_encoding=content_encoding,
        )

    @classmethod
    def slow_headers(cls, seconds: float) -> Fault:
        """Wait before the status line; then answer whole."""
        return cls(kind="slow_headers", seconds=seconds)

    @classmethod
    def drop(cls) -> Fault:
        """Close the connection before any response."""
        return cls(kind="drop")

    @classmethod
    def redirect(cls, location: str, *, status: int = 307) -> Fault:
        """Send the client elsewhere."""
        return cls(kind="redirect", code=status, headers={"Location": location})

    @classmethod
    def html(cls, *, status: int = 200) -> Fault:
        """Answer with a proxy's HTML page."""
        return cls(kind="html", code=status)

    @classmethod
    def json_instead(cls) -> Fault:
        """Answer a streamed request with a whole JSON completion."""
        return cls(kind="json_instead")

    @classmethod
    def gzip(cls) -> Fault:
        """Compress the answer; a stream is flushed after each event."""
        return cls(kind="gzip")

    @classmethod
    def http10(cls) -> Fault:
        """Answer in HTTP/1.0: no chunking and no length, the end is the connection's."""
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
    ) -> Fault:
        """Write the whole stream oddly but within the standard.

        `bom`: a byte-order mark first. `space`: the one after the colon. `chunk`: bytes a
        write, across events. `comments`: a comment before each event. `multiline`: data over
        several lines. `extra_fields`: id, event and retry lines, a lone `retry:` too.
        `per_write`: events a write.
        """
        return cls(
            kind="written",
            line_end=line_end,
            bom=bom,
            space=space,
            chunk=_chunk(chunk),
            comments=comments,
            multiline=multiline,
            extra_fields=extra_fields,
            per_write=per_write,
        )

    @classmethod
    def never_ends(cls, size: int = 64 * 1024 * 1024) -> Fault:
        """Send a line of about `size` bytes without an end, then nothing until the client leaves.

        It is rounded up to whole 64 KiB and written no faster than the client reads.
        """
        return cls(kind="never_ends", size=size, end="stall")


Choose = Callable[[dict[str, Any], int], Fault | None]


class Script:
    """What the next requests meet: first one entry each, then the same for all.

    An entry None is a request that goes well. Safe to use from several threads.
    """

    def __init__(self, entries: Sequence[Fault | None] = ()) -> None:
        self._entries = deque(entries)
        self._always: Fault | Choose | None = None

    def add(self, *entries: Fault | None) -> None:
        """Append entries, each for one request, in the order they arrive."""
        self._entries.extend(entries)

    def always(self, rule: Fault | Choose | None) -> None:
        """Set what requests meet when no entries are left; a callable gets (body, number)."""
        self._always = rule

    def clear(self) -> None:
        """Forget all: requests go well."""
        self._entries.clear()
        self._always = None

    def take(self) -> Fault | Choose | None:
        """Take what the request that has just arrived meets."""
        try:
            return self._entries.popleft()
        except IndexError:
            return self._always


def _chunk(chunk: int | None) -> int | None:
    if chunk is not None and chunk < 1:
        msg = f"chunk is 1 or more bytes, not {chunk!r}"
        raise ValueError(msg)
    return chunk
