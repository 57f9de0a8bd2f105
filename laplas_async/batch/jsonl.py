"""One line of JSON, strictly: a row is asked as it was written, or not at all.

So it refuses what ``wire.codec`` mends in a service's words (bytes that are no UTF-8, half
characters), and it writes sorted keys for what is hashed, which the codec has no use for.
"""

import json
from hashlib import blake2b
from typing import Any

import orjson

from laplas_async.wire.codec import repaired


def read(line: bytes) -> Any:
    """The value of a line. Raises ``ValueError`` with what is wrong and where."""
    return orjson.loads(line)


def canonical(value: Any) -> bytes:
    """The same bytes for the same value, however it was spelled. Raises ``ValueError``."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:  # a TypeError, though it is about the value
        raise ValueError(str(error)) from None


def write(value: Any) -> bytes:
    """A line, with its end. Whatever it is given, ``read`` can read what it wrote.

    A service's JSON may hold what orjson does not write: large numbers are spelled as Python does,
    NaN, which is not JSON, becomes null, and half a character U+FFFD. Raises ``RecursionError``
    for what is nested too deep.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        plain = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
        return json.dumps(repaired(plain)).encode() + b"\n"


def digest(*parts: bytes) -> bytes:
    """16 bytes that stand for these."""
    return blake2b(b"\0".join(parts), digest_size=16).digest()
