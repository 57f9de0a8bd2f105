"""The shapes in which other servers send the chunks of a stream, and their plain completions.

Pure. Each shape changes the decoded chunks of a stream, and some also the plain completion, so that
a client that accumulates the stream gets what the plain response says. It refuses to invent text,
except the reasoning and the reference that these shapes exist for.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson
from attrs import frozen

from laplas_async.simulator.encode import DONE, Event, Kind

REASONING: Final = ("First", ", I", " weigh", " the", " words", ".")
REFERENCE: Final = {"type": "reference", "reference_ids": [1, 2]}

Chunk = tuple[Kind, dict[str, Any]]
ChangeChunks = Callable[[list[Chunk]], list[Chunk]]
ChangeCompletion = Callable[[dict[str, Any]], None]


def _keep(_completion: dict[str, Any]) -> None:
    pass


@frozen
class Shape:
    """A shape: how it changes the chunks, and the plain completion in place."""

    chunks: ChangeChunks
    completion: ChangeCompletion = _keep


def shape_events(events: list[Event], shapes: Iterable[str], whole: dict[str, Any]) -> list[Event]:
    """Return the events of a stream in these shapes; ``whole`` is its plain completion."""
    names = list(shapes)
    done = [event for event in events if event.data == DONE]
    if "whole_message" in names:
        return [Event("content", orjson.dumps(shape_completion(whole, names))), *done]
    chunks: list[Chunk] = [
        (event.kind, orjson.loads(event.data)) for event in events if event.data != DONE
    ]
    # The other shapes look at ``delta``, which this one renames.
    for name in sorted(names, key=lambda name: name == "message_in_every_chunk"):
        chunks = SHAPES[name].chunks(chunks)
    return [*(Event(kind, orjson.dumps(chunk)) for kind, chunk in chunks), *done]


def shape_completion(completion: dict[str, Any], shapes: Iterable[str]) -> dict[str, Any]:
    """Return a plain completion in these shapes."""
    changed: dict[str, Any] = orjson.loads(orjson.dumps(completion))
    for name in shapes:
        SHAPES[name].completion(changed)
    return changed


def _each_choice(chunks: list[Chunk]) -> Iterable[dict[str, Any]]:
    return (choice for _, chunk in chunks for choice in chunk["choices"])


def _with_delta(chunk: dict[str, Any], delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a copy of a chunk of one choice with another delta."""
    choice = {**chunk["choices"][0], "delta": delta, **more}
    return {**chunk, "choices": [choice]}


def _before_first_text(
    chunks: list[Chunk], build: Callable[[dict[str, Any]], list[Chunk]]
) -> list[Chunk]:
    """Insert what ``build`` returns before the first text chunk of each choice."""
    changed: list[Chunk] = []
    begun: set[int] = set()
    for kind, chunk in chunks:
        for choice in chunk["choices"]:
            if choice["delta"].get("content") and choice["index"] not in begun:
                begun.add(choice["index"])
                changed += build(chunk)
        changed.append((kind, chunk))
    return changed


def _empty_finish_reasons(chunks: list[Chunk]) -> list[Chunk]:
    for choice in _each_choice(chunks):
        choice["finish_reason"] = choice["finish_reason"] or ""
    return chunks


def _stop_in_every_chunk(chunks: list[Chunk]) -> list[Chunk]:
    for choice in _each_choice(chunks):
        choice["finish_reason"] = choice["finish_reason"] or "stop"
    return chunks


def _early_stop(chunks: list[Chunk]) -> list[Chunk]:
    def stop(chunk: dict[str, Any]) -> list[Chunk]:
        return [("finish", _with_delta(chunk, {"content": ""}, finish_reason="stop"))]

    return _before_first_text(chunks, stop)


def _message_in_every_chunk(chunks: list[Chunk]) -> list[Chunk]:
    for choice in _each_choice(chunks):
        choice["message"] = choice.pop("delta")
    return chunks


def _role_in_every_chunk(chunks: list[Chunk]) -> list[Chunk]:
    for choice in _each_choice(chunks):
        choice["delta"] = {"role": "assistant", **choice["delta"]}
    return chunks


def _thinking_part() -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": "".join(REASONING)}]}


def _content_parts(chunks: list[Chunk]) -> list[Chunk]:
    def think(chunk: dict[str, Any]) -> list[Chunk]:
        parts = [
            {"type": "thinking", "thinking": [{"type": "text", "text": text}]} for text in REASONING
        ]
        return [("content", _with_delta(chunk, {"content": [part]})) for part in parts]

    with_text = {
        choice["index"] for choice in _each_choice(chunks) if choice["delta"].get("content")
    }
    chunks = _before_first_text(chunks, think)
    for choice in _each_choice(chunks):
        content = choice["delta"].get("content")
        if isinstance(content, str) and content:
            choice["delta"]["content"] = [{"type": "text", "text": content}]
        if choice["finish_reason"] and choice["index"] in with_text:
            choice["delta"]["content"] = [REFERENCE]
    return chunks


def _content_parts_completion(completion: dict[str, Any]) -> None:
    for choice in completion["choices"]:
        if text := choice["message"]["content"]:
            parts = [_thinking_part(), {"type": "text", "text": text}, REFERENCE]
            choice["message"]["content"] = parts


