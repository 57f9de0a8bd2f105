"""Bodies in place of a stream, and errors with status 200."""

import json
from typing import Any

import pytest

from laplas_async.errors import (
    LaplasError,
    StreamAPIError,
    StreamProtocolError,
    StreamTruncatedError,
)
from laplas_async.streaming.other_body import failed_choice_of, read_other_body, reported_error
from laplas_async.types import ChatCompletionChunk, ChunkChoice, Delta
from laplas_async.wire.finish_reason import FAILED_FINISH_REASONS
from tests.unit.http.prepared_server import KEY
from tests.unit.streaming.conftest import Respond

WHOLE = {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
CHUNKS = [
    {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
    for text, reason in (("He", None), ("llo", "stop"))
]


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (json.dumps(WHOLE), ["Hello"]),
        (f"\n\n{json.dumps(WHOLE)}\n\ndata: [DONE]\n\n", ["Hello"]),
        (json.dumps(CHUNKS), ["He", "llo"]),
    ],
)
async def test_a_completion_or_a_list_of_chunks_is_read(
    respond: Respond, body: str, texts: list[str]
) -> None:
    chunks = read_other_body(await respond(), body.encode())
    assert [chunk.text for chunk in chunks] == texts


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ('{"error": {"message": "n is wrong"}}', StreamAPIError, "n is wrong"),
        ('[{"error": {"message": "n is wrong"}}]', StreamAPIError, "n is wrong"),
        (json.dumps(WHOLE)[:40], StreamTruncatedError, "cut"),
        ("<html><h1>Bad Gateway</h1></html>", StreamProtocolError, "Bad Gateway"),
        ('{"hello": 1}', StreamProtocolError, "hello"),
        ("[1, 2]", StreamProtocolError, "1, 2"),
    ],
)
async def test_everything_else_is_an_error_with_its_message(
    respond: Respond, body: str, kind: type[LaplasError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        read_other_body(await respond(), body.encode())


async def test_a_reported_error_has_its_fields_and_not_the_key(respond: Respond) -> None:
    body: Any = {
        "error": {"message": f"bad key {KEY}", "code": 429, "details": [{"retryDelay": "7s"}]}
    }
    error = reported_error(await respond(), body)
    assert (error.status, error.retry_after) == (429, 7.0)
    assert KEY not in f"{error} {error.body}"
    assert "bad key" in str(error)
    assert "no explanation" in str(reported_error(await respond(), ""))


@pytest.mark.parametrize(
    ("choice", "failed"),
    [
        (ChunkChoice(finish_reason="abort"), True),
        (ChunkChoice(finish_reason="ABORT"), False),
        (ChunkChoice(finish_reason="stop"), False),
        (ChunkChoice(extra={"error": {"code": 502}}), True),
        (ChunkChoice(delta=Delta(extra={"error": "m"})), True),
        (ChunkChoice(finish_reason="stop", extra={"error": {}}), False),
        (ChunkChoice(extra={"error": None}), False),
    ],
)
def test_a_choice_fails_by_its_reason_or_an_error(choice: ChunkChoice, *, failed: bool) -> None:
    chunk = ChatCompletionChunk(choices=[ChunkChoice(), choice])
    assert (failed_choice_of(chunk, FAILED_FINISH_REASONS) is not None) is failed
