"""What a typed stream costs for each chunk of 4 characters: python benchmarks/structured.py

Ours gives typed elements (items) or the whole typed tree after each chunk (partial). The peers that
are installed parse the text so far anew for each chunk, which is what their helpers do; they are
given a tenth of the chunks, spread over the answer, for they would take minutes.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import orjson
from attrs import define, field

from laplas_async import OutputType
from laplas_async.structured.partial_output import PartialOutput

SIZES = (20_000, 200_000)
CHUNK = 4
RUNS = 5


@define
class Row:
    """One of the records."""

    id: int
    name: str
    price: float
    tags: list[str]


@define
class Answer:
    """What is streamed: records, or one long text."""

    rows: list[Row] = field(factory=list)
    text: str = ""


def records(size: int) -> str:
    row = {"id": 123, "name": "Bolt M8 x 20", "price": 0.25, "tags": ["steel", "new"]}
    return json.dumps({"rows": [row] * (size // len(json.dumps(row)))})


def long_string(size: int) -> str:
    return json.dumps({"text": "Lorem ipsum dolor sit. " * (size // 23)})


def items(chunks: list[str], output: OutputType[Answer]) -> int:
    typed = PartialOutput(output)
    reader = typed.items("rows")
    count = 0
    for chunk in chunks:
        typed.feed(chunk)
        while reader.next():
            count += 1
    return count


def tree(chunks: list[str], output: OutputType[Answer]) -> int:
    typed = PartialOutput(output)
    for chunk in chunks:
        typed.feed(chunk)
        _ = typed.value
    return len(typed.value.rows)


def measure(work: Callable[[list[str], OutputType[Answer]], int], text: str) -> float:
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    output: OutputType[Answer] = OutputType(Answer)
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        work(chunks, output)
        best = min(best, time.process_time() - start)
    return best / len(chunks) * 1e6


def reparse(parse: Callable[[bytes], object], text: str) -> float:
    data = text.encode()
    ends = range(CHUNK, len(data), max(CHUNK, len(data) // 500))
    start = time.process_time()
    for end in ends:
        parse(data[:end])
    return (time.process_time() - start) / len(ends) * 1e6


def once(text: str) -> float:
    data = text.encode()
    start = time.process_time()
    for _ in range(100):
        orjson.loads(data)
    return (time.process_time() - start) / 100 / (len(data) / CHUNK) * 1e6


def peers() -> dict[str, Callable[[bytes], object]]:
    found: dict[str, Callable[[bytes], object]] = {}
    for module, name in (("jiter", "from_json"), ("pydantic_core", "from_json")):
        if find_spec(module):
            function = getattr(__import__(module), name)
            option = {"partial_mode": True} if module == "jiter" else {"allow_partial": True}
            found[f"{module}, anew each time"] = partial(function, **option)
    return found


def main() -> None:
    print(f"{'microseconds per chunk':34}", *(f"{size:>10,}" for size in SIZES))
    for kind, make in (("records", records), ("one long string", long_string)):
        texts = [make(size) for size in SIZES]
        rows: dict[str, list[float]] = {}
        if make is records:
            rows["ours, items"] = [measure(items, text) for text in texts]
        rows["ours, whole tree each time"] = [measure(tree, text) for text in texts]
        for name, parse in peers().items():
            rows[name] = [reparse(parse, text) for text in texts]
        rows["orjson, once at the end"] = [once(text) for text in texts]
        print(kind)
        for name, figures in rows.items():
            print(f"  {name:32}", *(f"{figure:10.3f}" for figure in figures))


if __name__ == "__main__":
    main()
