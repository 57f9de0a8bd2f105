"""The history of one chat: its turns, what they cost in tokens, and which of them still fit.

Pure: messages and counts in, messages and counts out. It refuses to know a tokenizer: the service
counts (``usage``), and only what it has not counted yet is estimated.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, frozen

from laplas_async.errors import APIError
from laplas_async.types import ChatCompletion, Usage
from laplas_async.wire.codec import repair_text

MessageDict = dict[str, Any]
State = Literal["open", "complete", "interrupted"]

# Tokens per byte of UTF-8 before the service has counted anything: English takes 4 to 4.5 bytes per
# token, code and Cyrillic 3 to 4, Chinese about 3 (one character). Of two errors, the smaller
# history is the harmless one (test_history: test_the_first_estimate_is_on_the_high_side).
_TOKENS_PER_BYTE = 0.33
# A measured ratio outside of these is a service that counts something else than the text.
_LEAST_RATIO, _LARGEST_RATIO = 0.05, 1.0
# What chat templates add around each message: 3 or 4 tokens, and the role.
_TOKENS_PER_MESSAGE = 5
# An image costs by its tiles, not by its bytes: 765 to 1,105 with OpenAI, 1,601 with Llama 3.2.
_TOKENS_PER_IMAGE = 1_600


@frozen
class Turn:
    """A question with everything that belongs to its answer, tool calls and results included.

    ``number`` orders the turns of a chat. ``messages`` are plain dicts as the API uses them.
    ``message_id`` identifies the message that was answered, so that its redelivery is recognised.
    ``state``: "complete"; "interrupted", when a part was shown or a newer message came first; or
    "open", when nothing was answered yet. ``tokens``: what it adds to a prompt as the service
    counts, None while that is unknown. A turn without messages only remembers its ``message_id``.
    """

    number: int
    messages: tuple[MessageDict, ...]
    message_id: str | None = None
    state: State = "complete"
    tokens: int | None = None


def size(messages: Sequence[Mapping[str, Any]], ratio: float | None = None) -> int:
    """Estimate the tokens of messages; ``ratio``: tokens per byte as measured in this chat."""
    data, images = _measure(messages)
    ratio = _TOKENS_PER_BYTE if ratio is None else ratio
    return round(data * ratio) + _TOKENS_PER_MESSAGE * len(messages) + _TOKENS_PER_IMAGE * images


def most(messages: Sequence[Mapping[str, Any]], ratio: float | None = None) -> int:
    """Estimate on the high side, for a message whose text may be unlike that of the chat so far."""
    return size(messages, max(ratio or 0.0, _TOKENS_PER_BYTE))


def ratio_of(messages: Sequence[Mapping[str, Any]], prompt_tokens: int) -> float | None:
    """Tokens per byte of a prompt that the service counted; None if that says nothing."""
    data, images = _measure(messages)
    tokens = prompt_tokens - _TOKENS_PER_MESSAGE * len(messages)
    if images or tokens <= 0 or not data:
        return None
    return min(max(tokens / data, _LEAST_RATIO), _LARGEST_RATIO)


def _measure(messages: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    data = images = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            data += len(content.encode("utf-8", "replace"))
        elif content is not None:
            texts = [part for part in content if part.get("type") == "text"]
            images += len(content) - len(texts)
            data += sum(len(part["text"].encode("utf-8", "replace")) for part in texts)
        for name in ("tool_calls", "name", "refusal"):
            if message.get(name):
                data += len(json.dumps(message[name], default=str))
    return data, images


def tokens_of(turn: Turn, ratio: float | None = None) -> int:
    """The tokens of a turn, counted or estimated."""
    return size(turn.messages, ratio) if turn.tokens is None else turn.tokens


def is_pinned(turn: Turn) -> bool:
    """Whether a turn is never trimmed: one that only instructs, in a history from elsewhere."""
    return all(message["role"] in ("system", "developer") for message in turn.messages)


def excess(turns: Sequence[Turn], fixed: int, limit: int, ratio: float | None = None) -> int:
    """How many of the oldest turns must go so that the rest fits into ``limit`` tokens.

    ``fixed``: the tokens of what stays in any case, the system message and the new question.
    """
    tokens = [tokens_of(turn, ratio) for turn in turns]
    total = fixed + sum(tokens)
    dropped = 0
    while dropped < len(turns) and total > limit:
        total -= tokens[dropped]
        dropped += 1
    return dropped


def count(
    turns: Sequence[Turn], turn: Turn, usage: Usage, *, system: int, question: int
) -> tuple[list[Turn], Turn, int]:
    """Set the tokens of the newest turn from the service's count, and correct the others by it.

    ``turns`` were sent before the question of ``turn``; ``system`` and ``question`` are what was
    assumed for these two. Returns turns, turn and system, whose sum is then what was counted.
    """
    kept = list(turns)
    assumed = system + sum(tokens_of(one) for one in kept) + question
    difference = usage.prompt_tokens - assumed
    if not kept and assumed:  # nothing but estimates: correct both alike
        system = round(system * usage.prompt_tokens / assumed)
        question = usage.prompt_tokens - system
    elif difference >= 0:
        question += difference
    else:
        # A completion's count includes what is not sent back, such as thoughts that the service
        # does not report: the previous turn was counted too high.
        question, rest = max(question + difference, 1), min(question + difference - 1, 0)
        kept[-1] = evolve(kept[-1], tokens=max(tokens_of(kept[-1]) + rest, 1))
    answer = max(usage.completion_tokens - usage.reasoning_tokens, 0)
    return kept, evolve(turn, tokens=question + answer), system


# As vLLM, OpenAI, Together, llama.cpp, Anthropic and Bedrock word it.
_TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum context|too many (input )?tokens|max_new_tokens"
    r"|(prompt|input|messages?|request|conversation) (is|are) too (long|large)"
    r"|(exceeds?|reduce) the .*(tokens|length of the (prompt|messages))",
    re.IGNORECASE,
)


def is_too_long(error: APIError) -> bool:
    """Whether the service refused a prompt for its length: then a shorter history may pass."""
    if error.status not in (400, 413, 422):
        return False
    return "context_length" in (error.code or "") or bool(_TOO_LONG.search(error.message))


def split_turns(messages: Sequence[MessageDict]) -> list[tuple[MessageDict, ...]]:
    """Cut messages into turns: each begins with the user's messages that follow an answer."""
    turns: list[list[MessageDict]] = []
    for message in messages:
        begins = message["role"] == "user" and not (turns and turns[-1][-1]["role"] == "user")
        if begins or not turns:
            turns.append([])
        turns[-1].append(message)
    return [tuple(turn) for turn in turns]


