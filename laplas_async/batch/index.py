"""What is known about each row, in about 45 bytes: is it in the output, was it in the input yet.

Open addressing over plain arrays, split into parts so that none takes long to grow (a dict of a
million entries would take 200 MB). For use by one thread. It refuses to know lines and files.
"""

from array import array

from laplas_async.batch import jsonl
from laplas_async.batch.rows import BadRow, Row, as_duplicate

MISSING = 2**64 - 1  # the position of a row that has no line in the output
# Growing a part of a million-row index rehashes 4,000 entries, about 2 ms of the reader's thread.
_PARTS = 256
_KNOWN, _COMPLETED, _SEEN = 1, 2, 4  # flags: in the output; as a completion; in the input


class Index:
    """Rows by key (16 bytes). What is known about a row is stored by entry, a small number."""

    def __init__(self) -> None:
        self._slots = [array("I", bytes(4 * 8)) for _ in range(_PARTS)]  # 0: empty; else entry + 1
        self._used = [0] * _PARTS
        self._low = array("Q")
        self._high = array("Q")
        self._asked = array("Q")
        self._positions = array("Q")
        self._flags = bytearray()
        self._counts = array("I")
        self.known = 0  # rows in the output
        self.superseded = array("Q")  # positions of lines that a later one replaces

    def __len__(self) -> int:
        """How many rows it has an entry for."""
        return len(self._low)

    def record(self, key: bytes, asked: bytes, position: int, *, completed: bool) -> None:
        """Add a line of the output; the last line of a key counts."""
        entry = self._entry(key)
        if self._flags[entry] & _KNOWN:
            self.superseded.append(self._positions[entry])
        else:
            self.known += 1
        self._asked[entry] = int.from_bytes(asked[:8])
        self._positions[entry] = position
        self._flags[entry] = _KNOWN | (_COMPLETED if completed else 0)

    def claim(self, row: Row | BadRow) -> tuple[Row | BadRow, int]:
        """Give a row of the input its key, and an id if it has none; return it and its entry.

        Each call is for another row: one whose id is taken is returned as a bad row. Equal rows
        without an id are distinguished by a number appended to the id: ``-2`` for the second.
        """
        name = row.custom_id
        if not name:
            name = f"{'row' if isinstance(row, Row) else 'line'}-{row.content[:8].hex()}"
        row.key = _key(name)
        first = entry = self._entry(row.key)
        if self._flags[entry] & _SEEN:
            if row.custom_id:
                row = as_duplicate(row)
                self._counts[first] += 1
                row.key = _key(name, self._counts[first])
                entry = self._entry(row.key)
            else:
                while self._flags[entry] & _SEEN:
                    self._counts[first] += 1
                    row.custom_id = f"{name}-{self._counts[first] + 1}"
                    row.key = _key(row.custom_id)
                    entry = self._entry(row.key)
        row.custom_id = row.custom_id or name
        self._flags[entry] |= _SEEN
        return row, entry

    def is_known(self, entry: int) -> bool:
        """Whether the output has a line for it."""
        return bool(self._flags[entry] & _KNOWN)

    def is_completed(self, entry: int) -> bool:
        """Whether that line is a completion, not a failure."""
        return bool(self._flags[entry] & _COMPLETED)

    def is_unchanged(self, entry: int, asked: bytes) -> bool:
        """Whether that line is the result of this very request."""
        return self._asked[entry] == int.from_bytes(asked[:8])

    def position(self, entry: int) -> int:
        """The byte at which that line begins in the output; ``MISSING`` if there is none."""
        return self._positions[entry]

    def supersede(self, entry: int) -> None:
        """Record that a new line will replace the present one."""
        self.superseded.append(self._positions[entry])

    def orphaned_rows(self) -> "array[int]":
        """The positions of lines whose row was not in the input."""
        flags, positions = self._flags, self._positions
        found = (positions[i] for i in range(len(flags)) if flags[i] & (_KNOWN | _SEEN) == _KNOWN)
        return array("Q", found)

    def _entry(self, key: bytes) -> int:
        """The entry of a key; a new one if it has none."""
        low, high = int.from_bytes(key[:8]), int.from_bytes(key[8:])
        part = low & (_PARTS - 1)
        slots = self._slots[part]
        mask = len(slots) - 1
        at = (low >> 8) & mask
        while found := slots[at]:
            if self._low[found - 1] == low and self._high[found - 1] == high:
                return found - 1
            at = (at + 1) & mask
        entry = len(self._low)
        slots[at] = entry + 1
        self._low.append(low)
        self._high.append(high)
        self._asked.append(0)
        self._positions.append(MISSING)
        self._flags.append(0)
        self._counts.append(0)
        self._used[part] += 1
        if 3 * self._used[part] > 2 * len(slots):
            self._slots[part] = self._grown(slots)
        return entry

    def _grown(self, slots: "array[int]") -> "array[int]":
        larger = array("I", bytes(4 * 2 * len(slots)))
        mask = len(larger) - 1
        for found in slots:
            if found:
                at = (self._low[found - 1] >> 8) & mask
                while larger[at]:
                    at = (at + 1) & mask
                larger[at] = found
        return larger


def _key(name: str, number: int = 0) -> bytes:
    """The key of an id, or of the nth surplus row with that id."""
    return jsonl.digest(name.encode(), b"%d" % number) if number else jsonl.digest(name.encode())
