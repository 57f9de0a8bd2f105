"""JSON Schema for a type, in the strict form that providers accept, or in the plain one.

Strict: the root is an object, every field is required, ``additionalProperties`` is false, and a
field with a default may be null, which selects the default. Keywords outside of the strict set
move into the description; ``converter`` enforces them all the same. It refuses to approximate:
what has no strict form is listed in ``loose``.
"""

import enum
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, get_args, get_origin
from uuid import UUID

from attrs import frozen
from cattrs import BaseConverter

from laplas_async.errors import ConfigError
from laplas_async.structured import foreign
from laplas_async.structured.collections import is_array, is_mapping, is_set, item_types
from laplas_async.structured.constraints import Constraints, describe, is_portable
from laplas_async.structured.converter import default_converter
from laplas_async.structured.docstrings import class_docstring, parse_docstring
from laplas_async.structured.fields import (
    FieldSpec,
    NoneType,
    class_name,
    fields_of,
    has_fields,
    is_union,
    members_of,
    tag_of,
    unwrap,
)

Schema = dict[str, Any]

# The limits of strict mode as OpenAI publishes them; see test_schema.py.
MAX_PROPERTIES: Final = 5000
MAX_LEVELS: Final = 10
MAX_ENUM_VALUES: Final = 1000
WRAPPED_KEY: Final = "value"

