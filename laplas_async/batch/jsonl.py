"""One line of JSON, strictly: a row is sent as it was written, or not at all.

So it refuses what ``wire.codec`` repairs in a response (invalid UTF-8, lone surrogates), and it
writes sorted keys for what is hashed, which the codec has no use for.
"""

import json
from hashlib import blake2b
from typing import Any

import orjson

from laplas_async.wire.codec import repaired


def read(line: bytes) -> Any:
    """The value of a line. Raises ``ValueError`` that says what is wrong and where."""
    return orjson.loads(line)


def canonical(value: Any) -> bytes:
    """The same bytes for the same value, however it was written. Raises ``ValueError``."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:  # a TypeError, though it is about the value
        raise ValueError(str(error)) from None


def write(value: Any) -> bytes:
    """A line, with its line end, that ``read`` can always read.

    A service's JSON may hold what orjson refuses to write: large integers are written as Python
    does, NaN, which is not JSON, becomes null, and a lone surrogate becomes U+FFFD. Raises
    ``RecursionError`` for a value that is nested too deeply.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        plain = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
        return json.dumps(repaired(plain)).encode() + b"\n"


def digest(*parts: bytes) -> bytes:
    """A hash of these, 16 bytes."""
    return blake2b(b"\0".join(parts), digest_size=16).digest()
