"""A typed answer while it is being written: pure; text in, complete values out.

It finds the JSON (``locate``), reads it as it grows (``partial``), and gives each element of a list
once it is complete and valid. It refuses to give anything that may still change.
"""

from typing import Any, Final

from laplas_async.errors import ConfigError, Problem
from laplas_async.structured.collections import is_array, item_types
from laplas_async.structured.fields import fields_of, has_fields, members_of, unwrap
from laplas_async.structured.locate import Locator
from laplas_async.structured.partial import MISSING, JSONSyntaxError, PartialParser
from laplas_async.structured.problems import join, problems_in
from laplas_async.structured.reading import Mismatch, OutputType
from laplas_async.structured.schema import WRAPPED_KEY

# Models in JSON mode can write white space without end. Indented JSON of 200 levels has less
# between two tokens; test_partial_output.py.
MAX_BLANKS: Final = 2000


class PartialOutput:
    """Feed the text of an answer; read ``value`` and ``items`` at any time."""

    def __init__(self, output: OutputType[Any]) -> None:
        self.output = output
        self._locator = Locator(arrays=output.reads_arrays)
        self._parser = PartialParser(output.shape())
        self._error: JSONSyntaxError | None = None
        self.looks = 0  # how often the parser looked at new text
        self._fed_blanks = 0  # characters of white space at the end of what was fed
        self._leading = 0  # characters of white space before the JSON begins

    def feed(self, text: str) -> None:
        """Take more text. Broken JSON raises nothing here: the whole answer decides."""
        self._fed_blanks = self._fed_blanks + len(text) if text.isspace() else 0
        if self._error is None and (text := text if self._locator.found else self._find(text)):
            try:
                if self._parser.feed_lazily(text):
                    self.looks += 1
            except JSONSyntaxError as error:
                self._error = error

    @property
    def is_endless(self) -> bool:
        """Whether the answer consists of white space for so long that it will not go on."""
        if self._fed_blanks > MAX_BLANKS:  # perhaps inside a string: the parser knows
            self._fed_blanks = 0
            self._look()
        return self._parser.blanks > MAX_BLANKS or self._leading > MAX_BLANKS

    @property
    def value(self) -> Any:
        """The values that are complete: objects of the type's classes, dicts where still open.

        None before the first bracket. Live: it grows with the next ``feed``.
        """
        self._look()
        value = self._parser.value
        if value is MISSING:
            return None
        if self.output.schema.wrapped and isinstance(value, dict):
            return value.get(WRAPPED_KEY)
        return value

    @property
    def open_string(self) -> str | None:
        """The string that is being written, as far as it goes; None where there is none."""
        self._look()
        return self._parser.open_string()

    def _look(self) -> None:
        if self._error is None:
            self.looks += 1
            try:
                self._parser.feed("")
            except JSONSyntaxError as error:
                self._error = error

    def _find(self, text: str) -> str:
        self._leading = self._leading + len(text) if text.isspace() else 0
        return self._locator.feed(text)

    def items(self, path: str) -> "ItemReader":
        """The elements of the list at a path like ``lines`` or ``order.lines``; "" for the root.

        Raises ``ConfigError`` where the type has no list there.
        """
        tp = self.output.type
        steps: list[tuple[str, str]] = []
        for name in path.split(".") if path else ():
            tp, key = _field(tp, name, path)
            steps.append((key, name))
        for member in members_of(tp):
            bare, _ = unwrap(member)
            if is_array(bare) and item_types(bare)[1] is None:
                return ItemReader(self, steps, path, item_types(bare)[0])
        raise ConfigError(f"items({path!r}): there is no list")

    def follow(self, steps: list[tuple[str, str]], *, eager: bool) -> Any:
        """The value at a path; None while it is not there."""
        if eager:
            self._look()
        value = self._parser.value
        if self.output.schema.wrapped and isinstance(value, dict):
            value = value.get(WRAPPED_KEY, MISSING)
        for key, name in steps:
            if type(value) is dict:
                value = value.get(key, MISSING)
            else:
                value = getattr(value, name, MISSING)
        return None if value is MISSING else value

    def is_open(self, container: Any) -> bool:
        """Whether the last element of a list is still being written."""
        return self._parser.is_parent_of_open(container)


class ItemReader:
    """The complete elements of one list, each given once."""

    def __init__(
        self, source: PartialOutput, steps: list[tuple[str, str]], path: str, item: Any
    ) -> None:
        self._source = source
        self._steps = steps
        self._path = path
        self._item = item
        self._hook = source.output.converter.get_structure_hook(item)
        # Elements that are objects are looked for only where a brace has closed.
        self._eager = not has_fields(unwrap(item)[0])
        self._list: Any = None
        self._next = 0
        self._seen = -1  # the source's ``looks`` when there was nothing more

    def next(self) -> list[Any]:
        """One more complete element in a list, or an empty list. Raises ``Mismatch``."""
        if self._seen == self._source.looks and not self._eager:
            return []
        if self._list is None:
            self._list = self._source.follow(self._steps, eager=self._eager)
        elif self._eager:
            self._source.follow([], eager=True)
        if self._list is None:
            self._seen = self._source.looks
            return []
        return self._element(list(self._list) if not isinstance(self._list, list) else self._list)

    def finish(self, output: Any) -> list[Any]:
        """The elements left over at the end, from the whole typed answer."""
        for _, name in self._steps:
            output = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
        return [] if output is None else list(output)[self._next :]

    def _element(self, elements: list[Any]) -> list[Any]:
        complete = len(elements) - (1 if self._source.is_open(self._list) else 0)
        if self._next >= complete:
            self._seen = self._source.looks
            return []
        value = elements[self._next]
        try:
            made = self._hook(value, self._item)
        except Exception as error:
            where = join(self._path, self._next)
            found = problems_in(error, self._source.output.converter, where)
            raise Mismatch(tuple(found or [Problem(where, str(error))])) from error
        self._next += 1
        return [made]


def _field(tp: Any, name: str, path: str) -> tuple[Any, str]:
    for member in members_of(tp):
        bare, _ = unwrap(member)
        if has_fields(bare):
            for spec in fields_of(bare):
                if name in (spec.name, spec.key):
                    return spec.type, spec.key
    raise ConfigError(f"items({path!r}): there is no field {name!r}")
