"""Generated strings match their pattern; unsupported patterns are a ``ValueError``."""

import re

import pytest

from laplas_async.simulator.rng import SeededRandom
from laplas_async.simulator.schema.regex import matching


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{4}-\d{2}-\d{2}$",
        r"^(?:foo|bar)?baz*$",
        r"^(?P<year>[12]\d{3})\.(\w|\s)+?$",
        r"^[\w.+-]+@[a-z]{2,}\.(com|org)$",
        r"^[^\d\s]{5}$",
        r"^\u00e9\x41\t[a\]b]$",
        r"a|b|",
        r"^[]a]$",
    ],
)
def test_a_string_matches_its_pattern(pattern: str) -> None:
    for key in range(20):
        assert re.search(pattern, matching(pattern, SeededRandom(key)))


@pytest.mark.parametrize(
    "pattern", [r"(?=a)", r"(a)\1", r"(a", r"a)", r"*a", r"\b", r"[a", r"a{x}"]
)
def test_unsupported_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|supported|repeat|count"):
        matching(pattern, SeededRandom(1))