def pair_tools(messages: Sequence[MessageDict]) -> list[MessageDict]:
    """Drop calls that were never answered, and results that answer nothing.

    Services refuse a conversation that has either. An assistant's text stays; an assistant message
    that was nothing but such calls goes.
    """
    result: list[MessageDict] = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] in _open_calls(result):
                result.append(message)
        elif calls := message.get("tool_calls"):
            answered = _results_after(messages, at)
            kept = [call for call in calls if call["id"] in answered]
            message = {k: v for k, v in message.items() if k != "tool_calls"}  # noqa: PLW2901
            if kept:
                result.append({**message, "tool_calls": kept})
            elif message.get("content"):
                result.append(message)
        else:
            result.append(message)
    return result


def _results_after(messages: Sequence[MessageDict], at: int) -> set[str]:
    found = set()
    for message in messages[at + 1 :]:
        if message["role"] != "tool":
            break
        found.add(message["tool_call_id"])
    return found


def _open_calls(messages: Sequence[MessageDict]) -> set[str]:
    """The ids of the last assistant message's calls that have no result yet."""
    answered: set[str] = set()
    for message in reversed(messages):
        if message["role"] != "tool":
            return {call["id"] for call in message.get("tool_calls") or ()} - answered
        answered.add(message["tool_call_id"])
    return set()


# Sent back, services refuse them (DeepSeek), or count what they would otherwise ignore.
_NOT_SENT_BACK = ("reasoning_content", "reasoning")


def answer_message(completion: ChatCompletion, calls: list[dict[str, Any]]) -> MessageDict:
    """A completion's message as the next prompt repeats it: text and calls, without thoughts."""
    message = completion.message
    text = repair_text(message.text)  # half of a surrogate pair could never be sent back
    kept = {k: v for k, v in message.extra.items() if k not in _NOT_SENT_BACK}
    result: MessageDict = {**kept, "role": "assistant", "content": text or None}
    if message.refusal:
        result["refusal"] = message.refusal
    if calls:
        result["tool_calls"] = calls
    elif result["content"] is None:
        result["content"] = ""
    return result
