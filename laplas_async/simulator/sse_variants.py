"""A stream's events written oddly, but within the standard for server-sent events.

Pure. It refuses to change what the events say: a right reader sees the same stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from laplas_async.simulator.encode import DONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laplas_async.simulator.encode import Event
    from laplas_async.simulator.faults import Fault

_BOM = b"\xef\xbb\xbf"


def written(events: Sequence[Event], fault: Fault) -> list[tuple[bytes, int]]:
    """Return the pieces to write, each with how many content chunks begin in it."""
    made = [
        (_one(event, at, fault), 1 if event.kind == "content" else 0)
        for at, event in enumerate(events)
    ]
    if fault.bom and made:
        made[0] = (_BOM + made[0][0], made[0][1])
    if fault.chunk is not None:
        return _across(made, fault.chunk)
    groups = [made[at : at + fault.per_write] for at in range(0, len(made), fault.per_write)]
    return [
        (b"".join(data for data, _ in group), sum(count for _, count in group)) for group in groups
    ]


def sliced(data: bytes, chunk: int | None) -> list[bytes]:
    """Cut `data` into slices of `chunk` bytes; None leaves it whole."""
    if chunk is None:
        return [data] if data else []
    return [data[at : at + chunk] for at in range(0, len(data), chunk)]


def _one(event: Event, at: int, fault: Fault) -> bytes:
    lines = [event.data]
    if fault.multiline and event.data != DONE:
        # A line end is white space in JSON wherever the indenting puts one.
        lines = orjson.dumps(orjson.loads(event.data), option=orjson.OPT_INDENT_2).split(b"\n")
    colon = b": " if fault.space else b":"
    end = fault.line_end.encode()
    made: list[bytes] = []
    if fault.comments:
        made += [b": ping", b""]
    if fault.extra_fields:
        number = str(at).encode()
        made += [b"retry" + colon + b"3000", b"", b"id" + colon + number]
        made += [b"event" + colon + b"message"]
    made += [b"data" + colon + line for line in lines]
    return b"".join(line + end for line in [*made, b""])


def _across(pieces: list[tuple[bytes, int]], chunk: int) -> list[tuple[bytes, int]]:
    """Cut across the events; a content chunk counts where its event begins."""
    starts: dict[int, int] = {}
    at = 0
    for data, count in pieces:
        starts[at // chunk] = starts.get(at // chunk, 0) + count
        at += len(data)
    joined = b"".join(data for data, _ in pieces)
    return [(one, starts.get(number, 0)) for number, one in enumerate(sliced(joined, chunk))]
