"""Classes of pydantic and msgspec, read and described by their own packages.

Neither package is imported: a class of theirs proves that it is installed. It refuses to translate
their features; their schema is made strict where it can be (``tighten``), else sent as it is.
"""

import copy
import sys
from typing import Any

import orjson
from cattrs import Converter

from laplas_async.structured.notes import at_index, class_error


def is_pydantic(tp: Any) -> bool:
    """Whether it is a model class of pydantic 2."""
    return isinstance(tp, type) and hasattr(tp, "model_json_schema")


def is_msgspec(tp: Any) -> bool:
    """Whether it is a ``msgspec.Struct``."""
    return isinstance(tp, type) and hasattr(tp, "__struct_fields__") and "msgspec" in sys.modules


def is_foreign(tp: Any) -> bool:
    """Whether it is a class of either."""
    return is_pydantic(tp) or is_msgspec(tp)


def register(converter: Converter, *, strict: bool) -> None:
    """Add hooks that read such classes, by their own strict rules unless lenient."""

    def read_pydantic(value: Any, tp: Any) -> Any:
        if isinstance(value, tp):
            return value
        value = without_unset(value, tp.model_json_schema())
        try:
            return tp.model_validate_json(orjson.dumps(value), strict=strict)
        except ValueError as error:
            raise _group(error, tp) from None

    def read_msgspec(value: Any, tp: Any) -> Any:
        if isinstance(value, tp):
            return value
        msgspec = sys.modules["msgspec"]
        value = without_unset(value, msgspec.json.schema(tp))
        try:
            return msgspec.json.decode(orjson.dumps(value), type=tp, strict=strict)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    converter.register_structure_hook_func(is_pydantic, read_pydantic)
    converter.register_structure_hook_func(is_msgspec, read_msgspec)


def schema_of(tp: Any) -> dict[str, Any]:
    """The JSON schema as the class's own package writes it, definitions under ``$defs``."""
    if is_pydantic(tp):
        return dict(tp.model_json_schema())
    schema: dict[str, Any] = sys.modules["msgspec"].json.schema(tp)
    if "$ref" in schema:
        definitions = dict(schema["$defs"])
        root = definitions[schema["$ref"].rsplit("/", 1)[1]]
        schema = dict(root) | {"$defs": definitions}
    return schema


def tighten(schema: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A strict form of a schema, and the places that have none."""
    schema = copy.deepcopy(schema)
    loose: list[str] = []
    _tighten(schema, "", loose)
    return schema, loose


def without_unset(value: Any, schema: Any, root: Any = None) -> Any:
    """The value without the nulls that stand for a default."""
    root = schema if root is None else root
    schema = _resolved(schema, root)
    if isinstance(value, list):
        return [without_unset(one, schema.get("items", {}), root) for one in value]
    if not isinstance(value, dict):
        return value
    for option in schema.get("anyOf", ()):
        if "properties" in _resolved(option, root):
            return without_unset(value, option, root)
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    return {
        key: without_unset(one, properties.get(key, {}), root)
        for key, one in value.items()
        if one is not None
        or key in required
        or key not in properties
        or _is_nullable(_resolved(properties[key], root))
    }


def _tighten(schema: Any, path: str, loose: list[str]) -> None:
    if not isinstance(schema, dict):
        return
    schema.pop("default", None)
    schema.pop("title", None)
    schema.pop("discriminator", None)
    for name, inner in schema.get("$defs", {}).items():
        _tighten(inner, name, loose)
    if "oneOf" in schema:
        schema["anyOf"] = schema.pop("oneOf")
    for option in schema.get("anyOf", ()):
        _tighten(option, path, loose)
    if "prefixItems" in schema or (schema.get("type") == "array" and "items" not in schema):
        loose.append(path)
    _tighten(schema.get("items"), f"{path}[]", loose)
    properties = schema.get("properties")
    if properties is not None:
        required = schema.get("required", [])
        for key, inner in properties.items():
            _tighten(inner, f"{path}.{key}" if path else key, loose)
            if key not in required and not _is_nullable(inner):
                properties[key] = {"anyOf": [inner, {"type": "null"}]}
        schema["required"] = list(properties)
        schema["additionalProperties"] = False
    elif schema.get("type") == "object" or not schema:
        loose.append(path)


def _is_nullable(schema: dict[str, Any]) -> bool:
    kinds = schema.get("type")
    return (
        kinds == "null"
        or (isinstance(kinds, list) and "null" in kinds)
        or any(_is_nullable(one) for one in schema.get("anyOf", ()))
    )


def _resolved(schema: Any, root: Any) -> dict[str, Any]:
    hops = 0
    while isinstance(schema, dict) and "$ref" in schema and hops < 16:  # a loop of references
        hops += 1
        name = schema["$ref"].rsplit("/", 1)[1]
        schema = root.get("$defs", {}).get(name, root if schema["$ref"] == "#" else {})
    return schema if isinstance(schema, dict) else {}


def _group(error: Any, tp: Any) -> Exception:
    """Pydantic's list of errors as nested errors with places."""
    found: list[Exception] = []
    for entry in error.errors(include_url=False):
        inner: Exception = ValueError(entry["msg"])
        for part in reversed(entry["loc"]):
            at_index(inner, part, tp)
            inner = class_error([inner], tp)
        found.append(inner)
    return class_error(found, tp)
