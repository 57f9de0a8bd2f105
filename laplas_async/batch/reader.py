"""The thread that reads: first the output (what is done), then the input, row by row.

Rows are parsed, hashed and looked up here and passed to the event loop in small blocks, a few of
them ahead. It refuses to hold more of a line than a row may have.
"""

import threading
from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from attrs import define, field, frozen

from laplas_async.batch.background import Background, yield_gil
from laplas_async.batch.index import MISSING, Index
from laplas_async.batch.journal import Journal, Stopped
from laplas_async.batch.results import Known
from laplas_async.batch.rows import (
    MAX_LINE_BYTES,
    BadRow,
    RequestDefaults,
    Row,
    TooLong,
    read_too_long,
)
from laplas_async.batch.source import Source
from laplas_async.errors import ConfigError

# Rows and bytes of a block: a call into the event loop costs as much as parsing some rows, so rows
# travel together; 64 of them take the thread about a millisecond, after which it yields the GIL.
_BLOCK_ROWS = 64
_BLOCK_BYTES = 256 * 1024
_BLOCKS_AHEAD = (
    4  # so 256 rows, or a MiB: the loop never waits for the thread, and memory is bounded
)
_BOM = b"\xef\xbb\xbf"


@define
class Block:
    """Rows without a result, good or bad, and how many others already have one.

    ``read``: rows of all kinds; ``freed``: slots of rows that had their result; ``done``: the
    fraction of the input that is read; ``is_last``: there are no more.
    """

    rows: list[Row | BadRow] = field(factory=list)
    read: int = 0
    resumed: int = 0
    failed_before: int = 0
    freed: list[int] = field(factory=list)
    done: float | None = None
    is_last: bool = False


@frozen(kw_only=True)
class BatchSpec:
    """What is to be read, and how."""

    source: Any
    output: Any
    defaults: RequestDefaults
    ordered: bool
    retry_failed: bool


