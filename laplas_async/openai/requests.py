"""openai's arguments to the core client's: what each is called here, and how it is sent; pure.

It refuses to check values: the core does, before anything is sent.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import attrs

from laplas_async.errors import ConfigError
from laplas_async.openai.omitted import given, is_given
from laplas_async.openai.result_model import Model
from laplas_async.timeouts import Timeouts
from laplas_async.types import RequestParameters

# Sent as they are: fields of OpenAI's API that the service's page does not list.
_PASSED = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "metadata",
        "modalities",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
        "web_search_options",
    }
)
_CHECKED = frozenset(RequestParameters.__annotations__)
PARAMETERS = tuple(sorted(_PASSED | _CHECKED | {"max_completion_tokens"}))


def core_arguments(
    *,
    messages: Any,
    model: Any,
    extra_headers: Mapping[str, Any] | None,
    extra_query: Mapping[str, Any] | None,
    extra_body: Any,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """The keyword arguments of ``LaplasClient.complete`` and ``stream``.

    Raises ``TypeError`` for an argument that openai's method does not have either, in the words of
    one that does not exist.
    """
    parameters = given(dict(parameters))
    if (limit := parameters.pop("max_completion_tokens", None)) is not None:
        if parameters.get("max_tokens") not in (None, limit):
            raise ConfigError("max_tokens, max_completion_tokens: one limit; pass one of them")
        parameters["max_tokens"] = limit
    body: dict[str, Any] = {}
    keywords: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in _CHECKED and name not in _PASSED:
            raise TypeError(
                f"create() got an unexpected keyword argument {name!r}; "
                f"extra_body={{{name!r}: ...}} sends it as it is"
            )
        value = plain(value)  # noqa: PLW2901 - the same, as JSON has it
        if value is None or (name in ("tools", "functions") and value == []):
            continue
        (keywords if name in _CHECKED else body)[name] = value
    if isinstance(format_ := keywords.get("response_format"), type):
        raise TypeError(
            f"response_format={format_.__name__}: pass a class to chat.completions.parse()"
        )
    if is_given(extra_body) and extra_body is not None:
        body |= plain(extra_body)
    return keywords | {
        "model": model if is_given(model) else None,
        "messages": messages if isinstance(messages, str) else plain(messages),
        "extra_headers": dict(extra_headers or {}),
        "extra_query": given(dict(extra_query or {})) or None,
        "extra_body": body or None,
    }


def plain(value: Any) -> Any:
    """JSON's values: results and pydantic models as dicts, other iterables as lists."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, str | bytes | int | float | type):
        return value
    if isinstance(value, Model):
        return value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if is_given(item)}
    if attrs.has(type(value)):
        return value
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json", exclude_unset=True)
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return value


def timeouts_from(timeout: Any, default: Timeouts, *, stream: bool) -> Timeouts:
    """The core's bounds for openai's ``timeout``: seconds, an ``httpx.Timeout``, None for no bound.

    What bounds silence there does so here: for a stream the wait for the first content and for
    each next one, never the whole stream; for a plain call, whose response arrives at once, all
    of it.
    """
    if not is_given(timeout):
        return default
    if isinstance(timeout, Timeouts):
        return timeout
    if timeout is None or isinstance(timeout, int | float):
        connect = silence = timeout
    elif hasattr(timeout, "read") and hasattr(timeout, "connect"):
        connect, silence = timeout.connect, timeout.read
    else:
        raise ConfigError(f"timeout={timeout!r}: must be seconds, an httpx.Timeout, or None")
    return Timeouts(
        connect=connect,
        first_token=silence,
        idle=silence,
        total=None if stream else silence,
    )
