"""The thread that reads: the output first (what is done), then the input, row by row.

Rows are parsed, hashed and looked up here, and handed to the loop in small blocks, no further
ahead than a few of them. It refuses to hold more of a line than may be asked.
"""

import threading
from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from attrs import define, field, frozen

from laplas_async.batch.background import Background, breathe
from laplas_async.batch.index import MISSING, Index
from laplas_async.batch.journal import Journal, Stopped
from laplas_async.batch.results import Known
from laplas_async.batch.rows import MAX_LINE_BYTES, BadRow, Recipe, Row, TooLong, read_too_long
from laplas_async.batch.source import Source
from laplas_async.errors import ConfigError

_BLOCK_ROWS = 64
_BLOCK_BYTES = 256 * 1024
_BLOCKS_AHEAD = 4
_BOM = b"\xef\xbb\xbf"


@define
class Block:
    """Some rows to be asked or told as bad, and how many beside them have their result already.

    ``read``: rows, of all kinds; ``freed``: slots of rows that had their result; ``done``: the part
    of the input that is read; ``is_last``: there is no more.
    """

    rows: list[Row | BadRow] = field(factory=list)
    read: int = 0
    resumed: int = 0
    failed_before: int = 0
    freed: list[int] = field(factory=list)
    done: float | None = None
    is_last: bool = False


@frozen(kw_only=True)
class Order:
    """What is to be read, and how."""

    source: Any
    output: Any
    recipe: Recipe
    ordered: bool
    retry_failed: bool


class Reader:
    """Reads in a thread of its own; ``on_open`` and ``on_block`` are called in the loop.

    ``places``: where the line of each row is, in the order of the input; kept only if
    ``order.ordered``. After each block, ``release``.
    """

    def __init__(
        self,
        order: Order,
        on_open: Callable[[Journal], None],
        on_block: Callable[[Block], None],
    ) -> None:
        self.index = Index()
        self.places = array("Q")
        self._order = order
        self._on_open = on_open
        self._on_block = on_block
        self._thread = Background("laplas-batch-reader", self._work)
        self.ended = self._thread.ended
        self._credit = threading.Semaphore(_BLOCKS_AHEAD)
        self._stopping = False
        self._source: Source | None = None
        self._lock = threading.Lock()  # of the source's closing
        self._block = Block()
        self._block_bytes = 0
        self._left: dict[bytes, int] = {}

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def release(self) -> None:
        """A block was used up; one more may come."""
        self._credit.release()

    def stop(self) -> None:
        """Read no more; what was read is there to be dropped."""
        self._stopping = True
        self._credit.release()
        with self._lock:
            if self._source is not None:
                self._source.stop()

    # --- in the thread ------------------------------------------------------------------------

    def _work(self) -> None:
        source = Source(self._order.source)
        with self._lock:
            self._source = source
        try:
            if source.is_same_as(str(self._order.output)):
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
        journal = Journal(self._order.output)
        try:
            journal.scan(self._record, lambda: self._stopping)
        except BaseException:
            journal.close()
            raise
        self._journal = journal
        self._left = journal.flight.left
        self._thread.tell(self._on_open, journal)

    def _record(self, known: Known, place: int) -> None:
        self.index.record(known.key, known.asked, place, answered=known.answered)

    def _read(self, source: Source) -> None:
        recipe, lines = self._order.recipe, Lines()
        for data in source.pieces():
            for number, found in lines.feed(data):
                self._take(recipe, number, found, source)
            self._send(source)
        for number, found in lines.end():
            self._take(recipe, number, found, source)
        if self._stopping:
            raise Stopped
        self._block.is_last = True
        self._send(source)

    def _take(self, recipe: Recipe, number: int, found: bytes | TooLong, source: Source) -> None:
        row = read_too_long(found) if isinstance(found, TooLong) else recipe.read(number, found)
        row, entry = self.index.claim(row)
        is_asked = self._is_asked(row, entry)
        if is_asked and isinstance(row, Row) and (bad := recipe.check(row)) is not None:
            bad.custom_id, bad.key, row = row.custom_id, row.key, bad
            is_asked = self._is_asked(row, entry)
        row.order = len(self.places)
        block = self._block
        block.read += 1
        if self._order.ordered:
            self.places.append(MISSING if is_asked else self.index.place(entry))
        if is_asked:
            self._add(row, entry)
        else:
            block.resumed += 1
            block.failed_before += not self.index.is_answered(entry)
            if (slot := self._left.pop(row.key, -1)) >= 0:  # it was saved, and not yet crossed off
                self._journal.flight.clear((slot,))
                block.freed.append(slot)
        self._block_bytes += len(found) if isinstance(found, bytes) else 0
        if block.read >= _BLOCK_ROWS or self._block_bytes >= _BLOCK_BYTES:
            self._send(source)

    def _is_asked(self, row: Row | BadRow, entry: int) -> bool:
        index = self.index
        if not index.is_known(entry) or not index.asks(entry, row.asked):
            return True
        # A bad row that is as bad as it was gets no better by being told again.
        return self._order.retry_failed and isinstance(row, Row) and not index.is_answered(entry)

    def _add(self, row: Row | BadRow, entry: int) -> None:
        if self.index.is_known(entry):
            self.index.supersede(entry)
            row.changed = not self.index.asks(entry, row.asked)
        if isinstance(row, Row):
            row.slot = self._left.pop(row.key, -1)
            row.maybe_twice = row.slot >= 0
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
        self._thread.tell(self._on_block, block)
        breathe()


class Lines:
    """Bytes, however cut, to numbered lines; blank ones are counted and left out."""

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
        """The last line, if it has no end of its own."""
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
