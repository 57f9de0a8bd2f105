"""Constraints from attrs validators and from ``Annotated``."""

import re
from typing import Any

import pytest
from attrs import frozen, validators

from laplas_async.structured.constraints import (
    Constraints,
    from_metadata,
    from_validator,
    is_portable,
)


@pytest.mark.parametrize(
    ("validator", "keywords"),
    [
        (validators.ge(1), {"minimum": 1}),
        (validators.gt(1), {"exclusiveMinimum": 1}),
        (validators.le(1), {"maximum": 1}),
        (validators.lt(1), {"exclusiveMaximum": 1}),
        (validators.min_len(1), {"minLength": 1}),
        (validators.max_len(1), {"maxLength": 1}),
        (validators.in_([1, 2]), {"enum": [1, 2]}),
        (validators.in_("abc"), {}),
        (validators.optional(validators.ge(1)), {"minimum": 1}),
        (validators.and_(validators.ge(1), validators.le(2)), {"minimum": 1, "maximum": 2}),
        (validators.matches_re("a|b"), {"pattern": "^(?:a|b)$"}),
        (validators.matches_re("^ab$"), {"pattern": "^ab$"}),
        (validators.matches_re("a", func=re.search), {"pattern": "a"}),
        (validators.matches_re("a", func=re.match), {"pattern": "^(?:a)"}),
        (validators.instance_of(int), {}),
        (validators.not_(validators.ge(1)), {}),
        (None, {}),
    ],
)
def test_validators_of_attrs_become_keywords(validator: Any, keywords: dict[str, Any]) -> None:
    assert from_validator(validator).keywords == keywords


def test_deep_iterable_constrains_the_elements() -> None:
    found = from_validator(validators.deep_iterable(validators.ge(1), validators.min_len(2)))
    assert found.items is not None
    assert found.items.keywords == {"minimum": 1}
    assert found.keywords == {"minLength": 2}


def test_metadata_is_understood_by_its_attributes() -> None:
    @frozen
    class Interval:
        ge: int | None = None
        lt: int | None = None

    @frozen
    class Doc:
        documentation: str

    found = from_metadata([Interval(1, 5), Doc("a number")])
    assert found.keywords == {"minimum": 1, "exclusiveMaximum": 5}
    assert found.description == "a number"
    assert from_metadata(["plain"]).description == "plain"


@pytest.mark.parametrize(
    ("keyword", "bound", "good", "bad"),
    [
        ("minimum", 1, 1, 0),
        ("exclusiveMinimum", 1, 2, 1),
        ("maximum", 1, 1, 2),
        ("exclusiveMaximum", 1, 0, 1),
        ("multipleOf", 0.1, 0.3, 0.35),
        ("minLength", 1, "a", ""),
        ("maxLength", 1, [1], [1, 2]),
        ("pattern", "^a$", "a", "ab"),
        ("enum", [1, 2], 1, 3),
        ("minimum", 1, 1, "x"),
    ],
)
def test_each_keyword_is_checked(keyword: str, bound: Any, good: Any, bad: Any) -> None:
    constraints = Constraints({keyword: bound})
    assert constraints.violation(good) is None
    assert constraints.violation(bad) is not None


@pytest.mark.parametrize("pattern", [r"(?P<a>x)", r"\Ax\Z", "(?i:x)", "(?=x)", "a++", "(?<!a)b"])
def test_patterns_that_only_python_knows_are_not_sent(pattern: str) -> None:
    assert not is_portable(pattern)
    assert is_portable("^(?:[a-z]+-[0-9]{2})$")