_SCALARS: Final[dict[Any, Schema]] = {
    NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    timedelta: {"type": "string", "format": "duration"},
    UUID: {"type": "string", "format": "uuid"},
    Decimal: {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
}
_NUMBER_KEYWORDS: Final = (
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
)


@frozen
class OutputSchema:
    """A schema to send. ``loose``: path and reason of what cannot be strict, empty if it is."""

    schema: Schema
    strict: bool
    wrapped: bool
    loose: tuple[str, ...] = ()


def schema_for(
    tp: Any, *, strict: bool | None = None, converter: BaseConverter | None = None
) -> OutputSchema:
    """The schema of a type; where it is no object, an object with the one field ``value``.

    ``strict`` None: strict if the type allows it; True: ``ConfigError`` with the path if it does
    not; False: the plain form. Raises ``ConfigError`` for types that JSON cannot express.
    """
    converter = converter or default_converter()
    loose: list[str] = []
    if strict is not False:
        schema, wrapped = _Writer(converter, loose, strict=True).root(tp)
        loose += exceeded_limits(schema)
        if not loose:
            return OutputSchema(schema, strict=True, wrapped=wrapped)
        if strict:
            raise ConfigError("no strict schema: " + "; ".join(loose))
    schema, wrapped = _Writer(converter, [], strict=False).root(tp)
    return OutputSchema(schema, strict=False, wrapped=wrapped, loose=tuple(loose))


def schema_for_fields(
    specs: tuple[FieldSpec, ...], *, strict: bool | None, converter: BaseConverter
) -> OutputSchema:
    """As ``schema_for``, for the parameters of a function."""
    loose: list[str] = []
    if strict is not False:
        schema = _Writer(converter, loose, strict=True).parameters(specs)
        loose += exceeded_limits(schema)
        if not loose:
            return OutputSchema(schema, strict=True, wrapped=False)
        if strict:
            raise ConfigError("no strict schema: " + "; ".join(loose))
    schema = _Writer(converter, [], strict=False).parameters(specs)
    return OutputSchema(schema, strict=False, wrapped=False, loose=tuple(loose))


class _Writer:
    def __init__(self, converter: BaseConverter, loose: list[str], *, strict: bool) -> None:
        self._converter = converter
        self._loose = loose
        self._strict = strict
        self._root: Any = None
        self._definitions: Schema = {}
        self._names: dict[Any, str] = {}

    def root(self, tp: Any) -> tuple[Schema, bool]:
        bare, constraints = unwrap(tp)
        if foreign.is_foreign(bare):
            return self._foreign(bare, ""), False
        if has_fields(bare):
            self._root = bare
            schema = self._class(bare, "", None)
            schema["description"] = constraints.description or schema.get("description")
            return self._finished({k: v for k, v in schema.items() if v is not None}), False
        inner = self._type(tp, WRAPPED_KEY, Constraints())
        return self._finished(_object({WRAPPED_KEY: inner}, [WRAPPED_KEY])), True

    def parameters(self, specs: tuple[FieldSpec, ...]) -> Schema:
        return self._finished(self._object(specs, ""))

    def _finished(self, schema: Schema) -> Schema:
        return schema | ({"$defs": self._definitions} if self._definitions else {})

    # --- types --------------------------------------------------------------------------------

    def _type(self, tp: Any, path: str, outer: Constraints) -> Schema:
        bare, constraints = unwrap(tp)
        constraints.merge(outer)
        if is_union(bare):
            schema = self._union(bare, path, constraints)
        elif bare in _SCALARS:
            schema = self._constrained(dict(_SCALARS[bare]), constraints)
        elif get_origin(bare) is Literal:
            schema = self._enum(
                [one.value if isinstance(one, enum.Enum) else one for one in get_args(bare)], path
            )
        elif isinstance(bare, type) and issubclass(bare, enum.Enum):
            schema = self._enum([member.value for member in bare], path)
            if (words := parse_docstring(class_docstring(bare)).summary) is not None:
                schema["description"] = words
        elif foreign.is_foreign(bare):
            schema = self._foreign(bare, path)
        elif has_fields(bare):
            schema = self._reference(bare, path)
        elif is_array(bare):
            schema = self._array(bare, path, constraints)
        elif is_mapping(bare):
            schema = self._mapping(bare, path)
        elif bare in (Any, object):
            self._loose.append(f"{path or 'the root'}: any value is allowed")
            schema = {}
        else:
            name = getattr(bare, "__name__", repr(bare))
            raise ConfigError(f"{path or 'into'}: {name} has no JSON form that can be checked")
        return _described(schema, constraints.description)

    def _constrained(self, schema: Schema, constraints: Constraints) -> Schema:
        words = []
        for keyword, bound in constraints.keywords.items():
            kind = schema["type"]
            if keyword == "enum":
                if all(_is_json_scalar(one) for one in bound) and "format" not in schema:
                    schema = self._enum(list(bound), "") | {"type": kind}
                else:
                    words.append(describe(keyword, bound))
            elif keyword in _NUMBER_KEYWORDS and kind in ("integer", "number"):
                schema[keyword] = _json_number(bound)
            elif keyword == "pattern" and kind == "string":
                if is_portable(bound) and "pattern" not in schema:
                    schema["pattern"] = bound
                else:
                    words.append(describe(keyword, bound))
            elif keyword in ("minLength", "maxLength") and kind == "string" and not self._strict:
                schema[keyword] = bound
            elif kind != "null":
                words.append(describe(keyword, bound))
        return _described(schema, ", ".join(words))

    def _enum(self, values: list[Any], path: str) -> Schema:
        if not all(_is_json_scalar(one) for one in values):
            raise ConfigError(f"{path}: the values of an Enum must be text, numbers, true or null")
        kinds = list(dict.fromkeys(_kind(one) for one in values))
        schema: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
        if len(values) == 1:
            return schema | {"const": values[0]}
        return schema | {"enum": values}

    def _array(self, tp: Any, path: str, constraints: Constraints) -> Schema:
        item, fixed = item_types(tp)
        schema: Schema = {"type": "array"}
        if fixed is not None:
            self._fixed(schema, fixed, path)
        elif item is Any and self._strict:
            self._loose.append(f"{path}: a list without the type of its elements")
        if fixed is None:
            schema["items"] = self._type(item, f"{path}[]", constraints.items or Constraints())
        words = []
        for keyword, bound in constraints.keywords.items():
            if keyword in ("minLength", "maxLength"):
                schema[keyword.replace("Length", "Items")] = bound
            else:
                words.append(describe(keyword, bound))
        if is_set(tp):
            if self._strict:
                words.append("no element twice")
            else:
                schema["uniqueItems"] = True
        return _described(schema, ", ".join(words))

    def _fixed(self, schema: Schema, fixed: tuple[Any, ...], path: str) -> None:
        each = [
            self._type(one, f"{path}[{index}]", Constraints()) for index, one in enumerate(fixed)
        ]
        schema["minItems"] = schema["maxItems"] = len(each)
        distinct = [one for at, one in enumerate(each) if one not in each[:at]]
        if not distinct:
            schema["items"] = {"type": "null"}
        elif len(distinct) == 1:
            schema["items"] = distinct[0]
        elif self._strict:
            schema["items"] = {"anyOf": distinct}
            kinds = ", ".join(class_name(unwrap(one)[0]) for one in fixed)
            schema["description"] = f"in this order: {kinds}"
        else:
            schema["prefixItems"] = each
            schema["items"] = False

    def _mapping(self, tp: Any, path: str) -> Schema:
        self._loose.append(f"{path or 'the root'}: an object with arbitrary keys")
        args = get_args(tp)
        schema: Schema = {"type": "object"}
        if args:
            schema["additionalProperties"] = self._type(args[1], f"{path}.*", Constraints())
        return schema

    def _union(self, tp: Any, path: str, constraints: Constraints) -> Schema:
        members = members_of(tp)
        classes = tuple(
            bare
            for bare in (unwrap(one)[0] for one in members)
            if has_fields(bare) and not foreign.is_foreign(bare)
        )
        tag = tag_of(classes, self._converter) if len(classes) > 1 else None
        options = []
        inner = Constraints(constraints.keywords, constraints.items)
        for member in members:
            bare, _ = unwrap(member)
            if tag is not None and not tag.own and bare in classes:
                options.append(self._reference(bare, path, (tag.key, tag.values[bare])))
            elif bare is NoneType:
                options.append({"type": "null"})
            else:
                options.append(self._type(member, path, inner))
        return _any_of(options)

    # --- classes ------------------------------------------------------------------------------

    def _reference(self, tp: Any, path: str, tag: tuple[str, str] | None = None) -> Schema:
        if tp is self._root and tag is None:
            return {"$ref": "#"}
        key = (tp, tag)
        name = self._names.get(key)
        if name is None:
            base = name = "".join(
                c if (c.isalnum() and c.isascii()) or c in "_-" else "_" for c in class_name(tp)
            )
            count = 1
            while name in self._definitions:
                count += 1
                name = f"{base}_{count}"
            self._names[key] = name
            self._definitions[name] = {}  # its place, before the classes that it contains
            self._definitions[name] = self._class(tp, path, tag)
        return {"$ref": f"#/$defs/{name}"}

    def _class(self, tp: Any, path: str, tag: tuple[str, str] | None) -> Schema:
        schema = self._object(fields_of(tp, self._converter), path)
        if tag is not None:
            key, value = tag
            schema["properties"] = {key: {"type": "string", "const": value}} | schema["properties"]
            schema["required"] = [key, *schema["required"]]
        words = parse_docstring(class_docstring(get_origin(tp) or tp)).summary
        return ({"description": words} if words else {}) | schema

    def _object(self, specs: tuple[FieldSpec, ...], path: str) -> Schema:
        properties: Schema = {}
        required = []
        for spec in specs:
            where = f"{path}.{spec.key}" if path else spec.key
            plain = Constraints(spec.constraints.keywords, spec.constraints.items)
            schema = self._type(unwrap(spec.type)[0], where, plain)
            description = spec.description
            if self._strict and not spec.required:
                if not spec.nullable:
                    schema = _any_of([schema, {"type": "null"}])
                    if spec.default is not None and _is_json_scalar(spec.default):
                        default = f"null means {json.dumps(spec.default)}"
                        description = f"{description} ({default})" if description else default
                required.append(spec.key)
            elif spec.required:
                required.append(spec.key)
            properties[spec.key] = _described(schema, description)
        return _object(properties, required)

    def _foreign(self, tp: Any, path: str) -> Schema:
        schema = foreign.schema_of(tp)
        if self._strict:
            schema, loose = foreign.tighten(schema)
            self._loose += [f"{path}.{one}".strip(".") + ": has no strict form" for one in loose]
        if not path:
            return schema
        definitions = schema.pop("$defs", {})
        if "#/$defs/" + tp.__name__ in json.dumps(schema | {"$defs": definitions}):
            definitions[tp.__name__] = schema
            schema = {"$ref": f"#/$defs/{tp.__name__}"}
        for name, definition in definitions.items():
            if self._definitions.setdefault(name, definition) != definition:
                raise ConfigError(f"{path}: two different classes are named {name}")
        return schema


def exceeded_limits(schema: Schema) -> list[str]:
    """Which limits of strict mode a schema exceeds."""
    properties, values = _count(schema)
    levels = _levels(schema, schema, ())
    found = []
    if properties > MAX_PROPERTIES:
        found.append(f"{properties} properties, more than {MAX_PROPERTIES}")
    if values > MAX_ENUM_VALUES:
        found.append(f"{values} enum values, more than {MAX_ENUM_VALUES}")
    if levels > MAX_LEVELS:
        found.append(f"{levels} levels of objects, more than {MAX_LEVELS}")
    return found


def _count(schema: Any) -> tuple[int, int]:
    if isinstance(schema, list):
        counts = [_count(one) for one in schema]
    elif isinstance(schema, dict):
        named = schema.get("properties")
        own = len(named) if isinstance(named, dict) else 0
        listed = schema.get("enum")
        values = len(listed) if isinstance(listed, list) else 0
        counts = [(own, values), *(_count(one) for one in schema.values())]
    else:
        return 0, 0
    return sum(one for one, _ in counts), sum(one for _, one in counts)


def _levels(schema: Schema, root: Schema, inside: tuple[str, ...]) -> int:
    """How deep objects are nested; a reference to what contains it counts once."""
    reference = schema.get("$ref")
    if reference is not None:
        if reference == "#" or reference in inside:
            return 0
        target = root["$defs"][reference.rsplit("/", 1)[1]]
        return _levels(target, root, (*inside, reference))
    inner = [*schema.get("anyOf", ()), *schema.get("prefixItems", ())]
    inner += [one for one in (schema.get("items"),) if isinstance(one, dict)]
    inner += schema.get("properties", {}).values()
    deepest = max((_levels(one, root, inside) for one in inner), default=0)
    return deepest + ("properties" in schema)


def _object(properties: Schema, required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _any_of(options: list[Schema]) -> Schema:
    flat: list[Schema] = []
    for option in options:
        inner = option["anyOf"] if set(option) == {"anyOf"} else [option]
        flat += [one for one in inner if one not in flat]
    if len(flat) == 1:
        return flat[0]
    if all(set(one) == {"type"} and isinstance(one["type"], str) for one in flat):
        return {"type": [one["type"] for one in flat]}
    return {"anyOf": flat}


def _described(schema: Schema, description: str | None) -> Schema:
    if not description:
        return schema
    if "$ref" in schema:  # strict mode allows no keyword beside it
        schema = {"anyOf": [schema]}
    known = schema.get("description")
    text = description if known is None else f"{description.rstrip('.')}; {known}"
    return schema | {"description": text}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return (
        "integer" if isinstance(value, int) else "number" if isinstance(value, float) else "string"
    )


def _is_json_scalar(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _json_number(bound: Any) -> float:
    return bound if isinstance(bound, int | float) else float(bound)
