"""The common chunk, straight from its JSON: text for one choice, and nothing that needs judging.

What cattrs makes of any body it makes of these too, at thrice the time; a stream whose events all
differ in some field (a time, a padding against eavesdroppers) has each of them read here. It
refuses whatever is odd: the answer None sends the body the long way.
"""

from typing import Any, Final

from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta

_CHUNK: Final = frozenset({"id", "choices", "created", "model", "usage", "object"})
_CHOICE: Final = frozenset({"index", "delta", "finish_reason", "logprobs"})
_DELTA: Final = frozenset({"role", "content", "refusal", "tool_calls"})


def direct_chunk(body: dict[str, Any]) -> ChatCompletionChunk | None:
    """The chunk of a body, or None if it is not of the common kind."""
    get = body.get
    choices = get("choices")
    if type(choices) is not list or len(choices) != 1 or get("usage") is not None:
        return None
    choice = choices[0]
    if type(choice) is not dict or choice.get("logprobs") is not None:
        return None
    delta = choice.get("delta")
    if (
        type(delta) is not dict
        or delta.get("tool_calls") is not None
        or delta.get("refusal") is not None
        or choice.get("finish_reason") is not None
    ):
        return None
    content: Any = delta.get("content")
    role: Any = delta.get("role")
    index: Any = choice.get("index")
    id_: Any = get("id")
    model: Any = get("model")
    created: Any = get("created")
    object_: Any = get("object")
    if not (
        type(content) is type(id_) is type(model) is type(object_) is str
        and type(index) is type(created) is int
        and (role is None or type(role) is str)
    ):
        return None
    return ChatCompletionChunk(
        id_,
        [
            ChunkChoice(
                index,
                Delta(role, content, None, None, _others(delta, _DELTA)),
                None,
                None,
                _others(choice, _CHOICE),
            )
        ],
        created,
        model,
        None,
        object_,
        _others(body, _CHUNK),
    )


def _others(values: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if values.keys() <= known:
        return {}
    return {
        name: value for name, value in values.items() if name not in known and value is not None
    }
