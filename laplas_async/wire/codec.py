"""JSON to values and back: the one place that knows cattrs and the JSON library.

Reading is tolerant where nothing is lost by it: null is "not there", an unknown field is kept in
``extra``, and so is a field beside the text (usage, logprobs, an id) that has an odd shape. It is
strict where text would be lost or invented: a content that is no text is a ``DecodeError``.

It refuses to judge: whether a request is right says ``wire.request``, whether a stream is whole
says ``stream``.
"""

import contextlib
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import attrs
import orjson
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

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

T = TypeVar("T")


class DecodeError(ValueError):
    """The bytes are not JSON, or not of the shape; ``str`` says which and quotes a little."""


# --- JSON -------------------------------------------------------------------------------------


def loads(data: bytes) -> Any:
    """JSON bytes to plain values. Invalid UTF-8 and lone surrogates become U+FFFD.

    Raises ``DecodeError``.
    """
    try:
        return orjson.loads(data) if len(data) <= LARGE else loads_large(data)
    except orjson.JSONDecodeError:
        pass
    # orjson is strict about two things that real servers write: a \\ud83d without its partner,
    # and bytes that are no UTF-8.
    try:
        return mended(loads_raw(data))
    except RecursionError:
        raise DecodeError(f"nested too deep: {quote(data)}") from None


def loads_raw(data: bytes) -> Any:
    """As ``loads``, but lone surrogates stay, for a reader who may yet find their partner."""
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON ({error}): {quote(data)}") from None


def dumps(value: Any) -> bytes:
    """Plain values, attrs values in them too, to JSON bytes (UTF-8).

    Raises ``TypeError`` for what JSON cannot hold, text with lone surrogates included.
    """
    try:
        data = orjson.dumps(value, default=_plain)
    except orjson.JSONEncodeError as error:
        raise TypeError(str(error.__cause__ or error)) from None
    if b"null" in data:  # so orjson writes NaN and the infinities, which JSON cannot hold
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
    """The first ``limit`` characters of a text, bytes or JSON value, for an error's words."""
    if isinstance(data, bytes):
        data = data[: 4 * limit].decode("utf-8", "replace")
    elif not isinstance(data, str):
        try:
            data = repr(data)
        except (RecursionError, ValueError):  # nested too deep; a number of too many digits
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


def mend(text: str) -> str:
    """Text that can be encoded: each lone surrogate becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def without(value: Any, secret: str) -> Any:
    """Plain JSON values with the secret taken out of every text, however JSON had spelled it."""
    if isinstance(value, str):
        return value.replace(secret, "***") if secret else value
    if isinstance(value, dict):
        return {without(key, secret): without(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [without(item, secret) for item in value]
    return value


def mended(value: Any) -> Any:
    """``mend`` for every text in plain JSON values."""
    if isinstance(value, str):
        return value if value.isascii() else mend(value)
    if isinstance(value, dict):
        return {mend(key): mended(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mended(item) for item in value]
    return value


# --- values -----------------------------------------------------------------------------------

_LOCAL = ("extra", "request_id", "cost", "attempts")  # ours, not the wire's


def _text(value: Any, _: Any = None) -> str:
    if type(value) is str:
        return value
    raise DecodeError(f"expected text, got {quote(value)}")


def _delta_text(value: Any, _: Any = None) -> str:
    """Content in parts, as some servers stream it, is the text of its text parts."""
    if type(value) is list:
        return "".join(
            _text(part.get("text", "")) for part in value if type(part) is dict and "text" in part
        )
    return _text(value)


def _content(value: Any, _: Any = None) -> str | list[Any]:
    return value if type(value) is list else _text(value)


def _json_text(value: Any, _: Any = None) -> str:
    """Arguments of a call: JSON text, or the object itself as some servers give it."""
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

# Without these there is no answer; any other field that does not fit is kept in ``extra``.
_VITAL: dict[type, tuple[str, ...]] = {
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
    (Delta, "content"): _delta_text,
    (FunctionCall, "arguments"): _json_text,
    (FunctionCallDelta, "arguments"): _json_text,
    (Choice, "index"): _index,
    (ChunkChoice, "index"): _index,
    (ToolCallDelta, "index"): _index,
    (ChatCompletion, "created"): _seconds,
    (ChatCompletionChunk, "created"): _seconds,
}
_ANSWERS: tuple[type, ...] = (
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


def _reader(cls: type, converter: Converter) -> _Structure:
    """The function that reads one class: cattrs' own; null, unknown and odd fields are ours."""
    names = [a.name for a in attrs.fields(cls) if a.name not in _LOCAL]
    known = frozenset(names)
    vital = _VITAL.get(cls, ())
    hooks: dict[str, Any] = _without_local(cls) | {
        name: override(struct_hook=_HOOKS[cls, name]) for name in names if (cls, name) in _HOOKS
    }
    read = make_dict_structure_fn(
        cast("type[Any]", cls), converter, _cattrs_detailed_validation=False, **hooks
    )

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise DecodeError(f"expected a {cls.__name__}, got {quote(value)}")
        there = {k: v for k, v in value.items() if v is not None}
        try:
            result = read(there, cls)
        except (DecodeError, TypeError) as error:
            result = odd(there, error)
        else:
            if not there.keys() <= known:
                result.extra = {k: v for k, v in there.items() if k not in known}
        return result

    # What does not fit is kept as it is, unless it is what the answer is about.
    def odd(there: dict[str, Any], error: Exception) -> Any:
        kept = {k: v for k, v in there.items() if k not in known}
        for name in names:
            if name in there:
                try:
                    read({name: there[name]}, cls)
                except (DecodeError, TypeError):
                    if name in vital:
                        raise DecodeError(f"{cls.__name__}.{name}: {error}") from None
                    kept[name] = there.pop(name)
        result = read(there, cls)
        result.extra = kept
        return result

    return structure


