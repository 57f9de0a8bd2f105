"""Checks a value against a JSON schema: the keywords that tools and response formats use.

It exists to check the simulator's own instances and refuses to be a general validator: unknown
keywords and formats pass, and remote references match anything.
"""

import re
from typing import Any, Final, TypeGuard

# References to references: far more than real schemas chain, and an end for circular ones.
_MAX_HOPS: Final = 32


def resolved(schema: Any, root: Any) -> dict[str, Any]:
    """Follow the ``$ref`` of ``schema`` inside ``root``; keywords beside it count too."""
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
    """Return whether ``value`` fits ``schema``, whose references point into ``root``."""
    if isinstance(schema, bool):
        return schema
    rules = resolved(schema, root)
    return (
        _fits_type(value, rules)
        and _fits_choices(value, rules, root)
        and (not isinstance(value, str) or _fits_string(value, rules))
        and (not _is_number(value) or _fits_number(value, rules))
        and (not isinstance(value, list) or _fits_array(value, rules, root))
        and (not isinstance(value, dict) or _fits_object(value, rules, root))
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
    # Python considers True and 1 equal; JSON Schema does not.
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _fits_type(value: Any, rules: dict[str, Any]) -> bool:
    kinds = rules.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    return not kinds or any(_is_type(value, kind) for kind in kinds)


def _fits_choices(value: Any, rules: dict[str, Any], root: Any) -> bool:
    def count(options: list[Any]) -> int:
        return sum(fits(value, option, root) for option in options)

    if "if" in rules:
        branch = "then" if fits(value, rules["if"], root) else "else"
        if not fits(value, rules.get(branch, True), root):
            return False
    return (
        ("const" not in rules or _same(value, rules["const"]))
        and ("enum" not in rules or any(_same(value, item) for item in rules["enum"]))
        and all(fits(value, part, root) for part in rules.get("allOf", ()))
        and ("anyOf" not in rules or count(rules["anyOf"]) > 0)
        and ("oneOf" not in rules or count(rules["oneOf"]) == 1)
        and ("not" not in rules or not fits(value, rules["not"], root))
    )


def _fits_string(value: str, rules: dict[str, Any]) -> bool:
    if not rules.get("minLength", 0) <= len(value) <= rules.get("maxLength", len(value)):
        return False
    try:
        return "pattern" not in rules or re.search(rules["pattern"], value) is not None
    except re.error:
        return True


def _fits_number(value: float, rules: dict[str, Any]) -> bool:
    if step := rules.get("multipleOf"):
        ratio = value / step
        if abs(ratio - round(ratio)) > 1e-9:
            return False
    return (
        value >= rules.get("minimum", value)
        and value <= rules.get("maximum", value)
        and ("exclusiveMinimum" not in rules or value > rules["exclusiveMinimum"])
        and ("exclusiveMaximum" not in rules or value < rules["exclusiveMaximum"])
    )


def _fits_array(value: list[Any], rules: dict[str, Any], root: Any) -> bool:
    fixed = rules.get("prefixItems", [])
    rest = rules.get("items", True)
    if not rules.get("minItems", 0) <= len(value) <= rules.get("maxItems", len(value)):
        return False
    if rules.get("uniqueItems"):
        pairs = ((one, other) for at, one in enumerate(value) for other in value[:at])
        if any(_same(one, other) for one, other in pairs):
            return False
    if "contains" in rules and not any(fits(one, rules["contains"], root) for one in value):
        return False
    return all(fits(one, inner, root) for one, inner in zip(value, fixed, strict=False)) and all(
        fits(one, rest, root) for one in value[len(fixed) :]
    )


def _fits_object(value: dict[str, Any], rules: dict[str, Any], root: Any) -> bool:
    properties = rules.get("properties", {})
    patterns = rules.get("patternProperties", {})
    extra = rules.get("additionalProperties", True)
    if not rules.get("minProperties", 0) <= len(value) <= rules.get("maxProperties", len(value)):
        return False
    if any(name not in value for name in rules.get("required", ())):
        return False
    for name, one in value.items():
        known = [properties[name]] if name in properties else []
        known += [inner for pattern, inner in patterns.items() if re.search(pattern, name)]
        if not all(fits(one, inner, root) for inner in known or [extra]):
            return False
    return True
