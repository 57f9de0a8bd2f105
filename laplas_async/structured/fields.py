"""The fields of a class, whatever kind of class it is, as both schema and reader see them.

attrs classes, dataclasses, ``TypedDict`` and ``NamedTuple``. Names come from the converter that
reads, so that schema and reader cannot disagree. It refuses to know JSON Schema.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
from attrs import frozen
from cattrs import BaseConverter

from laplas_async.errors import ConfigError
from laplas_async.structured.constraints import Constraints, from_metadata, from_validator
from laplas_async.structured.docstrings import class_docstring, parse_docstring

NoneType: Final = type(None)
_WRAPPERS: Final = ("Required", "NotRequired", "ReadOnly", "Final")


@frozen
class FieldSpec:
    """One field: its name in Python, its key in JSON, its type and what its author said of it.

    ``nullable``: null is a value of the type. Where it is not, and the field is not required, null
    stands for the default.
    """

    name: str
    key: str
    type: Any
    required: bool
    nullable: bool
    default: Any = None
    constraints: Constraints = attrs.field(factory=Constraints)
    description: str | None = None
    validator: Any = None


def has_fields(tp: Any) -> bool:
    """Whether a type is a class with named fields."""
    cls = get_origin(tp) or tp
    return isinstance(cls, type) and (
        attrs.has(cls) or dataclasses.is_dataclass(cls) or is_typeddict(cls) or is_namedtuple(cls)
    )


def is_namedtuple(cls: Any) -> bool:
    """Whether a class is a ``NamedTuple`` with annotations."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_field_defaults")


def fields_of(
    tp: Any,
    converter: BaseConverter | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[FieldSpec, ...]:
    """The fields of a class (``has_fields``), in the order of their declaration.

    ``converter``: whose hook for the class knows renamed and omitted fields, unless ``overrides``
    gives them. Raises ``ConfigError`` for annotations that cannot be resolved.
    """
    cls = get_origin(tp) or tp
    if overrides is None and converter is not None:
        overrides = getattr(converter.get_structure_hook(tp), "overrides", None)
    renamed = overrides or {}
    hints = type_hints(cls)
    variables = _variables(tp, cls)
    words = parse_docstring(class_docstring(cls)).names
    specs = []
    for name, alias, required, default, validator, metadata in _declared(cls):
        override = renamed.get(name)
        if override is not None and override.omit:
            continue
        key = (override.rename if override is not None else None) or alias
        full = hints.get(name, Any)
        tp_of, constraints = unwrap(substitute(full, variables))
        constraints.merge(from_validator(validator))
        description = metadata.get("description") or constraints.description or words.get(name)
        specs.append(
            FieldSpec(
                name=name,
                key=key,
                type=substitute(full, variables),
                required=required,
                nullable=is_nullable(tp_of),
                default=default,
                constraints=constraints,
                description=description if isinstance(description, str) else None,
                validator=validator,
            )
        )
    return tuple(specs)


def _declared(cls: type) -> list[tuple[str, str, bool, Any, Any, Mapping[Any, Any]]]:
    """Name, key, whether it is required, default, validator and metadata of each field."""
    none: Mapping[Any, Any] = {}
    if attrs.has(cls):
        return [
            (
                a.name,
                a.alias or a.name,
                a.default is attrs.NOTHING,
                _plain_default(a.default),
                a.validator,
                a.metadata,
            )
            for a in attrs.fields(cls)
            if a.init
        ]
    if dataclasses.is_dataclass(cls):
        missing = dataclasses.MISSING
        return [
            (
                f.name,
                f.name,
                f.default is missing and f.default_factory is missing,
                None if f.default is missing else f.default,
                None,
                f.metadata,
            )
            for f in dataclasses.fields(cls)
            if f.init
        ]
    if is_typeddict(cls):
        required = required_keys(cls)
        return [(n, n, n in required, None, None, none) for n in type_hints(cls)]
    defaults: dict[str, Any] = cls._field_defaults  # type: ignore[attr-defined]
    names: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    return [(n, n, n not in defaults, defaults.get(n), None, none) for n in names]


def required_keys(cls: Any) -> frozenset[str]:
    """The keys a ``TypedDict`` requires.

    ``__required_keys__`` does not see ``NotRequired`` in annotations that are strings.
    """
    required = set(cls.__required_keys__)
    for name, hint in type_hints(cls).items():
        markers = _wrapper_names(hint)
        if "NotRequired" in markers:
            required.discard(name)
        elif "Required" in markers:
            required.add(name)
    return frozenset(required)


def _wrapper_names(hint: Any) -> set[str]:
    names = set()
    while (origin := get_origin(hint)) is not None:
        name = getattr(origin, "_name", None) or getattr(origin, "__name__", "")
        if origin is Annotated or hasattr(hint, "__metadata__"):
            hint = hint.__origin__
            continue
        if name not in _WRAPPERS:
            break
        names.add(name)
        hint = get_args(hint)[0]
    return names


def _plain_default(default: Any) -> Any:
    return None if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def type_hints(cls: Any) -> dict[str, Any]:
    """The annotations of a class or function, resolved, ``Annotated`` kept."""
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{cls.__name__}: the annotation {error.name!r} cannot be resolved; define the class"
            " at the top level of a module, before it is used as into="
        ) from None
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}") from None
    if attrs.has(cls):  # a field made by attrs.field(type=...) or make_class has no annotation
        hints |= {a.name: a.type for a in attrs.fields(cls) if a.name not in hints and a.type}
    return hints


