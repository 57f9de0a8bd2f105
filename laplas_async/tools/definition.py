"""A tool from a Python function: its name, description and parameters, and how it is called.

The docstring's first paragraph describes the tool, its argument section the parameters. It refuses
to guess: a parameter without an annotation, and ``*args``, are a ``ConfigError``.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import field, frozen
from cattrs import BaseConverter

from laplas_async.errors import ConfigError, Problem
from laplas_async.structured.converter import default_converter
from laplas_async.structured.docstrings import parse_docstring
from laplas_async.structured.fields import FieldSpec, is_nullable, type_hints, unwrap
from laplas_async.structured.problems import problems_in
from laplas_async.structured.reading import Mismatch
from laplas_async.structured.schema import OutputSchema, schema_for_fields
from laplas_async.tools.arguments import decode
from laplas_async.types import FunctionDefinition, Tool

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # as the service requires, WIRE.md
_POSITIONAL: Final = inspect.Parameter.POSITIONAL_ONLY


@frozen
class ToolContext:
    """What a tool is given that has a parameter annotated with this class; the model sees none.

    ``data`` is what ``run_tools(context=...)`` was called with, ``call_id`` and ``name`` those of
    the call, ``round`` counts the model's turns from 1.
    """

    call_id: str
    name: str
    round: int
    data: Any = None


@frozen(eq=False)
class ToolFunction:
    """A function that a model may call, made by ``tool``.

    ``timeout``: seconds for one call; None: the run's own.
    """

    function: Callable[..., Any]
    name: str
    description: str | None
    fields: tuple[FieldSpec, ...]
    schema: OutputSchema
    timeout: float | None = None
    context_parameter: str | None = None
    converter: BaseConverter = field(factory=default_converter, repr=False)

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine; otherwise it runs in a thread."""
        call = getattr(self.function, "__call__", None)  # noqa: B004 - its kind, not whether
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)

    @property
    def definition(self) -> Tool:
        """The tool as it is sent."""
        return Tool(
            FunctionDefinition(
                name=self.name,
                description=self.description,
                parameters=self.schema.schema,
                strict=True if self.schema.strict else None,
            )
        )

    def read(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function's types. Raises ``Mismatch`` with every problem."""
        known = {spec.key for spec in self.fields}
        problems = [Problem(key, "is not a parameter") for key in arguments if key not in known]
        values: dict[str, Any] = {}
        for spec in self.fields:
            value = arguments.get(spec.key)
            if spec.key not in arguments or (value is None and not spec.nullable):
                if spec.required:
                    problem = "is missing" if spec.key not in arguments else "must not be null"
                    problems.append(Problem(spec.key, problem))
                continue
            try:
                values[spec.name] = self._structure(spec, value)
            except Exception as error:  # noqa: BLE001 - a validator may raise anything
                problems += problems_in(error, self.converter, spec.key)
        if problems:
            raise Mismatch(tuple(problems))
        return values

    def _structure(self, spec: FieldSpec, value: Any) -> Any:
        hook = self.converter.get_structure_hook(spec.type)
        try:
            return hook(value, spec.type)
        except Exception:
            if type(value) is not str:
                raise
            decoded = _decoded(value)  # models encode nested arguments twice
            if decoded is None:
                raise
            return hook(decoded, spec.type)

    def bind(
        self, values: dict[str, Any], context: ToolContext
    ) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments for the function."""
        keywords = dict(values)
        if self.context_parameter is not None:
            keywords[self.context_parameter] = context
        parameters = inspect.signature(self.function).parameters.values()
        positional = [
            keywords.pop(parameter.name)
            for parameter in parameters
            if parameter.kind is _POSITIONAL and parameter.name in keywords
        ]
        return positional, keywords


def tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    strict: bool | None = None,
    converter: BaseConverter | None = None,
) -> ToolFunction:
    """A tool from an async or plain function.

    ``name`` and ``description`` default to the function's name and docstring; ``timeout`` is the
    seconds one call may take; ``strict`` as in ``parse``. Raises ``ConfigError`` for parameters
    without annotations, ``*args``, ``**kwargs`` and types that JSON cannot express.
    """
    name = name or str(getattr(function, "__name__", type(function).__name__))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"tool {name!r}: the name must be 1 to 64 of a-z A-Z 0-9 _ -; pass name=")
    if timeout is not None and not timeout > 0:
        raise ConfigError(f"tool {name}: timeout={timeout!r}: must be more than 0 seconds")
    converter = converter or default_converter()
    target = function if inspect.isroutine(function) else type(function).__call__
    words = parse_docstring(inspect.getdoc(function))
    try:
        hints = type_hints(target)
        fields, context = _fields(function, hints, words.names, name)
        schema = schema_for_fields(fields, strict=strict, converter=converter)
    except ConfigError as error:
        raise ConfigError(f"tool {name}: {error.message.removeprefix(f'tool {name}: ')}") from None
    return ToolFunction(
        function=function,
        name=name,
        description=description or words.summary,
        fields=fields,
        schema=schema,
        timeout=timeout,
        context_parameter=context,
        converter=converter,
    )


def as_tools(tools: Sequence[Any]) -> dict[str, ToolFunction]:
    """Functions and ``ToolFunction``s by name. Raises ``ConfigError``."""
    made: dict[str, ToolFunction] = {}
    for one in tools:
        if not isinstance(one, ToolFunction) and not callable(one):
            raise ConfigError(f"tools: {one!r} is neither a function nor made by tool()")
        known = one if isinstance(one, ToolFunction) else tool(one)
        if known.name in made:
            raise ConfigError(f"tools: two have the name {known.name!r}; pass name= to tool()")
        made[known.name] = known
    return made


def _fields(
    function: Callable[..., Any], hints: dict[str, Any], words: dict[str, str], name: str
) -> tuple[tuple[FieldSpec, ...], str | None]:
    specs = []
    context = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"tool {name}: {parameter} cannot be described to a model")
        if parameter.name not in hints:
            raise ConfigError(f"tool {name}: the parameter {parameter.name!r} has no annotation")
        tp = hints[parameter.name]
        bare, constraints = unwrap(tp)
        if bare is ToolContext:
            context = parameter.name
            continue
        required = parameter.default is parameter.empty
        specs.append(
            FieldSpec(
                name=parameter.name,
                key=parameter.name,
                type=tp,
                required=required,
                nullable=is_nullable(tp),
                default=None if required else parameter.default,
                constraints=constraints,
                description=constraints.description or words.get(parameter.name),
            )
        )
    return tuple(specs), context


def _decoded(text: str) -> Any:
    try:
        return decode(text)
    except ValueError:
        return None
