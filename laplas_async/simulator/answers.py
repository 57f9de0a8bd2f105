"""The answer to a request body: the same body always gets the same answer.

Pure: no clock, no chance but `Dice`. It takes a body that `checks.faults_of` has passed and
refuses to look at `stream` and `stream_options`, so a streamed answer equals the unstreamed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import orjson
from attrs import frozen

from laplas_async.simulator.rng import Dice
from laplas_async.simulator.schema.generate import instance_text
from laplas_async.simulator.text import paragraph, sentence, tokens

DEFAULT_MAX_TOKENS: Final = 512
_STREAM_FIELDS: Final = ("stream", "stream_options")
_CREATED: Final = 1_750_000_000
_LONG: Final = ("story", "essay", "long")


@frozen
class Call:
    """One tool call; `arguments` is JSON text, cut short only where max_tokens cut it."""

    id: str
    name: str
    arguments: str
    pieces: tuple[str, ...]


@frozen
class Choice:
    """One choice: text in tokens, or tool calls (then `tokens` is None)."""

    index: int
    finish_reason: str
    tokens: tuple[str, ...] | None
    calls: tuple[Call, ...] = ()

    @property
    def text(self) -> str | None:
        """The whole text, or None where the choice calls tools."""
        return None if self.tokens is None else "".join(self.tokens)


@frozen
class Answer:
    """An answer before it is written down as JSON or as events.

    `completion_tokens` counts what was generated, over all choices; an echoed prompt is in
    `prompt_tokens` already. `top_logprobs` is None where no log probabilities were asked for.
    """

    id: str
    created: int
    model: str
    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int
    top_logprobs: int | None = None
    costs: bool = False


def answer(body: dict[str, Any], *, costs: bool = False) -> Answer:
    """Answer a checked request body; with `costs` the answer tells what it cost.

    ValueError: a schema in it that is none, which only answering it finds out.
    """
    kept = {name: value for name, value in body.items() if name not in _STREAM_FIELDS}
    try:
        whole = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        msg = f"the body is nested too deeply: {error}"
        raise ValueError(msg) from error
    digest = blake2b(whole, digest_size=12).digest()
    key = orjson.dumps([body["messages"], body.get("seed")], option=orjson.OPT_SORT_KEYS)
    made = [_choice(body, key, digest, index) for index in range(int(body.get("n") or 1))]
    logprobs = bool(body.get("logprobs"))
    return Answer(
        id=f"sim-{digest.hex()}",
        created=_CREATED + int.from_bytes(digest[:3], "big"),
        model=body["model"],
        choices=tuple(choice for choice, _ in made),
        prompt_tokens=prompt_tokens(body),
        completion_tokens=sum(count for _, count in made),
        top_logprobs=int(body.get("top_logprobs") or 0) if logprobs else None,
        costs=costs,
    )


def prompt_tokens(body: dict[str, Any]) -> int:
    """Count the prompt: about four characters a token, three more for each message."""
    total = 3
    for message in body["messages"]:
        total += 3 + len(text_of(message.get("content"))) // 4
        if calls := message.get("tool_calls"):
            total += len(orjson.dumps(calls)) // 4
    if tools := body.get("tools"):
        total += len(orjson.dumps(tools)) // 4
    return total


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, a list of parts, or None."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return ""


def _choice(body: dict[str, Any], key: bytes, digest: bytes, index: int) -> tuple[Choice, int]:
    dice = Dice(key, index)
    limit = int(body.get("max_tokens") or DEFAULT_MAX_TOKENS)
    if called := _tools_to_call(body):
        return _calling(called, dice, Dice(digest, index), index=index, limit=limit)
    fixed = _json_text(body, dice)
    text = _prose(body, dice) if fixed is None else fixed
    cut = _before_stop(text, body.get("stop"))
    made = tokens(cut)
    reason = "stop"
    if len(made) > limit:
        made = made[:limit]
        reason = "length"
    # An echo in front of JSON would spoil it, so it is left out there.
    shown = tokens(_last_user_text(body)) if body.get("echo") and fixed is None else []
    return Choice(index=index, finish_reason=reason, tokens=(*shown, *made)), len(made)


def _prose(body: dict[str, Any], dice: Dice) -> str:
    asked = _last_user_text(body).lower()
    many = any(word in asked for word in _LONG)
    return paragraph(dice, dice.between(14, 22) if many else dice.between(2, 5))


def _json_text(body: dict[str, Any], dice: Dice) -> str | None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        value = {"answer": sentence(dice), "confidence": dice.below(100) / 100, "café": "日本"}
        return orjson.dumps(value).decode()
    if wanted.get("type") == "json_schema":
        return instance_text(wanted["json_schema"].get("schema") or {}, dice)
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
    """Return the functions to call: none for a text answer, two if calls may be parallel."""
    functions: list[dict[str, Any]] = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice", "auto")
    if not functions or choice == "none":
        return []
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return [function for function in functions if function["name"] == name][:1]
    if choice == "auto" and body["messages"][-1]["role"] != "user":
        return []
    # A user who names a tool in the last message gets that one: easy to steer from a test.
    asked = _last_user_text(body)
    functions.sort(key=lambda function: function["name"] not in asked)
    return functions[: 2 if body.get("parallel_tool_calls") is True else 1]


def _calling(
    called: list[dict[str, Any]], dice: Dice, ids: Dice, *, index: int, limit: int
) -> tuple[Choice, int]:
    calls: list[Call] = []
    used = 0
    reason = "tool_calls"
    for function in called:
        pieces = tokens(instance_text(function.get("parameters") or {"type": "object"}, dice))
        if used + len(pieces) > limit:
            pieces = pieces[: limit - used]
            reason = "length"
        used += len(pieces)
        calls.append(
            Call(
                id=f"call_{ids.number():016x}",
                name=function["name"],
                arguments="".join(pieces),
                pieces=tuple(pieces),
            )
        )
        if reason == "length":
            break
    return Choice(index=index, finish_reason=reason, tokens=None, calls=tuple(calls)), used