def unwrap(tp: Any) -> tuple[Any, Constraints]:
    """A type without ``Annotated``, ``Required``, ``NewType`` and alias, and its constraints."""
    found = Constraints()
    while True:
        if hasattr(tp, "__metadata__"):
            outer = from_metadata(tp.__metadata__)
            outer.merge(found)
            found, tp = outer, tp.__origin__
        elif isinstance(tp, typing.NewType):
            tp = tp.__supertype__
        elif type(tp).__name__ == "TypeAliasType":
            tp = tp.__value__
        elif (origin := get_origin(tp)) is not None and (
            getattr(origin, "_name", None) or getattr(origin, "__name__", "")
        ) in _WRAPPERS:
            tp = get_args(tp)[0]
        elif origin is not None and type(origin).__name__ == "TypeAliasType":
            tp = origin.__value__[get_args(tp)]
        else:
            return NoneType if tp is None else tp, found


def is_union(tp: Any) -> bool:
    """Whether it is ``X | Y``, ``Union`` or ``Optional``."""
    return get_origin(tp) in (Union, types.UnionType)


def members_of(tp: Any) -> tuple[Any, ...]:
    """The members of a union, nested unions flattened; the type itself if it is none."""
    bare, _ = unwrap(tp)
    if not is_union(bare):
        return (NoneType if tp is None else tp,)
    flat = [member for one in get_args(bare) for member in members_of(one)]
    return tuple(dict.fromkeys(flat))


def is_nullable(tp: Any) -> bool:
    """Whether null is a value of the type."""
    for member in members_of(tp):
        bare, _ = unwrap(member)
        if bare in (NoneType, Any, object):
            return True
        if get_origin(bare) is Literal and None in get_args(bare):
            return True
        if isinstance(bare, type) and issubclass(bare, enum.Enum):
            return any(one.value is None for one in bare)
    return False


def substitute(tp: Any, variables: Mapping[Any, Any]) -> Any:
    """A type with the parameters of its generic class filled in."""
    if not variables:
        return tp
    if isinstance(tp, TypeVar):
        return variables.get(tp, tp)
    parameters = getattr(tp, "__parameters__", ())
    if not parameters or isinstance(tp, type):
        return tp
    return tp[tuple(variables.get(one, one) for one in parameters)]


def _variables(tp: Any, cls: Any) -> dict[Any, Any]:
    return dict(zip(getattr(cls, "__parameters__", ()), get_args(tp), strict=False))


# --- unions of classes ------------------------------------------------------------------------


@frozen
class Tag:
    """What tells the classes of a union apart: a key, and its value for each class.

    ``own``: a ``Literal`` field that the classes have themselves.
    """

    key: str
    values: Mapping[Any, Any]
    own: bool


def tag_of(classes: tuple[Any, ...], converter: BaseConverter | None = None) -> Tag:
    """The tag for a union of classes: a field of theirs with one ``Literal`` each, else ours."""
    by_class = {cls: {spec.key: spec for spec in fields_of(cls, converter)} for cls in classes}
    first = by_class[classes[0]]
    for key in first:
        literals = [_only_literal(specs.get(key)) for specs in by_class.values()]
        if None not in literals and len(set(literals)) == len(classes):
            return Tag(key, dict(zip(classes, literals, strict=True)), own=True)
    key = next(
        key
        for key in ("type", "kind", "_type", "_kind", "__type__")
        if not any(key in specs for specs in by_class.values())
    )
    names: dict[str, Any] = {}
    for cls in classes:
        base = name = class_name(cls)
        count = 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names[name] = cls
    return Tag(key, {cls: name for name, cls in names.items()}, own=False)


def _only_literal(spec: FieldSpec | None) -> Any:
    if spec is None:
        return None
    tp, _ = unwrap(spec.type)
    values = get_args(tp) if get_origin(tp) is Literal else ()
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def class_name(tp: Any) -> str:
    """A name for a class in schemas and messages: ``Box_int`` for ``Box[int]``."""
    cls = get_origin(tp) or tp
    name = getattr(cls, "__name__", None) or str(cls)
    return "_".join([name, *(class_name(unwrap(one)[0]) for one in get_args(tp))])
