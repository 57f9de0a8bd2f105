"""Parses faults as written on a command line: ``429,429:2,cut:5,ok*3``.

Pure. An entry is a name or a status, followed by its values after colons and by a count after a
star. It refuses unknown names with a ``ValueError`` that lists the known ones.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

from laplas_async.simulator.error_bodies import ErrorForm
from laplas_async.simulator.faults import Fault
from laplas_async.simulator.shape_variants import SHAPES

# Entries are expanded into a list, so a mistyped count must not fill the memory.
_MAX_REPEATS: Final = 100_000


def _one_count(build: Callable[[int], Fault]) -> Callable[[list[str]], Fault]:
    def read(values: list[str]) -> Fault:
        return build(int(_only(values, "0")))

    return read


def _no_value(build: Callable[[], Fault]) -> Callable[[list[str]], Fault]:
    def read(values: list[str]) -> Fault:
        if values:
            raise ValueError("takes no value")
        return build()

    return read


def _only(values: list[str], default: str) -> str:
    if len(values) > 1:
        raise ValueError("takes one value")
    return values[0] if values else default


def _heartbeats(values: list[str]) -> Fault:
    after, _, interval = ":".join(values).partition(":")
    return Fault.heartbeats(after=int(after or 0), interval=float(interval or 1))


def _redirect(values: list[str]) -> Fault:
    # A URL contains colons too.
    return Fault.redirect(":".join(values) or "/v1/chat/completions")


def _up_to_two(values: list[str], defaults: tuple[str, str]) -> tuple[str, str]:
    if len(values) > 2:
        raise ValueError("takes at most two values")
    first, second = [*values, "", ""][:2]
    return first or defaults[0], second or defaults[1]


def _pause(values: list[str]) -> Fault:
    seconds, after = _up_to_two(values, ("1", "0"))
    return Fault.pause(float(seconds), after=int(after))


def _finish(values: list[str]) -> Fault:
    reason, after = _up_to_two(values, ("abort", ""))
    return Fault.finish(reason, after=int(after) if after else None)


def _choice_error(values: list[str]) -> Fault:
    code, after = _up_to_two(values, ("502", "0"))
    return Fault.choice_error(code=int(code), after=int(after))


def _error_response(values: list[str]) -> Fault:
    status, form = _up_to_two(values, ("500", "openai"))
    return Fault.error_response(int(status), cast("ErrorForm", form))


def _shape(name: str) -> Callable[[list[str]], Fault]:
    return _no_value(lambda: Fault.shape(name))


KNOWN: Final[Mapping[str, tuple[str, Callable[[list[str]], Fault]]]] = {
    "cut": ("cut:CHUNKS", _one_count(lambda n: Fault.cut(after=n))),
    "truncate": ("truncate:CHUNKS", _one_count(lambda n: Fault.truncate(after=n))),
    "reset": ("reset:CHUNKS", _one_count(lambda n: Fault.reset(after=n))),
    "stall": ("stall:CHUNKS", _one_count(lambda n: Fault.stall(after=n))),
    "heartbeats": ("heartbeats:CHUNKS:SECONDS", _heartbeats),
    "garbage": ("garbage:CHUNKS", _one_count(lambda n: Fault.garbage(after=n))),
    "broken_error": ("broken_error:CHUNKS", _one_count(lambda n: Fault.broken_error(after=n))),
    "empty": ("empty", _no_value(Fault.empty)),
    "error_event": ("error_event:CHUNKS", _one_count(lambda n: Fault.error_event(after=n))),
    "never_ends": (
        "never_ends:BYTES",
        lambda values: Fault.never_ends(int(_only(values, "67108864"))),
    ),
    "slow_headers": (
        "slow_headers:SECONDS",
        lambda values: Fault.slow_headers(float(_only(values, "1"))),
    ),
    "redirect": ("redirect:URL", _redirect),
    "quota": ("quota", _no_value(Fault.quota)),
    "no_done": ("no_done", _no_value(Fault.no_done)),
    "no_finish": ("no_finish", _no_value(Fault.no_finish)),
    "keep_open": ("keep_open", _no_value(Fault.keep_open)),
    "pause": ("pause:SECONDS:CHUNKS", _pause),
    "finish": ("finish:REASON:TOKENS", _finish),
    "choice_error": ("choice_error:CODE:TOKENS", _choice_error),
    "error_response": ("error_response:STATUS:FORM", _error_response),
    "error_line": (
        "error_line:CHUNKS",
        _one_count(lambda n: Fault.error_event(after=n, framing="line")),
    ),
    "bare_error": (
        "bare_error:CHUNKS",
        _one_count(lambda n: Fault.error_event(after=n, framing="bare")),
    ),
    "broken_chunking": (
        "broken_chunking:CHUNKS",
        _one_count(lambda n: Fault.broken_chunking(after=n)),
    ),
    "large_headers": (
        "large_headers:BYTES",
        lambda values: Fault.large_headers(int(_only(values, "16384"))),
    ),
    "blank": ("blank", _no_value(Fault.blank)),
    "stream_instead": ("stream_instead", _no_value(Fault.stream_instead)),
    "stream_unless_false": ("stream_unless_false", _no_value(Fault.stream_unless_false)),
    "trailing_done": ("trailing_done", _no_value(Fault.trailing_done)),
    "single_newlines": ("single_newlines", _no_value(Fault.single_newlines)),
    "json_lines": ("json_lines", _no_value(Fault.json_lines)),
    "json_array": ("json_array", _no_value(Fault.json_array)),
    "comment_in_data": ("comment_in_data", _no_value(Fault.comment_in_data)),
    "drop": ("drop", _no_value(Fault.drop)),
    "html": ("html", _no_value(Fault.html)),
    "json_instead": ("json_instead", _no_value(Fault.json_instead)),
    "gzip": ("gzip", _no_value(Fault.gzip)),
    "http10": ("http10", _no_value(Fault.http10)),
    "crlf": ("crlf", _no_value(lambda: Fault.written(line_end="\r\n"))),
    "cr": ("cr", _no_value(lambda: Fault.written(line_end="\r"))),
    "bom": ("bom", _no_value(lambda: Fault.written(bom=True))),
    "no_space": ("no_space", _no_value(lambda: Fault.written(space=False))),
    "bytewise": ("bytewise", _no_value(lambda: Fault.written(chunk=1))),
    "comments": ("comments", _no_value(lambda: Fault.written(comments=True))),
    "multiline": ("multiline", _no_value(lambda: Fault.written(multiline=True))),
    **{name: (name, _shape(name)) for name in SHAPES},
}
"""Name -> its syntax for the help text, and the function that reads its values."""


def parse_faults(text: str) -> list[Fault | None]:
    """Parse a comma-separated list of faults; ``ok`` is None, a request without a fault.

    A number is a status, with an optional Retry-After in seconds (``429:2``). ``*N`` repeats an
    entry N times. Hyphens may be used for underscores. Raises ``ValueError`` for anything else.
    """
    faults: list[Fault | None] = []
    for entry in text.split(","):
        written = entry.strip()
        if not written:
            continue
        before, star, times = written.rpartition("*")
        if star and not (times.isdecimal() and 1 <= int(times) <= _MAX_REPEATS):
            raise ValueError(f"{written!r}: the count after * must be 1 to {_MAX_REPEATS}")
        one = _parsed(before if star else written)
        faults += [one] * (int(times) if star else 1)
    return faults


def _parsed(written: str) -> Fault | None:
    name, *values = written.split(":")
    name = name.strip().lower().replace("-", "_")
    if name in ("ok", "none"):
        return None
    try:
        if name.isdecimal():
            return Fault.status(int(name), retry_after=float(values[0]) if values else None)
        if name in KNOWN:
            return KNOWN[name][1](values)
    except ValueError as error:
        raise ValueError(f"{written!r}: {error}") from None
    known = ", ".join(["ok", "STATUS[:RETRY_AFTER]", *(syntax for syntax, _ in KNOWN.values())])
    raise ValueError(f"{written!r} is not a known fault; known are: {known}")
