"""JSON that is still being written: text in, a growing tree of complete values out; pure, linear.

Numbers, literals and strings appear when they are complete. Any chunking gives the same result.
Beside the tree the state is the path from its root to the open value. It refuses to repair, and
to find the JSON in other text (``locate``).
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

_SHORT: Final = 16  # characters; below it the general way costs no more
MAX_DEPTH: Final = 200  # levels; Python's own recursion limit bounds json.loads to about 1,000
_MAX_ATOM: Final = 4300  # characters of a number or literal; Python reads no longer integers
_MOST_PENDING: Final = 256  # pieces: endless white space is noticed soon (``blanks``)
MISSING: Final = type("Missing", (), {"__repr__": lambda _: "MISSING"})()

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_STRING_BODY: Final = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_ATOM: Final = re.compile(r"[^\s,\]}\[{\":]+")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LITERALS: Final = {"true": True, "false": False, "null": None}
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_OPEN_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_OPEN_PAIR: Final = re.compile(
    r"(?:\\u[dD][89abAB][0-9a-fA-F]{2}|[\ud800-\udbff])(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z"
)

# What may come next.
_VALUE, _FIRST, _KEY, _FIRST_KEY, _COLON, _AFTER, _END = range(7)


class JSONSyntaxError(ValueError):
    """The text is no JSON; ``position`` counts characters from its beginning."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(f"{message} at character {position}")
        self.position = position


@define(slots=True)
class Shape:
    """How to read values as they complete: ``read`` converts one, None leaves it as it is.

    ``fields`` are the shapes inside an object, ``items`` that of each element of an array.
    """

    read: Callable[[Any], Any] | None = None
    fields: dict[str, "Shape"] = field(factory=dict)
    items: "Shape | None" = None


_NO_SHAPE: Final = Shape()
_Container = dict[str, Any] | list[Any]


