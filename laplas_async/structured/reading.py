"""From a model's text to an object of a type, or an error that lists every problem.

``OutputType`` binds a type to its schema and its converter; ``read`` is what an answer goes
through. It refuses to repair JSON, to choose among several values, and to fill in what is missing.
"""

import contextlib
import re
from typing import Any, Generic, TypeVar

from attrs import define, field
from cattrs import BaseConverter

from laplas_async.errors import ConfigError, Problem
from laplas_async.structured import foreign
from laplas_async.structured.collections import is_array, item_types
from laplas_async.structured.converter import default_converter
from laplas_async.structured.fields import class_name, fields_of, has_fields, unwrap
from laplas_async.structured.locate import Locator
from laplas_async.structured.partial import (
    DECODER,
    MISSING,
    JSONSyntaxError,
    PartialParser,
    Shape,
)
from laplas_async.structured.problems import problems_in
from laplas_async.structured.schema import WRAPPED_KEY, OutputSchema, schema_for
from laplas_async.wire.codec import repaired

T = TypeVar("T")
_THOUGHT_END = re.compile("</think>|</thinking>|</reasoning>", re.IGNORECASE)
_MAX_SHAPE_LEVELS = 16  # a recursive type has no end; below it values are read with their parent


class NoJSON(ValueError):  # noqa: N818 - the verdict on a text; the public error is OutputError
    """The text holds no JSON, broken JSON, or more than one value."""

    def __init__(self, message: str, *, cut: bool = False) -> None:
        super().__init__(message)
        self.cut = cut  # it ended in the middle


class Mismatch(ValueError):  # noqa: N818 - as NoJSON
    """The JSON does not fit the type."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@define(eq=False)
class OutputType(Generic[T]):
    """A type that answers are read into, with the schema that is sent for it.

    ``strict`` as for ``schema_for``. ``lenient``: text that spells a boolean or a number is read
    as one. ``converter``: one made by ``strict_converter``, with hooks of the caller's own types.
    Raises ``ConfigError`` for a type that JSON cannot express.
    """

    type: Any
    strict: bool | None = None
    lenient: bool = False
    given_converter: BaseConverter | None = None
    converter: BaseConverter = field(init=False)
    schema: OutputSchema = field(init=False)
    name: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.given_converter is not None and self.lenient:
            raise ConfigError("converter, lenient: use strict_converter(lenient=True)")
        self.converter = self.given_converter or default_converter(lenient=self.lenient)
        self.schema = schema_for(self.type, strict=self.strict, converter=self.converter)
        name = class_name(unwrap(self.type)[0])
        self.name = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)[:64] or "T"

    def read(self, text: str) -> T:
        """The object in a model's text. Raises ``NoJSON`` or ``Mismatch``."""
        return self.structure(find_value(text, arrays=self.reads_arrays))

    def structure(self, value: Any) -> T:
        """The object for a JSON value. Raises ``Mismatch``."""
        path = ""
        if self.schema.wrapped and isinstance(value, dict) and set(value) == {WRAPPED_KEY}:
            value = value[WRAPPED_KEY]
        try:
            made: T = self.converter.structure(value, self.type)
        except RecursionError:
            raise Mismatch((Problem(path, "is nested too deep"),)) from None
        except Exception as error:
            raise Mismatch(tuple(problems_in(error, self.converter, path))) from error
        return made

    @property
    def reads_arrays(self) -> bool:
        """Whether an array may stand for the object that wraps it."""
        return self.schema.wrapped and is_array(unwrap(self.type)[0])

    def shape(self) -> Shape:
        """How values inside are read as they complete, for ``PartialParser``."""
        inner = self._shape(self.type, 0)
        return Shape(fields={WRAPPED_KEY: inner}) if self.schema.wrapped else inner

    def _shape(self, tp: Any, level: int) -> Shape:
        bare, _ = unwrap(tp)
        plain = bare in (str, int, float, bool, type(None)) and not self.lenient
        if plain and bare is tp:
            return Shape()
        hook = self.converter.get_structure_hook(tp)

        def read(value: Any) -> Any:
            return hook(value, tp)

        shape = Shape(read)
        if level >= _MAX_SHAPE_LEVELS:
            return shape
        if has_fields(bare) and not foreign.is_foreign(bare):
            for spec in fields_of(bare, self.converter):
                shape.fields[spec.key] = self._shape(spec.type, level + 1)
        elif is_array(bare) and (item := item_types(bare))[1] is None:
            shape.items = self._shape(item[0], level + 1)
        return shape


def find_value(text: str, *, arrays: bool = False) -> Any:
    """The one JSON value in a model's text, behind thoughts, prose or a fence.

    Raises ``NoJSON`` where there is none, where it is broken or cut, and where there are two.
    """
    if not text.strip():
        raise NoJSON("the answer is empty")
    try:
        value, rest = _first_value(text, arrays=arrays)
    except NoJSON:
        if (behind := _behind_thoughts(text)) is None:
            raise
        return find_value(behind, arrays=arrays)
    if (behind := _behind_thoughts(rest)) is not None:  # the value was a draft
        return find_value(behind, arrays=arrays)
    if Locator().feed(rest):
        raise NoJSON("the answer holds more than one JSON value; which one counts is not known")
    return value


def find_partial(text: str, *, arrays: bool = False) -> Any:
    """The complete values of JSON that was cut; None if there are none."""
    parser = PartialParser()
    with contextlib.suppress(JSONSyntaxError):
        parser.feed(Locator(arrays=arrays).feed(text))
    return None if parser.value is MISSING else parser.value


def _first_value(text: str, *, arrays: bool) -> tuple[Any, str]:
    found = Locator(arrays=arrays).feed(text)
    if not found:
        raise NoJSON("the answer holds no JSON object")
    try:
        value, end = DECODER.raw_decode(found)
    except RecursionError:
        raise NoJSON("the JSON is nested too deep") from None
    except ValueError as error:
        raise _explained(found, error) from None
    if "\\u" in found:  # perhaps of a surrogate without its partner
        value = repaired(value)
    return value, found[end:]


def _explained(text: str, error: ValueError) -> NoJSON:
    """Whether JSON that cannot be read is cut, or wrong and where."""
    parser = PartialParser()
    try:
        parser.feed(text)
    except JSONSyntaxError as wrong:
        return NoJSON(f"the JSON is broken: {wrong}")
    if not parser.complete:
        return NoJSON("the JSON ends in the middle", cut=True)
    return NoJSON(f"the JSON is broken: {error}")


def _behind_thoughts(text: str) -> str | None:
    """What follows the end of thoughts whose beginning is not in the text; None: no such end."""
    ends = [found.end() for found in _THOUGHT_END.finditer(text)]
    return text[ends[-1] :] if ends else None
