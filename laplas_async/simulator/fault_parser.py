"""Faults as they are spelt on a command line: `429,429:2,cut:5,ok*3`.

Pure. An entry is a name or a status, with its one or two values after colons and how often
after a star. It refuses unknown names with a ValueError that lists the known ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from laplas_async.simulator.faults import Fault

_MAX_REPEATS: Final = 100_000


def _counted(build: Callable[[int], Fault]) -> Callable[[list[str]], Fault]:
    def read(values: list[str]) -> Fault:
        return build(int(_only(values, "0")))

    return read


def _bare(build: Callable[[], Fault]) -> Callable[[list[str]], Fault]:
    def read(values: list[str]) -> Fault:
        if values:
            msg = "it takes no value"
            raise ValueError(msg)
        return build()

    return read


def _only(values: list[str], default: str) -> str:
    if len(values) > 1:
        msg = "it takes one value"
        raise ValueError(msg)
    return values[0] if values else default


def _heartbeats(values: list[str]) -> Fault:
    after, _, interval = ":".join(values).partition(":")
    return Fault.heartbeats(after=int(after or 0), interval=float(interval or 1))


def _redirect(values: list[str]) -> Fault:
    # A URL has colons of its own.
    return Fault.redirect(":".join(values) or "/v1/chat/completions")


KNOWN: Final[Mapping[str, tuple[str, Callable[[list[str]], Fault]]]] = {
    "cut": ("cut:CHUNKS", _counted(lambda n: Fault.cut(after=n))),
    "truncate": ("truncate:CHUNKS", _counted(lambda n: Fault.truncate(after=n))),
    "reset": ("reset:CHUNKS", _counted(lambda n: Fault.reset(after=n))),
    "stall": ("stall:CHUNKS", _counted(lambda n: Fault.stall(after=n))),
    "heartbeats": ("heartbeats:CHUNKS:SECONDS", _heartbeats),
    "garbage": ("garbage:CHUNKS", _counted(lambda n: Fault.garbage(after=n))),
    "broken_error": ("broken_error:CHUNKS", _counted(lambda n: Fault.broken_error(after=n))),
    "empty": ("empty", _bare(Fault.empty)),
    "error_event": ("error_event:CHUNKS", _counted(lambda n: Fault.error_event(after=n))),
    "never_ends": (
        "never_ends:BYTES",
        lambda values: Fault.never_ends(int(_only(values, "67108864"))),
    ),
    "slow_headers": (
        "slow_headers:SECONDS",
        lambda values: Fault.slow_headers(float(_only(values, "1"))),
    ),
    "redirect": ("redirect:URL", _redirect),
    "quota": ("quota", _bare(Fault.quota)),
    "no_done": ("no_done", _bare(Fault.no_done)),
    "no_finish": ("no_finish", _bare(Fault.no_finish)),
    "keep_open": ("keep_open", _bare(Fault.keep_open)),
    "drop": ("drop", _bare(Fault.drop)),
    "html": ("html", _bare(Fault.html)),
    "json_instead": ("json_instead", _bare(Fault.json_instead)),
    "gzip": ("gzip", _bare(Fault.gzip)),
    "http10": ("http10", _bare(Fault.http10)),
    "crlf": ("crlf", _bare(lambda: Fault.written(line_end="\r\n"))),
    "cr": ("cr", _bare(lambda: Fault.written(line_end="\r"))),
    "bom": ("bom", _bare(lambda: Fault.written(bom=True))),
    "no_space": ("no_space", _bare(lambda: Fault.written(space=False))),
    "bytewise": ("bytewise", _bare(lambda: Fault.written(chunk=1))),
    "comments": ("comments", _bare(lambda: Fault.written(comments=True))),
    "multiline": ("multiline", _bare(lambda: Fault.written(multiline=True))),
}
"""Name -> how it is spelt, and its reader."""


def parse_faults(text: str) -> list[Fault | None]:
    """Read a comma-separated list of faults; `ok` is a request that goes well.

    A number of three digits is a status, with an optional Retry-After in seconds (`429:2`).
    `*N` repeats an entry N times. Hyphens pass for underscores.
    """
    made: list[Fault | None] = []
    for entry in text.split(","):
        spelt = entry.strip()
        if not spelt:
            continue
        before, star, times = spelt.rpartition("*")
        if star and not (times.isdecimal() and 1 <= int(times) <= _MAX_REPEATS):
            msg = f"{spelt!r}: after the star stands how often, 1 to {_MAX_REPEATS}"
            raise ValueError(msg)
        one = _parsed(before if star else spelt)
        made += [one] * (int(times) if star else 1)
    return made


def _parsed(spelt: str) -> Fault | None:
    word, *values = spelt.split(":")
    name = word.strip().lower().replace("-", "_")
    if name in ("ok", "none"):
        return None
    try:
        if name.isdecimal():
            return Fault.status(int(name), retry_after=float(values[0]) if values else None)
        if name in KNOWN:
            return KNOWN[name][1](values)
    except ValueError as error:
        msg = f"{spelt!r}: {error}"
        raise ValueError(msg) from None
    known = ", ".join(["ok", "STATUS[:RETRY_AFTER]", *(shown for shown, _ in KNOWN.values())])
    msg = f"{spelt!r} is no fault that the simulator knows; it knows: {known}"
    raise ValueError(msg)
