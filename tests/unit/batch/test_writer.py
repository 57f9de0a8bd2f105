"""The thread that saves: groups, what cannot be written, and what the loop is notified of."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from laplas_async.batch.index import Index
from laplas_async.batch.journal import Journal
from laplas_async.batch.rows import RequestDefaults, Row
from laplas_async.batch.writer import Result, Saved, Writer
from laplas_async.errors import JournalError
from laplas_async.types import Attempt, ChatCompletion


def result(journal: Journal, number: int, **extra: Any) -> Result:
    row = RequestDefaults("m").read(number, b'{"custom_id": "r%d", "prompt": "x"}' % number)
    assert isinstance(row, Row)
    Index().claim(row)
    row.slot = journal.in_flight.take(row.key)
    completion = ChatCompletion("c", attempts=(Attempt(1.0, status=200),), extra=extra)
    return Result(row, completion, weight=10)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_bytes().splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def test_results_are_saved_in_groups(out: Path) -> None:
    saved: list[Saved] = []
    failures: list[BaseException] = []
    journal = Journal(out)
    writer = Writer(journal, Index().superseded, saved.append, failures.append)
    for number in range(100):
        writer.put(result(journal, number))
    writer.start()
    while sum(one.count for one in saved) < 100:
        await asyncio.sleep(0)
    assert len(saved) < 5
    assert sum(one.weight for one in saved) == 1000
    assert sorted(slot for one in saved for slot in one.slots) == list(range(100))
    writer.put(result(journal, 100))
    writer.close()
    await writer.ended
    assert [line["custom_id"] for line in lines(out)] == [f"r{n}" for n in range(101)]
    assert not failures
    assert [*out.parent.iterdir()] == [out]


async def test_what_cannot_be_written_becomes_a_failure(out: Path) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    journal = Journal(out)
    writer = Writer(journal, Index().superseded, lambda _: None, lambda _: None)
    writer.put(result(journal, 1, deep=deep))
    writer.start()
    writer.close()
    await writer.ended
    assert [line["error"]["code"] for line in lines(out)] == ["stream_protocol"]


async def test_after_a_failure_it_waits_to_be_closed(out: Path) -> None:
    failures: list[BaseException] = []
    journal = Journal(out)
    writer = Writer(journal, Index().superseded, lambda _: None, failures.append)
    first = result(journal, 1)
    journal.append = lambda lines: (0, JournalError("full"))  # type: ignore[method-assign]
    writer.put(first)
    writer.start()
    while not failures:
        await asyncio.sleep(0)
    assert str(failures[0]) == "full"
    assert journal.in_flight.take(b"k" * 16) == 1  # the lock and its file are still there
    writer.close()
    await writer.ended
    left = Journal(out)
    assert set(left.in_flight.left.values()) == {0, 1}
    left.close()
