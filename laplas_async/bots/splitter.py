"""Lays a growing text out over messages: in order, without loss, each within the limit.

Pure. A message ends between paragraphs, lines or words, not inside a word, a grapheme, a link or
bold text, unless such a thing alone exceeds the limit. A code fence is closed where a message ends
and opened again, with its language, where the next one starts. These lines are the only characters
that are added: the bodies of all parts, joined, are the text.

It refuses to know a platform: ``size`` measures, ``limit`` bounds.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from laplas_async.bots.graphemes import boundary_before, is_boundary, is_ideograph, is_pictograph
from laplas_async.bots.markup import Fence, Outline, outline

Size = Callable[[str], int]

# A message is filled to at least this share before a better place to end it is preferred, so that
# a short heading does not become a message (test_a_short_paragraph_does_not_become_a_message).
_WELL_FILLED = 0.5
# While a sign may still be closed, the end of a message is left open, up to this many limits of
# text (test_bold_text_that_is_closed_late_stays_whole).
_LOOK_AHEAD = 2
# Characters considered in one go; some texts are much larger than what is shown of them (links),
# and then it is doubled until it exceeds the limit.
_WINDOW = 3
# Of a message: a word up to this part of it is moved to the next message untried.
_SHORT_WORD = 64
# Guesses where the limit is, before the range is simply halved; three to five suffice for prose.
_GUESSES = 8

# Spaces at which a line may be broken: not the no-break space and its relatives.
_SPACE = " \t\n\r\f\v\u1680\u2000-\u2006\u2008-\u200b\u2028\u2029\u205f\u3000"
_GAP = re.compile(rf"[{_SPACE}]+|[。！？；，、：]+")  # noqa: RUF001 - ends of words without a space


@frozen
class Part:
    """One message: ``text[start:end]`` between a reopened and a closed fence.

    ``sealed``: the text goes on in the next message, so this one changes no more.
    """

    start: int
    end: int
    opening: str
    body: str
    closing: str
    sealed: bool

    @property
    def text(self) -> str:
        """What the message shows."""
        return self.opening + self.body + self.closing


class Splitter:
    """Feed it a text as it grows; it gives the parts that are complete and the one that grows.

    ``limit`` is the size of a message at most, ``size`` measures a text. Raises ``ValueError`` for
    a limit under 1.
    """

    def __init__(self, limit: int, size: Size = len) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        self.limit = limit
        self.size = size
        self.sealed: list[Part] = []
        self._start = 0
        self._tail = ""
        self._fence: Fence | None = None
        self._opening = ""

    def feed(self, text: str, *, final: bool = False) -> None:
        """Append to the text; ``final``: nothing follows."""
        self._tail += text
        while (part := self._next_part(final=final)) is not None:
            self.sealed.append(part)

    def close_fence(self) -> None:
        """Append the closing line of a fence that is open, so that a remark may follow it."""
        fence = outline(self._tail, self._fence).fence
        if fence is not None:
            newline = "" if self._tail.endswith("\n") or not self._tail else "\n"
            self.feed(f"{newline}{fence.closing}\n")

    def seal(self, part: Part) -> None:
        """Let the last message end as it was shown; what follows goes into the next one."""
        found = outline(self._tail, self._fence)
        self.sealed.append(self._cut_off(part.end - self._start, found))

    @property
    def tail(self) -> Part:
        """The last message as far as it is known. Its text is within the limit."""
        end = len(self._tail)
        found = outline(self._tail, self._fence)
        part = self._part(end, found, sealed=False)
        if self.size(part.text) > self.limit:  # the place to end it is not decided yet
            part = self._part(self._cut()[0], found, sealed=False)
        return part

    def _next_part(self, *, final: bool) -> Part | None:
        """Cut off a message, if the text is too large for one and it is certain where."""
        if not self._tail or self._fits(self._tail):
            return None
        end, found, window = self._cut()
        if not final and self._is_open(end, found, window):
            return None
        return self._cut_off(end, found)

    def _cut_off(self, end: int, found: Outline) -> Part:
        part = self._part(end, found, sealed=True)
        code = found.code_at(end)
        self._start += end
        self._tail = self._tail[end:]
        self._fence = code.fence if code is not None else None
        self._opening = self._reopening(self._fence) if self._fence is not None else ""
        return part

    def _fits(self, tail: str) -> bool:
        """Whether everything that is left is one message, its fence closed."""
        if len(self._window()) < len(tail):
            return False
        fence = outline(tail, self._fence).fence
        closing = "" if fence is None else self._closing(tail, fence)
        return self.size(self._opening + tail + closing) <= self.limit

    def _part(self, end: int, found: Outline, *, sealed: bool) -> Part:
        body = self._tail[:end]
        code = found.code_at(end)
        closing = ""
        if code is not None:
            closing = self._closing(body, code.fence)
        return Part(self._start, self._start + end, self._opening, body, closing, sealed)

    def _closing(self, body: str, fence: Fence) -> str:
        if not self._affordable(fence):
            return ""
        return fence.closing if body.endswith("\n") or not body else "\n" + fence.closing

    def _reopening(self, fence: Fence) -> str:
        return fence.opening if self._affordable(fence) else ""

    def _affordable(self, fence: Fence) -> bool:
        """Whether closing and reopening leave room for code; at tiny limits they do not."""
        return self.size(fence.opening) + self.size(fence.closing) + 1 <= self.limit // 2

    # --- where to cut ---

    def _cut(self) -> tuple[int, Outline, str]:
        """Where the next message ends, with what was seen to decide it."""
        window = self._window()
        found = outline(window, self._fence)
        most = self._most(window, found)
        for end in _ends(window, most, found):
            if self._holds(window, end, found):
                return end, found, window
        return self._forced(window, most, found), found, window

    def _window(self) -> str:
        """As much of what is left as is needed to decide; larger than a message, if there is more.

        It keeps the work for a long text proportional to its length.
        """
        length = _WINDOW * self.limit
        window = self._tail[:length]
        enough = 2 * self.limit  # more than the limit: the window may end with half a link
        while len(window) < len(self._tail) and self.size(self._opening + window) <= enough:
            length *= 2
            window = self._tail[:length]
        return window

    def _most(self, window: str, found: Outline) -> int:
        """The longest start of the window that is within the limit, fences aside.

        Half a link may be larger than the whole one, so places outside of spans are tried first.
        """
        gaps = [end for end in _gaps(window, len(window)) if not found.in_span(end)]
        places = sorted({0, len(window), *gaps})
        low, high = self._last_that_fits(window, places)
        if high - low <= self.limit // _SHORT_WORD and low > 0:
            return low
        return self._last_that_fits(window, range(low, high + 1))[0]

    def _last_that_fits(self, window: str, places: Sequence[int]) -> tuple[int, int]:
        """The last place up to which the window is within the limit, and the next one.

        Measuring means formatting, so places are guessed: size grows about evenly with the text.
        """
        low, high = 0, len(places) - 1
        size_low, size_high = (
            self._size_to(window, places[low]),
            self._size_to(window, places[high]),
        )
        if size_high <= self.limit:
            return places[high], places[high]
        for guesses in itertools.count():
            if high - low <= 1:
                return places[low], places[high]
            middle = (low + high) // 2
            if guesses < _GUESSES and size_low < self.limit < size_high:
                share = (self.limit - size_low) / (size_high - size_low)
                middle = min(high - 1, max(low + 1, low + round(share * (high - low))))
            size = self._size_to(window, places[middle])
            if size <= self.limit:
                low, size_low = middle, size
            else:
                high, size_high = middle, size
        raise AssertionError  # the loop has no end

    def _size_to(self, window: str, end: int) -> int:
        return self.size(self._opening + window[:end])

    def _holds(self, window: str, end: int, found: Outline) -> bool:
        """Whether a message that ends here is within the limit and shows something."""
        body = window[:end]
        code = found.code_at(end)
        closing = "" if code is None else self._closing(body, code.fence)
        return self.size(self._opening + body + closing) <= self.limit

    def _forced(self, window: str, most: int, found: Outline) -> int:
        """Where a message ends if even one grapheme with its fence exceeds the limit."""
        end = max(1, most)
        while end > 1 and not self._holds(window, end, found):
            end -= 1
        return end

    def _is_open(self, end: int, found: Outline, window: str) -> bool:
        """Whether text that is still to come may show that this is no good place to end."""
        if len(self._tail) > len(window):
            return False
        if found.code_at(end) is not None and found.code[-1].fence.maybe_closed_by(window[end:]):
            return "\n" not in window[end:]
        if found.open_from is None or end <= found.open_from:
            return False
        return self.size(window) < _LOOK_AHEAD * self.limit


def split(text: str, limit: int, *, size: Size = len) -> list[Part]:
    """The messages that a complete text makes."""
    splitter = Splitter(limit, size)
    splitter.feed(text, final=True)
    tail = splitter.tail
    return [*splitter.sealed, tail] if tail.body or not splitter.sealed else splitter.sealed


def _ends(window: str, most: int, found: Outline) -> Iterator[int]:
    """Where a message may end, the best place first."""
    first = len(window) - len(window.lstrip()) + 1  # a message of spaces only is not sent
    places = [end for end in _gaps(window, most) if 0 < end <= most and is_boundary(window, end)]
    gaps = [end for end in places if end >= first]
    outside = [end for end in gaps if found.code_at(end) is None and not found.in_span(end)]
    inside = [end for end in gaps if _ends_a_code_line(window, end, found)]
    enough = most * _WELL_FILLED
    lines = [end for end in outside if "\n" in window[end - 1 : end + 1]]
    yield from (end for end in lines if end >= enough and window[:end].endswith("\n\n"))
    yield from (end for end in lines if end >= enough)
    yield from (end for end in inside if end >= enough)
    yield from (end for end in outside if end >= enough)
    soft = [end for end in _soft(window, most, found) if end >= first]
    yield from (end for end in soft if end >= enough)
    yield from sorted({*outside, *inside, *soft}, reverse=True)
    # The space before a word that fills a message alone.
    yield from (end for end in places if end < first and found.code_at(end) is None)
    # What is left: one word, span or line of code that is too large for any message.
    yield from (end for end in gaps if found.code_at(end) is not None)
    for end in range(most, 0, -1):
        if is_boundary(window, end) and not found.in_span(end) and _not_empty_code(end, found):
            yield end
    yield from gaps
    yield from (end for end in range(most, 0, -1) if is_boundary(window, end))


def _gaps(window: str, most: int) -> list[int]:
    """Where words end, the last first: after a run of spaces, and before the indentation in it."""
    ends = {most} if window[most : most + 1].isspace() else set()
    for gap in _GAP.finditer(window, 0, min(len(window), most + 1)):
        ends.add(min(gap.end(), most))
        newline = window.rfind("\n", gap.start(), gap.end())
        if newline >= 0:  # indentation belongs to the line that it starts
            ends.add(min(newline + 1, most))
    return sorted(ends, reverse=True)


def _ends_a_code_line(window: str, end: int, found: Outline) -> bool:
    code = found.code_at(end)
    return (
        code is not None
        and window[end - 1] == "\n"
        and code.start < end < code.end
        and not (end < len(window) and code.end == len(window) and window[end:].isspace())
    )


def _not_empty_code(end: int, found: Outline) -> bool:
    """Not between the opening line and the code, nor between the code and the closing line."""
    code = found.code_at(end)
    return code is None or code.start < end < code.end or code.end == end == code.start


def _soft(window: str, most: int, found: Outline) -> Iterator[int]:
    """Places next to an emoji, or between ideographs, the last first: no word is cut there."""
    for end in range(most, 0, -1):
        if end >= len(window):
            continue
        before, after = window[end - 1], window[end]
        if before < "\u2000" and after < "\u2000":
            continue
        apart = is_pictograph(before) or is_pictograph(after)
        apart = apart or (is_ideograph(before) and is_ideograph(after))
        if apart and not found.in_span(end) and not found.code_at(end):
            yield boundary_before(window, end)
