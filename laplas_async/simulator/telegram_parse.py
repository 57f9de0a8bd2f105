"""How Telegram reads a text: its length after the entities are parsed, and what it cannot parse.

The three parse modes of core.telegram.org/bots/api#formatting-options, as far as a bot may notice.
It refuses to build the entities.
"""

import html
import re

_TAG = re.compile(r"<(/?)([a-zA-Z0-9-]+)((?:\s[^<>]*)?)>")
_TAGS = {
    *("b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "a"),
    *("span", "tg-spoiler", "tg-emoji", "blockquote"),
}
_RESERVED = frozenset("_*[]()~`>#+-=|{}.!")
_PAIRS = ("```", "__", "||", "*", "_", "~", "`")


class ParseError(ValueError):
    """The text cannot be parsed; the message is Telegram's."""


def utf16(text: str) -> int:
    """The length in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def parse(text: str, mode: str | None) -> str:
    """The text as it is shown. Raises ``ParseError``."""
    match (mode or "").lower():
        case "html":
            return _html(text)
        case "markdownv2":
            return _markdown(text, strict=True)
        case "markdown":
            return _markdown(text, strict=False)
    return text


def _html(text: str) -> str:
    shown, position, stack = [], 0, []
    while (start := text.find("<", position)) >= 0:
        shown.append(html.unescape(text[position:start]))
        tag = _TAG.match(text, start)
        offset = utf16(text[:start])
        if tag is None:
            raise ParseError(f"unsupported start tag at byte offset {offset}")
        closing, name = tag[1] == "/", tag[2].lower()
        if name not in _TAGS:
            raise ParseError(f'unsupported start tag "{name}" at byte offset {offset}')
        if not closing:
            stack.append(name)
        elif not stack or stack.pop() != name:
            raise ParseError(f'unmatched end tag at byte offset {offset}, found "</{name}>"')
        position = tag.end()
    if stack:
        raise ParseError(f'can\'t find end tag corresponding to start tag "{stack[-1]}"')
    shown.append(html.unescape(text[position:]))
    return "".join(shown)


def _markdown(text: str, *, strict: bool) -> str:
    shown: list[str] = []
    stack: list[tuple[str, int]] = []
    position = 0
    pairs = _PAIRS if strict else ("```", "*", "_", "`")
    while position < len(text):
        character = text[position]
        inside = stack[-1][0] if stack else ""
        if character == "\\" and position + 1 < len(text):
            shown.append(text[position + 1])
            position += 2
            continue
        sign = next((pair for pair in pairs if text.startswith(pair, position)), None)
        if inside in {"```", "`"} and sign != inside:
            shown.append(character)
            position += 1
            continue
        if sign is not None:
            if inside == sign:
                stack.pop()
            else:
                stack.append((sign, position))
            position += len(sign)
            continue
        link = re.compile(r"\[([^\[\]]*)\]\(([^()\s]*)\)").match(text, position)
        if link is not None:
            shown.append(_markdown(link[1], strict=strict))
            position = link.end()
            continue
        if strict and character in _RESERVED:
            raise ParseError(
                f"character '{character}' is reserved and must be escaped with the preceding '\\'"
            )
        shown.append(character)
        position += 1
    if stack:
        offset = utf16(text[: stack[-1][1]])
        raise ParseError(f"can't find end of the entity starting at byte offset {offset}")
    return "".join(shown)
