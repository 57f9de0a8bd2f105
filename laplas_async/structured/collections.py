"""Hooks that read JSON arrays and objects as lists, tuples, sets and dicts, strictly.

They report every element that is wrong, each with its index. They refuse to iterate whatever can
be iterated: text is no list of characters.
"""

import collections
from collections import abc
from collections.abc import Callable
from typing import Any, Final, get_args, get_origin

from cattrs import Converter

from laplas_async.structured.fields import unwrap
from laplas_async.structured.notes import at_index, items_error

Hook = Callable[[Any, Any], Any]

_LISTS: Final = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_MAKERS: Final[dict[Any, Callable[[Any], Any]]] = {
    **dict.fromkeys(_LISTS, list),
    tuple: tuple,
    set: set,
    abc.Set: frozenset,
    abc.MutableSet: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_DICTS: Final = (dict, abc.Mapping, abc.MutableMapping)


def is_array(tp: Any) -> bool:
    """Whether a type is read from a JSON array."""
    return (get_origin(tp) or tp) in _MAKERS


def is_set(tp: Any) -> bool:
    """Whether a type holds no element twice."""
    return (get_origin(tp) or tp) in (set, frozenset, abc.Set, abc.MutableSet)


def is_mapping(tp: Any) -> bool:
    """Whether a type is read from a JSON object with arbitrary keys."""
    return (get_origin(tp) or tp) in _DICTS


def item_types(tp: Any) -> tuple[Any, tuple[Any, ...] | None]:
    """The type of each element (Any where none is given); for a tuple of fixed length, its types.

    ``tuple[int, ...]`` gives ``(int, None)``, ``tuple[int, str]`` gives ``(Any, (int, str))``.
    """
    args = get_args(tp)
    if (get_origin(tp) or tp) is not tuple:
        return (args[0] if args else Any), None
    if not args:
        # bare ``tuple``, or ``tuple[()]``
        return Any, (() if get_origin(tp) is tuple else None)
    if len(args) == 2 and args[1] is Ellipsis:
        return args[0], None
    return Any, args


def register_collections(converter: Converter) -> None:
    """Add the hooks to a converter."""
    converter.register_structure_hook_factory(is_array, lambda tp: _array_hook(tp, converter))
    converter.register_structure_hook_factory(is_mapping, lambda tp: _mapping_hook(tp, converter))


def _array_hook(tp: Any, converter: Converter) -> Hook:
    make = _MAKERS[get_origin(tp) or tp]
    made = make if isinstance(make, type) else list
    item, fixed = item_types(tp)
    if fixed is not None:
        return _fixed_hook(tp, fixed, converter)
    hook = converter.get_structure_hook(item)

    def read(value: Any, _: Any) -> Any:
        if type(value) is not list:
            if isinstance(value, made):
                return value
            raise _no_list(value)
        items, errors = [], []
        for index, one in enumerate(value):
            try:
                items.append(hook(one, item))
            except Exception as error:  # noqa: BLE001 - a validator may raise anything
                errors.append(at_index(error, index, item))
        if errors:
            raise items_error(errors, tp)
        try:
            return make(items)
        except TypeError:
            raise ValueError("the elements of a set must be hashable") from None

    return read


def _fixed_hook(tp: Any, types: tuple[Any, ...], converter: Converter) -> Hook:
    hooks = [converter.get_structure_hook(one) for one in types]

    def read(value: Any, _: Any) -> Any:
        if type(value) is not list:
            if isinstance(value, tuple):
                return value
            raise _no_list(value)
        if len(value) != len(hooks):
            raise ValueError(f"expected {len(hooks)} elements, got {len(value)}")
        items, errors = [], []
        for index, (one, hook) in enumerate(zip(value, hooks, strict=True)):
            try:
                items.append(hook(one, types[index]))
            except Exception as error:  # noqa: BLE001 - a validator may raise anything
                errors.append(at_index(error, index, types[index]))
        if errors:
            raise items_error(errors, tp)
        return tuple(items)

    return read


def _mapping_hook(tp: Any, converter: Converter) -> Hook:
    key_type, item = get_args(tp) or (str, Any)
    read_key = _key_reader(key_type, converter)
    hook = converter.get_structure_hook(item)

    def read(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            shown = repr(value)
            raise ValueError(f"expected an object, got {shown[:80]}")
        items, errors = {}, []
        for key, one in value.items():
            try:
                items[read_key(key)] = hook(one, item)
            except Exception as error:  # noqa: BLE001 - a validator may raise anything
                errors.append(at_index(error, key, item))
        if errors:
            raise items_error(errors, tp)
        return items

    return read


def _key_reader(tp: Any, converter: Converter) -> Callable[[Any], Any]:
    bare, _ = unwrap(tp)
    if bare in (str, Any):
        return lambda key: key
    hook = converter.get_structure_hook(tp)
    if bare is int:

        def read_integer(key: Any) -> Any:
            text = str(key)
            if not text.removeprefix("-").isdecimal():
                raise ValueError(f"the key {text!r} is no integer")
            return hook(int(text), tp)

        return read_integer
    return lambda key: hook(key, tp)


def _no_list(value: Any) -> ValueError:
    shown = repr(value)
    return ValueError(f"expected a list, got {shown[:80]}")
