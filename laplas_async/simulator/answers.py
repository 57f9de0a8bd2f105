"""What the simulator generates for a request body: the same body always gives the same answer.

Pure: no clock, and no randomness but ``SeededRandom``. It expects a body without validation errors
and refuses to look at ``stream`` and ``stream_options``, so that streamed and plain answers are
equal.
"""

from hashlib import blake2b
from typing import Any, Final

import orjson
from attrs import frozen

from laplas_async.simulator.rng import SeededRandom
from laplas_async.simulator.schema.generate import instance_text
from laplas_async.simulator.text import paragraph, sentence, tokens

DEFAULT_MAX_TOKENS: Final = 512
_STREAM_FIELDS: Final = ("stream", "stream_options")
# ``created`` is this plus up to 24 bits of the request's hash: plausible and reproducible seconds.
_CREATED: Final = 1_750_000_000
# A prompt with one of these words gets 14 to 22 sentences, others 2 to 5.
_LONG: Final = ("story", "essay", "long")


@frozen
class ToolCall:
    """One tool call; ``arguments`` is JSON text, incomplete only if max_tokens cut it."""

    id: str
    name: str
    arguments: str
    pieces: tuple[str, ...]


@frozen
class AnswerChoice:
    """One choice: text as tokens, or tool calls (then ``tokens`` is None)."""

    index: int
    finish_reason: str
    tokens: tuple[str, ...] | None
    calls: tuple[ToolCall, ...] = ()

    @property
    def text(self) -> str | None:
        """The whole text, or None if the choice calls tools."""
        return None if self.tokens is None else "".join(self.tokens)


@frozen
class Answer:
    """An answer before it is encoded as a completion or as events.

    ``completion_tokens`` counts the generated tokens of all choices; an echoed prompt is counted in
    ``prompt_tokens`` only. ``top_logprobs`` is None if no log probabilities were requested.
    ``costs`` adds the cost to the response.
    """

    id: str
    created: int
    model: str
    choices: tuple[AnswerChoice, ...]
    prompt_tokens: int
    completion_tokens: int
    top_logprobs: int | None = None
    costs: bool = False


def make_answer(body: dict[str, Any], *, costs: bool = False) -> Answer:
    """Return the answer to a validated request body.

    Raises ``ValueError`` for an invalid JSON schema, which only generating the answer finds.
    """
    kept = {name: value for name, value in body.items() if name not in _STREAM_FIELDS}
    try:
        whole = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ValueError(f"the body is nested too deeply: {error}") from error
    digest = blake2b(whole, digest_size=12).digest()
    key = orjson.dumps([body["messages"], body.get("seed")], option=orjson.OPT_SORT_KEYS)
    generated = [_choice(body, key, digest, index) for index in range(int(body.get("n") or 1))]
    logprobs = bool(body.get("logprobs"))
    return Answer(
        id=f"sim-{digest.hex()}",
        created=_CREATED + int.from_bytes(digest[:3], "big"),
        model=body["model"],
        choices=tuple(choice for choice, _ in generated),
        prompt_tokens=prompt_tokens(body),
        completion_tokens=sum(count for _, count in generated),
        top_logprobs=int(body.get("top_logprobs") or 0) if logprobs else None,
        costs=costs,
    )


def prompt_tokens(body: dict[str, Any]) -> int:
    """Count the prompt's tokens: one per four characters and three per message."""
    total = 3
    for message in body["messages"]:
        total += 3 + len(text_of(message.get("content"))) // 4
        if calls := message.get("tool_calls"):
            total += len(orjson.dumps(calls)) // 4
    if tools := body.get("tools"):
        total += len(orjson.dumps(tools)) // 4
    return total


def text_of(content: Any) -> str:
    """Return the text of a message's content, which is a string, a list of parts, or None."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return ""


def _choice(
    body: dict[str, Any], key: bytes, digest: bytes, index: int
) -> tuple[AnswerChoice, int]:
    random = SeededRandom(key, index)
    limit = int(body.get("max_tokens") or DEFAULT_MAX_TOKENS)
    if functions := _tools_to_call(body):
        return _call_tools(functions, random, SeededRandom(digest, index), index=index, limit=limit)
    fixed = _json_text(body, random)
    text = _prose(body, random) if fixed is None else fixed
    generated = tokens(_before_stop(text, body.get("stop")))
    reason = "stop"
    if len(generated) > limit:
        generated = generated[:limit]
        reason = "length"
    # An echo in front of JSON would make it invalid, so it is left out there.
    echo = tokens(_last_user_text(body)) if body.get("echo") and fixed is None else []
    choice = AnswerChoice(index=index, finish_reason=reason, tokens=(*echo, *generated))
    return choice, len(generated)


def _prose(body: dict[str, Any], random: SeededRandom) -> str:
    prompt = _last_user_text(body).lower()
    long = any(word in prompt for word in _LONG)
    return paragraph(random, random.between(14, 22) if long else random.between(2, 5))


def _json_text(body: dict[str, Any], random: SeededRandom) -> str | None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        value = {"answer": sentence(random), "confidence": random.below(100) / 100, "café": "日本"}
        return orjson.dumps(value).decode()
    if wanted.get("type") == "json_schema":
        return instance_text(wanted["json_schema"].get("schema") or {}, random)
    return None


def _before_stop(text: str, stop: Any) -> str:
    marks = [stop] if isinstance(stop, str) else stop or []
    found = [at for mark in marks if mark and (at := text.find(mark)) >= 0]
    return text[: min(found)] if found else text


def _last_user_text(body: dict[str, Any]) -> str:
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            return text_of(message.get("content"))
    return ""


def _tools_to_call(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the functions to call: none for a text answer, two if parallel calls are allowed."""
    functions: list[dict[str, Any]] = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice", "auto")
    if not functions or choice == "none":
        return []
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return [function for function in functions if function["name"] == name][:1]
    if choice == "auto" and body["messages"][-1]["role"] != "user":
        return []
    # A tool named in the last user message is called first, so that a test can choose it.
    prompt = _last_user_text(body)
    functions.sort(key=lambda function: function["name"] not in prompt)
    return functions[: 2 if body.get("parallel_tool_calls") is True else 1]


def _call_tools(
    functions: list[dict[str, Any]],
    random: SeededRandom,
    ids: SeededRandom,
    *,
    index: int,
    limit: int,
) -> tuple[AnswerChoice, int]:
    calls: list[ToolCall] = []
    used = 0
    reason = "tool_calls"
    for function in functions:
        pieces = tokens(instance_text(function.get("parameters") or {"type": "object"}, random))
        if used + len(pieces) > limit:
            pieces = pieces[: limit - used]
            reason = "length"
        used += len(pieces)
        calls.append(
            ToolCall(
                id=f"call_{ids.number():016x}",
                name=function["name"],
                arguments="".join(pieces),
                pieces=tuple(pieces),
            )
        )
        if reason == "length":
            break
    return AnswerChoice(index=index, finish_reason=reason, tokens=None, calls=tuple(calls)), used