def _reasoning(field: str) -> Shape:
    def change(chunks: list[Chunk]) -> list[Chunk]:
        def think(chunk: dict[str, Any]) -> list[Chunk]:
            return [
                ("content", _with_delta(chunk, {"content": None, field: text}))
                for text in REASONING
            ]

        chunks = _before_first_text(chunks, think)
        for _, chunk in chunks:
            _add_usage_details(chunk.get("usage"))
        return chunks

    def change_completion(completion: dict[str, Any]) -> None:
        for choice in completion["choices"]:
            if choice["message"]["content"]:
                choice["message"][field] = "".join(REASONING)
        _add_usage_details(completion["usage"])

    return Shape(change, change_completion)


def _add_usage_details(usage: dict[str, Any] | None) -> None:
    if usage:
        usage["completion_tokens_details"] = {"reasoning_tokens": len(REASONING)}
        usage["prompt_tokens_details"] = {"cached_tokens": 0}


def _tool_deltas(chunks: list[Chunk]) -> Iterable[dict[str, Any]]:
    return (
        call for choice in _each_choice(chunks) for call in choice["delta"].get("tool_calls") or ()
    )


def _tool_calls(chunks: list[Chunk]) -> list[list[dict[str, Any]]]:
    """Return the ``function`` objects of the deltas of each call, in order."""
    calls: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for choice in _each_choice(chunks):
        for call in choice["delta"].get("tool_calls") or ():
            key = (choice["index"], call.get("index", 0))
            calls.setdefault(key, []).append(call["function"])
    return list(calls.values())


def _same_index_tool_calls(chunks: list[Chunk]) -> list[Chunk]:
    for call in _tool_deltas(chunks):
        call["index"] = 0
        call["id"] = ""
    return chunks


def _no_index_tool_calls(chunks: list[Chunk]) -> list[Chunk]:
    for call in _tool_deltas(chunks):
        call.pop("index", None)
    return chunks


def _tool_index_from_one(chunks: list[Chunk]) -> list[Chunk]:
    for call in _tool_deltas(chunks):
        call["index"] = call.get("index", 0) + 1
    return chunks


def _repeated_tool_names(chunks: list[Chunk]) -> list[Chunk]:
    for functions in _tool_calls(chunks):
        for function in functions:
            function["name"] = functions[0]["name"]
    return chunks


def _split_tool_names(chunks: list[Chunk]) -> list[Chunk]:
    changed: list[Chunk] = []
    for kind, chunk in chunks:
        calls = chunk["choices"][0]["delta"].get("tool_calls") if chunk["choices"] else None
        name = calls[0]["function"].get("name", "") if calls else ""
        if calls is None or len(name) < 2:
            changed.append((kind, chunk))
            continue
        half = len(name) // 2
        calls[0]["function"]["name"] = name[:half]
        rest = {
            "index": calls[0].get("index", 0),
            "function": {"name": name[half:], "arguments": ""},
        }
        changed.append((kind, chunk))
        changed.append((kind, _with_delta(chunk, {"tool_calls": [rest]})))
    return changed


def _whole_tool_calls(chunks: list[Chunk]) -> list[Chunk]:
    changed: list[Chunk] = []
    calls: dict[tuple[int, int], dict[str, Any]] = {}
    for kind, chunk in chunks:
        deltas = chunk["choices"][0]["delta"].get("tool_calls") if chunk["choices"] else None
        if not deltas:
            changed.append((kind, chunk))
            continue
        key = (chunk["choices"][0]["index"], deltas[0].get("index", 0))
        if key not in calls:
            calls[key] = deltas[0]
            changed.append((kind, chunk))
        else:
            calls[key]["function"]["arguments"] += deltas[0]["function"]["arguments"]
    return changed


def _double_encoded_arguments(chunks: list[Chunk]) -> list[Chunk]:
    """Encode the JSON of the arguments as a JSON string, piece by piece."""
    for functions in _tool_calls(chunks):
        for function in functions:
            function["arguments"] = _escape(function["arguments"])
        functions[0]["arguments"] = '"' + functions[0]["arguments"]
        functions[-1]["arguments"] += '"'
    return chunks


def _double_encoded_completion(completion: dict[str, Any]) -> None:
    for choice in completion["choices"]:
        for call in choice["message"]["tool_calls"]:
            function = call["function"]
            function["arguments"] = f'"{_escape(function["arguments"])}"'


def _escape(text: str) -> str:
    return orjson.dumps(text).decode()[1:-1]


SHAPES: Final[dict[str, Shape]] = {
    "empty_finish_reasons": Shape(_empty_finish_reasons),
    "stop_in_every_chunk": Shape(_stop_in_every_chunk),
    "early_stop": Shape(_early_stop),
    "whole_message": Shape(list),  # replaces all chunks, in ``shape_events``
    "message_in_every_chunk": Shape(_message_in_every_chunk),
    "content_parts": Shape(_content_parts, _content_parts_completion),
    "reasoning_content": _reasoning("reasoning_content"),
    "reasoning": _reasoning("reasoning"),
    "role_in_every_chunk": Shape(_role_in_every_chunk),
    "same_index_tool_calls": Shape(_same_index_tool_calls),
    "no_index_tool_calls": Shape(_no_index_tool_calls),
    "tool_index_from_one": Shape(_tool_index_from_one),
    "repeated_tool_names": Shape(_repeated_tool_names),
    "split_tool_names": Shape(_split_tool_names),
    "whole_tool_calls": Shape(_whole_tool_calls),
    "double_encoded_arguments": Shape(_double_encoded_arguments, _double_encoded_completion),
}
"""Name -> shape; ``StreamFaults.shape`` documents each."""
