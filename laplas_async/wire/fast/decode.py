"""Common chunks built directly from their JSON: what one choice adds or its end, or usage alone.

The general path (cattrs) gives the same value three times slower; in a stream whose events all
differ in some field (a time, padding) each of them is read here. It refuses everything unusual:
None sends the body to the general path.
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final

from laplas_async.types import (
    ChatCompletionChunk,
    ChunkChoice,
    Delta,
    FunctionCallDelta,
    Logprobs,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from laplas_async.wire.codec import DecodeError, structure

_CHUNK: Final = frozenset({"id", "choices", "created", "model", "usage", "object"})
_CHOICE: Final = frozenset({"index", "delta", "finish_reason", "logprobs"})
_LOGPROBS: Final = frozenset({"content", "refusal"})
_TOKEN: Final = {"token", "logprob", "bytes", "top_logprobs"}
_TOP: Final = {"token", "logprob", "bytes"}
_new: Any = object.__new__
_INTEGERS: Final = frozenset({int})
_CALL: Final = frozenset({"index", "id", "type", "function"})
_FUNCTION: Final = frozenset({"name", "arguments"})
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
    if type(choice) is not dict:
        return None
    logprobs: Any = choice.get("logprobs")
    if logprobs is not None and (logprobs := direct_logprobs(logprobs)) is None:
        return None
    delta: Any = choice.get("delta")
    if type(delta) is not dict or delta.get("refusal") is not None:
        return None
    calls: Any = delta.get("tool_calls")
    if calls is not None and (calls := _calls(calls)) is None:
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
        Delta(role, content, None, calls, _others(delta, _DELTA)),
        reason or None,  # some servers write an empty reason for null
        logprobs,
        _others(choice, _CHOICE),
    )


def direct_logprobs(value: Any) -> Logprobs | None:
    """The log probabilities in a choice; None if they are not of the common kind."""
    if type(value) is not dict or not value.keys() <= _LOGPROBS or value.get("refusal") is not None:
        return None
    content: Any = value.get("content")
    if type(content) is not list:
        return None
    made: Logprobs = _new(Logprobs)
    made.content = tokens = []
    made.refusal = None
    made.extra = {}
    for item in content:
        token: TokenLogprob = _new(TokenLogprob)
        if not _fill(token, item, _TOKEN):
            return None
        top: Any = item["top_logprobs"]
        if type(top) is not list:
            return None
        token.top_logprobs = alternatives = []
        for one in top:
            alternative: TopLogprob = _new(TopLogprob)
            if not _fill(alternative, one, _TOP):
                return None
            alternatives.append(alternative)
        tokens.append(token)
    return made


def _fill(made: TokenLogprob | TopLogprob, item: Any, names: AbstractSet[str]) -> bool:
    """Set what a token and an alternative share; False if the JSON is not of the common kind."""
    if type(item) is not dict or item.keys() != names:
        return False
    token, logprob, data = item["token"], item["logprob"], item["bytes"]
    if type(token) is not str or type(logprob) is not float or type(data) is not list:
        return False
    if not _INTEGERS.issuperset(map(type, data)):
        return False
    # Field by field, as in ``text_form``: the calls of ``__init__`` would double the time.
    made.token = token
    made.logprob = logprob
    made.bytes = data
    made.extra = {}
    return True


def _calls(value: Any) -> list[ToolCallDelta] | None:
    if type(value) is not list:
        return None
    calls = [_call(item) for item in value]
    return None if None in calls else calls  # type: ignore[return-value]


def _call(item: Any) -> ToolCallDelta | None:
    if type(item) is not dict or not item.keys() <= _CALL:
        return None
    get = item.get
    index, id_, kind, function = get("index"), get("id"), get("type"), get("function")
    if not (
        type(index) is int
        and (id_ is None or type(id_) is str)
        and (kind is None or type(kind) is str)
        and type(function) is dict
        and function.keys() <= _FUNCTION
    ):
        return None
    name, arguments = function.get("name"), function.get("arguments")
    if not ((name is None or type(name) is str) and (arguments is None or type(arguments) is str)):
        return None
    return ToolCallDelta(index, id_, kind, FunctionCallDelta(name, arguments))


def _others(values: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if values.keys() <= known:
        return {}
    return {
        name: value for name, value in values.items() if name not in known and value is not None
    }
