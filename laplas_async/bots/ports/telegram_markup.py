"""Markdown as models write it -> the text and the entities that Telegram's Bot API takes.

Pure. With entities there is nothing that Telegram could fail to parse. It refuses to be complete:
tables and lists stay as they were written. ``telegramify_markdown.convert`` may be used instead.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from attrs import Factory, define

from laplas_async.bots.graphemes import utf16_length
from laplas_async.bots.markup import Fence, fence_opened_by

Entity = dict[str, Any]
Render = Callable[[str], tuple[str, Iterable[Any]]]

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_HEADING = re.compile(r"[ ]{0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*(\n?)")
_TOKEN = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|(?P<plain>https?://[^\s<>*`)\]|]+)"
    r"|(?P<ticks>`+)"
    r"|(?P<bracket>!?\[)"
    r"|(?P<run>\*+|_+|~+|\|+)"
)
_LINK = re.compile(
    r"!?\[(?P<label>(?:[^\[\]\\]|\\.|\[[^\[\]]*\])+)\]"
    r"\(\s*<?(?P<url>(?:[^()\s\\<>]|\\.|\([^()\s]*\))+)>?(?:\s+\"[^\"]*\")?\s*\)",
    re.DOTALL,
)
_KINDS = {"*": "italic", "_": "italic", "**": "bold", "__": "bold"}
_KINDS |= {"~~": "strikethrough", "||": "spoiler"}
# Signs that may be open at a time; a text that opens more has no markup that anyone meant.
_DEPTH = 32


def render_markdown(text: str) -> tuple[str, list[Entity]]:
    """The text without its markup, and the entities that stand for it."""
    page = _Page()
    fence: Fence | None = None
    code: list[str] = []
    paragraph: list[str] = []
    for line in _LINE.findall(text):
        if fence is not None:
            if fence.closed_by(line):
                _add_code(page, fence, code, ended=line.endswith("\n"))
                fence = None
            else:
                code.append(line)
            continue
        opened, heading = fence_opened_by(line), _HEADING.fullmatch(line)
        if (opened is not None or heading is not None or not line.strip()) and paragraph:
            _add_inline(page, "".join(paragraph))
            paragraph = []
        if opened is not None:
            fence, code = opened, []
        elif heading is not None:
            with page.entity("bold"):
                _add_inline(page, heading[1])
            page.add(heading[2])
        else:
            paragraph.append(line)
    _add_inline(page, "".join(paragraph))
    if fence is not None:
        _add_code(page, fence, code, ended=False)
    return "".join(page.pieces), page.entities


def entity_dicts(entities: Iterable[Any]) -> list[Entity]:
    """Entities of any library as the Bot API's JSON."""
    found = []
    for entity in entities:
        to_dict = getattr(entity, "to_dict", None)
        found.append(dict(to_dict() if to_dict is not None else entity))
    return found


@define
class _Page:
    pieces: list[str] = Factory(list)
    entities: list[Entity] = Factory(list)
    length: int = 0

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self.length += utf16_length(text)

    def entity(self, kind: str, **more: str) -> "_Open":
        return _Open(self, {"type": kind, **more})


@define
class _Open:
    """What is added inside the block becomes an entity, unless it is empty."""

    page: _Page
    entity: Entity

    def __enter__(self) -> None:
        self.entity["offset"] = self.page.length
        self.page.entities.append(self.entity)

    def __exit__(self, *_: object) -> None:
        self.entity["length"] = self.page.length - self.entity["offset"]
        if self.entity["length"] <= 0:
            self.page.entities.remove(self.entity)


def _add_code(page: _Page, fence: Fence, lines: list[str], *, ended: bool) -> None:
    body = "".join(line.removeprefix(fence.lead) for line in lines)
    newline = "\n" if ended else ""
    more = {"language": fence.language} if fence.language else {}
    with page.entity("pre", **more):
        page.add(body.removesuffix("\n"))
    page.add(newline)


