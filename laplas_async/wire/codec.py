"""JSON to values and back: the one place that knows cattrs and the JSON library.

Decoding is tolerant where that loses nothing: null means absent, an unknown field is kept in
``extra``, and so is a field beside the text (usage, logprobs, an id) that has an unexpected type.
It is strict where text would be lost or invented: content that is not text is a ``DecodeError``.

It refuses to validate requests (``wire.request`` does) and to decide whether a stream is complete
(``streaming.verdict`` does).
"""

import contextlib
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import orjson

from laplas_async.types import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Cost,
    Delta,
    FunctionCall,
    FunctionCallDelta,
    Logprobs,
    Message,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from laplas_async.wire.large_json import LARGE, loads_large

# cattrs is imported when the converter is built: it is a sixth of the time that importing this
# library takes beyond aiohttp (tests/unit/test_imports.py).
if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


class DecodeError(ValueError):
    """The bytes are not JSON, or not of the expected shape; the message quotes the beginning."""


# --- JSON -------------------------------------------------------------------------------------


def loads(data: bytes) -> Any:
    """Decode JSON bytes to plain values. Invalid UTF-8 and lone surrogates become U+FFFD.

    Raises ``DecodeError``.
    """
    try:
        return orjson.loads(data) if len(data) <= LARGE else loads_large(data)
    except orjson.JSONDecodeError:
        pass
    # orjson rejects two things that real servers write: a surrogate without its partner (\\ud83d)
    # and bytes that are not UTF-8.
    try:
        return repaired(loads_raw(data))
    except RecursionError:
        raise DecodeError(f"nested too deeply: {quote(data)}") from None


def loads_raw(data: bytes) -> Any:
    """As ``loads``, but keep lone surrogates, for a reader whose next event may complete them."""
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON ({error}): {quote(data)}") from None


def dumps(value: Any) -> bytes:
    """Encode plain values, and attrs values among them, as JSON bytes (UTF-8).

    Raises ``TypeError`` for values that JSON cannot represent, such as lone surrogates.
    """
    try:
        data = orjson.dumps(value, default=_plain)
    except orjson.JSONEncodeError as error:
        raise TypeError(str(error.__cause__ or error)) from None
    if b"null" in data:  # orjson writes NaN and the infinities as null
        _refuse_nan(value)
    return data


def _refuse_nan(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value} is not JSON")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_nan(item)


