"""An answer written down: as one JSON completion, or as the events of a stream.

Pure, and made for speed: what all events of a choice share is encoded once. It refuses to
frame events for HTTP in any but the plain way; odd framings are `delivery`'s.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple
from zlib import crc32

import orjson

from laplas_async.simulator.answers import Answer, Call, Choice
from laplas_async.simulator.text import WORDS

Kind = Literal["start", "content", "finish", "usage", "done"]
DONE: Final = b"[DONE]"
_USD_PER_TOKEN: Final = 3.5e-6
_CREDITS_PER_USD: Final = 2_000_000


class Event(NamedTuple):
    """One event of a stream: what it is, and its data without the `data: ` before it."""

    kind: Kind
    data: bytes


def completion(answer: Answer) -> dict[str, Any]:
    """Return the answer as a `chat.completion`, the shape of WIRE.md's "Answer"."""
    made: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [_whole(answer, choice) for choice in answer.choices],
        "usage": usage(answer),
    }
    if answer.costs:
        made["meta"] = {"usage": cost(answer)}
    return made


def usage(answer: Answer) -> dict[str, int]:
    """Return the token counts."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def cost(answer: Answer) -> dict[str, float]:
    """Return what the answer cost, from its tokens."""
    usd = round((answer.prompt_tokens + answer.completion_tokens) * _USD_PER_TOKEN, 9)
    return {"credits_used": round(usd * _CREDITS_PER_USD), "usd_spent": usd}


def logprob(token: str, position: int, top: int) -> dict[str, Any]:
    """Return one token's log probability, with `top` alternatives (0 to 20), likeliest first."""
    mixed = crc32(token.encode(), position)
    value = -(mixed % 1000) / 1000
    made = _one_logprob(token, value)
    others = [made.copy()] if top else []
    for rank in range(1, top):
        other = f" {WORDS[(mixed + rank) % len(WORDS)]}"
        others.append(_one_logprob(other, round(value - 0.75 * rank, 3)))
    made["top_logprobs"] = others
    return made


def events(answer: Answer, *, include_usage: bool = False) -> list[Event]:
    """Return the stream's events: a start and an end a choice, one event a token between.

    Choices take turns, token by token. With `include_usage` a chunk with the usage and no
    choices comes before `[DONE]`, and every other chunk has a null usage, as OpenAI's have.
    """
    head = orjson.dumps(
        {
            "id": answer.id,
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": answer.model,
        }
    )[:-1]
    tail = b',"usage":null}' if include_usage else b"}"
    lanes = [_lane(answer, choice, head, tail) for choice in answer.choices]
    made = lanes[0] if len(lanes) == 1 else _in_turns(lanes)
    if include_usage:
        last: dict[str, Any] = {"choices": [], "usage": usage(answer)}
        if answer.costs:
            last["meta"] = {"usage": cost(answer)}
        made.append(Event("usage", head + b"," + orjson.dumps(last)[1:]))
    made.append(Event("done", DONE))
    return made


def frame(data: bytes) -> bytes:
    """Return the data of an event as the bytes of a server-sent event."""
    return b"data: " + data + b"\n\n"


def _one_logprob(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def _whole(answer: Answer, choice: Choice) -> dict[str, Any]:
    logprobs = None
    if answer.top_logprobs is not None and choice.tokens is not None:
        top = answer.top_logprobs
        content = [logprob(token, at, top) for at, token in enumerate(choice.tokens)]
        logprobs = {"content": content}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in choice.calls
    ]
    message = {"role": "assistant", "content": choice.text, "tool_calls": calls}
    return {
        "index": choice.index,
        "finish_reason": choice.finish_reason,
        "logprobs": logprobs,
        "message": message,
    }


def _lane(answer: Answer, choice: Choice, head: bytes, tail: bytes) -> list[Event]:
    """Return the events of one choice."""
    front = b'%s,"choices":[{"index":%d,"delta":' % (head, choice.index)
    back = b',"logprobs":null,"finish_reason":null}]' + tail
    is_text = choice.tokens is not None
    start = b'{"role":"assistant","content":%s}' % (b'""' if is_text else b"null")
    # With log probabilities the start has an empty list, as OpenAI's has.
    asked = answer.top_logprobs is not None and is_text
    opened = b',"logprobs":{"content":[]},"finish_reason":null}]' + tail if asked else back
    made = [Event("start", front + start + opened)]
    if choice.tokens is None:
        made += _call_events(choice.calls, front, back)
    elif answer.top_logprobs is None:
        front_text = front + b'{"content":'
        back_text = b"}" + back
        made += [
            Event("content", front_text + orjson.dumps(token) + back_text)
            for token in choice.tokens
        ]
    else:
        for at, token in enumerate(choice.tokens):
            one = orjson.dumps({"content": [logprob(token, at, answer.top_logprobs)]})
            delta = b'{"content":' + orjson.dumps(token) + b'},"logprobs":' + one
            made.append(Event("content", front + delta + b',"finish_reason":null}]' + tail))
    end = b'{},"logprobs":null,"finish_reason":%s}]' % orjson.dumps(choice.finish_reason)
    made.append(Event("finish", front + end + tail))
    return made


def _call_events(calls: tuple[Call, ...], front: bytes, back: bytes) -> list[Event]:
    made: list[Event] = []
    for index, call in enumerate(calls):
        first = {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        deltas: list[dict[str, Any]] = [first]
        deltas += [{"index": index, "function": {"arguments": piece}} for piece in call.pieces]
        made += [
            Event("content", front + orjson.dumps({"tool_calls": [delta]}) + back)
            for delta in deltas
        ]
    return made


def _in_turns(lanes: list[list[Event]]) -> list[Event]:
    longest = max(len(lane) for lane in lanes)
    return [lane[at] for at in range(longest) for lane in lanes if at < len(lane)]
