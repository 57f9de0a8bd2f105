"""Where in a model's text the JSON begins: behind prose, a fence, or the model's thoughts.

Fed in any pieces, with the same result. JSON is an object (``{`` before ``"`` or ``}``); braces in
prose, as in ``{name}``, are none. It refuses to look into the JSON itself (``partial``).
"""

import re
from typing import Final

_THOUGHTS: Final = ("think", "thinking", "reasoning", "thought")
_OPENING: Final = re.compile(rf"<({'|'.join(_THOUGHTS)})>", re.IGNORECASE)
_TAG: Final = rf"<(?:{'|'.join(_THOUGHTS)})>"
_START: Final = re.compile(rf"{_TAG}|\{{\s*[\"}}]", re.IGNORECASE)
_START_WITH_ARRAY: Final = re.compile(rf"{_TAG}|\{{\s*[\"}}]|\[", re.IGNORECASE)
# What may be the beginning of one of them at the end of a piece.
_UNDECIDED: Final = re.compile(r"(?:\{\s*|<[a-zA-Z]{0,9})\Z")
_LONGEST_TAG: Final = len("</reasoning>")
# An array counts only as the first thing, in a fence or not: prose is full of brackets.
_LEAD: Final = re.compile(r"\s*(?:`{3,}[a-zA-Z]*\s*)?\Z")
_LONGEST_LEAD: Final = 64  # characters; "```json" and some blanks have room in it


class Locator:
    """Feed text; get what belongs to the JSON: "" until it begins, then everything.

    ``arrays``: an array may be the JSON too.
    """

    __slots__ = ("_closing", "_held", "_lead", "_start", "found")

    def __init__(self, *, arrays: bool = False) -> None:
        self.found = False
        self._start = _START_WITH_ARRAY if arrays else _START
        self._held = ""  # the end of the text so far, if it may be the beginning of something
        self._closing = ""  # the tag that ends the thoughts, inside of them
        self._lead = ""  # what came before, as far as it decides whether an array counts

    def feed(self, text: str) -> str:
        """The part of ``text`` (and of what was held back) that belongs to the JSON."""
        if self.found:
            return text
        text, self._held = self._held + text, ""
        at = 0
        while True:
            if self._closing:
                closing = re.compile(self._closing, re.IGNORECASE).search(text, at)
                if closing is None:
                    self._held = text[max(at, len(text) - _LONGEST_TAG) :]
                    return ""
                at = closing.end()
                self._closing = self._lead = ""
            found = self._start.search(text, at)
            if found is None:
                break
            opening = _OPENING.match(found[0])
            if opening is None and (found[0] != "[" or self._leads(text[at : found.start()])):
                self.found = True
                return text[found.start() :]
            if opening is not None:
                self._closing = f"</{opening[1]}>"
            self._leads(text[at : found.end()])
            at = found.end()
        undecided = _UNDECIDED.search(text, at)
        if undecided is not None:
            self._held = undecided[0].rstrip()  # blanks behind a brace: keep none of many
        self._leads(text[at : undecided.start() if undecided else len(text)])
        return ""

    def _leads(self, text: str) -> bool:
        """Add text that comes before the JSON; whether an array may follow it."""
        self._lead = (self._lead + text)[: _LONGEST_LEAD + 1]
        return len(self._lead) <= _LONGEST_LEAD and _LEAD.match(self._lead) is not None