def _add_inline(page: _Page, text: str) -> None:
    """Add a paragraph, read from left to right once."""
    spans = _Spans(text)
    spans.read()
    length = [page.length]
    for piece in spans.pieces:
        page.add(piece)
        length.append(page.length)
    for start, end, entity in sorted(spans.found, key=lambda span: (span[0], -span[1])):
        if length[end] > length[start]:
            offset = length[start]
            page.entities.append({**entity, "offset": offset, "length": length[end] - offset})


class _Spans:
    """The pieces of a paragraph without its signs, and the entities from piece to piece."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.pieces: list[str] = []
        self.found: list[tuple[int, int, Entity]] = []
        self._open: list[tuple[str, int]] = []

    def read(self) -> None:
        position = 0
        while (match := _TOKEN.search(self._text, position)) is not None:
            self.pieces.append(self._text[position : match.start()])
            position = self._read_token(match)
        self.pieces.append(self._text[position:])

    def _read_token(self, match: "re.Match[str]") -> int:
        """Add what a sign stands for; the position after it."""
        if match["escaped"] is not None:
            self.pieces.append(match["escaped"])
        elif match["ticks"] is not None:
            return self._read_code(match)
        elif match["bracket"] is not None:
            return self._read_link(match)
        elif match["run"] is not None:
            self._read_run(match)
        else:
            self.pieces.append(match[0])
        return match.end()

    def _read_code(self, match: "re.Match[str]") -> int:
        closed = re.compile(rf"(?<!`){match[0]}(?!`)").search(self._text, match.end())
        if closed is None:
            self.pieces.append(match[0])
            return match.end()
        code = self._text[match.end() : closed.start()]
        if len(code) > 2 and code[0] == code[-1] == " ":
            code = code[1:-1]
        start = len(self.pieces)
        self.pieces.append(code)
        self.found.append((start, start + 1, {"type": "code"}))
        return closed.end()

    def _read_link(self, match: "re.Match[str]") -> int:
        link = _LINK.match(self._text, match.start())
        if link is None:
            self.pieces.append(match[0])
            return match.end()
        inner = _Spans(link["label"])
        inner.read()
        start = len(self.pieces)
        self.pieces += inner.pieces
        self.found += [(start + first, start + last, kind) for first, last, kind in inner.found]
        url = re.sub(r"\\(.)", r"\1", link["url"])
        self.found.append((start, len(self.pieces), {"type": "text_link", "url": url}))
        return link.end()

    def _read_run(self, match: "re.Match[str]") -> None:
        run, text = match[0], self._text
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        inside_word = before.isalnum() and after.isalnum() and run in {"*", "_", "__"}
        if len(run) > 3 or run in {"~", "|", "~~~", "|||"} or inside_word:
            self.pieces.append(run)
            return
        left = len(run)
        # The second sign in __init__.py closes nothing.
        name = run[0] == "_" and re.compile(r"\.?\w").match(text, match.end()) is not None
        if before.strip() and not name:
            while left and (opened := self._close(run[0], left)):
                left -= opened
        if left == len(run) and after.strip() and not (run[0] == "_" and before.isalnum()):
            for sign in (run[:2], run[2:]):
                if sign:
                    self._open.append((sign, len(self.pieces)))
                    self.pieces.append(sign)
        elif left:
            self.pieces.append(run[:left])

    def _close(self, sign: str, longest: int) -> int:
        """Close what was opened last with this sign; how many signs that takes."""
        for index in range(len(self._open) - 1, max(-1, len(self._open) - 1 - _DEPTH), -1):
            opened, start = self._open[index]
            if opened[0] == sign and len(opened) <= longest and start + 1 < len(self.pieces):
                del self._open[index:]
                self.pieces[start] = ""
                self.found.append((start, len(self.pieces), {"type": _KINDS[opened]}))
                return len(opened)
        return 0
