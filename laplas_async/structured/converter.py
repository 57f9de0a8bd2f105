"""A cattrs converter that reads JSON values strictly: what a model wrote, or an error.

cattrs' default hooks turn ``"false"`` into True, None into ``"None"``, 5.7 into 5 and ``[]`` into
an object of defaults; these refuse. They pass on values that already are of the type, so that a
tree can be built from its leaves. It refuses to parse JSON text (``reading``).
"""

import enum
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, Literal, get_args, get_origin, is_typeddict
from uuid import UUID

from cattrs import Converter
from cattrs.cols import namedtuple_dict_structure_factory
from cattrs.errors import ClassValidationError
from cattrs.gen import make_dict_structure_fn
from cattrs.gen.typeddicts import make_dict_structure_fn as make_typeddict_structure_fn

from laplas_async.structured import foreign
from laplas_async.structured.collections import register_collections
from laplas_async.structured.fields import (
    NoneType,
    fields_of,
    has_fields,
    is_namedtuple,
    is_union,
    members_of,
    tag_of,
    type_hints,
    unwrap,
)
from laplas_async.structured.notes import at_field, class_error
from laplas_async.structured.problems import with_all_validators

Hook = Callable[[Any, Any], Any]

_MAX_EXACT: Final = 2**53  # a float above it may not be the integer that was written
_DURATION: Final = re.compile(
    r"(-?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_ANYTHING: Final[tuple[Any, ...]] = (Any, object)
_NOTHING: Final[tuple[Any, ...]] = (None, NoneType)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@lru_cache(maxsize=2)
def default_converter(*, lenient: bool = False) -> Converter:
    """The converter used where the caller brings none; made once, hooks are compiled once."""
    return strict_converter(lenient=lenient)


def strict_converter(*, lenient: bool = False) -> Converter:
    """A new converter with strict hooks, to which a caller can add hooks of his own types.

    ``lenient``: text that spells a boolean or a number is read as one.
    """
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    for tp, hook in _SCALARS.items():
        converter.register_structure_hook(tp, hook)
    if lenient:
        for tp, hook in _LENIENT.items():
            converter.register_structure_hook(tp, hook)
    converter.register_structure_hook_func(lambda tp: tp in _ANYTHING, lambda value, _: value)
    converter.register_structure_hook_func(lambda tp: tp in _NOTHING, _read_none)
    converter.register_structure_hook_factory(_is_enum, _enum_hook)
    converter.register_structure_hook_factory(_is_literal, _literal_hook)
    register_collections(converter)
    converter.register_structure_hook_factory(has_fields, lambda tp: _class_hook(tp, converter))
    foreign.register(converter, strict=not lenient)
    converter.register_structure_hook_factory(is_union, lambda tp: _union_hook(tp, converter))
    converter.register_structure_hook_factory(
        _is_wrapped, lambda tp: _unwrapped_hook(tp, converter)
    )
    return converter


# --- scalars ----------------------------------------------------------------------------------


def wrong(value: Any, expected: str) -> ValueError:
    """The error for a value of the wrong type or form, with a little of the value."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return ValueError(f"expected {expected}, got {shown}")


def _read_bool(value: Any, _: Any) -> bool:
    if type(value) is bool:
        return value
    raise wrong(value, "true or false")


def _read_int(value: Any, _: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= _MAX_EXACT:
        return int(value)  # JSON does not distinguish 5.0 from 5
    raise wrong(value, "an integer")


def _read_float(value: Any, _: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    raise wrong(value, "a number")


def _read_str(value: Any, _: Any) -> str:
    if type(value) is str:
        return value
    raise wrong(value, "text")


def _read_none(value: Any, _: Any) -> None:
    if value is not None:
        raise wrong(value, "null")


def _read_datetime(value: Any, _: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if type(value) is str and ("T" in value or "t" in value or " " in value):  # a date alone is
        try:  # no time of day, and midnight would be invented
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise wrong(value, "a date and time like 2024-05-17T09:30:00Z")


def _read_date(value: Any, _: Any) -> date:
    if type(value) is date:
        return value
    if type(value) is str and len(value) == 10:
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise wrong(value, "a date like 2024-05-17")


def _read_time(value: Any, _: Any) -> time:
    if type(value) is time:
        return value
    if type(value) is str and ":" in value:
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass
    raise wrong(value, "a time like 09:30:00")


def _read_timedelta(value: Any, _: Any) -> timedelta:
    if type(value) is timedelta:
        return value
    found = _DURATION.fullmatch(value) if type(value) is str else None
    if found and any(found.groups()[1:]) and not str(value).endswith("T"):
        weeks, days, hours, minutes, seconds = (float(part or 0) for part in found.groups()[1:])
        try:
            length = timedelta(
                weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds
            )
        except OverflowError:
            raise wrong(value, "a shorter duration") from None
        return -length if found[1] else length
    raise wrong(value, "an ISO 8601 duration like PT1H30M, without years and months")


def _read_decimal(value: Any, _: Any) -> Decimal:
    if type(value) is Decimal:
        return value
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return Decimal(repr(value))
    if type(value) is str and _NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
    raise wrong(value, "a decimal number")


def _read_uuid(value: Any, _: Any) -> UUID:
    if type(value) is UUID:
        return value
    if type(value) is str and len(value) == 36:
        try:
            return UUID(value)
        except ValueError:
            pass
    raise wrong(value, "a UUID")


def _lenient_bool(value: Any, tp: Any) -> bool:
    if type(value) is str and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return _read_bool(value, tp)


def _lenient_int(value: Any, tp: Any) -> int:
    if type(value) is str and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return _read_int(value, tp)


def _lenient_float(value: Any, tp: Any) -> float:
    if type(value) is str and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    return _read_float(value, tp)


_SCALARS: Final[dict[type, Hook]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_str,
    datetime: _read_datetime,
    date: _read_date,
    time: _read_time,
    timedelta: _read_timedelta,
    Decimal: _read_decimal,
    UUID: _read_uuid,
}
_LENIENT: Final[dict[type, Hook]] = {
    bool: _lenient_bool,
    int: _lenient_int,
    float: _lenient_float,
}


def _is_literal(tp: Any) -> bool:
    origin: Any = get_origin(tp)
    return origin is Literal


def _is_enum(tp: Any) -> bool:
    return isinstance(tp, type) and issubclass(tp, enum.Enum)


def _enum_hook(tp: Any) -> Hook:
    known = {(type(member.value), member.value): member for member in tp}
    expected = f"one of {', '.join(repr(member.value) for member in tp)}"

    def read(value: Any, _: Any) -> Any:
        if isinstance(value, tp):
            return value
        try:
            return known[type(value), value]
        except (KeyError, TypeError):
            raise wrong(value, expected) from None

    return read


def _literal_hook(tp: Any) -> Hook:
    # Members of an Enum may be listed; their value is what stands in JSON.
    known = {
        (type(v), v): one
        for one in get_args(tp)
        for v in [one.value if isinstance(one, enum.Enum) else one]
    }
    members = tuple(one for one in known.values() if isinstance(one, enum.Enum))
    expected = f"one of {', '.join(repr(value) for _, value in known)}"

    def read(value: Any, _: Any) -> Any:
        try:
            return known[type(value), value]
        except (KeyError, TypeError):
            if isinstance(value, enum.Enum) and value in members:
                return value
            raise wrong(value, expected) from None

    return read


# --- wrappers and unions ----------------------------------------------------------------------


def _is_wrapped(tp: Any) -> bool:
    return unwrap(tp)[0] is not tp and tp is not None


def _unwrapped_hook(tp: Any, converter: Converter) -> Hook:
    bare, constraints = unwrap(tp)
    hook = converter.get_structure_hook(bare)
    if not constraints.checks:
        return lambda value, _: hook(value, bare)

    def read(value: Any, _: Any) -> Any:
        made = hook(value, bare)
        if (violation := constraints.violation(made)) is not None:
            raise ValueError(violation)
        return made

    return read


def _union_hook(tp: Any, converter: Converter) -> Hook:
    members = members_of(tp)
    nullable = NoneType in members
    others = tuple(one for one in members if one is not NoneType)
    classes = tuple(one for one in others if has_fields(unwrap(one)[0]))
    plain = tuple(one for one in others if one not in classes)
    if len(classes) > 1:
        read_classes = _tagged_hook(tuple(unwrap(one)[0] for one in classes), converter)
        hooks = [(one, converter.get_structure_hook(one)) for one in plain]
    else:
        read_classes = None
        hooks = [(one, converter.get_structure_hook(one)) for one in others]
    exact = {one: hook for one, hook in hooks if one in _SCALARS}

    def read(value: Any, _: Any) -> Any:
        if value is None and nullable:
            return None
        if (hook := exact.get(type(value))) is not None:
            return hook(value, type(value))
        failures: list[Exception] = []
        if read_classes is not None and (isinstance(value, dict) or has_fields(type(value))):
            return read_classes(value, tp)
        for one, hook in hooks:
            try:
                return hook(value, one)
            except Exception as error:  # noqa: BLE001 - a validator may raise anything
                failures.append(error)
        deep = [error for error in failures if isinstance(error, ExceptionGroup)]
        if len(failures) == 1 or len(deep) == 1:
            raise (deep or failures)[0]
        raise wrong(value, " or ".join(type_name(one) for one in members))

    return read


def _tagged_hook(classes: tuple[Any, ...], converter: Converter) -> Hook:
    tag = tag_of(classes, converter)
    by_value = {value: cls for cls, value in tag.values.items()}
    hooks = {cls: converter.get_structure_hook(cls) for cls in classes}

    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            return value  # already one of them
        name = value.get(tag.key)
        if isinstance(name, str) and (cls := by_value.get(name)) is not None:
            fields = value if tag.own else {k: v for k, v in value.items() if k != tag.key}
            return hooks[cls](fields, cls)
        if tag.key in value:
            error = wrong(name, f"one of {', '.join(map(repr, by_value))}")
            at_field(error, tag.key, str)
            raise class_error([error], classes[0])
        fitting = []
        for cls, hook in hooks.items():
            try:
                fitting.append(hook(value, cls))
            except Exception:  # noqa: BLE001, S112 - only whether it fits counts here
                continue
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(map(repr, by_value))
        raise ValueError(f"{tag.key!r} must say which of {names} it is")

    return read


def type_name(tp: Any) -> str:
    """A type in words of JSON, for a message."""
    bare, _ = unwrap(tp)
    words = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    words |= {NoneType: "null", list: "a list", dict: "an object"}
    origin = get_origin(bare) or bare
    return words.get(origin) or str(getattr(origin, "__name__", origin))


# --- classes ----------------------------------------------------------------------------------


def _class_hook(tp: Any, converter: Converter) -> Hook:
    cls = get_origin(tp) or tp
    type_hints(cls)  # raises ConfigError where cattrs would raise NameError
    generated = _generated(tp, cls, converter)
    overrides = getattr(generated, "overrides", {})
    null_means_default = frozenset(
        spec.key
        for spec in fields_of(tp, overrides=overrides)
        if not spec.required and not spec.nullable
    )
    instance_of = object() if is_typeddict(cls) else cls

    def read(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            if type(value) is instance_of:
                return value
            raise wrong(value, f"an object ({cls.__name__})")
        if null_means_default and None in value.values():
            value = {k: v for k, v in value.items() if v is not None or k not in null_means_default}
        try:
            return generated(value, tp)
        except ClassValidationError as error:
            raise with_all_validators(error, tp, value, converter) from None

    read.overrides = overrides  # type: ignore[attr-defined]
    return read


def _generated(tp: Any, cls: Any, converter: Converter) -> Any:
    if is_typeddict(cls):
        return make_typeddict_structure_fn(
            tp, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
        )
    if is_namedtuple(cls):
        return namedtuple_dict_structure_factory(cls, converter, True, True)  # noqa: FBT003
    return make_dict_structure_fn(
        tp,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        _cattrs_use_alias=True,
        _cattrs_prefer_attrib_converters=False,
    )
