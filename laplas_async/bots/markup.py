"""The outline of a Markdown text: its code fences, and the spans that must stay in one piece.

Pure. It refuses to be a Markdown parser: it finds what a message must not be cut inside of, and
takes an opening sign that is never closed for plain text, as renderers do.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator

from attrs import Factory, define, frozen

_OPENING = re.compile(
    r"(?P<lead>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)\n?"
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_TOKEN = re.compile(
    r"\\."
    r"|https?://[^\s<>*`)\]|]+"
    r"|(?P<ticks>`+)"
    r"|(?P<bracket>!?\[)"
    r"|(?P<angle><[^<>\s][^<>\n]*>)"
    r"|(?P<run>\*+|_+|~+|\|\|)",
    re.DOTALL,
)
# The text in brackets, with one level of brackets inside, then a target or a reference.
_LINK = re.compile(
    r"!?\[(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*\]"
    r"(?:\((?:[^()\\]|\\.|\([^()]*\))*\)|\[[^\[\]]*\])",
    re.DOTALL,
)
_HALF_LINK = re.compile(
    r"!?\[(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*(?:\](?:\([^)]*)?)?(?:\[[^\[\]]*)?\Z", re.DOTALL
)
# Signs that may be open at a time; a text that opens more has no markup that anyone meant.
_DEPTH = 32


@frozen
class Fence:
    """A fenced block of code: how it is closed, and opened again in the next message."""

    lead: str
    mark: str
    language: str

    @property
    def opening(self) -> str:
        """The line that opens it."""
        return f"{self.lead}{self.mark}{self.language}\n"

    @property
    def closing(self) -> str:
        """The line that closes it, without a newline at its end."""
        return f"{self.lead}{self.mark}"

    def closed_by(self, line: str) -> bool:
        """Whether a line closes it."""
        line = line.strip(" \t\r\n>")
        return len(line) >= len(self.mark) and set(line) == {self.mark[0]}

    def maybe_closed_by(self, start: str) -> bool:
        """Whether what is known of the next line may turn out to close it."""
        start = start.lstrip(" \t>")
        return not start.strip(self.mark[0] + " \t\r")


@frozen
class Code:
    """The lines of one fenced block: from ``start`` to ``end``, where its closing line starts."""

    start: int
    end: int
    fence: Fence


@define
class Outline:
    """What was found. ``open_from`` is where an inline sign is opened that is not closed so far."""

    code: list[Code] = Factory(list)
    spans: list[tuple[int, int]] = Factory(list)
    fence: Fence | None = None
    open_from: int | None = None

    def code_at(self, position: int) -> Code | None:
        """The block whose lines a cut at ``position`` would divide."""
        for code in self.code:
            if code.start <= position <= code.end:
                return code
        return None

    def in_span(self, position: int) -> bool:
        """Whether a cut at ``position`` would divide a link, bold text or the like."""
        index = bisect_right(self.spans, (position,))
        return index > 0 and position < self.spans[index - 1][1]


def outline(text: str, fence: Fence | None = None) -> Outline:
    """Read a text; ``fence`` is the block that is open where it starts."""
    found = Outline()
    paragraph, code_from = 0, 0
    for line in _LINE.finditer(text):
        if fence is not None:
            if fence.closed_by(line[0]):
                found.code.append(Code(code_from, line.start(), fence))
                found.spans.append((line.start(), line.start() + len(line[0].rstrip("\n"))))
                fence, paragraph = None, line.end()
            continue
        opened = fence_opened_by(line[0])
        if opened is not None or not line[0].strip():
            _read_inline(text, paragraph, line.start(), found)
            paragraph = line.end()
            found.open_from = None  # nothing inline continues over a blank line or a fence
        if opened is not None:
            fence, code_from = opened, line.end()
            found.spans.append(line.span())
    if fence is None:
        _read_inline(text, paragraph, len(text), found)
    else:
        found.code.append(Code(code_from, len(text), fence))
    found.fence = fence
    found.spans = list(_merged(sorted(found.spans)))
    return found


def fence_opened_by(line: str) -> Fence | None:
    """The fence that a line opens; None if it opens none."""
    match = _OPENING.fullmatch(line)
    if match is None or (match["mark"][0] == "`" and "`" in match["info"]):
        return None
    lead = re.sub(r"[^\s>]", " ", match["lead"])
    words = match["info"].split()
    return Fence(lead, match["mark"], words[0] if words else "")


def _read_inline(text: str, start: int, end: int, found: Outline) -> None:
    """Find the spans of one paragraph."""
    stack: list[tuple[str, int]] = []
    open_from: int | None = None
    position = start
    while (match := _TOKEN.search(text, position, end)) is not None:
        position = match.end()
        if match["ticks"]:
            closed = re.compile(rf"(?<!`){match['ticks']}(?!`)").search(text, position, end)
            if closed is not None:
                position = closed.end()
                found.spans.append((match.start(), position))
            elif open_from is None:
                open_from = match.start()
        elif match["bracket"]:
            link = _LINK.match(text, match.start(), end)
            if link is not None:
                position = link.end()
                found.spans.append(link.span())
            elif open_from is None and _HALF_LINK.match(text, match.start(), end):
                open_from = match.start()
        elif match["angle"]:
            found.spans.append(match.span())
        elif match["run"]:
            _read_run(text, match, stack, found)
    if stack:
        open_from = stack[0][1] if open_from is None else min(open_from, stack[0][1])
    found.open_from = open_from


def _read_run(
    text: str, match: "re.Match[str]", stack: list[tuple[str, int]], found: Outline
) -> None:
    """Let a run of asterisks, underscores or the like close what it can, or open something."""
    run = match[0]
    before = text[match.start() - 1 : match.start()]
    after = text[match.end() : match.end() + 1]
    inside_word = run[0] == "_" and before.isalnum() and after.isalnum()
    left = len(run)
    if before.strip() and not inside_word and not (run[0] == "_" and after.isalnum()):
        while left:
            for index in range(len(stack) - 1, max(-1, len(stack) - 1 - _DEPTH), -1):
                opened, at = stack[index]
                if opened[0] == run[0] and len(opened) <= left:
                    del stack[index:]
                    left -= len(opened)
                    found.spans.append((at, match.end()))
                    break
            else:
                break
    if left == len(run) and after.strip() and not (run[0] == "_" and before.isalnum()):
        stack.append((run, match.start()))


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join spans that lie in each other, so that the last one before a position decides."""
    last: tuple[int, int] | None = None
    for start, end in spans:
        if last is not None and start < last[1]:
            last = (last[0], max(last[1], end))
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last