class Reader:
    """Reads in a thread; ``on_open`` and ``on_block`` are called in the event loop.

    ``positions``: where the output line of each row begins, in the order of the input; kept only if
    ``spec.ordered``. Call ``release`` after each block.
    """

    def __init__(
        self,
        spec: BatchSpec,
        on_open: Callable[[Journal], None],
        on_block: Callable[[Block], None],
    ) -> None:
        self.index = Index()
        self.positions = array("Q")
        self._spec = spec
        self._on_open = on_open
        self._on_block = on_block
        self._thread = Background("laplas-batch-reader", self._work)
        self.ended = self._thread.ended
        self._credit = threading.Semaphore(_BLOCKS_AHEAD)
        self._stopping = False
        self._source: Source | None = None
        self._lock = threading.Lock()  # guards closing the source
        self._block = Block()
        self._block_bytes = 0
        self._left: dict[bytes, int] = {}
        self.usd_before = 0.0  # what the lines of the output say that they cost

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def release(self) -> None:
        """A block was used up: one more may be sent."""
        self._credit.release()

    def stop(self) -> None:
        """Read no more; rows that were read and not sent are dropped."""
        self._stopping = True
        self._credit.release()
        with self._lock:
            if self._source is not None:
                self._source.stop()

    # --- in the thread ------------------------------------------------------------------------

    def _work(self) -> None:
        source = Source(self._spec.source)
        with self._lock:
            self._source = source
        try:
            if source.is_same_as(str(self._spec.output)):
                raise ConfigError(f"{source.name}: is both the input and the output")
            self._open()
            self._read(source)
        except Stopped:
            pass
        finally:
            with self._lock:
                self._source = None
                source.close()

    def _open(self) -> None:
        journal = Journal(self._spec.output)
        try:
            journal.scan(self._record, lambda: self._stopping)
        except BaseException:
            journal.close()
            raise
        self._journal = journal
        self._left = journal.in_flight.left
        self._thread.call_in_loop(self._on_open, journal)

    def _record(self, known: Known, position: int) -> None:
        self.index.record(known.key, known.asked, position, completed=known.completed)
        self.usd_before += known.usd

    def _read(self, source: Source) -> None:
        defaults, lines = self._spec.defaults, Lines()
        for data in source.pieces():
            for number, found in lines.feed(data):
                self._take(defaults, number, found, source)
            self._send(source)
        for number, found in lines.end():
            self._take(defaults, number, found, source)
        if self._stopping:
            raise Stopped
        self._block.is_last = True
        self._send(source)

    def _take(
        self, defaults: RequestDefaults, number: int, found: bytes | TooLong, source: Source
    ) -> None:
        row = read_too_long(found) if isinstance(found, TooLong) else defaults.read(number, found)
        row, entry = self.index.claim(row)
        is_sent = self._is_sent(row, entry)
        if is_sent and isinstance(row, Row) and (bad := defaults.check(row)) is not None:
            bad.custom_id, bad.key, row = row.custom_id, row.key, bad
            is_sent = self._is_sent(row, entry)
        row.order = len(self.positions)
        block = self._block
        block.read += 1
        if self._spec.ordered:
            self.positions.append(MISSING if is_sent else self.index.position(entry))
        if is_sent:
            self._add(row, entry)
        else:
            block.resumed += 1
            block.failed_before += not self.index.is_completed(entry)
            if (slot := self._left.pop(row.key, -1)) >= 0:  # saved, and not yet cleared
                self._journal.in_flight.clear((slot,))
                block.freed.append(slot)
        self._block_bytes += len(found) if isinstance(found, bytes) else 0
        if block.read >= _BLOCK_ROWS or self._block_bytes >= _BLOCK_BYTES:
            self._send(source)

    def _is_sent(self, row: Row | BadRow, entry: int) -> bool:
        index = self.index
        if not index.is_known(entry) or not index.is_unchanged(entry, row.asked):
            return True
        # A bad row that has not changed would only fail again.
        return self._spec.retry_failed and isinstance(row, Row) and not index.is_completed(entry)

    def _add(self, row: Row | BadRow, entry: int) -> None:
        if self.index.is_known(entry):
            self.index.supersede(entry)
            row.changed = not self.index.is_unchanged(entry, row.asked)
        if isinstance(row, Row):
            row.slot = self._left.pop(row.key, -1)
            row.possibly_duplicated = row.slot >= 0
        self._block.rows.append(row)

    def _send(self, source: Source) -> None:
        block = self._block
        if self._stopping:
            raise Stopped
        if not block.read and not block.is_last:
            return
        self._credit.acquire()
        if self._stopping:
            raise Stopped
        block.done = source.done
        self._block, self._block_bytes = Block(), 0
        self._thread.call_in_loop(self._on_block, block)
        yield_gil()


class Lines:
    """Splits bytes, in pieces of any size, into numbered lines; blank ones are only counted."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._number = 0
        self._pieces: list[bytes] = []
        self._size = 0
        self._hash: Any = None  # of a line that is too long

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | TooLong]]:
        """The lines that end in these bytes."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._keep(piece)
            yield from self._take()
        self._keep(rest)

    def end(self) -> Iterator[tuple[int, bytes | TooLong]]:
        """The last line, if no line end follows it."""
        if self._size:
            yield from self._take()

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._hash is not None:
            self._hash.update(piece)
        elif self._size > self._limit:
            self._hash = blake2b(b"".join(self._pieces), digest_size=16)
            self._hash.update(piece)
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    def _take(self) -> Iterator[tuple[int, bytes | TooLong]]:
        self._number += 1
        size, self._size = self._size, 0
        if self._hash is not None:
            content, self._hash = self._hash.digest(), None
            yield self._number, TooLong(self._number, size, content)
            return
        line = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._number == 1:
            line = line.removeprefix(_BOM)
        if line and not line.isspace():
            yield self._number, line
