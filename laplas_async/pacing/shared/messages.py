"""What workers and the leader say to each other, and its encoding: one JSON array a line.

Only durations travel, never the time of any clock. It refuses to know how lines are transported.
"""

from typing import Any, Final, TypeAlias

import attrs
import orjson
from attrs import frozen

# A state with two windows of 512 groups has about 50 kB (test_snapshot: size); more than this is
# not a message of ours.
MOST_BYTES: Final = 4 * 1024 * 1024
# Raised whenever a message changes, so that another version is refused instead of misread.
PROTOCOL: Final = 1

ReportKind: TypeAlias = str
"""What became of a permit, or what else is worth knowing; the tags are short for the wire.

``STARTED`` it was used (in the history of a ``Hello`` only), ``ACCEPTED`` the service took it,
``DONE`` accepted and ended, ``ENDED`` ended and nothing more is known, ``UNUSED`` it was returned
before anything was sent, ``FAILED`` the service failed, ``REJECTED`` for a limit (value:
``retry_after``), ``TOKENS`` it used so many (value), ``PAUSE`` for so many seconds (value),
``CONNECTED`` a connection took so long (value).
"""
STARTED: Final = "s"
ACCEPTED: Final = "a"
DONE: Final = "d"
ENDED: Final = "e"
UNUSED: Final = "u"
FAILED: Final = "f"
REJECTED: Final = "r"
TOKENS: Final = "t"
PAUSE: Final = "p"
CONNECTED: Final = "c"
_KINDS: Final = frozenset("sadeufrtpc")


class MessageError(Exception):
    """The bytes are no message of this protocol."""


Report: TypeAlias = tuple[ReportKind, int, float | None, float]
"""(kind, the permit's number, value, age): ``age`` is how many seconds ago it happened."""


def _is_report(value: Any) -> bool:
    return (
        len(value) == 4
        and value[0] in _KINDS
        and type(value[1]) is int
        and (value[2] is None or type(value[2]) in (int, float))
        and type(value[3]) in (int, float)
    )


def _reports(value: Any) -> tuple[Report, ...]:
    if not all(_is_report(one) for one in value):
        raise ValueError("not a list of reports")
    return tuple((kind, number, amount, age) for kind, number, amount, age in value)


def _pairs(value: Any) -> tuple[tuple[int, int], ...]:
    return tuple((int(number), int(tokens)) for number, tokens in value)


def _integers(value: Any) -> tuple[int, ...]:
    return tuple(int(one) for one in value)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value)


# --- from a worker ----------------------------------------------------------------------------


@frozen
class Hello:
    """A worker joins, or joins again: what it holds, and what happened since the last state.

    ``name``: of the worker. ``next_number``: of its next permit. ``held``: (number, tokens) of the
    permits in use. ``history``: reports since the last state it has. ``state``: that one, None if
    it has none.
    """

    name: str
    version: str
    protocol: int
    next_number: int = attrs.field(converter=int)
    held: tuple[tuple[int, int], ...] = attrs.field(default=(), converter=_pairs)
    history: tuple[Report, ...] = attrs.field(default=(), converter=_reports)
    state: "State | None" = None
    state_age: float = attrs.field(default=0.0, converter=float)


@frozen
class Want:
    """So many tasks wait. ``received``: the highest permit's number that has arrived.

    ``costs``: the tokens that the first of them reserve; the others as the last of these.
    """

    received: int = attrs.field(converter=int)
    waiting: int = attrs.field(converter=int)
    costs: tuple[int, ...] = attrs.field(default=(), converter=_integers)


@frozen
class Reports:
    """What became of permits."""

    reports: tuple[Report, ...] = attrs.field(converter=_reports)


@frozen
class Alive:
    """The worker runs: all that it has, so that lost messages are repaired.

    As ``Want``, and ``held``: the numbers of the permits in use.
    """

    received: int = attrs.field(converter=int)
    waiting: int = attrs.field(converter=int)
    costs: tuple[int, ...] = attrs.field(default=(), converter=_integers)
    held: tuple[int, ...] = attrs.field(default=(), converter=_integers)


@frozen
class Bye:
    """The worker leaves."""


# --- from the leader --------------------------------------------------------------------------


@frozen
class Welcome:
    """The worker has joined; all that it holds is known."""


@frozen
class Refused:
    """The worker cannot share: ``reason`` says why and what to do."""

    reason: str


@frozen
class Grant:
    """Permits, numbered from ``first``; ``costs`` are the tokens that each reserves."""

    first: int = attrs.field(converter=int)
    costs: tuple[int, ...] = attrs.field(converter=_integers)


@frozen
class State:
    """All that the next leader needs, and what a worker does alone if it hears nothing more.

    ``now``: of the limiter's own clock, which began at 0 and is continued by each leader.
    ``limiter``: its snapshot. ``workers``: the names of all. The rest is shown in ``Pace``.
    """

    now: float = attrs.field(converter=float)
    limiter: dict[str, Any]
    workers: tuple[str, ...] = attrs.field(converter=_names)
    concurrency: int = attrs.field(converter=int)
    rate: float | None
    closed: bool
    reason: str
    rules: list[dict[str, Any]]


@frozen
class Expired:
    """The worker was silent for too long; its permits were given to others. It may join again."""


@frozen
class Quota:
    """A worker met a quota, for which waiting seconds does not help: all others stop asking.

    Sent by that worker, and by the leader to all others.
    """

    message: str
    body: str = ""


Message: TypeAlias = (
    Hello | Want | Reports | Alive | Bye | Welcome | Refused | Grant | State | Expired | Quota
)
_TYPES: Final[tuple[type[Any], ...]] = (
    *(Hello, Want, Reports, Alive, Bye, Welcome, Refused, Grant, State, Expired, Quota),
)
_TAGS: Final[dict[type[Any], str]] = {kind: kind.__name__.lower() for kind in _TYPES}
_STATE: Final = [one.name for one in attrs.fields(Hello)].index("state")
_BY_TAG: Final = {tag: kind for kind, tag in _TAGS.items()}


def _fields(message: Message) -> list[Any]:
    values = [getattr(message, one.name) for one in attrs.fields(type(message))]
    return [_fields(value) if isinstance(value, State) else value for value in values]


def encode(message: Message) -> bytes:
    """One line, its end included."""
    return orjson.dumps([_TAGS[type(message)], *_fields(message)]) + b"\n"


def decode(line: bytes) -> Message:
    """The message of a line. Raises ``MessageError``."""
    try:
        tag, *values = orjson.loads(line)
        kind = _BY_TAG[tag]
        if kind is Hello and len(values) > _STATE and values[_STATE] is not None:
            values[_STATE] = State(*values[_STATE])
        # A later protocol may add fields; a ``Hello`` must be readable in order to be refused.
        message: Message = kind(*values[: len(attrs.fields(kind))])
    except (ValueError, TypeError, KeyError) as error:
        raise MessageError(f"not a message ({type(error).__name__}): {line[:60]!r}") from None
    return message


class Splitter:
    """Cuts bytes into messages, wherever the transport has split them."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises ``MessageError``."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_BYTES:
            raise MessageError(f"a line of more than {MOST_BYTES} bytes")
        return [decode(line) for line in lines]
