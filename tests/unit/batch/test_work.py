"""Which row is next, within the bounds of memory and of the file of rows in flight."""

from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from laplas_async import LaplasClient
from laplas_async.batch import work as work_module
from laplas_async.batch.index import Index
from laplas_async.batch.journal import Journal
from laplas_async.batch.reader import Block
from laplas_async.batch.rows import RequestDefaults, Row
from laplas_async.batch.stats import RunStats
from laplas_async.batch.work import Output, RowWork
from laplas_async.batch.writer import Saved, Writer

GOOD, BAD = b'{"prompt": "x"}', b"{"


class Setup:
    """A ``RowWork`` with its output, and the calls that it made."""

    def __init__(self, folder: Path) -> None:
        self.released = self.stops = 0
        self.stats = RunStats(lambda: 0.0, max_errors=3)
        self.index = Index()
        self.journal = Journal(folder / "out")
        self.client = LaplasClient("key", "http://127.0.0.1:9/v1")
        self.work = RowWork(
            self.client, self.stats, stream=False, release=self.release, stop=self.stop
        )

    def open(self) -> None:
        writer = Writer(self.journal, array("Q"), lambda _: None, lambda _: None)
        self.work.output = Output(self.journal, writer)

    def release(self) -> None:
        self.released += 1

    def stop(self) -> None:
        self.stops += 1
        self.work.stopping = True

    def add(self, *lines: bytes) -> None:
        read = RequestDefaults("m").read
        rows = [self.index.claim(read(n, line))[0] for n, line in enumerate(lines, 1)]
        self.work.add(Block(rows=rows, read=len(rows)))


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    setup = Setup(tmp_path)
    yield setup
    setup.journal.close()
    await setup.client.aclose()


async def test_no_row_is_taken_before_the_output_is_open(setup: Setup) -> None:
    setup.add(GOOD)
    assert setup.work.take() is None
    setup.open()
    assert isinstance(setup.work.take(), Row)
    assert setup.work.take() is None


async def test_a_row_is_recorded_as_in_flight_before_it_is_returned(setup: Setup) -> None:
    setup.open()
    setup.add(GOOD)
    row = setup.work.take()
    assert row is not None
    assert row.slot >= 0
    setup.journal.close()
    left = Journal(setup.journal.path)
    assert left.in_flight.left == {row.key: row.slot}
    left.close()


async def test_bad_rows_get_their_result_on_the_way(setup: Setup) -> None:
    setup.open()
    setup.add(BAD, BAD, GOOD)
    assert isinstance(setup.work.take(), Row)
    assert (setup.stats.rows.bad, setup.stops) == (2, 0)


async def test_too_many_bad_rows_stop_it(setup: Setup) -> None:
    setup.open()
    setup.add(BAD, BAD, BAD, BAD, GOOD)
    assert setup.work.take() is None
    assert (setup.stats.rows.bad, setup.stops) == (3, 1)
    assert not setup.work.exhausted
    setup.work.is_read = True
    assert setup.work.exhausted


async def test_a_block_is_released_when_its_last_row_is_taken(setup: Setup) -> None:
    setup.open()
    setup.add(GOOD, GOOD)
    setup.add()
    assert setup.released == 1  # the empty one
    setup.work.take()
    assert setup.released == 1
    setup.work.take()
    assert setup.released == 2


@pytest.mark.parametrize("bound", ["_MAX_IN_FLIGHT_BYTES", "_MAX_UNSAVED_BYTES"])
async def test_memory_is_bounded(setup: Setup, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.open()
    monkeypatch.setattr(work_module, bound, 0)
    setup.add(GOOD)
    assert setup.work.take() is None
    monkeypatch.setattr(work_module, bound, 1)
    assert setup.work.take() is not None


async def test_saved_results_make_room(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "_MAX_UNSAVED_BYTES", 100)
    setup.open()
    setup.add(BAD, GOOD)
    assert setup.work.take() is None  # the result of the bad row is not saved yet
    setup.work.settle(Saved(1, work_module._LINE_BYTES, []))
    assert setup.work.take() is not None


async def test_a_failed_call_is_a_result_and_not_an_exception(setup: Setup) -> None:
    setup.open()
    setup.add(GOOD)
    row = setup.work.take()
    assert row is not None
    await setup.client.aclose()
    await setup.work.run(row)
    assert (setup.stats.rows.failed, dict(setup.stats.failures)) == (1, {"ConfigError": 1})
