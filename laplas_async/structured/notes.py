"""Errors of several parts, and the place of each, in the form that cattrs gives them."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)

E = TypeVar("E", bound=BaseException)

# Constructors take three arguments, which type checkers do not see behind the base classes.
_INDEX_NOTE: Final[Any] = IterableValidationNote
_FIELD_NOTE: Final[Any] = AttributeValidationNote
_ITEMS_ERROR: Final[Any] = IterableValidationError
_CLASS_ERROR: Final[Any] = ClassValidationError


def at_index(error: E, index: int | str, tp: Any) -> E:
    """The error, with the index or key of the element that it is about."""
    error.add_note(_INDEX_NOTE("", index, tp))
    return error


def at_field(error: E, name: str, tp: Any) -> E:
    """The error, with the name of the field that it is about."""
    error.add_note(_FIELD_NOTE("", name, tp))
    return error


def items_error(errors: Sequence[BaseException], tp: Any) -> IterableValidationError:
    """What is wrong with the elements of a list or mapping."""
    made: IterableValidationError = _ITEMS_ERROR("elements are wrong", errors, tp)
    return made


def class_error(errors: Sequence[BaseException], tp: Any) -> ClassValidationError:
    """What is wrong with the fields of a class."""
    made: ClassValidationError = _CLASS_ERROR("fields are wrong", errors, tp)
    return made
