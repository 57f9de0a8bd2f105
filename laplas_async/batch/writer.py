"""The thread that saves: results become lines, appended in groups, and each group is synced.

So a million results cost some thousand syncs, and no result waits longer than a group takes. It
refuses to drop a result unless the disk fails.
"""

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable

from attrs import define, frozen

from laplas_async.batch import results
from laplas_async.batch.background import Background
from laplas_async.batch.index import Index
from laplas_async.batch.journal import Journal, Stopped
from laplas_async.batch.results import LearnedLimit, RowCost
from laplas_async.batch.rows import BadRow, Row
from laplas_async.errors import LaplasError, StreamProtocolError
from laplas_async.types import ChatCompletion

_BETWEEN_SYNCS = 0.05  # seconds; so a killed run repeats little, and a slow disk is not kept busy
_GROUP_BYTES = 4 * 1024 * 1024  # bounds the copy that one write makes


@define
class Result:
    """The result of a row: a completion, an error, or, for a bad row, neither. Times in seconds.

    ``weight``: about how many bytes it takes, to bound what is unsaved. ``limit``: the learned
    limit, if it has changed; ``spent``: what it cost.
    """

    row: Row | BadRow
    completion: ChatCompletion | None = None
    error: LaplasError | None = None
    latency: float = 0.0
    first_token: float | None = None
    weight: int = 0
    limit: LearnedLimit | None = None
    spent: RowCost | None = None


@frozen
class Saved:
    """Results that are on disk: their number, weight, and the slots they had in flight."""

    count: int
    weight: int
    slots: list[int]


class Writer:
    """Saves in a thread; ``on_saved`` and ``on_failure`` are called in the event loop.

    ``positions``, unless it is empty, is filled with where the line of each row begins. After a
    failure, a ``JournalError``, it saves no more and waits to be closed.
    """

    def __init__(
        self,
        journal: Journal,
        positions: "array[int]",
        on_saved: Callable[[Saved], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._positions = positions
        self._on_saved = on_saved
        self._on_failure = on_failure
        self._thread = Background("laplas-batch-writer", self._work)
        self.ended = self._thread.ended
        self._pending: deque[Result] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._stopping = False
        self._finish: Callable[[], None] | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, result: Result) -> None:
        """Save this; ``on_saved`` reports when it is on disk."""
        self._pending.append(result)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, *, index: Index | None = None, ordered: bool = False) -> None:
        """Save what is left and end; with the index of a finished batch, tidy the output first."""
        if index is not None:
            self._finish = lambda: self._tidy(index, ordered=ordered)
        self._closing.set()
        self._wake.set()

    def stop(self) -> None:
        """Save what is left and end soon, without tidying."""
        self._stopping = True
        self.close()

    # --- in the thread ------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._save_all()
            if self._finish is not None:
                self._finish()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - reported: the batch ends with it
            self._thread.call_in_loop(self._on_failure, error)
            self._closing.wait()  # until then, the loop still enters rows as in flight
        finally:
            self._journal.close()

    def _save_all(self) -> None:
        while not self._closing.is_set() or self._pending:
            self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            while self._pending:
                if self._save() < _GROUP_BYTES and not self._closing.is_set():
                    break  # results that arrive meanwhile are the next group
            self._closing.wait(_BETWEEN_SYNCS - (time.monotonic() - began))

    def _save(self) -> int:
        """Append a group and report it; return its size in bytes."""
        group: list[Result] = []
        lines: list[bytes] = []
        size = 0
        while self._pending and size < _GROUP_BYTES:
            group.append(self._pending.popleft())
            lines.append(_line(group[-1]))
            size += len(lines[-1])
        position = self._journal.end
        count, failure = self._journal.append(lines)
        saved = group[:count]
        if self._positions:
            for result, line in zip(saved, lines, strict=False):
                self._positions[result.row.order] = position
                position += len(line)
        slots = [result.row.slot for result in saved if isinstance(result.row, Row)]
        self._journal.in_flight.clear(slots)
        weight = sum(result.weight for result in saved)
        self._thread.call_in_loop(self._on_saved, Saved(count, weight, slots))
        if failure is not None:
            raise failure
        return size

    def _tidy(self, index: Index, *, ordered: bool) -> None:
        """Remove superseded lines and put the rest in order, where that is needed."""
        journal, positions = self._journal, self._positions
        if ordered and (index.superseded or not _ascend(positions)):
            journal.rewrite(_chain(positions, index.orphaned_rows()), self._is_stopped)
        elif index.superseded:
            journal.rewrite(journal.positions(index.superseded, self._is_stopped), self._is_stopped)
        journal.in_flight.forget()

    def _is_stopped(self) -> bool:
        return self._stopping


def _line(result: Result) -> bytes:
    row = result.row
    if isinstance(row, BadRow):
        return results.bad_line(row)
    error, completion = result.error, result.completion
    if completion is not None:
        try:
            return results.completion_line(
                row,
                completion,
                latency=result.latency,
                first_token=result.first_token,
                limit=result.limit,
                spent=result.spent,
            )
        except RecursionError:
            error = StreamProtocolError("the response is nested too deeply to be written as JSON")
    failure = error or LaplasError("no response")
    return results.failure_line(
        row, failure, latency=result.latency, limit=result.limit, spent=result.spent
    )


def _ascend(positions: "array[int]") -> bool:
    last = -1
    for position in positions:
        if position < last:
            return False
        last = position
    return True


def _chain(positions: "array[int]", orphaned: "array[int]") -> "array[int]":
    both = array("Q", positions)
    both.extend(orphaned)
    return both
