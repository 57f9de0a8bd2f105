"""Limits on a value, from attrs validators and ``Annotated``, as JSON Schema keywords.

It refuses to guess: a validator it does not know adds no keyword, and attrs still runs it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

Keywords = dict[str, Any]

# Python's regular expressions know more than JSON Schema's: groups with names, flags, lookaround,
# \A, \Z, \d for all scripts. A pattern with such parts stays on our side.
_PYTHON_ONLY = re.compile(r"\(\?(?!:)|\\[AZNgkpP]|[*+?}]\+")

_NUMERIC = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_OPERATORS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


@define
class Constraints:
    """What a value must fulfil beside its type.

    ``keywords`` are JSON Schema's, with ``minLength`` and ``maxLength`` for the length of anything
    that has one; ``items`` holds for each element; ``predicates`` are functions that JSON Schema
    cannot express.
    """

    keywords: Keywords = field(factory=dict)
    items: "Constraints | None" = None
    description: str | None = None
    predicates: list[Callable[[Any], Any]] = field(factory=list)

    @property
    def checks(self) -> bool:
        """Whether there is anything to check."""
        return bool(self.keywords or self.predicates)

    def merge(self, other: "Constraints") -> None:
        """Add what ``other`` demands; its description wins."""
        self.keywords |= other.keywords
        self.predicates += other.predicates
        self.description = other.description or self.description
        if other.items is not None:
            self.items = self.items or Constraints()
            self.items.merge(other.items)

    def violation(self, value: Any) -> str | None:
        """What is wrong with a value; None if it fulfils all."""
        for keyword, bound in self.keywords.items():
            if value is not None and not _fulfils(keyword, bound, value):
                return f"must be {describe(keyword, bound, sized=not isinstance(value, str))}"
        for predicate in self.predicates:
            if not predicate(value):
                name = getattr(predicate, "__name__", repr(predicate))
                return f"{value!r} does not fulfil {name}"
        return None


def from_metadata(metadata: Iterable[Any]) -> Constraints:
    """The constraints in ``Annotated[T, ...]``.

    Understood by their attributes, so that no package is needed: ``annotated_types``,
    ``msgspec.Meta``, pydantic's ``Field``, ``typing_extensions.Doc``; a plain string is a
    description; validators of attrs count too.
    """
    found = Constraints()
    for entry in metadata:
        if isinstance(entry, str):
            found.description = entry
            continue
        found.merge(from_validator(entry))
        for name, keyword in _NUMERIC.items():
            if (bound := getattr(entry, name, None)) is not None:
                found.keywords[keyword] = bound
        for name, keyword in (("min_length", "minLength"), ("max_length", "maxLength")):
            # attrs' own validators have these attributes too, and were read above
            if isinstance(bound := getattr(entry, name, None), int):
                found.keywords[keyword] = bound
        pattern = getattr(entry, "pattern", None)
        if isinstance(pattern, str):
            found.keywords["pattern"] = pattern
        text = getattr(entry, "documentation", None) or getattr(entry, "description", None)
        if isinstance(text, str):
            found.description = text
        if type(entry).__name__ == "Predicate" and callable(func := getattr(entry, "func", None)):
            found.predicates.append(func)
        if isinstance(nested := getattr(entry, "metadata", None), list | tuple):
            found.merge(from_metadata(nested))  # pydantic's FieldInfo
    return found


def from_validator(validator: Any) -> Constraints:
    """The constraints in a validator of attrs, as far as they are known by their attributes."""
    found = Constraints()
    match type(validator).__name__:
        case "_AndValidator":
            for one in validator._validators:  # noqa: SLF001 - attrs publishes no other way
                found.merge(from_validator(one))
        case "_OptionalValidator":
            found.merge(from_validator(validator.validator))
        case "_NumberValidator":
            if (keyword := _OPERATORS.get(validator.compare_op)) is not None:
                found.keywords[keyword] = validator.bound
        case "_MinLengthValidator":
            found.keywords["minLength"] = validator.min_length
        case "_MaxLengthValidator":
            found.keywords["maxLength"] = validator.max_length
        case "_MatchesReValidator":
            found.keywords["pattern"] = _anchored(validator.pattern, validator.match_func)
        case "_InValidator":
            if not isinstance(validator.options, str | bytes):  # for text, "in" means a substring
                found.keywords["enum"] = list(validator.options)
        case "_DeepIterable":
            found.items = from_validator(validator.member_validator)
            found.merge(from_validator(validator.iterable_validator))
    return found


def is_portable(pattern: str) -> bool:
    """Whether a pattern of Python's ``re`` means the same in JSON Schema."""
    return _PYTHON_ONLY.search(pattern) is None


def describe(keyword: str, bound: Any, *, sized: bool = False) -> str:
    """A keyword in words, for a description and for messages: ``at least 3 characters``."""
    unit = "items" if sized else "characters"
    match keyword:
        case "minimum":
            return f"at least {bound}"
        case "exclusiveMinimum":
            return f"greater than {bound}"
        case "maximum":
            return f"at most {bound}"
        case "exclusiveMaximum":
            return f"less than {bound}"
        case "multipleOf":
            return f"a multiple of {bound}"
        case "minLength" | "minItems":
            return f"at least {bound} {unit} long"
        case "maxLength" | "maxItems":
            return f"at most {bound} {unit} long"
        case "pattern":
            return f"text that matches {bound}"
        case "enum":
            return f"one of {', '.join(map(repr, bound))}"
    return f"{keyword} {bound}"


def _anchored(pattern: re.Pattern[str], match: Any) -> str:
    source = pattern.pattern
    if pattern.flags & ~re.UNICODE and pattern.flags & (
        re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE
    ):
        flags = "".join(
            letter
            for letter, flag in (
                ("i", re.IGNORECASE),
                ("m", re.MULTILINE),
                ("s", re.DOTALL),
                ("x", re.VERBOSE),
            )
            if pattern.flags & flag
        )
        source = f"(?{flags}:{source})"
    kind = getattr(match, "__name__", "fullmatch")
    if kind == "search":
        return source
    if kind == "match":
        return f"^(?:{source})"
    return source if _is_anchored(source) else f"^(?:{source})$"


def _is_anchored(source: str) -> bool:
    return (
        source.startswith("^")
        and source.endswith("$")
        and not source.endswith("\\$")
        and "|" not in source
    )


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "pattern": lambda value, bound: re.search(bound, value) is not None,
    "enum": lambda value, bound: value in bound,
}


def _fulfils(keyword: str, bound: Any, value: Any) -> bool:
    try:
        if keyword == "multipleOf":
            ratio = value / bound
            return bool(abs(ratio - round(ratio)) < 1e-9)  # 0.3 / 0.1 is 2.9999999999999996
        return _COMPARISONS[keyword](value, bound)
    except TypeError:
        return False
