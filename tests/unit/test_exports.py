"""The public names: complete, sorted, documented, and nothing else."""

import inspect
from types import ModuleType
from typing import Any

import pytest

import laplas_async
from laplas_async import errors, types

PUBLIC = laplas_async.__all__


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_public_names_are_sorted_and_unique() -> None:
    assert sorted(PUBLIC, key=order) == PUBLIC
    assert len(set(PUBLIC)) == len(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(laplas_async, name)
    assert not isinstance(value, ModuleType)
    if not isinstance(value, str):
        assert value.__module__.startswith("laplas_async.")
        assert value.__doc__
        assert not value.__doc__.startswith("Method generated")


def methods() -> list[Any]:
    found = []
    for name in PUBLIC:
        value = getattr(laplas_async, name)
        if not inspect.isclass(value):
            continue
        for key, member in vars(value).items():
            member = getattr(member, "fget", member)  # noqa: PLW2901 - a property's function
            if not key.startswith("_") and inspect.isfunction(member):
                found.append(pytest.param(member, id=f"{name}.{key}"))
    return found


@pytest.mark.parametrize("method", methods())
def test_a_public_method_is_documented_and_typed(method: Any) -> None:
    assert method.__doc__
    signature = inspect.signature(method)
    assert signature.return_annotation is not inspect.Signature.empty
    untyped = [
        parameter.name
        for parameter in list(signature.parameters.values())[1:]
        if parameter.annotation is inspect.Parameter.empty
    ]
    assert untyped == []


def test_no_other_name_leaks() -> None:
    others = {
        name: value
        for name, value in vars(laplas_async).items()
        if not name.startswith(("_", "@")) and name not in PUBLIC  # @: pytest's own
    }
    leaked = {
        name
        for name, value in others.items()
        if not (isinstance(value, ModuleType) and value.__name__ == f"laplas_async.{name}")
    }
    assert leaked - {"TYPE_CHECKING"} == set()


@pytest.mark.parametrize("module", [errors, types])
def test_every_value_and_error_is_public(module: ModuleType) -> None:
    own = {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    assert {name for name in own if not name.startswith("_")} <= set(PUBLIC)


def test_a_star_import_gives_the_public_names_alone() -> None:
    names: dict[str, Any] = {}
    exec("from laplas_async import *", names)
    assert names.keys() - {"__builtins__"} == set(PUBLIC)


def test_the_version_has_three_parts() -> None:
    assert laplas_async.__version__.count(".") >= 2
