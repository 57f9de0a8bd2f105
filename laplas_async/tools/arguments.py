"""The calls in a response, and their arguments, as models and servers really write them; pure.

It refuses to complete or repair what is cut: such a call is never executed.
"""

import ast
import json
import math
import re
from collections.abc import Container
from typing import Any, Final

from attrs import evolve

from laplas_async.structured.partial import DECODER
from laplas_async.structured.reading import NoJSON
from laplas_async.types import ChatCompletion, FunctionCall, ToolCall
from laplas_async.wire.codec import repaired

# literal_eval compiles what it reads; a model's arguments are far shorter.
_MAX_LITERAL: Final = 20_000
_FUNCTION_TAG: Final = re.compile(r"<function=([\w-]+)>(.*?)</function>", re.DOTALL)
_CALL_TAG: Final = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
# <|python_tag|>, <|eom_id|>, Mistral's [TOOL_CALLS]
_SPECIAL: Final = re.compile(r"<\|[a-z_]+\|>|^\s*\[TOOL_CALLS\]")
_THOUGHTS: Final = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE: Final = re.compile(r"`{3,}[a-zA-Z]*\s*(.*?)\s*`{3,}", re.DOTALL)
_CALL_FIELDS: Final = {"name", "parameters", "arguments", "type", "id"}


def decode(text: str) -> Any:
    """One JSON value and nothing behind it. Raises ``NoJSON``."""
    try:
        value, end = DECODER.raw_decode(text.strip())
    except (ValueError, RecursionError) as error:
        raise NoJSON(f"the arguments are not JSON: {error}") from None
    if rest := text.strip()[end:].strip():
        raise NoJSON(f"the arguments have text behind the JSON: {rest[:40]!r}")
    return repaired(value)


def read_arguments(text: str | None) -> dict[str, Any]:
    """The arguments of a call as an object. Raises ``NoJSON``.

    Nothing and ``null`` are an object without fields; an object that is encoded twice is decoded
    twice; Python's spelling (``{'a': True}``) is read where it is no JSON.
    """
    if text is None or not text.strip():
        return {}
    try:
        value = decode(text)
        if isinstance(value, str):
            value = decode(value) if value.strip() else None
    except NoJSON:
        value = _literal(text)
        if value is None:
            raise
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NoJSON("the arguments must be a JSON object")
    return value


def calls_in(completion: ChatCompletion, known: Container[str], turn: int) -> list[ToolCall]:
    """The calls in a response, each with an id of its own.

    A call that the model wrote into the text counts if its tool is known.
    """
    calls = list(completion.tool_calls) or _calls_in_text(completion.text, known)
    seen: set[str] = set()
    unique = []
    for index, call in enumerate(calls):
        name = call.id
        if not name or name in seen:
            name = f"call_{turn}_{index}"
            while name in seen:
                name += "_"
        seen.add(name)
        unique.append(call if name == call.id else evolve(call, id=name))
    return unique


def _calls_in_text(text: str, known: Container[str]) -> list[ToolCall]:
    text = _SPECIAL.sub("", _THOUGHTS.sub("", text)).strip()
    tagged = [(name, inner) for name, inner in _FUNCTION_TAG.findall(text) if name in known]
    if tagged:
        return [ToolCall(function=FunctionCall(name, inner.strip())) for name, inner in tagged]
    found = [call for inner in _CALL_TAG.findall(text) for call in _objects(inner, known)]
    fence = _FENCE.fullmatch(text)
    return found or _objects(text if fence is None else fence[1], known)


def _objects(text: str, known: Container[str]) -> list[ToolCall]:
    """Calls as JSON objects; the text must consist of them, for prose may quote one."""
    calls = []
    rest = text.strip()
    while rest:
        try:
            value, end = DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            return []
        for one in value if isinstance(value, list) else [value]:
            if (call := _call(one, known)) is None:
                return []
            calls.append(call)
        rest = rest[end:].lstrip(" \t\r\n;,")
    return calls


def _call(value: Any, known: Container[str]) -> ToolCall | None:
    """The call that an object is; None if it is none."""
    if not isinstance(value, dict):
        return None
    function = value.get("function")
    if isinstance(function, dict) and set(value) <= {"type", "id", "function"}:
        value = function  # as in the API's own messages
    name, given = value.get("name"), value.get("parameters", value.get("arguments", ""))
    if not isinstance(name, str) or name not in known or not set(value) <= _CALL_FIELDS:
        return None
    if given == "" or not isinstance(given, dict | str):
        return None
    return ToolCall(
        function=FunctionCall(name, given if isinstance(given, str) else json.dumps(given))
    )


def _literal(text: str) -> Any:
    if len(text) > _MAX_LITERAL or not text.lstrip().startswith("{"):
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval")
        if any(_has_key_twice(node) for node in ast.walk(tree) if isinstance(node, ast.Dict)):
            return None
        value = ast.literal_eval(tree)
        return value if isinstance(value, dict) and _is_plain(value) else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _has_key_twice(node: ast.Dict) -> bool:
    keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
    return len(set(keys)) < len(keys)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(_is_plain(one) for one in value)
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (str, int, bool)
