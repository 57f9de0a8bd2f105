"""An answer as JSON: one completion, or the events of a stream.

Pure, and fast because benchmarks run against it: what all events of a choice share is encoded
once. It refuses to produce anything but the service's own format; ``shape_variants`` and
``sse_variants`` change it.
"""

from typing import Any, Final, Literal, NamedTuple
from zlib import crc32

import orjson

from laplas_async.simulator.answers import Answer, AnswerChoice, ToolCall
from laplas_async.simulator.text import WORDS

Kind = Literal["start", "content", "finish", "usage", "done"]
DONE: Final = b"[DONE]"
_USD_PER_TOKEN: Final = 3.5e-6
_CREDITS_PER_USD: Final = 2_000_000


class Event(NamedTuple):
    """One event of a stream: its kind, and its data without the ``data:`` prefix."""

    kind: Kind
    data: bytes


def completion(answer: Answer) -> dict[str, Any]:
    """Return the answer as a ``chat.completion``, the shape of WIRE.md's "Answer"."""
    result: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [_full_choice(answer, choice) for choice in answer.choices],
        "usage": usage(answer),
    }
    if answer.costs:
        result["meta"] = {"usage": cost(answer)}
    return result


def usage(answer: Answer) -> dict[str, int]:
    """Return the token counts."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def cost(answer: Answer) -> dict[str, float]:
    """Return the cost of the answer, computed from its tokens."""
    usd = round((answer.prompt_tokens + answer.completion_tokens) * _USD_PER_TOKEN, 9)
    return {"credits_used": round(usd * _CREDITS_PER_USD), "usd_spent": usd}


def logprob(token: str, position: int, top: int) -> dict[str, Any]:
    """Return a token's log probability with ``top`` alternatives (0 to 20), most likely first."""
    mixed = crc32(token.encode(), position)
    value = -(mixed % 1000) / 1000
    result = _one_logprob(token, value)
    others = [result.copy()] if top else []
    for rank in range(1, top):
        other = f" {WORDS[(mixed + rank) % len(WORDS)]}"
        others.append(_one_logprob(other, round(value - 0.75 * rank, 3)))
    result["top_logprobs"] = others
    return result


def events(answer: Answer, *, include_usage: bool = False) -> list[Event]:
    """Return the events of the stream: per choice a start, one event per token, and a finish.

    Several choices are interleaved token by token. With ``include_usage`` a chunk with the usage
    and no choices precedes ``[DONE]``, and every other chunk has a null usage, as OpenAI's do.
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
    per_choice = [_choice_events(answer, choice, head, tail) for choice in answer.choices]
    result = per_choice[0] if len(per_choice) == 1 else _interleave(per_choice)
    if include_usage:
        last: dict[str, Any] = {"choices": [], "usage": usage(answer)}
        if answer.costs:
            last["meta"] = {"usage": cost(answer)}
        result.append(Event("usage", head + b"," + orjson.dumps(last)[1:]))
    result.append(Event("done", DONE))
    return result


def frame(data: bytes) -> bytes:
    """Return the bytes of a server-sent event with this data."""
    return b"data: " + data + b"\n\n"


def _one_logprob(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def _full_choice(answer: Answer, choice: AnswerChoice) -> dict[str, Any]:
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


def _choice_events(answer: Answer, choice: AnswerChoice, head: bytes, tail: bytes) -> list[Event]:
    """Return the events of one choice."""
    front = b'%s,"choices":[{"index":%d,"delta":' % (head, choice.index)
    back = b',"logprobs":null,"finish_reason":null}]' + tail
    is_text = choice.tokens is not None
    start = b'{"role":"assistant","content":%s}' % (b'""' if is_text else b"null")
    # With log probabilities the first chunk has an empty list, as OpenAI's does.
    with_logprobs = answer.top_logprobs is not None and is_text
    start_tail = (
        b',"logprobs":{"content":[]},"finish_reason":null}]' + tail if with_logprobs else back
    )
    result = [Event("start", front + start + start_tail)]
    if choice.tokens is None:
        result += _call_events(choice.calls, front, back)
    elif answer.top_logprobs is None:
        front_text = front + b'{"content":'
        back_text = b"}" + back
        result += [
            Event("content", front_text + orjson.dumps(token) + back_text)
            for token in choice.tokens
        ]
    else:
        for at, token in enumerate(choice.tokens):
            one = orjson.dumps({"content": [logprob(token, at, answer.top_logprobs)]})
            delta = b'{"content":' + orjson.dumps(token) + b'},"logprobs":' + one
            result.append(Event("content", front + delta + b',"finish_reason":null}]' + tail))
    end = b'{},"logprobs":null,"finish_reason":%s}]' % orjson.dumps(choice.finish_reason)
    result.append(Event("finish", front + end + tail))
    return result


def _call_events(calls: tuple[ToolCall, ...], front: bytes, back: bytes) -> list[Event]:
    result: list[Event] = []
    for index, call in enumerate(calls):
        first = {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        deltas: list[dict[str, Any]] = [first]
        deltas += [{"index": index, "function": {"arguments": piece}} for piece in call.pieces]
        result += [
            Event("content", front + orjson.dumps({"tool_calls": [delta]}) + back)
            for delta in deltas
        ]
    return result


def _interleave(per_choice: list[list[Event]]) -> list[Event]:
    longest = max(len(one) for one in per_choice)
    return [one[at] for at in range(longest) for one in per_choice if at < len(one)]
