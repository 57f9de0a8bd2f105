"""Where a text may be cut without damaging a character as people see it, and two ways to count.

An approximation of Unicode's extended grapheme clusters from ``unicodedata`` alone: when in doubt
it keeps characters together. It refuses to know words or markup.
"""

import unicodedata

_ZWJ = "\u200d"
_JOINERS = frozenset((_ZWJ, "\u200c", "\u0e33", "\u0eb3"))  # the Thai and Lao AM are letters
_EXTENDING = frozenset(("Mn", "Me", "Mc"))
_VIRAMA = 9  # the canonical combining class of the signs that join two consonants


def utf16_length(text: str) -> int:
    """The length in UTF-16 code units, which is how Telegram counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def is_boundary(text: str, position: int) -> bool:
    """Return whether a grapheme ends at ``position``; the two ends of a text always are."""
    if not 0 < position < len(text):
        return True
    before, after = text[position - 1], text[position]
    if before < "\u0300" and after < "\u0300":
        return not (before == "\r" and after == "\n")
    if before == _ZWJ or _extends(after):
        return False
    if _is_regional(before) and _is_regional(after):
        return _regionals_before(text, position) % 2 == 0
    if unicodedata.combining(before) == _VIRAMA and unicodedata.category(after) == "Lo":
        return False
    return not _hangul_joins(before, after)


def boundary_before(text: str, position: int) -> int:
    """The last boundary at or before ``position``; 0 if there is none."""
    position = min(position, len(text))
    while not is_boundary(text, position):
        position -= 1
    return max(position, 0)


def is_pictograph(character: str) -> bool:
    """Whether a character is an emoji or a symbol, next to which no word is cut."""
    return (
        "\U0001f000" <= character <= "\U0001faff"
        or character in {_ZWJ, "\ufe0f", "\u20e3"}
        or unicodedata.category(character) == "So"
    )


def is_ideograph(character: str) -> bool:
    """Whether a character belongs to a script written without spaces between words."""
    return (
        "\u3001" <= character <= "\u9fff"
        or "\uf900" <= character <= "\ufaff"
        or "\uff01" <= character <= "\uff9f"
        or "\U00020000" <= character <= "\U0003ffff"
    )


def is_visible(text: str) -> bool:
    """Whether anything would be seen: platforms reject messages of spaces and invisible signs."""
    return any(
        not character.isspace()
        and unicodedata.category(character) not in {"Cf", "Cc", "Cs", "Zs", "Zl", "Zp"}
        and not (character in "\u115f\u1160\u3164\uffa0\u034f" or "\ufe00" <= character <= "\ufe0f")
        for character in text
    )


def _extends(character: str) -> bool:
    return (
        character in _JOINERS
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= character <= "\U000e007f"  # tags, in the flags of regions
        or unicodedata.category(character) in _EXTENDING
    )


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _regionals_before(text: str, position: int) -> int:
    start = position
    while start > 0 and _is_regional(text[start - 1]):
        start -= 1
    return position - start


def _hangul_joins(before: str, after: str) -> bool:
    left, right = _hangul(before), _hangul(after)
    return (
        (left == "L" and right in {"L", "V", "LV", "LVT"})
        or (left in {"LV", "V"} and right in {"V", "T"})
        or (left in {"LVT", "T"} and right == "T")
    )


def _hangul(character: str) -> str:
    if "\uac00" <= character <= "\ud7a3":
        return "LV" if (ord(character) - 0xAC00) % 28 == 0 else "LVT"
    if "\u1100" <= character <= "\u115f" or "\ua960" <= character <= "\ua97c":
        return "L"
    if "\u1160" <= character <= "\u11a7" or "\ud7b0" <= character <= "\ud7c6":
        return "V"
    if "\u11a8" <= character <= "\u11ff" or "\ud7cb" <= character <= "\ud7fb":
        return "T"
    return ""
