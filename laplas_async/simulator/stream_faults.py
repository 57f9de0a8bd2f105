"""Faults in the content of a response: how a stream breaks, errs, ends or is encoded.

Pure values; ``delivery`` turns them into bytes. ``after`` counts content chunks of a stream: 0 is
before the first. The effect on a plain (not streamed) response is documented where there is one;
otherwise the plain response is normal.
"""

from typing import Literal, Self

from attrs import frozen

from laplas_async.simulator.fault_fields import Body, ErrorFraming, FaultFields
from laplas_async.simulator.shape_variants import SHAPES


@frozen(kw_only=True, repr=False)
class StreamFaults(FaultFields):
    """The class methods of ``Fault`` that concern the content of a response."""

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
    def reset(cls, *, after: int = 0) -> Self:
        """Reset the TCP connection after ``after`` chunks (a plain response in the middle)."""
        return cls(kind="reset", after=after, end="reset")

    @classmethod
    def stall(cls, *, after: int = 0) -> Self:
        """Send ``after`` chunks and then nothing until the client disconnects."""
        return cls(kind="stall", after=after, end="stall")

    @classmethod
    def pause(cls, seconds: float, *, after: int = 0) -> Self:
        """Send ``after`` chunks, nothing for ``seconds``, and then the rest of the stream."""
        return cls(kind="pause", seconds=seconds, after=after)

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
    def no_done(cls) -> Self:
        """Leave out ``[DONE]`` but send the finish_reason."""
        return cls(kind="no_done")

    @classmethod
    def no_finish(cls) -> Self:
        """Leave out every finish_reason but send ``[DONE]``."""
        return cls(kind="no_finish")

    @classmethod
    def finish(cls, reason: str, *, after: int | None = None, done: bool = True) -> Self:
        """End with this finish_reason after ``after`` tokens of each choice (None: all of them).

        Failures that servers present as ends are "abort", "error", "network_error" and
        "insufficient_system_resource". ``done=False`` leaves out ``[DONE]``. A plain response has
        the same text and finish_reason.
        """
        return cls(kind="finish", reason=reason, tokens=after, done=done)

    @classmethod
    def choice_error(
        cls, *, code: int | str = 502, message: str = "Upstream error", after: int = 0
    ) -> Self:
        """End each choice after ``after`` tokens with an ``error`` and the finish_reason "error".

        The status stays that of success, as at OpenRouter. A plain response is the same.
        """
        error = {"code": code, "message": message}
        return cls(kind="finish", reason="error", tokens=after, error=error)

    @classmethod
    def shape(cls, *shapes: str, pause: float = 0.0, after: int = 0) -> Self:
        """Give the chunks the shape in which other servers send them; several shapes combine.

        The shapes (those of the message itself also change a plain response):
        "empty_finish_reasons" ("" for null), "stop_in_every_chunk", "early_stop" (a finish_reason
        before the content), "whole_message" (one event with a whole completion),
        "message_in_every_chunk" (``message`` for ``delta``), "content_parts" (thinking, text and
        reference parts), "reasoning_content" and "reasoning" (6 chunks of reasoning before the
        text, and usage details), "role_in_every_chunk", "same_index_tool_calls" (index 0 and id
        ""), "no_index_tool_calls", "tool_index_from_one", "repeated_tool_names",
        "split_tool_names", "whole_tool_calls" and "double_encoded_arguments".

        ``pause`` seconds pass before the content chunk number ``after`` (reasoning included).
        Raises ``ValueError`` for an unknown shape.
        """
        if unknown := [shape for shape in shapes if shape not in SHAPES]:
            raise ValueError(f"{unknown[0]!r} is not a known shape; known are: {', '.join(SHAPES)}")
        return cls(kind="shape", shapes=shapes, seconds=pause, after=after)

    @classmethod
    def error_event(
        cls,
        *,
        after: int = 0,
        body: Body = None,
        event: str | None = None,
        framing: ErrorFraming = "data",
        ping: bool = False,
        done: bool = False,
    ) -> Self:
        """Send an error after ``after`` chunks, then end without a finish_reason.

        ``body``: None is the service's own 500 body; ``error_body`` makes others. ``event``: the
        name of the event, if any. ``framing``: "data" is an event, "line" is ``error: {...}``,
        "bare" is JSON without any framing. ``ping`` sends a comment first, ``done`` a ``[DONE]``
        after it. A plain response is that body with the status of success.
        """
        return cls(
            kind="error_event",
            after=after,
            body=body,
            event=event,
            framing=framing,
            ping=ping,
            done=done,
        )

    @classmethod
    def garbage(cls, *, after: int = 0, data: bytes = b'data: {"id": \xff<oops\n\n') -> Self:
        """Send ``data`` in place of the rest, then end cleanly."""
        return cls(kind="garbage", after=after, data=data)

    @classmethod
    def broken_error(cls, *, after: int = 0) -> Self:
        """Report an error whose message breaks its JSON, as the server of transformers can."""
        return cls.garbage(after=after, data=b'data: {"error": "no \'model" here"}\n\n')

    @classmethod
    def never_ends(cls, size: int = 64 * 1024 * 1024) -> Self:
        """Send an unfinished line of about ``size`` bytes, then nothing more.

        The size is rounded up to whole 64 KiB; it is written no faster than the client reads.
        """
        return cls(kind="never_ends", size=size, end="stall")

    @classmethod
    def single_newlines(cls) -> Self:
        """Separate events by single newlines, without the empty line that the standard requires."""
        return cls(kind="single_newlines")

    @classmethod
    def json_lines(cls) -> Self:
        """Stream lines of JSON (NDJSON), without server-sent events."""
        return cls(kind="json_lines")

    @classmethod
    def json_array(cls) -> Self:
        """Send all chunks as one JSON array."""
        return cls(kind="json_array")

    @classmethod
    def comment_in_data(cls) -> Self:
        """Send the comment of a heartbeat as data, ``data: : PROCESSING``, before the content."""
        return cls(kind="comment_in_data")

    @classmethod
    def broken_chunking(cls, *, after: int = 0) -> Self:
        """Break HTTP's chunked framing in the same write as the first ``after`` chunks."""
        return cls(kind="broken_chunking", after=after, end="cut")

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
            chunk=chunk,
            comments=comments,
            multiline=multiline,
            extra_fields=extra_fields,
            per_write=per_write,
        )
