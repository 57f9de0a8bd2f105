"""The values that openai's methods return, with the reading methods that programs call on them.

Attributes, ``model_dump``, ``to_dict`` and their like behave as pydantic's there: a declared field
that the server did not send is None; a field that the server added is an attribute and in
``model_extra``. It refuses to validate: the core client has decoded the response.
"""

import copy
import inspect
import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar, Self

import orjson

_EXCLUDES = ("exclude_unset", "exclude_defaults", "exclude_none")


class Model:
    """A result. Its fields are attributes; two of one class with equal fields are equal."""

    _nested: ClassVar[Mapping[str, type["Model"]]] = {}
    _fields: ClassVar[tuple[str, ...]] = ()
    __slots__ = ("__dict__", "_given", "_response")
    _given: set[str]
    _response: Any  # a ``Response``, of what a call returned

    def __init_subclass__(cls) -> None:
        """Collect the declared fields, in order."""
        own = [name for name in inspect.get_annotations(cls) if name[0] != "_"]
        cls._fields = tuple(dict.fromkeys((*cls._fields, *own)))

    def __init__(self, **values: Any) -> None:
        fields = dict.fromkeys(self._fields)
        nested = self._nested
        for name, value in values.items():
            kind = nested.get(name)
            fields[name] = value if kind is None else _nest(value, kind)
        object.__setattr__(self, "_given", set(values))
        object.__setattr__(self, "_response", None)
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name[0] != "_":
            self._given.add(name)

    @classmethod
    def model_validate(cls, value: Any, **_options: Any) -> Self:
        """The result for plain values, or the result itself. Raises ``ValueError``."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"{cls.__name__}: must be an object, not {type(value).__name__}")  # noqa: TRY004 - what pydantic expects of a validator
        return cls(**value)

    @classmethod
    def parse_obj(cls, value: Any) -> Self:
        """``model_validate`` by its older name."""
        return cls.model_validate(value)

    @classmethod
    def model_validate_json(cls, data: str | bytes) -> Self:
        """The result for JSON. Raises ``ValueError``."""
        return cls.model_validate(orjson.loads(data))

    @classmethod
    def parse_raw(cls, data: str | bytes) -> Self:
        """``model_validate_json`` by its older name."""
        return cls.model_validate_json(data)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let a pydantic model have a result as a field. Called by pydantic, never without it."""
        schemas = import_module("pydantic_core.core_schema")

        def dump(value: Any, info: Any) -> Any:
            options = ("mode", "include", "exclude", *_EXCLUDES)
            return value.model_dump(**{name: getattr(info, name) for name in options})

        return schemas.no_info_plain_validator_function(
            cls.model_validate,
            serialization=schemas.plain_serializer_function_ser_schema(dump, info_arg=True),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """An object; for the documentation that FastAPI writes."""
        return {"type": "object", "title": cls.__name__}

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """As calling the class."""
        return cls(**values)

    construct = model_construct

    @property
    def _request_id(self) -> str | None:
        return None if self._response is None else self._response.headers.get("x-request-id")

    @property
    def model_extra(self) -> dict[str, Any]:
        """The fields that openai's library does not declare."""
        return {name: v for name, v in self.__dict__.items() if name not in self._fields}

    @property
    def model_fields_set(self) -> set[str]:
        """The names of the fields that were sent, or assigned."""
        return set(self._given)

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Any = None,
        exclude: Any = None,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
        **_options: Any,
    ) -> dict[str, Any]:
        """The fields as plain values. ``include`` and ``exclude`` are sets of names at the top.

        Other options of pydantic's are accepted and change nothing here: there are no aliases and
        no types that JSON lacks, but in ``parsed``.
        """
        included, excluded = _names("include", include), _names("exclude", exclude)
        result = {}
        for name, value in self.__dict__.items():
            if (
                (included is not None and name not in included)
                or (excluded is not None and name in excluded)
                or (exclude_unset and name not in self._given)
                or (value is None and (exclude_none or (exclude_defaults and name in self._fields)))
            ):
                continue
            result[name] = _dump(
                value,
                mode=mode,
                exclude_unset=exclude_unset,
                exclude_defaults=exclude_defaults,
                exclude_none=exclude_none,
            )
        return result

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """``model_dump`` as JSON text, on one line unless ``indent`` says how far to indent."""
        values = self.model_dump(mode="json", **options)
        if indent is None:
            return orjson.dumps(values).decode()
        return json.dumps(values, indent=indent, ensure_ascii=False)

    def to_dict(
        self,
        *,
        mode: str = "python",
        use_api_names: bool = True,
        exclude_unset: bool = True,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
        warnings: bool = True,
    ) -> dict[str, Any]:
        """What the server sent, as plain values. ``use_api_names`` and ``warnings`` do nothing."""
        del use_api_names, warnings
        return self.model_dump(
            mode=mode,
            exclude_unset=exclude_unset,
            exclude_defaults=exclude_defaults,
            exclude_none=exclude_none,
        )

    def to_json(self, *, indent: int | None = 2, exclude_unset: bool = True, **options: Any) -> str:
        """What the server sent, as JSON text."""
        return self.model_dump_json(indent=indent, exclude_unset=exclude_unset, **options)

    def dict(self, **options: Any) -> dict[str, Any]:
        """``model_dump`` by its older name."""
        return self.model_dump(**options)

    def json(self, **options: Any) -> str:
        """``model_dump_json`` by its older name."""
        return self.model_dump_json(**options)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced."""
        made = copy.deepcopy(self) if deep else copy.copy(self)
        object.__setattr__(made, "_given", set(self._given))
        for name, value in (update or {}).items():
            setattr(made, name, value)
        return made

    def copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """``model_copy`` by its older name."""
        return self.model_copy(update=update, deep=deep)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Pairs of a name and a value, so that ``dict(result)`` works."""
        return iter(self.__dict__.items())

    def __eq__(self, other: object) -> bool:
        """Equal if of one class, with equal fields."""
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({fields})"

    __str__ = __repr__


def _nest(value: Any, kind: type[Model]) -> Any:
    if isinstance(value, list):
        return [_nest(item, kind) for item in value]
    return kind(**value) if isinstance(value, Mapping) else value


def _names(option: str, value: Any) -> set[str] | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and not all(item in (True, ...) for item in value.values()):
        raise TypeError(f"{option}: names at the top only; remove nested fields from the result")
    return set(value)


def _dump(value: Any, **options: Any) -> Any:
    if isinstance(value, list):
        return [_dump(item, **options) for item in value]
    dump = getattr(value, "model_dump", None)  # results, and pydantic models in ``parsed``
    return dump(**options) if dump is not None and not isinstance(value, type) else value
