"""The thread that saves: results become lines, lines are appended in groups, each group synced.

So a million results cost some thousand syncs, and no result waits longer than a group takes. It
refuses to lose what it was given, unless the disk does.
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
from laplas_async.batch.rows import BadRow, Row
from laplas_async.errors import LaplasError, StreamProtocolError
from laplas_async.types import ChatCompletion

_BETWEEN_SYNCS = 0.05  # seconds
_GROUP_BYTES = 4 * 1024 * 1024


@define
class Result:
    """What became of a row: a completion, an error, or, of a bad row, neither. Seconds.

    ``weight``: about how many bytes it takes, for whoever bounds what is unsaved.
    """

    row: Row | BadRow
    completion: ChatCompletion | None = None
    error: LaplasError | None = None
    latency: float = 0.0
    first_token: float | None = None
    weight: int = 0


@frozen
class Saved:
    """Results that are on disk: how many, of what weight, and the slots they had in flight."""

    count: int
    weight: int
    slots: list[int]


class Writer:
    """Saves in a thread of its own; ``on_saved`` and ``on_failure`` are called in the loop.

    ``places`` is filled with where the line of each row is, if it is not empty. After a failure,
    a ``JournalError``, it saves no more and waits to be closed.
    """

    def __init__(
        self,
        journal: Journal,
        places: "array[int]",
        on_saved: Callable[[Saved], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._places = places
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
        """Begin."""
        self._thread.start()

    def put(self, result: Result) -> None:
        """Save this; it is told when it is on disk."""
        self._pending.append(result)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, *, index: Index | None = None, ordered: bool = False) -> None:
        """Save what is left and end; with the index of a batch that is done, tidy up before."""
        if index is not None:
            self._finish = lambda: self._tidy(index, ordered=ordered)
        self._closing.set()
        self._wake.set()

    def stop(self) -> None:
        """Save what is left and end soon: a tidying is given up."""
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
        except BaseException as error:  # noqa: BLE001 - the batch ends with it
            self._thread.tell(self._on_failure, error)
            self._closing.wait()  # until the loop knows, it notes rows in the journal's flight
        finally:
            self._journal.close()

    def _save_all(self) -> None:
        while not self._closing.is_set() or self._pending:
            self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            while self._pending:
                if self._save() < _GROUP_BYTES and not self._closing.is_set():
                    break  # what comes meanwhile is the next group
            self._closing.wait(_BETWEEN_SYNCS - (time.monotonic() - began))

    def _save(self) -> int:
        """Append a group, and tell it; its size in bytes."""
        group: list[Result] = []
        lines: list[bytes] = []
        size = 0
        while self._pending and size < _GROUP_BYTES:
            group.append(self._pending.popleft())
            lines.append(_line(group[-1]))
            size += len(lines[-1])
        place = self._journal.end
        count, failure = self._journal.append(lines)
        saved = group[:count]
        if self._places:
            for result, line in zip(saved, lines, strict=False):
                self._places[result.row.order] = place
                place += len(line)
        slots = [result.row.slot for result in saved if isinstance(result.row, Row)]
        self._journal.flight.clear(slots)
        weight = sum(result.weight for result in saved)
        self._thread.tell(self._on_saved, Saved(count, weight, slots))
        if failure is not None:
            raise failure
        return size

    def _tidy(self, index: Index, *, ordered: bool) -> None:
        """Take out what was superseded, and put the rest in order, if that is not so already."""
        journal, places = self._journal, self._places
        if ordered and (index.superseded or not _ascend(places)):
            journal.rewrite(_chain(places, index.strangers()), self._is_stopped)
        elif index.superseded:
            journal.rewrite(journal.places(index.superseded, self._is_stopped), self._is_stopped)
        journal.flight.forget()

    def _is_stopped(self) -> bool:
        return self._stopping


def _line(result: Result) -> bytes:
    row = result.row
    if isinstance(row, BadRow):
        return results.bad_line(row)
    error, completion = result.error, result.completion
    if completion is not None:
        try:
            return results.answer_line(
                row, completion, latency=result.latency, first_token=result.first_token
            )
        except RecursionError:
            error = StreamProtocolError("the answer is nested too deep to be written")
    return results.failure_line(row, error or LaplasError("nothing came"))


def _ascend(places: "array[int]") -> bool:
    last = -1
    for place in places:
        if place < last:
            return False
        last = place
    return True


def _chain(places: "array[int]", strangers: "array[int]") -> "array[int]":
    both = array("Q", places)
    both.extend(strangers)
    return both
