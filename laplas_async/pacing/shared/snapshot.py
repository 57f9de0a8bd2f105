"""The state of a limiter as plain JSON values, so that another process can continue it.

A restricted form of pickling: only attrs values and enums of ``laplas_async.pacing``, numbers,
text and lists are written and read; reading anything else raises ``SnapshotError``, and no code is
run. What is in the air is left out: the workers report it themselves when they join.
"""

import math
from collections import deque
from enum import Enum
from importlib import import_module
from typing import Any, Final

import attrs

from laplas_async.pacing.ledger import Ticket
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits

_PACKAGE: Final = "laplas_async.pacing."
_REFERENCE, _TYPE, _INFINITE, _DEQUE = "ref", "type", "inf", "deque"
# What the limiter owns besides what it has learned; restored from its own settings.
_FRESH: Final = frozenset({"limits", "ceiling", "in_flight"})


class SnapshotError(Exception):
    """The values are no state of this version's limiter."""


def take(limiter: Limiter) -> dict[str, Any]:
    """What ``restore`` needs. Changes nothing."""
    writer = _Writer()
    return {
        "limits": attrs.asdict(limiter.limits),
        **{
            one.name: writer.write(getattr(limiter, one.name))
            for one in attrs.fields(type(limiter))
            if one.name not in _FRESH
        },
    }


def restore(values: dict[str, Any], limits: Limits, *, ceiling: int) -> Limiter:
    """A limiter with nothing in flight that goes on from there. Raises ``SnapshotError``.

    What was sent under configured limits is only kept if they are still the same.
    """
    limiter = Limiter(limits, ceiling=ceiling)
    reader = _Reader()
    same = values.get("limits") == attrs.asdict(limits)
    try:
        for one in attrs.fields(Limiter):
            if one.name not in _FRESH:
                value = reader.read(values[one.name])
                if same or one.name != "_configured":
                    setattr(limiter, one.name, value)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ImportError,
        RecursionError,
    ) as error:
        raise SnapshotError(f"not a limiter's state: {error}") from None
    return limiter


class _Writer:
    """Remembers what it has written: a book that two owners share stays one book."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def write(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            if math.isinf(value):
                return {_INFINITE: 1 if value > 0 else -1}
            return round(value, 6)  # microseconds are enough, and half as long
        if isinstance(value, Enum):
            return {_TYPE: _name(type(value)), "value": value.value}
        if isinstance(value, list | tuple | deque):
            items = [self.write(item) for item in value if not isinstance(item, Ticket)]
            return {_DEQUE: items} if isinstance(value, deque) else items
        if not attrs.has(type(value)):
            raise TypeError(f"cannot write {type(value).__name__}")
        if id(value) in self._numbers:
            return {_REFERENCE: self._numbers[id(value)]}
        self._numbers[id(value)] = len(self._numbers)
        fields = {one.name: getattr(value, one.name) for one in attrs.fields(type(value))}
        return {
            _TYPE: _name(type(value)),
            **{name: self.write(one) for name, one in fields.items()},
        }


class _Reader:
    """Reads in the order of writing, so that references lead to what was read before."""

    def __init__(self) -> None:
        self._seen: list[Any] = []

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.read(item) for item in value]
        if not isinstance(value, dict):
            return value
        if _INFINITE in value:
            return math.inf if value[_INFINITE] > 0 else -math.inf
        if _REFERENCE in value:
            return self._seen[value[_REFERENCE]]
        if _DEQUE in value:
            return deque(self.read(item) for item in value[_DEQUE])
        kind = _find(value[_TYPE])
        if issubclass(kind, Enum):
            return kind(value["value"])
        made = object.__new__(kind)
        self._seen.append(made)
        for one in attrs.fields(kind):
            object.__setattr__(made, one.name, self.read(value[one.name]))
        return made


def _name(kind: type[Any]) -> str:
    if not kind.__module__.startswith(_PACKAGE):
        raise TypeError(f"cannot write {kind.__module__}.{kind.__name__}")
    return f"{kind.__module__.removeprefix(_PACKAGE)}:{kind.__name__}"


def _find(name: str) -> type[Any]:
    module, _, kind = name.partition(":")
    if not module.isidentifier():
        raise ValueError(f"not a module of pacing: {module!r}")
    found = getattr(import_module(_PACKAGE + module), kind)
    if not (isinstance(found, type) and (attrs.has(found) or issubclass(found, Enum))):
        raise ValueError(f"not a value of pacing: {name!r}")
    return found
