"""Seeded random numbers: the same key gives the same numbers on every machine and Python version.

It refuses to use ``random`` or ``hash()``, whose results may change between Python versions or
processes. Not for cryptography.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1


class SeededRandom:
    """A splitmix64 generator, seeded by the BLAKE2b hash of a key."""

    __slots__ = ("_state",)

    def __init__(self, *key: bytes | str | int) -> None:
        digest = blake2b(digest_size=8)
        for part in key:
            data = part if isinstance(part, bytes) else str(part).encode()
            # Hashing the length too keeps ("ab", "c") and ("a", "bc") apart.
            digest.update(len(data).to_bytes(8, "big") + data)
        self._state = int.from_bytes(digest.digest(), "big")

    def number(self) -> int:
        """Return the next number, 0 to 2**64 - 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, limit: int) -> int:
        """Return a number from 0 to ``limit`` - 1; ``limit`` is at least 1."""
        return self.number() % limit

    def between(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        return low + self.number() % (high - low + 1)

    def fraction(self) -> float:
        """Return a float, 0 <= x < 1."""
        return (self.number() >> 11) / (1 << 53)

    def one_of(self, items: Sequence[T]) -> T:
        """Return one of ``items``, which is not empty."""
        return items[self.number() % len(items)]
