r"""Generates a string that matches a regular expression, for the ``pattern`` of a JSON schema.

It supports what schemas use: literals, classes, ``\d \w \s``, groups, alternatives and counts. It
refuses back-references, look-around and flags with a ``ValueError``.
"""

from typing import Final

from laplas_async.simulator.rng import SeededRandom

_DIGITS: Final = "0123456789"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_ANY: Final = _LETTERS + _DIGITS
_CLASSES: Final = {
    "d": _DIGITS,
    "w": _ANY + "_",
    "s": " ",
    "D": _LETTERS,
    "W": " -",
    "S": _ANY,
}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_PRINTABLE: Final = "".join(map(chr, range(32, 127)))
# How often at most an open-ended count repeats: enough to show repetition, short to read.
_MANY: Final = 3
_HEX: Final = {"x": 2, "u": 4}


def matching(pattern: str, random: SeededRandom) -> str:
    """Return a short string that matches ``pattern``. Raises ``ValueError`` if unsupported."""
    reader = _Reader(pattern, random)
    result = reader.alternatives()
    if reader.at < len(pattern):
        raise ValueError(f"unbalanced pattern: {pattern!r}")
    return result


class _Reader:
    def __init__(self, pattern: str, random: SeededRandom) -> None:
        self.pattern = pattern
        self.random = random
        self.at = 0

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        if self.at >= len(self.pattern):
            raise ValueError(f"pattern ends too soon: {self.pattern!r}")
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self) -> str:
        result = [self.sequence()]
        while self.peek() == "|":
            self.take()
            result.append(self.sequence())
        return self.random.one_of(result)

    def sequence(self) -> str:
        result: list[str] = []
        while (mark := self.peek()) and mark not in "|)":
            start = self.at
            one = self.atom()
            after = self.at
            least, most = self.count()
            end = self.at
            times = self.random.between(least, most)
            if times == 0:
                continue
            result.append(one)
            for _ in range(times - 1):
                # Read the atom again, so that repeats differ from each other.
                self.at = start
                result.append(self.atom())
                self.at = after
            self.at = end
        return "".join(result)

    def atom(self) -> str:
        mark = self.take()
        if mark in "^$":
            return ""
        if mark == ".":
            return self.random.one_of(_ANY)
        if mark == "(":
            return self.group()
        if mark == "[":
            return self.random.one_of(self.members())
        if mark == "\\":
            return self.random.one_of(self.escape())
        if mark in "*+?":
            raise ValueError(f"nothing to repeat: {self.pattern!r}")
        return mark

    def group(self) -> str:
        if self.peek() == "?":
            self.take()
            mark = self.take()
            if mark in "P<":
                opening = self.take() if mark == "P" else "<"
                if opening != "<" or self.peek() in "=!":
                    raise ValueError(
                        f"look-around and references are not supported: {self.pattern!r}"
                    )
                while self.take() != ">":
                    pass
            elif mark != ":":
                raise ValueError(f"look-around and flags are not supported: {self.pattern!r}")
        result = self.alternatives()
        if self.take() != ")":
            raise ValueError(f"unbalanced pattern: {self.pattern!r}")
        return result

    def escape(self) -> str:
        mark = self.take()
        if mark in "bBAZ":
            raise ValueError(f"anchors are not supported: {self.pattern!r}")
        if mark in _HEX:
            digits = "".join(self.take() for _ in range(_HEX[mark]))
            return chr(int(digits, 16))
        if mark in "123456789kpP":
            raise ValueError(f"references and properties are not supported: {self.pattern!r}")
        return _CLASSES.get(mark) or _CONTROLS.get(mark) or mark

    def members(self) -> str:
        negated = self.peek() == "^"
        if negated:
            self.take()
        found: list[str] = []
        while True:
            mark = self.take()
            if mark == "]" and found:
                break
            one = self.escape() if mark == "\\" else mark
            is_range = self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] != "]"
            if is_range and len(one) == 1:
                self.take()
                last = self.take()
                last = self.escape() if last == "\\" else last
                one = "".join(map(chr, range(ord(one), min(ord(last), ord(one) + 255) + 1)))
            found.append(one)
        held = "".join(found)
        return "".join(mark for mark in _PRINTABLE if mark not in held) if negated else held

    def count(self) -> tuple[int, int]:
        mark = self.peek()
        least, most = 1, 1
        if mark and mark in "*+?":
            self.take()
            least, most = {"*": (0, _MANY), "+": (1, _MANY), "?": (0, 1)}[mark]
        elif mark == "{" and (end := self.pattern.find("}", self.at)) > 0:
            low, comma, high = self.pattern[self.at + 1 : end].partition(",")
            if not low.isdigit() or (high and not high.isdigit()):
                raise ValueError(f"not a count: {self.pattern!r}")
            self.at = end + 1
            least = int(low)
            most = int(high) if high else least + (_MANY if comma else 0)
        if self.peek() == "?":  # a lazy count matches the same strings
            self.take()
        return least, most
