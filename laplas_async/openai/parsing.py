"""Typed output in openai's manner: a class becomes a schema, and an answer's text an object.

pydantic's models are used by their own methods (``model_json_schema``, ``model_validate_json``),
attrs classes through ``laplas_async.structured``; neither is imported unless such a class is
passed. It refuses to send anything.
"""

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Self

import attrs

from laplas_async.openai.errors import (
    ContentFilterFinishReasonError,
    LengthFinishReasonError,
)
from laplas_async.openai.omitted import is_given
from laplas_async.openai.results import ChatCompletion, ParsedChatCompletion


@attrs.frozen
class Format:
    """What ``response_format`` asks for: the request's parameters, and how to read the text."""

    parameters: dict[str, Any]
    read: Callable[[str], Any] | None = None

    @classmethod
    def of(cls, wanted: Any) -> Self:
        """The format for a pydantic model, an attrs class, the API's own object, or nothing."""
        if not is_given(wanted) or wanted is None:
            return cls({})
        if isinstance(wanted, Mapping):
            return cls({"response_format": wanted})
        if isinstance(wanted, type):
            model: Any = wanted
            if hasattr(model, "model_json_schema"):
                schema = strict_schema(model.model_json_schema())
                return cls(_parameters(wanted.__name__, schema), model.model_validate_json)
            if hasattr(model, "__pydantic_validator__"):  # a pydantic dataclass
                adapter = import_module("pydantic").TypeAdapter(model)
                schema = strict_schema(adapter.json_schema())
                return cls(_parameters(wanted.__name__, schema), adapter.validate_json)
            if attrs.has(wanted):
                output = import_module("laplas_async.structured.reading").OutputType(wanted)
                return cls(_parameters(output.name, output.schema.schema), output.read)
        raise TypeError(
            f"Unsupported response_format type - {wanted}: pass a pydantic model, an attrs class, "
            "or the API's own object"
        )


def _parameters(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    described = {"name": name, "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


class _ModelFunction(dict[str, Any]):
    """A tool's function that knows the pydantic model of its arguments."""

    model: Any = None


def pydantic_function_tool(
    model: Any, *, name: str | None = None, description: str | None = None
) -> dict[str, Any]:
    """A strict tool whose arguments are a pydantic model; ``parse`` gives ``parsed_arguments``."""
    function = _ModelFunction(
        name=name or model.__name__,
        strict=True,
        parameters=strict_schema(model.model_json_schema()),
    )
    function.model = model
    if (text := description or model.__doc__) is not None:
        function["description"] = text
    return {"type": "function", "function": function}


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema as strict output wants it: closed objects, all fields required."""
    made = copy.deepcopy(dict(schema))
    return _strict(made, made)


def _strict(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema and len(schema) > 1:  # a $ref may have no neighbours: put it in their midst
        target: Any = root
        for part in schema.pop("$ref").removeprefix("#/").split("/"):
            target = target[part]
        schema.update(copy.deepcopy(target) | schema)
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    if isinstance(properties := schema.get("properties"), dict):
        schema["required"] = list(properties)
    if isinstance(every := schema.get("allOf"), list) and len(every) == 1:
        schema.update(schema.pop("allOf")[0])
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    for key in ("$defs", "definitions", "properties"):
        for inner in (schema.get(key) or {}).values():
            _strict(inner, root)
    for key in ("anyOf", "allOf"):
        for inner in schema.get(key) or ():
            _strict(inner, root)
    if isinstance(items := schema.get("items"), dict):
        _strict(items, root)
    return schema


def check_tools(tools: Any) -> None:
    """Raise ``ValueError`` for a tool whose arguments cannot be parsed, as openai does."""
    for tool in _tools(tools):
        if tool.get("type") != "function":
            raise ValueError(
                f"Currently only `function` tool types support auto-parsing; "
                f"Received `{tool.get('type')}`"
            )
        if tool["function"].get("strict") is not True:
            raise ValueError(
                f"`{tool['function'].get('name')}` is not strict. "
                "Only `strict` function tools can be auto-parsed"
            )


def parse_completion(
    completion: ChatCompletion, format_: Format, tools: Any
) -> ParsedChatCompletion:
    """The completion with ``message.parsed`` and the tool calls' ``parsed_arguments``."""
    for choice in completion.choices:
        if choice.finish_reason == "length":
            raise LengthFinishReasonError(completion=completion)
        if choice.finish_reason == "content_filter":
            raise ContentFilterFinishReasonError
    parsed = ParsedChatCompletion(**completion.to_dict())
    object.__setattr__(parsed, "_response", completion._response)  # noqa: SLF001 - a copy of it
    for choice in parsed.choices:
        message: Any = choice.message
        if format_.read is not None and message.content and not message.refusal:
            message.parsed = format_.read(message.content)
        for call in message.tool_calls or ():
            call.function.parsed_arguments = parse_arguments(
                tools, call.function.name, call.function.arguments
            )
    return parsed


def parse_arguments(tools: Any, name: str, arguments: str) -> Any:
    """A call's arguments by the tool of that name; None where there is no strict one."""
    for tool in _tools(tools):
        function = tool.get("function") or {}
        if function.get("name") != name:
            continue
        if isinstance(function, _ModelFunction):
            return function.model.model_validate_json(arguments)
        return json.loads(arguments) if function.get("strict") else None
    return None


def _tools(tools: Any) -> Iterable[Any]:
    return tools if is_given(tools) and tools is not None else ()