class PartialParser:
    """Feed text; ``value`` is the tree of all values that are complete.

    The tree is live: containers are in it from their opening bracket on and grow in place. With a
    ``shape``, a value that completes is replaced by what the shape's ``read`` makes of it, unless
    that raises ``Exception``.
    """

    __slots__ = (
        "_atom",
        "_container",
        "_escaped",
        "_expected",
        "_fed",
        "_in_string",
        "_key",
        "_pending",
        "_pieces",
        "_shape",
        "_stack",
        "_value",
        "_whole_failed",
        "blanks",
    )

    def __init__(self, shape: Shape | None = None) -> None:
        self._value: Any = MISSING
        self._pending: list[str] = []  # fed with ``feed_lazily``, and not looked at
        self.blanks = 0  # characters of white space since the last token
        self._expected = _VALUE
        self._container: Any = None
        self._key: str = ""
        self._shape = shape or _NO_SHAPE  # of the open container; at first, of the root
        self._stack: list[tuple[Any, str, Shape]] = []
        self._pieces: list[str] = []  # of the open string or atom
        self._whole_failed: str | None = None  # a text in which no whole value is left
        self._in_string = False
        self._escaped = False  # the open string ends with a backslash that escapes
        self._atom = 0  # characters of the open number or literal
        self._fed = 0

    @property
    def complete(self) -> bool:
        """Whether the root's value has ended."""
        return self._expected == _END

    @property
    def depth(self) -> int:
        """How many containers are open."""
        return len(self._stack) + (self._container is not None)

    def is_parent_of_open(self, container: Any) -> bool:
        """Whether the last element of a container is an open container itself."""
        return any(parent is container for parent, _, _ in self._stack)

    def open_string(self) -> str | None:
        """The value of the open string so far; None where none is open, or it is a key.

        Half an escape or a surrogate without its partner is held back. Costs the string's length.
        """
        if not self._in_string or self._expected in (_KEY, _FIRST_KEY):
            return None
        raw = "".join(self._pieces)
        if self._escaped:
            raw = raw[:-1]
        elif (half := _OPEN_ESCAPE.search(raw)) and _escapes(raw, half.start()):
            raw = raw[: half.start()]
        if (half := _OPEN_PAIR.search(raw)) and (
            raw[half.start()] != "\\" or _escapes(raw, half.start())
        ):
            raw = raw[: half.start()]
        try:
            return _decode(raw)
        except ValueError:
            return None

    @property
    def value(self) -> Any:
        """The tree so far; ``MISSING`` before it begins."""
        return self._value

    def feed_lazily(self, text: str) -> bool:
        """Take more text, and look at it only once an object may have ended in it.

        Whether it was looked at. Many short pieces cost much less this way.
        """
        pending = self._pending
        pending.append(text)
        if "}" in text or len(pending) > _MOST_PENDING:
            text = "".join(pending)
            pending.clear()
            self.feed(text)
            return True
        return False

    def feed(self, text: str) -> None:
        """Take more text. Raises ``JSONSyntaxError``, after which the parser is of no more use."""
        if self._pending:
            self._pending.append(text)
            text = "".join(self._pending)
            self._pending.clear()
        if self._in_string and '"' not in text and "\\" not in text and not self._escaped:
            self._pieces.append(text)  # as for nearly every piece of a long string
            self._fed += len(text)
            return
        at, length = 0, len(text)
        while at < length:
            if self._in_string:
                at = self._continue_string(text, at)
            elif self._atom:
                at = self._continue_atom(text, at)
            else:
                at = self._token(text, at)
        self._whole_failed = None
        self._fed += length

    def finish(self) -> bool:
        """The text has ended: whether the value is complete. Raises ``JSONSyntaxError``."""
        self.feed("")
        if self._atom and self._container is None:
            self._end_atom(0)
        return self._expected == _END

    # --- tokens -------------------------------------------------------------------------------

    def _token(self, text: str, at: int) -> int:  # noqa: C901 - one case for each character
        char = text[at]
        expected = self._expected
        if char in " \t\n\r":
            end = _BLANK.match(text, at).end()  # type: ignore[union-attr]
            self.blanks += end - at
            return end
        self.blanks = 0
        if char == '"':
            if expected in (_VALUE, _FIRST, _KEY, _FIRST_KEY):
                end = text.find('"', at + 1)
                if end > 0 and "\\" not in text[at:end]:
                    self._string(text[at + 1 : end])
                    return end + 1
                self._in_string = True
                return at + 1
        elif char == ",":
            if expected == _AFTER:
                self._expected = _KEY if type(self._container) is dict else _VALUE
                return at + 1
        elif char == ":":
            if expected == _COLON:
                self._expected = _VALUE
                return at + 1
        elif char in "{[}]":
            if (end := self._bracket(text, at)) > 0:
                return end
        elif expected in (_VALUE, _FIRST):
            self._atom = 0
            return self._continue_atom(text, at)
        if expected == _END:
            return len(text)  # text behind the value is judged by the reader of the whole text
        raise JSONSyntaxError(f"{_EXPECTED[expected]} expected, not {char!r}", self._fed + at)

    def _bracket(self, text: str, at: int) -> int:
        """Open or close a container; where it goes on, or 0 where none may open or close."""
        char, expected = text[at], self._expected
        if char in "{[":
            if expected not in (_VALUE, _FIRST):
                return 0
            if self._container is not None and (end := self._read_whole(text, at)):
                return end
            self._open({} if char == "{" else [], at)
            return at + 1
        kind, empty = (dict, _FIRST_KEY) if char == "}" else (list, _FIRST)
        if type(self._container) is not kind or expected not in (_AFTER, empty):
            return 0
        self._close()
        return at + 1

    def _read_whole(self, text: str, at: int) -> int:
        """Read an object or array whose end is in this text too, at the speed of ``json``.

        Where it ends; 0 if it cannot be read so. Tried in vain once for each text at most, so the
        effort stays linear.
        """
        if self._whole_failed is text or len(text) - at < _SHORT or "\\u" in text:
            return 0
        if text.count("{", at) + text.count("[", at) + self.depth > MAX_DEPTH:
            return 0
        try:
            value, end = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            self._whole_failed = text
            return 0
        self._add(value)
        return end

    def _continue_string(self, text: str, at: int) -> int:
        start = at
        if self._escaped:
            self._escaped = False
            at += 1
        end = _STRING_BODY.match(text, at).end()  # type: ignore[union-attr]
        if end == len(text):
            self._pieces.append(text[start:] if start else text)
            return end
        if text[end] == "\\":  # the last character of this text
            self._escaped = True
            self._pieces.append(text[start:])
            return len(text)
        self._pieces.append(text[start:end])
        raw = "".join(self._pieces)
        self._pieces.clear()
        self._in_string = False
        if "\\" in raw or _SURROGATE.search(raw):
            try:
                raw = _decode(raw)
            except ValueError:
                raise JSONSyntaxError("a string with a wrong escape", self._fed + end) from None
        self._string(raw)
        return end + 1

    def _continue_atom(self, text: str, at: int) -> int:
        found = _ATOM.match(text, at)
        if found is None:
            self._end_atom(at)
            return at
        self._pieces.append(found[0])
        self._atom += found.end() - at
        if self._atom > _MAX_ATOM:
            raise JSONSyntaxError("a number or literal that is too long", self._fed + at)
        if found.end() < len(text):
            self._end_atom(found.end())
        return found.end()

    def _end_atom(self, at: int) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._atom = 0
        self._add(read_atom(text, self._fed + at))

    def _string(self, value: str) -> None:
        if self._expected in (_KEY, _FIRST_KEY):
            if value in self._container:
                raise JSONSyntaxError(f"the key {value!r} twice", self._fed)
            self._key = value
            self._expected = _COLON
        else:
            self._add(value)

    # --- the tree -----------------------------------------------------------------------------

    def _add(self, value: Any) -> None:
        container, shape = self._container, self._shape
        if container is None:
            self._value = _converted(shape, value)
            self._expected = _END
            return
        if type(container) is dict:
            if shape.fields and (inner := shape.fields.get(self._key)) is not None:
                value = _converted(inner, value)
            container[self._key] = value
        else:
            if shape.items is not None:
                value = _converted(shape.items, value)
            container.append(value)
        self._expected = _AFTER

    def _open(self, made: _Container, at: int) -> None:
        container, shape = self._container, self._shape
        if container is None:
            self._value = made
            inner: Shape | None = shape
        elif type(container) is dict:
            container[self._key] = made
            inner = shape.fields.get(self._key)
        else:
            container.append(made)
            inner = shape.items
        if len(self._stack) >= MAX_DEPTH:
            raise JSONSyntaxError(f"nested deeper than {MAX_DEPTH} levels", self._fed + at)
        self._stack.append((container, self._key, shape))
        self._container, self._shape = made, inner or _NO_SHAPE
        self._expected = _FIRST_KEY if type(made) is dict else _FIRST

    def _close(self) -> None:
        made, shape = self._container, self._shape
        value = _converted(shape, made) if shape.read is not None else made
        container, self._key, self._shape = self._stack.pop()
        self._container = container
        if container is None:
            self._value = value
            self._expected = _END
            return
        if value is not made:
            if type(container) is dict:
                container[self._key] = value
            else:
                container[-1] = value
        self._expected = _AFTER


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, for ``json``; ``ValueError`` for a key that comes twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} twice")
            seen.add(key)
    return made


