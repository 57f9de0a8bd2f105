"""Common chunks built directly from their JSON: text or the end of one choice, or usage alone.

The general path (cattrs) gives the same value three times slower; in a stream whose events all
differ in some field (a time, padding) each of them is read here. It refuses everything unusual:
None sends the body to the general path.
"""

from typing import Any, Final

from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta, Usage
from laplas_async.wire.codec import DecodeError, structure

_CHUNK: Final = frozenset({"id", "choices", "created", "model", "usage", "object"})
_CHOICE: Final = frozenset({"index", "delta", "finish_reason", "logprobs"})
_DELTA: Final = frozenset({"role", "content", "refusal", "tool_calls"})


def direct_chunk(body: dict[str, Any]) -> ChatCompletionChunk | None:
    """The chunk of a body; None if it is not of the common kind."""
    get = body.get
    id_: Any = get("id")
    model: Any = get("model")
    object_: Any = get("object")
    created: Any = get("created")
    if not (type(id_) is type(model) is type(object_) is str and type(created) is int):
        return None
    choices, usage = get("choices"), get("usage")
    if type(choices) is not list:
        return None
    if choices:
        choice = _choice(choices[0]) if len(choices) == 1 and usage is None else None
        if choice is None:
            return None
        choices = [choice]
    elif usage is not None:
        try:
            usage = structure(usage, Usage)
        except DecodeError:
            return None
    return ChatCompletionChunk(id_, choices, created, model, usage, object_, _others(body, _CHUNK))


def _choice(choice: Any) -> ChunkChoice | None:
    if type(choice) is not dict or choice.get("logprobs") is not None:
        return None
    delta: Any = choice.get("delta")
    if (
        type(delta) is not dict
        or delta.get("tool_calls") is not None
        or delta.get("refusal") is not None
    ):
        return None
    content: Any = delta.get("content")
    role: Any = delta.get("role")
    reason: Any = choice.get("finish_reason")
    index: Any = choice.get("index")
    if not (
        (type(content) is str or content is None)
        and (role is None or type(role) is str)
        and (reason is None or type(reason) is str)
        and type(index) is int
    ):
        return None
    return ChunkChoice(
        index,
        Delta(role, content, None, None, _others(delta, _DELTA)),
        reason or None,  # some servers write an empty reason for null
        None,
        _others(choice, _CHOICE),
    )


def _others(values: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if values.keys() <= known:
        return {}
    return {
        name: value for name, value in values.items() if name not in known and value is not None
    }
