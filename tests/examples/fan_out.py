"""Classify every line of a JSONL file, many at a time, and write one result line for each.

    LAPLAS_API_KEY=... python tests/examples/fan_out.py reviews.jsonl labels.jsonl

Input: ``{"id": "r1", "text": "..."}``. Output, in the same order: ``{"id": "r1", "label": "..."}``
or ``{"id": "r1", "error": "..."}``. The input is read only as fast as requests can be sent. For a
job that must survive being killed, use ``laplas batch`` or ``run_batch`` instead.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from laplas_async import JSONSchema, LaplasClient, ResponseFormat

LABELS = ["positive", "negative", "mixed"]
ANSWER = ResponseFormat("json_schema", JSONSchema("label", {"type": "string", "enum": LABELS}))


def requests(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        row = json.loads(line)
        yield {
            "key": row["id"],
            "messages": f"Classify this review:\n\n{row['text']}",
            "max_tokens": 20,
            "response_format": ANSWER,
        }


async def classify(source: Path, target: Path) -> int:
    """Write the labels; return how many rows failed."""
    failed = 0
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as output:
        async with (
            LaplasClient() as client,
            client.map(requests(lines), ordered=True) as outcomes,
        ):
            async for outcome in outcomes:
                result = {"id": outcome.key}
                if outcome.completion is not None:
                    result["label"] = json.loads(outcome.completion.text)
                else:
                    result["error"] = f"{type(outcome.error).__name__}: {outcome.error}"
                    failed += 1
                output.write(json.dumps(result, ensure_ascii=False) + "\n")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description="Label reviews.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    failed = asyncio.run(classify(arguments.source, arguments.target))
    if failed:
        sys.exit(f"{failed} rows failed; see {arguments.target}")


if __name__ == "__main__":
    main()
