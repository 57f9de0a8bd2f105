"""Unusual encodings of a stream's events, all within the standard for server-sent events.

Pure. It refuses to change the content of the events: a correct reader sees the same stream.
"""

from collections.abc import Sequence

import orjson

from laplas_async.simulator.encode import DONE, Event
from laplas_async.simulator.fault_fields import FaultFields

_BOM = b"\xef\xbb\xbf"


def encode_variant(events: Sequence[Event], fault: FaultFields) -> list[tuple[bytes, int]]:
    """Return the pieces to write, each with the number of content chunks that start in it."""
    encoded = [
        (_encode_event(event, number, fault), 1 if event.kind == "content" else 0)
        for number, event in enumerate(events)
    ]
    if fault.bom and encoded:
        encoded[0] = (_BOM + encoded[0][0], encoded[0][1])
    if fault.chunk is not None:
        return _slice_across_events(encoded, fault.chunk)
    groups = [encoded[at : at + fault.per_write] for at in range(0, len(encoded), fault.per_write)]
    return [
        (b"".join(data for data, _ in group), sum(count for _, count in group)) for group in groups
    ]


def slices(data: bytes, chunk: int | None) -> list[bytes]:
    """Cut ``data`` into slices of ``chunk`` bytes; None leaves it whole."""
    if chunk is None:
        return [data] if data else []
    return [data[at : at + chunk] for at in range(0, len(data), chunk)]


def _encode_event(event: Event, number: int, fault: FaultFields) -> bytes:
    data_lines = [event.data]
    if fault.multiline and event.data != DONE:
        # Indentation breaks JSON into lines only where white space is allowed.
        indented = orjson.dumps(orjson.loads(event.data), option=orjson.OPT_INDENT_2)
        data_lines = indented.split(b"\n")
    colon = b": " if fault.space else b":"
    end = fault.line_end.encode()
    lines: list[bytes] = []
    if fault.comments:
        lines += [b": ping", b""]
    if fault.extra_fields:
        lines += [b"retry" + colon + b"3000", b"", b"id" + colon + str(number).encode()]
        lines += [b"event" + colon + b"message"]
    lines += [b"data" + colon + line for line in data_lines]
    return b"".join(line + end for line in [*lines, b""])


def _slice_across_events(pieces: list[tuple[bytes, int]], chunk: int) -> list[tuple[bytes, int]]:
    """Slice regardless of events; a content chunk counts in the slice where its event starts."""
    starts: dict[int, int] = {}
    at = 0
    for data, count in pieces:
        starts[at // chunk] = starts.get(at // chunk, 0) + count
        at += len(data)
    joined = b"".join(data for data, _ in pieces)
    return [(one, starts.get(number, 0)) for number, one in enumerate(slices(joined, chunk))]
