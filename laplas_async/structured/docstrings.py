"""What a docstring says about a class or function and its fields or parameters.

Google, NumPy and Sphinx styles. It refuses to be a documentation tool: only the first paragraph
and the descriptions of names are read, markup stays as it is.
"""

import inspect
import re
from collections.abc import Iterator

from attrs import define, field

_SECTION_NAMES = "args|arguments|parameters|params|other parameters|attributes|keyword args"
_GOOGLE_SECTION = re.compile(rf"({_SECTION_NAMES}):\s*$", re.IGNORECASE)
_NUMPY_SECTION = re.compile(rf"({_SECTION_NAMES})\s*$", re.IGNORECASE)
_ANY_SECTION = re.compile(r"[A-Z][A-Za-z ]+:\s*$")
_UNDERLINE = re.compile(r"-{3,}\s*$")
_GOOGLE_ENTRY = re.compile(r"(\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY_ENTRY = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_SPHINX_ENTRY = re.compile(
    r":(?:param|parameter|arg|argument|ivar|var|attr)\s+(?:.*\s)?(\w+):\s*(.*)$"
)
_SPHINX_FIELD = re.compile(r":\w+(?:\s[^:]*)?:")


@define
class Docstring:
    """The first paragraph, and the description of each name that has one."""

    summary: str | None = None
    names: dict[str, str] = field(factory=dict)


def parse_docstring(text: str | None) -> Docstring:
    """Read a docstring; an empty result where there is none."""
    if not text or not text.strip():
        return Docstring()
    lines = inspect.cleandoc(text).splitlines()
    names: dict[str, str] = {}
    for read in (_google, _numpy, _sphinx):
        for name, words in read(lines):
            names.setdefault(name.lstrip("*"), _joined(words))
    return Docstring(_summary(lines), {name: words for name, words in names.items() if words})


def class_docstring(cls: type) -> str | None:
    """The docstring that a class's author wrote; None for inherited and generated ones."""
    text = cls.__dict__.get("__doc__")
    if not isinstance(text, str) or text.startswith(f"{cls.__name__}("):  # dataclass, NamedTuple
        return None
    return text


def _summary(lines: list[str]) -> str | None:
    words: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line.strip() or _SPHINX_FIELD.match(line) or _GOOGLE_SECTION.match(line):
            break
        if _UNDERLINE.match(following) and _NUMPY_SECTION.match(line):
            break
        words.append(line)
    return _joined(words) or None


def _google(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    at = 0
    while at < len(lines):
        if not _GOOGLE_SECTION.match(lines[at]):
            at += 1
            continue
        at += 1
        block: list[str] = []
        while at < len(lines) and (not lines[at].strip() or lines[at][0].isspace()):
            block.append(lines[at])
            at += 1
        yield from _entries(inspect.cleandoc("\n" + "\n".join(block)).splitlines(), _GOOGLE_ENTRY)


def _numpy(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    starts = [
        at for at in range(len(lines) - 1) if _UNDERLINE.match(lines[at + 1]) and lines[at].strip()
    ]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        if not _NUMPY_SECTION.match(lines[start]):
            continue
        for name, words in _entries(lines[start + 2 : end], _NUMPY_ENTRY):
            for one in name.split(","):
                yield one.strip(), words


def _sphinx(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    name, words = "", list[str]()
    for line in lines:
        if _SPHINX_FIELD.match(line) or not line.strip():
            if name:
                yield name, words
            name, words = "", []
            if found := _SPHINX_ENTRY.match(line):
                name, words = found[1], [found[2]]
        elif name:
            words.append(line)
    if name:
        yield name, words


def _entries(lines: list[str], entry: re.Pattern[str]) -> Iterator[tuple[str, list[str]]]:
    """Names at the margin, and their descriptions: behind the colon, or indented below."""
    name, words = "", list[str]()
    for line in lines:
        if line.strip() and not line[0].isspace():
            if name:
                yield name, words
            found = None if _ANY_SECTION.match(line) else entry.match(line)
            name = found[1] if found else ""
            words = [found[2]] if found and entry is _GOOGLE_ENTRY else []
        elif name:
            words.append(line)
    if name:
        yield name, words


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