def _without_local(cls: type) -> dict[str, Any]:
    return {a.name: override(omit=True) for a in attrs.fields(cls) if a.name in _LOCAL}


def _writer(cls: type, converter: Converter) -> Callable[[Any], dict[str, Any]]:
    """The function that writes one class: what is None is left out, ``extra`` is put back."""
    skip = {a.name: override(omit=True) for a in attrs.fields(cls) if a.name in (*_LOCAL, "extra")}
    write = make_dict_unstructure_fn(cast("type[Any]", cls), converter, **cast("Any", skip))

    def unstructure(value: Any) -> dict[str, Any]:
        result = {k: v for k, v in write(value).items() if v is not None}
        extra = getattr(value, "extra", None)
        return result | extra if extra else result

    return unstructure


@functools.cache  # made when first used: importing the library is not to wait for it
def _converter() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(lambda kind: kind == dict[str, Any], _object)
    for cls in _ANSWERS:  # leaves first: each is found by the ones that hold it
        converter.register_structure_hook(cls, _reader(cls, converter))
    converter.register_unstructure_hook_factory(attrs.has, _writer_factory(converter))
    return converter


def _writer_factory(converter: Converter) -> Callable[[Any], Callable[[Any], Any]]:
    return lambda cls: _writer(cls, converter)


def structure(value: Any, cls: type[T]) -> T:
    """Plain values to a value of ``cls``. Raises ``DecodeError``."""
    try:
        return _converter().structure(value, cls)
    except (TypeError, RecursionError) as error:
        raise DecodeError(f"not a {cls.__name__}: {error}") from None


def to_dict(value: Any) -> dict[str, Any]:
    """A message, tool, completion or chunk as the plain dict that the API would carry.

    What is None is left out; what was kept in ``extra`` is back in its place.
    """
    result = _converter().unstructure(value)
    return cast("dict[str, Any]", result)


def decode_completion(data: bytes) -> ChatCompletion:
    """The body of an answer, with its cost where it tells one. Raises ``DecodeError``."""
    return completion_from(loads(data))


def completion_from(body: Any) -> ChatCompletion:
    """As ``decode_completion``, from the JSON's plain values."""
    if type(body) is not dict or type(body.get("choices")) is not list:
        raise DecodeError(f"not a chat completion: {quote(body)}")
    completion = structure(body, ChatCompletion)
    for choice in completion.choices:
        # [] and nothing are the same; one spelling lets completions be compared.
        choice.message.tool_calls = choice.message.tool_calls or None
    completion.cost = cost_from(body.get("meta"))
    return completion


def cost_from(meta: Any, headers: Mapping[str, str] | None = None) -> Cost | None:
    """``meta.usage`` of a body, or the ``x-aimlapi-*`` headers, as a ``Cost``; None if not told."""
    usage = meta.get("usage") if type(meta) is dict else None
    told = usage if type(usage) is dict else {}
    if headers is not None:
        told = {
            "credits_used": headers.get("x-aimlapi-credits-used"),
            "usd_spent": headers.get("x-aimlapi-usd-spent"),
        }
    values = [_maybe_number(told.get(name)) for name in ("credits_used", "usd_spent")]
    return None if values == [None, None] else Cost(*values)


def _maybe_number(value: Any) -> float | None:
    try:
        number = None if value is None or type(value) is bool else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None