def quote(data: Any, limit: int = 200) -> str:
    """Return the first ``limit`` characters of text, bytes or a JSON value, for a message."""
    if isinstance(data, bytes):
        data = data[: 4 * limit].decode("utf-8", "replace")
    elif not isinstance(data, str):
        try:
            data = repr(data)
        except (RecursionError, ValueError):  # nested too deeply; a number with too many digits
            return f"{type(data).__name__} that is too large to show"
    return repr(data if len(data) <= limit else data[:limit] + "…")


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return to_dict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def repair_text(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD, so that it can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def redact(value: Any, secret: str) -> Any:
    """Return plain JSON values with the secret replaced in every string, keys included.

    Applied after decoding, so the escapes that JSON allows cannot hide it.
    """
    if isinstance(value, str):
        return value.replace(secret, "***") if secret else value
    if isinstance(value, dict):
        return {redact(key, secret): redact(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item, secret) for item in value]
    return value


def repaired(value: Any) -> Any:
    """``repair_text`` for every string in plain JSON values."""
    if isinstance(value, str):
        return value if value.isascii() else repair_text(value)
    if isinstance(value, dict):
        return {repair_text(key): repaired(item) for key, item in value.items()}
    if isinstance(value, list):
        return [repaired(item) for item in value]
    return value


# --- values -----------------------------------------------------------------------------------

# Set by this library, not in the JSON.
_LOCAL = ("extra", "request_id", "cost", "attempts", "headers")


def _text(value: Any, _: Any = None) -> str:
    if type(value) is str:
        return value
    raise DecodeError(f"expected text, got {quote(value)}")


def _content(value: Any, _: Any = None) -> str | list[Any]:
    if type(value) is not list:
        return _text(value)
    # A part that is only text would have no text for readers of parts.
    return [{"type": "text", "text": part} if type(part) is str else part for part in value]


def _finish_reason(value: Any, _: Any = None) -> str | None:
    """Nothing is what some servers write for null: "" (sglang, Ollama, LocalAI), false or 0."""
    return _text(value) if value else None


def _json_text(value: Any, _: Any = None) -> str:
    """A call's arguments: JSON text, or the object itself, as some servers send it."""
    return dumps(value).decode() if type(value) is dict else _text(value)


def _integer(value: Any, _: Any = None) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise DecodeError(f"expected an integer, got {quote(value)}")


def _index(value: Any, _: Any = None) -> int:
    if type(value) is str and value.isdecimal() and len(value) < 10:
        return int(value)
    return _integer(value)


def _seconds(value: Any, _: Any = None) -> int:
    return int(_number(value)) if type(value) is float else _integer(value)


def _number(value: Any, _: Any = None) -> float:
    if type(value) in (int, float):
        with contextlib.suppress(OverflowError):
            if math.isfinite(number := float(value)):
                return number
    raise DecodeError(f"expected a number, got {quote(value)}")


def _object(value: Any, _: Any = None) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise DecodeError(f"expected an object, got {quote(value)}")


_Structure = Callable[[Any, Any], Any]

# Fields that hold the answer itself: an unexpected type here is an error. Any other field with an
# unexpected type is kept in ``extra``.
_REQUIRED: dict[type, tuple[str, ...]] = {
    ChatCompletion: ("choices",),
    Choice: ("index", "message", "finish_reason"),
    Message: ("content", "refusal", "tool_calls"),
    ToolCall: ("function",),
    FunctionCall: ("name", "arguments"),
    ChatCompletionChunk: ("choices",),
    ChunkChoice: ("index", "delta", "finish_reason"),
    Delta: ("content", "refusal", "tool_calls"),
    ToolCallDelta: ("index", "function"),
    FunctionCallDelta: ("name", "arguments"),
}
_HOOKS: dict[tuple[type, str], _Structure] = {
    (Message, "content"): _content,
    (Delta, "content"): _content,
    (Choice, "finish_reason"): _finish_reason,
    (ChunkChoice, "finish_reason"): _finish_reason,
    (FunctionCall, "arguments"): _json_text,
    (FunctionCallDelta, "arguments"): _json_text,
    (Choice, "index"): _index,
    (ChunkChoice, "index"): _index,
    (ToolCallDelta, "index"): _index,
    (ChatCompletion, "created"): _seconds,
    (ChatCompletionChunk, "created"): _seconds,
}
_RESPONSE_CLASSES: tuple[type, ...] = (
    TopLogprob,
    TokenLogprob,
    Logprobs,
    Usage,
    FunctionCall,
    ToolCall,
    Message,
    Choice,
    ChatCompletion,
    FunctionCallDelta,
    ToolCallDelta,
    Delta,
    ChunkChoice,
    ChatCompletionChunk,
)


def _structure_function(cls: type, converter: "Converter") -> _Structure:
    """Return the function that decodes one class.

    cattrs generates it; null, unknown and unexpected fields are handled around it.
    """
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415 - see the imports

    names = [a.name for a in attrs.fields(cls) if a.name not in _LOCAL]
    known = frozenset(names)
    required = _REQUIRED.get(cls, ())
    hooks: dict[str, Any] = _omit(cls, _LOCAL) | {
        name: override(struct_hook=_HOOKS[cls, name]) for name in names if (cls, name) in _HOOKS
    }
    read = make_dict_structure_fn(
        cast("type[Any]", cls), converter, _cattrs_detailed_validation=False, **hooks
    )

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise DecodeError(f"expected a {cls.__name__}, got {quote(value)}")
        present = {k: v for k, v in value.items() if v is not None}
        try:
            result = read(present, cls)
        except (DecodeError, TypeError) as error:
            result = read_around(present, error)
        else:
            if not present.keys() <= known:
                result.extra = {k: v for k, v in present.items() if k not in known}
        return result

    # Keeps the fields of an unexpected type in ``extra``, unless they hold the answer itself.
    def read_around(present: dict[str, Any], error: Exception) -> Any:
        kept = {k: v for k, v in present.items() if k not in known}
        for name in names:
            if name in present:
                try:
                    read({name: present[name]}, cls)
                except (DecodeError, TypeError):
                    if name in required:
                        raise DecodeError(f"{cls.__name__}.{name}: {error}") from None
                    kept[name] = present.pop(name)
        result = read(present, cls)
        result.extra = kept
        return result

    return structure


def _omit(cls: type, names: tuple[str, ...]) -> dict[str, Any]:
    from cattrs.gen import override  # noqa: PLC0415 - see the imports

    return {a.name: override(omit=True) for a in attrs.fields(cls) if a.name in names}


def _unstructure_function(cls: type, converter: "Converter") -> Callable[[Any], dict[str, Any]]:
    """Return the function that encodes one class: None is left out, ``extra`` is put back."""
    from cattrs.gen import make_dict_unstructure_fn  # noqa: PLC0415 - see the imports

    skip = cast("Any", _omit(cls, _LOCAL))
    write = make_dict_unstructure_fn(cast("type[Any]", cls), converter, **skip)

    def unstructure(value: Any) -> dict[str, Any]:
        result = {k: v for k, v in write(value).items() if v is not None}
        extra = getattr(value, "extra", None)
        return result | extra if extra else result

    return unstructure


@functools.cache
def _converter() -> "Converter":
    from cattrs import Converter  # noqa: PLC0415 - see the imports

    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(lambda kind: kind == dict[str, Any], _object)
    for cls in _RESPONSE_CLASSES:  # leaves first: a class's function looks up those of its fields
        converter.register_structure_hook(cls, _structure_function(cls, converter))
    converter.register_unstructure_hook_factory(attrs.has, _unstructure_factory(converter))
    return converter


def _unstructure_factory(converter: "Converter") -> Callable[[Any], Callable[[Any], Any]]:
    return lambda cls: _unstructure_function(cls, converter)


def prepare() -> None:
    """Import cattrs and build the converter, about 30 ms of work, instead of on first use.

    For a thread, before the first request: on the event loop it would delay every other task.
    """
    _converter()


def structure(value: Any, cls: type[T]) -> T:
    """Decode plain values as a value of ``cls``. Raises ``DecodeError``."""
    try:
        return _converter().structure(value, cls)
    except (TypeError, RecursionError) as error:
        raise DecodeError(f"not a {cls.__name__}: {error}") from None


def to_dict(value: Any) -> dict[str, Any]:
    """Return a message, tool, completion or chunk as the plain dict that the API uses.

    Fields that are None are left out; those kept in ``extra`` return to their place.
    """
    result = _converter().unstructure(value)
    return cast("dict[str, Any]", result)


def decode_completion(data: bytes) -> ChatCompletion:
    """Decode a response body, with its cost if it reports one. Raises ``DecodeError``."""
    return completion_from(loads(data))


def completion_from(body: Any) -> ChatCompletion:
    """As ``decode_completion``, from plain values."""
    if type(body) is not dict or type(body.get("choices")) is not list:
        raise DecodeError(f"not a chat completion: {quote(body)}")
    completion = structure(body, ChatCompletion)
    for choice in completion.choices:
        # An empty list means the same as no list; with one spelling, completions can be compared.
        choice.message.tool_calls = choice.message.tool_calls or None
    completion.cost = cost_from(body.get("meta"))
    return completion


def cost_from(meta: Any, headers: Mapping[str, str] | None = None) -> Cost | None:
    """Return the cost in a body's ``meta.usage`` or in the ``x-aimlapi-*`` headers, or None."""
    usage = meta.get("usage") if type(meta) is dict else None
    reported = usage if type(usage) is dict else {}
    if headers is not None:
        reported = {
            "credits_used": headers.get("x-aimlapi-credits-used"),
            "usd_spent": headers.get("x-aimlapi-usd-spent"),
        }
    values = [_optional_number(reported.get(name)) for name in ("credits_used", "usd_spent")]
    return None if values == [None, None] else Cost(*values)


def _optional_number(value: Any) -> float | None:
    try:
        number = None if value is None or type(value) is bool else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None