def refuse_constant(name: str) -> Any:
    """For ``json``: NaN and the infinities are no JSON."""
    raise ValueError(f"{name} is no JSON")


_EXPECTED: Final = {
    _VALUE: "a value",
    _FIRST: "a value or ]",
    _KEY: "a key in quotation marks",
    _FIRST_KEY: "a key in quotation marks or }",
    _COLON: "a colon",
    _AFTER: "a comma or the end of the object or list",
    _END: "nothing",
}


def read_atom(text: str, position: int = 0) -> Any:
    """A number or literal. Raises ``JSONSyntaxError``, for ``NaN`` and ``1e999`` too."""
    if text in _LITERALS:
        return _LITERALS[text]
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise JSONSyntaxError(f"a value expected, not {text[:40]!r}", position)
    if found[1] is None and found[2] is None:
        return int(text)
    number = float(text)
    if number - number != 0:  # infinite
        raise JSONSyntaxError(f"the number {text[:40]} is too large", position)
    return number


# Control characters in strings are tolerated, for models write them and they are unambiguous.
DECODER: Final = json.JSONDecoder(
    object_pairs_hook=unique_pairs,
    parse_constant=refuse_constant,
    parse_float=read_atom,
    strict=False,
)
_STRINGS: Final = json.JSONDecoder(strict=False)


def _converted(shape: Shape, value: Any) -> Any:
    if shape.read is None:
        return value
    try:
        return shape.read(value)
    except Exception:  # noqa: BLE001 - a validator may raise anything; ``reading`` reports it
        return value


def _decode(raw: str) -> str:
    """The text of a string's inside."""
    text: str = _STRINGS.decode(f'"{raw}"')
    return without_surrogates(text)


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each lone surrogate; halves that meet are joined."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escapes(raw: str, at: int) -> bool:
    """Whether the backslash at a place begins an escape, and is not itself escaped."""
    before = len(raw[:at]) - len(raw[:at].rstrip("\\"))
    return before % 2 == 0
