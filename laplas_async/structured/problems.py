"""From cattrs' nested errors to a flat list of problems with paths, and to one message.

Paths use the keys of the JSON, which is what the model wrote. It refuses to stop at the first
problem: where an attrs class rejects a value, the validators of its other fields run too.
"""

import re
from collections.abc import Iterable
from typing import Any

import attrs
from cattrs import BaseConverter
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from laplas_async.errors import Problem
from laplas_async.structured.fields import fields_of, has_fields
from laplas_async.structured.notes import at_field, class_error

_PLAIN_KEY = re.compile(r"[^\W\d]\w*")
_SHOWN = 20  # problems in a message; ``errors`` has all


def join(path: str, part: str | int) -> str:
    """A path extended by a key or an index: ``lines`` and 2 give ``lines[2]``."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    if not _PLAIN_KEY.fullmatch(part):
        return f"{path}[{part!r}]"
    return f"{path}.{part}" if path else part


def problems_in(error: BaseException, converter: BaseConverter, path: str = "") -> list[Problem]:
    """Every problem in an error that a hook raised, in the order of the fields."""
    if isinstance(error, ForbiddenExtraKeysError):
        return [Problem(join(path, key), "is not a field") for key in sorted(error.extra_fields)]
    if isinstance(error, KeyError) and _note(error) is not None:
        return [Problem(path, "is missing")]
    if not isinstance(error, BaseExceptionGroup):
        return [Problem(path, _words(error))]
    keys = _keys(error, converter)
    found: list[Problem] = []
    for inner in error.exceptions:
        note = _note(inner)
        if isinstance(note, AttributeValidationNote):
            where = join(path, keys.get(note.name, note.name))
        elif note is not None:
            where = join(path, note.index)
        else:
            where = path
        found += problems_in(inner, converter, where)
    return found


def summary(problems: Iterable[Problem]) -> str:
    """The problems as one text, a line each."""
    lines = [str(problem) for problem in problems]
    more = len(lines) - _SHOWN
    return "\n".join(lines[:_SHOWN] + ([f"and {more} more"] if more > 0 else []))


def with_all_validators(
    error: ClassValidationError, tp: Any, value: dict[str, Any], converter: BaseConverter
) -> ClassValidationError:
    """The error, with what every validator of the class says: its ``__init__`` stops at one."""
    cls = error.cl
    if not attrs.has(cls) or not any(a.validator for a in attrs.fields(cls)):
        return error
    in_init = [one for one in error.exceptions if _is_of_init(one)]
    kept = [one for one in error.exceptions if one not in in_init]
    instance = cls.__new__(cls)
    values: dict[str, Any] = {}
    for spec in fields_of(tp, converter):
        try:
            made = converter.get_structure_hook(spec.type)(value[spec.key], spec.type)
        except Exception:  # noqa: BLE001, S112 - missing or wrong: reported already
            continue
        object.__setattr__(instance, spec.name, made)
        values[spec.name] = made
    failures = list(_validate(cls, instance, values, whole=not kept))
    if not failures:
        return error
    return class_error([*kept, *failures], cls)


def _validate(
    cls: type, instance: Any, values: dict[str, Any], *, whole: bool
) -> Iterable[Exception]:
    for attribute in attrs.fields(cls):
        if attribute.validator is None or attribute.name not in values or attribute.converter:
            continue
        try:
            attribute.validator(instance, attribute, values[attribute.name])
        except AttributeError as error:
            if whole:  # else it asked for a field that is wrong itself
                yield _noted(error, attribute)
        except Exception as error:  # noqa: BLE001 - a validator may raise anything
            yield _noted(error, attribute)


def _noted(error: Exception, attribute: "attrs.Attribute[Any]") -> Exception:
    return at_field(error, attribute.name, attribute.type)


def _is_of_init(error: BaseException) -> bool:
    return _note(error) is None and not isinstance(error, ForbiddenExtraKeysError)


def _note(error: BaseException) -> AttributeValidationNote | IterableValidationNote | None:
    """The place of an error; the last note is the outermost."""
    for note in reversed(getattr(error, "__notes__", ())):
        if isinstance(note, AttributeValidationNote | IterableValidationNote):
            return note
    return None


def _keys(error: BaseException, converter: BaseConverter) -> dict[str, str]:
    cls = getattr(error, "cl", None)
    if not isinstance(error, ClassValidationError) or not has_fields(cls):
        return {}
    if getattr(cls, "__parameters__", ()):  # a generic class without its arguments has no hook
        return {spec.name: spec.key for spec in fields_of(cls)}
    return {spec.name: spec.key for spec in fields_of(cls, converter)}


def _words(error: BaseException) -> str:
    first = error.args[0] if error.args else None
    return first if isinstance(first, str) and first else str(error) or type(error).__name__
