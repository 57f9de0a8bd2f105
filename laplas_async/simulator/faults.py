"""What can go wrong with a response: ``Fault`` values, built by name.

Pure; it refuses to produce bytes, which ``delivery`` does from a fault and an answer. The faults
here concern the HTTP response; those in its content are in ``stream_faults``.
"""

from collections.abc import Mapping, Sequence
from typing import Self

from attrs import frozen

from laplas_async.simulator.error_bodies import ErrorForm, error_body
from laplas_async.simulator.fault_fields import Body, End
from laplas_async.simulator.stream_faults import StreamFaults


@frozen(kw_only=True, repr=False)
class Fault(StreamFaults):
    """One fault. Build it with a class method, such as ``Fault.cut(after=3)``.

    Values out of range raise ``ValueError``. Faults with equal values are equal.
    """

    @classmethod
    def status(
        cls,
        code: int,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
        retry_after: float | str | None = None,
    ) -> Self:
        """Respond with an HTTP status (200 to 599).

        ``body``: None is the service's own error body for the status; a dict or list is sent as
        JSON, a string as text (HTML if it starts with "<"), bytes as they are. ``retry_after`` is
        in seconds, or a string sent verbatim, such as an HTTP date or "3, 2".
        """
        sent = dict(headers or {})
        if retry_after is not None:
            sent["Retry-After"] = str(retry_after)
        return cls(kind="status", code=code, body=body, headers=sent)

    @classmethod
    def error_response(
        cls, code: int, form: ErrorForm, message: str | None = None, *, retry_after: float = 30.0
    ) -> Self:
        """Respond with an HTTP status and an error body in the form of another server.

        The forms are those of ``error_body``; ``retry_after`` is used by "retry_info" only.
        """
        body = error_body(form, status=code, message=message, retry_after=retry_after)
        return cls.status(code, body)

    @classmethod
    def rate_limit(
        cls,
        *,
        retry_after: float | str | None = None,
        retry_after_ms: float | str | None = None,
        remaining: int | str | None = None,
        reset: float | str | None = None,
        body: Body = None,
    ) -> Self:
        """Respond 429 with these headers, each sent verbatim if given.

        ``retry_after`` is in seconds or a date, ``retry_after_ms`` in milliseconds (Azure).
        ``remaining`` and ``reset`` are those of ``x-ratelimit-*-requests``, for example -1 for
        unknown, and "6m0s", "120ms" or seconds since the epoch.
        """
        given = {
            "retry-after-ms": retry_after_ms,
            "x-ratelimit-remaining-requests": remaining,
            "x-ratelimit-reset-requests": reset,
        }
        headers = {name: str(value) for name, value in given.items() if value is not None}
        return cls.status(429, body, headers=headers, retry_after=retry_after)

    @classmethod
    def quota(cls, message: str | None = None) -> Self:
        """Respond 429 with the message of an exhausted quota: waiting seconds does not help.

        ``message``: None is the service's own; others are, for example, "Rate limit exceeded:
        free-models-per-day" or "You exceeded your monthly quota".
        """
        return cls(kind="quota", code=429, body=message)

    @classmethod
    def empty(cls) -> Self:
        """Succeed with an empty body, as llama-cpp-python does for a prompt that is too long."""
        return cls.raw()

    @classmethod
    def blank(cls) -> Self:
        """Succeed with a body of white space only."""
        return cls.raw(b" \n\n ", content_type="application/json")

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
            chunk=chunk,
            end=end,
            content_type=content_type,
            content_encoding=content_encoding,
        )

    @classmethod
    def verbatim(
        cls,
        data: bytes = b"",
        *,
        pieces: Sequence[bytes] | None = None,
        chunk: int | None = None,
        end: End = "clean",
    ) -> Self:
        """Send these bytes verbatim as the whole HTTP response, status line and headers included.

        ``pieces``, ``chunk`` and ``end`` are those of ``raw``; a clean end closes the connection.
        """
        written = None if pieces is None else tuple(pieces)
        return cls(kind="verbatim", data=data, pieces=written, chunk=chunk, end=end)

    @classmethod
    def slow_headers(cls, seconds: float) -> Self:
        """Wait before the status line, then respond normally."""
        return cls(kind="slow_headers", seconds=seconds)

    @classmethod
    def large_headers(cls, size: int = 16_384) -> Self:
        """Respond normally, with one more header of ``size`` bytes."""
        return cls(kind="large_headers", size=size)

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
    def stream_instead(cls) -> Self:
        """Respond to a plain request with a stream of events."""
        return cls(kind="stream_instead")

    @classmethod
    def stream_unless_false(cls) -> Self:
        """Stream unless the request says ``"stream": false``, as some servers do."""
        return cls(kind="stream_unless_false")

    @classmethod
    def trailing_done(cls) -> Self:
        """Append ``data: [DONE]`` to the JSON of a plain response."""
        return cls(kind="trailing_done")

    @classmethod
    def gzip(cls) -> Self:
        """Compress the response with gzip; a stream is flushed after each event."""
        return cls(kind="gzip")

    @classmethod
    def http10(cls) -> Self:
        """Respond in HTTP/1.0, without chunking or length: the connection's end is the body's."""
        return cls(kind="http10")
