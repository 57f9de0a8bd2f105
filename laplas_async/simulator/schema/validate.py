"""Whether a value fits a JSON schema: the keywords that tools and response formats use.

It checks the simulator's own instances, and refuses to be a validator for others: unknown
keywords and formats pass, and remote references are taken for "anything".
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeGuard

_MAX_HOPS: Final = 32


def resolved(schema: Any, root: Any) -> dict[str, Any]:
    """Follow `schema`'s `$ref` inside `root`; words beside the reference count too."""
    beside: dict[str, Any] = {}
    for _ in range(_MAX_HOPS):
        if not isinstance(schema, dict):
            return {"not": {}, **beside} if schema is False else beside
        if not isinstance(reference := schema.get("$ref"), str):
            return {**schema, **beside}
        beside = {**{word: value for word, value in schema.items() if word != "$ref"}, **beside}
        schema = _pointed(reference, root)
    return beside


def fits(value: Any, schema: Any, root: Any) -> bool:
    """Return whether `value` fits `schema`, whose references point into `root`."""
    if isinstance(schema, bool):
        return schema
    asked = resolved(schema, root)
    return (
        _fits_type(value, asked)
        and _fits_choices(value, asked, root)
        and (not isinstance(value, str) or _fits_string(value, asked))
        and (not _is_number(value) or _fits_number(value, asked))
        and (not isinstance(value, list) or _fits_array(value, asked, root))
        and (not isinstance(value, dict) or _fits_object(value, asked, root))
    )


def _pointed(reference: str, root: Any) -> Any:
    if not reference.startswith("#"):
        return True
    here = root
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdigit() and int(name) < len(here):
            here = here[int(name)]
        else:
            return True
    return here


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_type(value: Any, kind: str) -> bool:
    if kind == "integer":
        return _is_number(value) and float(value).is_integer()
    if kind == "number":
        return _is_number(value)
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return kind not in types or isinstance(value, types[kind])


def _same(one: Any, other: Any) -> bool:
    # In JSON true is not 1, which Python says is equal.
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _fits_type(value: Any, asked: dict[str, Any]) -> bool:
    kinds = asked.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    return not kinds or any(_is_type(value, kind) for kind in kinds)


def _fits_choices(value: Any, asked: dict[str, Any], root: Any) -> bool:
    def count(options: list[Any]) -> int:
        return sum(fits(value, option, root) for option in options)

    if "if" in asked:
        branch = "then" if fits(value, asked["if"], root) else "else"
        if not fits(value, asked.get(branch, True), root):
            return False
    return (
        ("const" not in asked or _same(value, asked["const"]))
        and ("enum" not in asked or any(_same(value, item) for item in asked["enum"]))
        and all(fits(value, part, root) for part in asked.get("allOf", ()))
        and ("anyOf" not in asked or count(asked["anyOf"]) > 0)
        and ("oneOf" not in asked or count(asked["oneOf"]) == 1)
        and ("not" not in asked or not fits(value, asked["not"], root))
    )


def _fits_string(value: str, asked: dict[str, Any]) -> bool:
    if not asked.get("minLength", 0) <= len(value) <= asked.get("maxLength", len(value)):
        return False
    try:
        return "pattern" not in asked or re.search(asked["pattern"], value) is not None
    except re.error:
        return True


def _fits_number(value: float, asked: dict[str, Any]) -> bool:
    if step := asked.get("multipleOf"):
        ratio = value / step
        if abs(ratio - round(ratio)) > 1e-9:
            return False
    return (
        value >= asked.get("minimum", value)
        and value <= asked.get("maximum", value)
        and ("exclusiveMinimum" not in asked or value > asked["exclusiveMinimum"])
        and ("exclusiveMaximum" not in asked or value < asked["exclusiveMaximum"])
    )


def _fits_array(value: list[Any], asked: dict[str, Any], root: Any) -> bool:
    fixed = asked.get("prefixItems", [])
    rest = asked.get("items", True)
    if not asked.get("minItems", 0) <= len(value) <= asked.get("maxItems", len(value)):
        return False
    if asked.get("uniqueItems"):
        pairs = ((one, other) for at, one in enumerate(value) for other in value[:at])
        if any(_same(one, other) for one, other in pairs):
            return False
    if "contains" in asked and not any(fits(one, asked["contains"], root) for one in value):
        return False
    return all(fits(one, inner, root) for one, inner in zip(value, fixed, strict=False)) and all(
        fits(one, rest, root) for one in value[len(fixed) :]
    )


def _fits_object(value: dict[str, Any], asked: dict[str, Any], root: Any) -> bool:
    properties = asked.get("properties", {})
    patterns = asked.get("patternProperties", {})
    extra = asked.get("additionalProperties", True)
    if not asked.get("minProperties", 0) <= len(value) <= asked.get("maxProperties", len(value)):
        return False
    if any(name not in value for name in asked.get("required", ())):
        return False
    for name, one in value.items():
        known = [properties[name]] if name in properties else []
        known += [inner for pattern, inner in patterns.items() if re.search(pattern, name)]
        if not all(fits(one, inner, root) for inner in known or [extra]):
            return False
    return True
