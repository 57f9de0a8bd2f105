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
_INLINE = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|(?<!`)(?P<ticks>`+)(?!`)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|!?\[(?P<label>(?:[^\[\]\\]|\\.|\[[^\[\]]*\])+)\]"
    r"\(\s*<?(?P<url>(?:[^()\s\\<>]|\\.|\([^()\s]*\))+)>?(?:\s+\"[^\"]*\")?\s*\)"
    r"|(?P<plain>https?://[^\s<>]+)"
    r"|(?P<both>\*\*\*)(?=\S)(?P<in_both>.+?)(?<=\S)\*\*\*"
    r"|(?P<double>\*\*|~~|\|\||(?<!\w)__)(?=\S)(?P<in_double>.+?)(?<=\S)(?P=double)(?!_)"
    r"(?:(?<!__)|(?!\.?\w))"  # __init__.py is a file
    r"|(?P<single>(?<![*\\])\*(?!\*)|(?<!\w)_(?!_))(?=\S)(?P<in_single>[^*_]+?|.+?)(?<=\S)"
    r"(?P=single)(?![\w*])",
    re.DOTALL,
)
_DOUBLE = {"**": "bold", "__": "bold", "~~": "strikethrough", "||": "spoiler"}


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
    position = 0
    for match in _INLINE.finditer(text):
        page.add(text[position : match.start()])
        position = match.end()
        _add_match(page, match)
    page.add(text[position:])


def _add_match(page: _Page, match: "re.Match[str]") -> None:
    if match["escaped"] is not None:
        page.add(match["escaped"])
    elif match["plain"] is not None:
        page.add(match["plain"])
    elif match["code"] is not None:
        code = match["code"]
        if len(code) > 2 and code[0] == code[-1] == " ":
            code = code[1:-1]
        with page.entity("code"):
            page.add(code)
    elif match["label"] is not None:
        with page.entity("text_link", url=re.sub(r"\\(.)", r"\1", match["url"])):
            _add_inline(page, match["label"])
    elif match["both"] is not None:
        with page.entity("bold"), page.entity("italic"):
            _add_inline(page, match["in_both"])
    elif match["double"] is not None:
        with page.entity(_DOUBLE[match["double"]]):
            _add_inline(page, match["in_double"])
    else:
        with page.entity("italic"):
            _add_inline(page, match["in_single"])
