"""Generates a small instance of a JSON schema; the same schema and seed give the same instance.

It supports what tools and response formats use of JSON Schema 2020-12. It refuses to load remote
references, which match anything; for a schema that nothing can satisfy it returns its best attempt.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import orjson

from laplas_async.simulator.rng import SeededRandom
from laplas_async.simulator.schema.regex import matching
from laplas_async.simulator.schema.validate import fits, resolved
from laplas_async.simulator.text import phrase

# Each attempt draws other alternatives; schemas with "not" or "oneOf" may need a few
# (tests/unit/simulator/schema/test_generate.py covers all the bounds below).
_ATTEMPTS: Final = 12
# Levels and nodes after which optional parts are left out, so that recursive schemas end.
_DEEP: Final = 4
_NODES: Final = 400
# Levels at which generation stops altogether: a schema that requires itself has no instance.
_TOO_DEEP: Final = 40
# Rounds of merging allOf/anyOf/oneOf before they are assumed to refer to themselves.
_MERGES: Final = 64
# Items, characters or properties: a larger minimum would only fill the memory.
_MAX_MINIMUM: Final = 10_000
# What wrong types inside a schema raise while it is read.
_INVALID_SCHEMA_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)
_FORMATS: Final = {
    "date-time": "2024-05-17T09:30:00Z",
    "date": "2024-05-17",
    "time": "09:30:00Z",
    "duration": "PT15M",
    "email": "ada@example.com",
    "idn-email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.7",
    "ipv6": "2001:db8::7",
    "uri": "https://example.com/page",
    "uri-reference": "/page",
    "uuid": "8c5e2c4a-7a53-4b1e-9d39-0d6f4f6c1b2a",
    "json-pointer": "/page/1",
    "regex": "^a+$",
}
_KEYWORD_TYPES: Final = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def instance(schema: Any, random: SeededRandom) -> Any:
    """Return a small instance of ``schema`` (an object or a boolean).

    Raises ``ValueError`` if the schema is invalid or requires something huge.
    """
    result: Any = None
    try:
        for _ in range(_ATTEMPTS):
            result = _Generator(schema, random).make(schema)
            if fits(result, schema, schema):
                break
    except _INVALID_SCHEMA_ERRORS as error:
        raise ValueError(f"the schema is invalid: {error}") from error
    return result


def instance_text(schema: Any, random: SeededRandom) -> str:
    """Return the instance as JSON text. Raises ``ValueError`` as ``instance`` does."""
    try:
        return orjson.dumps(instance(schema, random)).decode()
    except TypeError as error:  # integers over 64 bits, or too deeply nested
        raise ValueError(f"the schema has no instance that JSON can hold: {error}") from error


class _Generator:
    """One attempt; ``depth`` and ``nodes`` bound it, so that recursive schemas end."""

    def __init__(self, root: Any, random: SeededRandom) -> None:
        self.root = root
        self.random = random
        self.depth = 0
        self.nodes = 0

    @property
    def scarce(self) -> bool:
        return self.depth > _DEEP or self.nodes > _NODES

    def make(self, schema: Any) -> Any:
        self.nodes += 1
        if self.depth > _TOO_DEEP:
            return None
        self.depth += 1
        try:
            return self._make(self._flat(schema))
        finally:
            self.depth -= 1

    def _make(self, schema: dict[str, Any]) -> Any:
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.random.one_of(schema["enum"])
        kind = self._type(schema)
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return self._array(schema)
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        return bool(self.random.below(2)) if kind == "boolean" else None

    def _flat(self, schema: Any) -> dict[str, Any]:
        """Resolve references, pick alternatives, and merge everything into one schema."""
        flat = dict(resolved(schema, self.root))
        for _ in range(_MERGES):
            parts = list(flat.pop("allOf", ()))
            parts += [self._option(flat.pop(word)) for word in ("anyOf", "oneOf") if flat.get(word)]
            if "if" in flat:
                parts.append(flat.pop("then", {}))
                parts.append(flat.pop("if"))
                flat.pop("else", None)
            if not parts:
                return flat
            for part in parts:
                flat = _merged(flat, resolved(part, self.root))
        raise ValueError("allOf, anyOf or oneOf refers to itself")

    def _option(self, options: list[Any]) -> Any:
        if not self.scarce:
            return self.random.one_of(options)

        # Deep inside a recursive schema take the alternative that ends soonest.
        def weight(option: Any) -> int:
            flat = resolved(option, self.root)
            scalar = self._type(flat) not in ("object", "array") and "anyOf" not in flat
            return 0 if scalar else 2 if isinstance(option, dict) and "$ref" in option else 1

        return min(options, key=weight)

    def _type(self, schema: dict[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            if self.scarce and "null" in kind:
                return "null"
            kinds = [one for one in kind if one != "null"] or kind
            return str(self.random.one_of(kinds))
        if isinstance(kind, str):
            return kind
        for name, words in _KEYWORD_TYPES.items():
            if any(word in schema for word in words):
                return name
        return "string"

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties") or {}
        required = list(schema.get("required") or ())
        result: dict[str, Any] = {}
        most = schema.get("maxProperties", math.inf)
        for name, inner in properties.items():
            optional = name not in required
            if optional and (inner is False or self.scarce):
                continue
            if optional and (len(result) + len(required) >= most or self.random.below(4) == 0):
                continue
            result[name] = self.make(inner)
        extra = schema.get("additionalProperties", True)
        inner = extra if isinstance(extra, dict) else {"type": "string"}
        for name in required:
            if name not in result:
                result[name] = self.make(inner)
        least = _least(schema, "minProperties")
        if isinstance(extra, dict) and not properties and not self.scarce:
            least = max(least, min(1, most))
        at = 0
        while len(result) < least:
            at += 1
            result.setdefault(f"{phrase(self.random, 1)}_{at}", self.make(inner))
        return result

    def _array(self, schema: dict[str, Any]) -> list[Any]:
        fixed: list[Any] = schema.get("prefixItems") or []
        inner = schema.get("items", {"type": "string"})
        least = _least(schema, "minItems")
        most = schema.get("maxItems", max(least, 3))
        if inner is False:
            most = min(most, len(fixed))
        wanted = least if self.scarce else self.random.between(least, max(least, min(most, 3)))
        if not self.scarce:
            wanted = max(wanted, min(most, max(len(fixed), 1)))
        result = [self.make(one) for one in fixed[:wanted]]
        if "contains" in schema and len(result) < most:
            result.append(self.make(_merged(dict(resolved(inner, self.root)), schema["contains"])))
        attempts = 0
        while len(result) < wanted and attempts < 100:
            attempts += 1
            one = self.make(inner)
            if not (schema.get("uniqueItems") and one in result):
                result.append(one)
        return result

    def _string(self, schema: dict[str, Any]) -> str:
        least = _least(schema, "minLength")
        most = schema.get("maxLength", math.inf)
        if "pattern" in schema:
            try:
                return matching(schema["pattern"], self.random)
            except (ValueError, RecursionError):
                pass  # An unsupported pattern: a plain string is the best attempt.
        if "format" in schema and schema["format"] in _FORMATS:
            return _FORMATS[schema["format"]]
        result = phrase(self.random, self.random.between(1, 3))
        while len(result) < least:
            result += " " + phrase(self.random, 2)
        return result if len(result) <= most else result[: int(max(least, most))]

    def _number(self, schema: dict[str, Any], *, whole: bool) -> int | float:
        step = schema.get("multipleOf", 1 if whole else 0)
        if whole and isinstance(step, float):
            step = next((step * k for k in range(1, 1001) if (step * k).is_integer()), 1)
        low, high = _bounds(schema)
        if low == -math.inf:
            low = 0 if high >= 0 else high - 100
        if high == math.inf:
            high = max(low, 0) + 100
        if step:
            first, last = math.ceil(low / step), math.floor(high / step)
            value = self.random.between(first, max(first, last)) * step
            return int(value) if whole else value
        value = low + (high - low) * (0.05 + 0.9 * self.random.fraction())
        rounded = round(value, 2)
        return rounded if low < rounded < high else value


def _least(schema: dict[str, Any], word: str) -> int:
    value = int(schema.get(word, 0))
    if value > _MAX_MINIMUM:
        raise ValueError(f"{word} is above {_MAX_MINIMUM}")
    return value


def _bounds(schema: dict[str, Any]) -> tuple[float, float]:
    low = schema.get("minimum", -math.inf)
    high = schema.get("maximum", math.inf)
    above = schema.get("exclusiveMinimum")
    below = schema.get("exclusiveMaximum")
    # For floats a tiny margin inside an open bound is enough; whole numbers are rounded inwards.
    whole = schema.get("type") == "integer" or "multipleOf" in schema
    margin = schema.get("multipleOf", 1) if whole else 1e-9
    if isinstance(above, int | float) and not isinstance(above, bool) and above >= low:
        low = math.floor(above) + 1 if whole and margin == 1 else above + margin / 2
    if isinstance(below, int | float) and not isinstance(below, bool) and below <= high:
        high = math.ceil(below) - 1 if whole and margin == 1 else below - margin / 2
    return low, high


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that requires what both do, as far as one schema can say it."""
    result = dict(one)
    for word, value in other.items():
        join = _JOINS.get(word)
        result[word] = join(result[word], value) if join and word in result else value
    return result


def _both_properties(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {name: {"allOf": [one[name], other[name]]} for name in one if name in other}
    return {**one, **other, **both}


def _common_type(one: Any, other: Any) -> Any:
    left = one if isinstance(one, list) else [one]
    right = other if isinstance(other, list) else [other]
    both = [kind for kind in left if kind in right]
    if not both and {"integer", "number"} <= {*left, *right}:
        both = ["integer"]
    return both or other


_JOINS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "properties": _both_properties,
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "enum": lambda one, other: [item for item in one if item in other],
    "allOf": lambda one, other: [*one, *other],
    "type": _common_type,
    **dict.fromkeys(("minimum", "minLength", "minItems", "minProperties", "exclusiveMinimum"), max),
    **dict.fromkeys(("maximum", "maxLength", "maxItems", "maxProperties", "exclusiveMaximum"), min),
}
