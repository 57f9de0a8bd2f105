"""The request body: every field validated and encoded before anything is sent.

Pure. Types and ranges are those of the service's page for the model; where that gives none, those
of its platform's documents (https://docs.aimlapi.com). ``extra_body`` is sent as it is, for fields
unknown here. It refuses to decide what a good value is: every value the service may accept passes.
"""

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from laplas_async.errors import ConfigError
from laplas_async.types import MessageLike
from laplas_async.wire.codec import dumps, to_dict

ROLES = ("system", "user", "assistant", "tool", "developer")
_TOOL_NAME = r"[a-zA-Z0-9_-]{1,64}"
_MAX_TOOLS = 128
_MAX_STOPS = 4
# Larger numbers are infinite, or invalid JSON, to parsers that read numbers as 64-bit floats.
_LARGEST = 1e300

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80

_Check = Callable[[str, Any], Any]


def encode_request(
    model: str,
    messages: str | Sequence[MessageLike],
    parameters: Mapping[str, Any],
    *,
    stream: bool,
    extra_body: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the body of a request as JSON bytes.

    ``messages`` is a list of messages, or a string: the user's only message. A parameter that is
    None is not sent. Raises ``ConfigError`` with the field, its value and what it must be.
    """
    body: dict[str, Any] = {
        "model": _check_model("model", model),
        "messages": check_messages(messages),
    }
    for name, value in parameters.items():
        check = _CHECKS.get(name)
        if check is None:
            raise ConfigError(_unknown(name))
        # An empty list of tools means no tools, and services refuse it.
        if value is not None and not (name == "tools" and _is_empty_list(value)):
            body[name] = check(name, value)
    if not isinstance(extra_body, Mapping) or "tools" not in extra_body:
        _check_tool_choice_exists(body)
    body["stream"] = stream  # also if false: some servers stream unless it is there
    if extra_body is not None:
        if not isinstance(extra_body, Mapping):
            raise _wrong("extra_body", extra_body, "an object")
        if "stream" in extra_body:
            raise ConfigError("extra_body['stream']: call stream() or complete() instead")
        body |= extra_body
    try:
        return dumps(body)
    except (TypeError, RecursionError) as error:
        raise ConfigError(
            f"{_unencodable_field(body)}: cannot be encoded as JSON ({error})"
        ) from None


def check_messages(messages: Any) -> list[dict[str, Any]]:
    """Return messages as plain dicts, each validated. Raises ``ConfigError``."""
    if isinstance(messages, str):
        if not messages:
            raise ConfigError("messages='': must not be empty")
        return [{"role": "user", "content": messages}]
    if not isinstance(messages, Sequence) or isinstance(messages, bytes | bytearray):
        raise _wrong("messages", messages, "a string or a list of messages")
    if not messages:
        raise ConfigError("messages=[]: must not be empty")
    return [_check_message(f"messages[{i}]", message) for i, message in enumerate(messages)]


def _check_message(name: str, message: Any) -> dict[str, Any]:
    body = _object(name, message, "a Message or an object with role and content")
    role, content = body.get("role"), body.get("content")
    if role not in ROLES:
        raise _wrong(f"{name}.role", role, f"one of {', '.join(ROLES)}")
    if role == "assistant" and _is_empty_list(body.get("tool_calls")):
        del body["tool_calls"]
    if role == "assistant" and content is None:
        # A completion that only thought, or was cut off before its text, has no content. It is part
        # of the conversation all the same, and an empty text is what every service accepts.
        if not (body.get("tool_calls") or body.get("refusal")):
            body["content"] = ""
    else:
        body["content"] = _check_content(f"{name}.content", content)
    if role == "tool" and not isinstance(body.get("tool_call_id"), str):
        raise _wrong(
            f"{name}.tool_call_id",
            body.get("tool_call_id"),
            "the id of the tool call it responds to",
        )
    for field in ("name", "refusal", "tool_call_id"):
        if body.get(field) is not None and not isinstance(body[field], str):
            raise _wrong(f"{name}.{field}", body[field], "a string")
    if body.get("tool_calls") is not None:
        body["tool_calls"] = _check_calls(f"{name}.tool_calls", body["tool_calls"])
    return body


def _is_empty_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and not value


def _check_content(name: str, content: Any) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray) or not content:
        raise _wrong(name, content, "a string, or a list of at least one content part")
    return [_check_part(f"{name}[{i}]", part) for i, part in enumerate(content)]


def _check_calls(name: str, calls: Any) -> list[dict[str, Any]]:
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise _wrong(name, calls, "a list of tool calls")
    return [_check_call(f"{name}[{i}]", call) for i, call in enumerate(calls)]


def _check_part(name: str, part: Any) -> dict[str, Any]:
    body = _object(name, part, "a content part: an object with a type")
    kind = body.get("type")
    if not isinstance(kind, str):
        raise _wrong(f"{name}.type", kind, "text or image_url")
    if kind == "text" and not isinstance(body.get("text"), str):
        raise _wrong(f"{name}.text", body.get("text"), "a string")
    if kind == "image_url":
        image = _object(f"{name}.image_url", body.get("image_url"), "an object with a url")
        if not isinstance(image.get("url"), str) or not image["url"]:
            raise _wrong(f"{name}.image_url.url", image.get("url"), "an https: or data: URL")
        body["image_url"] = image
    return body


def _check_call(name: str, call: Any) -> dict[str, Any]:
    body = _object(name, call, "a tool call")
    function = _object(
        f"{name}.function", body.get("function"), "an object with name and arguments"
    )
    if not isinstance(body.get("id"), str):
        raise _wrong(f"{name}.id", body.get("id"), "a string")
    for field in ("name", "arguments"):
        if not isinstance(function.get(field), str):
            raise _wrong(f"{name}.function.{field}", function.get(field), "a string")
    return body | {"function": function}


# --- fields -----------------------------------------------------------------------------------


# Other services take 0 for "no seed" or "greedy": the message says whose minimum it is.
_DOCUMENTED = " (the minimum that the service documents; extra_body is not checked)"


def _integer(low: int, high: int | None = None, *, note: str = "") -> _Check:
    expected = f"an integer, {_span(low, high)}{note}"

    def check(name: str, value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value < low or (high is not None and value > high):
            raise _wrong(name, value, expected)
        return value

    return check


def _number(low: float | None = None, high: float | None = None, *, note: str = "") -> _Check:
    expected = "a number" if low is None else f"a number, {_span(low, high)}{note}"

    def check(name: str, value: Any) -> float:
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not -_LARGEST <= value <= _LARGEST  # also false for NaN
            or (low is not None and value < low)
            or (high is not None and value > high)
        ):
            raise _wrong(name, value, expected)
        return value

    return check


def _span(low: float, high: float | None) -> str:
    return f"at least {low}" if high is None else f"{low} to {high}"


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "True or False")
    return value


def _check_model(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, value, "the name of a model")
    return value


def _stop(name: str, value: Any) -> str | list[str]:
    if isinstance(value, str) and value:
        return value
    expected = f"a string or a list of 1 to {_MAX_STOPS} strings, none empty"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        stops = list(value)
        if 1 <= len(stops) <= _MAX_STOPS and all(isinstance(s, str) and s for s in stops):
            return stops
    raise _wrong(name, value, expected)


def _stream_options(name: str, value: Any) -> dict[str, Any]:
    body = _object(name, value, "an object: {'include_usage': bool}")
    if "include_usage" in body:
        _flag(f"{name}.include_usage", body["include_usage"])
    return body


def _logit_bias(name: str, value: Any) -> dict[str, Any]:
    body = _object(name, value, "a map from token id to -100 .. 100")
    check = _number(-100, 100)
    return {str(token): check(f"{name}[{token!r}]", bias) for token, bias in body.items()}


def _tools(name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise _wrong(name, value, "a list of tools")
    if not 1 <= len(value) <= _MAX_TOOLS:
        raise ConfigError(f"{name}: {len(value)} tools; must be 1 to {_MAX_TOOLS}")
    return [_tool(f"{name}[{i}]", tool) for i, tool in enumerate(value)]


def _tool(name: str, value: Any) -> dict[str, Any]:
    body = _object(name, value, "a Tool or an object with type and function")
    if body.get("type") != "function":
        raise _wrong(f"{name}.type", body.get("type"), "'function'")
    function = _object(f"{name}.function", body.get("function"), "an object with a name")
    _function_name(f"{name}.function.name", function.get("name"))
    if not isinstance(function.get("description"), str | None):
        raise _wrong(f"{name}.function.description", function["description"], "a string")
    if not isinstance(function.get("parameters"), Mapping | None):
        raise _wrong(f"{name}.function.parameters", function["parameters"], "a JSON schema")
    if function.get("strict") is not None:
        _flag(f"{name}.function.strict", function["strict"])
    return body | {"function": function}


def _function_name(name: str, value: Any) -> None:
    if not isinstance(value, str) or not re.fullmatch(_TOOL_NAME, value):
        raise _wrong(name, value, "1 to 64 of a-z A-Z 0-9 _ -")


def _tool_choice(name: str, value: Any) -> Any:
    expected = "none, auto, required, or {'type': 'function', 'function': {'name': ...}}"
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise _wrong(name, value, expected)
        return value
    body = _object(name, value, expected)
    if body.get("type") != "function":
        raise _wrong(f"{name}.type", body.get("type"), "'function'")
    function = _object(f"{name}.function", body.get("function"), "an object with a name")
    _function_name(f"{name}.function.name", function.get("name"))
    return body | {"function": function}


def _response_format(name: str, value: Any) -> dict[str, Any]:
    body = _object(name, value, "a ResponseFormat or an object with a type")
    kinds = ("text", "json_object", "json_schema")
    if body.get("type") not in kinds:
        raise _wrong(f"{name}.type", body.get("type"), f"one of {', '.join(kinds)}")
    if body["type"] == "json_schema":
        where = f"{name}.json_schema"
        schema = _object(where, body.get("json_schema"), "an object with name and schema")
        _function_name(f"{where}.name", schema.get("name"))
        if not isinstance(schema.get("schema"), Mapping | None):
            raise _wrong(f"{where}.schema", schema["schema"], "a JSON schema")
        if schema.get("strict") is not None:
            _flag(f"{where}.strict", schema["strict"])
        body["json_schema"] = schema
    return body


# One entry per name in types.RequestParameters. min_p: the platform's documents say 0.001 to 0.999,
# but the service's own page says at most 1 and sends 1 in its example; a probability is at least 0.
_CHECKS: dict[str, _Check] = {
    "max_tokens": _integer(1),
    "stop": _stop,
    "stream_options": _stream_options,
    "n": _integer(1),
    "seed": _integer(1, note=_DOCUMENTED),
    "top_p": _number(0.01, 1, note=_DOCUMENTED),
    "top_k": _number(),
    "temperature": _number(0, 2),
    "repetition_penalty": _number(),
    "logprobs": _flag,
    "top_logprobs": _integer(0, 20),
    "echo": _flag,
    "min_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "logit_bias": _logit_bias,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _flag,
    "response_format": _response_format,
}


def _check_tool_choice_exists(body: dict[str, Any]) -> None:
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return
    name = choice["function"]["name"]
    names = [tool["function"]["name"] for tool in body.get("tools", ())]
    if name not in names:
        raise _wrong("tool_choice.function.name", name, f"one of the tools ({', '.join(names)})")


# --- messages of errors -----------------------------------------------------------------------


def _object(name: str, value: Any, expected: str) -> dict[str, Any]:
    """Return the value as a new dict; an attrs value is converted."""
    if attrs.has(type(value)):
        try:
            return to_dict(value)
        except (AttributeError, TypeError, RecursionError):  # a field of an unexpected type
            raise _wrong(name, value, expected) from None
    if not isinstance(value, Mapping):
        raise _wrong(name, value, expected)
    return dict(value)


def _wrong(name: str, value: Any, expected: str) -> ConfigError:
    try:
        shown = _short.repr(value)
    except (RecursionError, ValueError):  # nested too deeply; a number with too many digits
        shown = f"<{type(value).__name__}>"
    return ConfigError(f"{name}={shown}: must be {expected}")


# "temprature" is 0.95 like the field that was meant; "reasoning_effort", a field of other services,
# 0.65 like response_format, which was not (test_other_services_fields_get_no_hint).
_LEAST_LIKENESS = 0.75
_OTHER_NAMES = {"max_completion_tokens": "max_tokens", "timeout": "timeouts"}


def _unknown(name: str) -> str:
    if name == "stream":
        return "stream: call stream() or complete() instead"
    import difflib  # noqa: PLC0415 - only for this message

    near = difflib.get_close_matches(name, _CHECKS, n=1, cutoff=_LEAST_LIKENESS)
    near = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else near
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"{name}: unknown request field; {hint}to send it anyway, use extra_body={{{name!r}: ...}}"
    )


def _unencodable_field(body: dict[str, Any]) -> str:
    """Return the name of the first field that cannot be encoded as JSON."""
    for name, value in body.items():
        try:
            dumps(value)
        except (TypeError, RecursionError):
            return name
    return "request"
