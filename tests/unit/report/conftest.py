"""Outputs of batches, as files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from laplas_async.batch.jsonl import digest

Write = Callable[..., Path]


def result(number: int, **changes: Any) -> dict[str, Any]:
    """A result line: ``status`` None is a row without a response; the rest goes under laplas."""
    status, code = changes.pop("status", 200), changes.pop("code", "request_timeout")
    body: dict[str, Any] = {
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "SECRET"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    body |= changes.pop("body", {})
    if status != 200:
        body = {"error": {"message": changes.pop("message", "no: SECRET"), "code": code}}
    extension = {
        "line": number + 1,
        "asked": digest(b"%d" % number).hex(),
        "attempts": 1,
        "waited": 0.1,
        "started": 1000.0 + number,
        "latency": 0.5,
    }
    return {
        "id": "batch_req_" + digest(str(changes.pop("key", number)).encode()).hex(),
        "custom_id": changes.pop("custom_id", f"r{number}"),
        "response": None if status is None else {"status_code": status, "body": body},
        "error": {"code": code, "message": "no: SECRET"} if status is None else None,
        "laplas": {k: v for k, v in (extension | changes).items() if v is not ...},
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: dict[str, Any] | bytes) -> Path:
        path = tmp_path / "out.jsonl"
        path.write_bytes(
            b"".join(
                line
                if isinstance(line, bytes)
                else json.dumps(line, separators=(",", ":")).encode() + b"\n"
                for line in lines
            )
        )
        return path

    return write


@pytest.fixture
def make() -> Callable[..., dict[str, Any]]:
    return result
