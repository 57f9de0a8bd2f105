"""Large JSON decoded in pieces, so that a thread that decodes it does not hold up the event loop.

One call of the JSON library holds the interpreter lock for about 3 ms per megabyte. A response is
large because of one long text or one long list (log probabilities of each token): these are decoded
piece by piece and put back in their place. The value is identical to that of one call; anything
unclear is decoded by one call.
"""

import re
from typing import Any, Final

import orjson

LARGE: Final = 256 * 1024  # bytes from which a thread is worth its overhead
_PIECE: Final = 128 * 1024
_LONGEST_ESCAPE: Final = 12  # bytes: two halves of a character
_BACK: Final = 256  # bytes examined for a good place to cut
_MOST: Final = 20_000  # strings examined; a body with more of them has no long text
_MARK: Final = "\ufdd0laplas\ufdd1"  # noncharacters, which no text contains
_VALUE: Final = rb":[ \t\r\n]*+\""
# The inside of a string up to where it may be cut: not within an escape or a surrogate pair.
_INSIDE: Final = rb"(?s:[^\"\\]++|\\[^u]|\\u(?![dD][89abAB])....|\\u[dD][89abAB]..\\u....)*+"


def loads_large(data: bytes, *, piece: int = _PIECE) -> Any:
    """As ``orjson.loads``, in calls for about ``piece`` bytes each. Raises what that raises."""
    kept, texts = _long_texts(data, piece)
    if not texts:
        return orjson.loads(data)
    marks = {f"{_MARK}{number}": text for number, text in enumerate(texts)}
    try:
        value = orjson.loads(b"".join(kept))
    except orjson.JSONDecodeError:
        return orjson.loads(data)  # a text seemed to begin where another one ended
    filled, count = _fill(value, marks)
    return filled if count == len(texts) else orjson.loads(data)


def _long_texts(data: bytes, piece: int) -> tuple[list[bytes], list[str]]:
    """The JSON with a mark in the place of each long text, in parts; and these texts."""
    kept: list[bytes] = []
    texts: list[str] = []
    at = done = 0
    for _ in range(_MOST):
        value = re.compile(_VALUE).search(data, at)
        if value is None:
            break
        begin = value.end()
        at = re.compile(_INSIDE).match(data, begin, begin + piece).end()  # type: ignore[union-attr]
        if data[at : at + 1] == b'"':
            continue  # a short one
        text, at = _text(data, begin, piece)
        if text is None:
            break
        kept += (data[done:begin], f"{_MARK}{len(texts)}".encode())
        texts.append(text)
        done = at
    kept.append(data[done:])
    return kept, texts


def _text(data: bytes, begin: int, piece: int) -> tuple[str | None, int]:
    """The text that begins there, and where its quote is; None if it is no good JSON."""
    text = ""
    while True:
        # Here, to a local name and nothing else that knows it, CPython adds in its place. Joining
        # all pieces at the end would be one long call again.
        if end := _plain_cut(data, begin, begin + piece):
            try:
                text += orjson.loads(b'"%b"' % data[begin:end])
            except orjson.JSONDecodeError:
                pass  # mostly because the text ends before
            else:
                begin = end
                continue
        end = re.compile(_INSIDE).match(data, begin, begin + piece).end()  # type: ignore[union-attr]
        last = data[end : end + 1] == b'"'
        while not last and begin < end < len(data) and _is_inside_character(data[end]):
            end -= 1
        if end == begin and not last:
            return None, begin
        try:
            text += orjson.loads(b'"%b"' % data[begin:end])
        except orjson.JSONDecodeError:
            return None, begin
        if last:
            return text, end
        begin = end


def _plain_cut(data: bytes, begin: int, end: int) -> int:
    """A place before ``end`` where a text can be cut, found without reading all of it; or 0."""
    if end >= len(data):
        return 0
    least = max(begin + _LONGEST_ESCAPE, end - _BACK)
    while end > least:
        # Behind the last escape there must be room for another half of a pair.
        escape = data.rfind(b"\\", end - _LONGEST_ESCAPE, end)
        if escape < 0 and not _is_inside_character(data[end]):
            return end
        end = end - 1 if escape < 0 else escape
    return 0


def _is_inside_character(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _fill(value: Any, marks: dict[str, str]) -> tuple[Any, int]:
    """The value with the texts in the places of their marks; how many places there were."""
    if type(value) is str:
        return (marks[value], 1) if value in marks else (value, 0)
    count = 0
    if type(value) is dict:
        for name, item in value.items():
            value[name], more = _fill(item, marks)
            count += more
    elif type(value) is list:
        for place, item in enumerate(value):
            value[place], more = _fill(item, marks)
            count += more
    return value, count
