"""What is known of each row, in 45 bytes or so: is it in the output, was it in the input yet.

Open addressing over plain arrays, split in parts so that none takes long to grow (a dict of a
million entries would take 200 MB). For one thread. It refuses to know lines and files.
"""

from array import array

from laplas_async.batch import jsonl
from laplas_async.batch.rows import BadRow, Row, as_duplicate

MISSING = 2**64 - 1  # the place of a row that has no line in the output
_PARTS = 256
_KNOWN, _ANSWERED, _SEEN = 1, 2, 4


class Index:
    """Rows by key, 16 bytes. ``places`` and the like are by entry, a small number."""

    def __init__(self) -> None:
        self._slots = [array("I", bytes(4 * 8)) for _ in range(_PARTS)]  # 0: empty; else entry + 1
        self._used = [0] * _PARTS
        self._low = array("Q")
        self._high = array("Q")
        self._asked = array("Q")
        self._places = array("Q")
        self._flags = bytearray()
        self._counts = array("I")
        self.known = 0  # rows in the output
        self.superseded = array("Q")  # places of lines that a later one replaces, or will

    def __len__(self) -> int:
        """How many rows are known of."""
        return len(self._low)

    def record(self, key: bytes, asked: bytes, place: int, *, answered: bool) -> None:
        """A line of the output: the last one of a key counts."""
        entry = self._entry(key)
        if self._flags[entry] & _KNOWN:
            self.superseded.append(self._places[entry])
        else:
            self.known += 1
        self._asked[entry] = int.from_bytes(asked[:8])
        self._places[entry] = place
        self._flags[entry] = _KNOWN | (_ANSWERED if answered else 0)

    def claim(self, row: Row | BadRow) -> tuple[Row | BadRow, int]:
        """Give a row of the input its key, and its id where it has none; and its entry.

        Each call is another row: one whose id is taken comes back as a bad one. Rows without an
        id that are alike are told apart by a number behind the id: the how-manieth it is.
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
        """Whether the output has a line of it."""
        return bool(self._flags[entry] & _KNOWN)

    def is_answered(self, entry: int) -> bool:
        """Whether that line is an answer, and no failure."""
        return bool(self._flags[entry] & _ANSWERED)

    def asks(self, entry: int, asked: bytes) -> bool:
        """Whether that line is of this very request."""
        return self._asked[entry] == int.from_bytes(asked[:8])

    def place(self, entry: int) -> int:
        """Where in the output that line begins; ``MISSING`` if there is none."""
        return self._places[entry]

    def supersede(self, entry: int) -> None:
        """A new line is going to replace it."""
        self.superseded.append(self._places[entry])

    def strangers(self) -> "array[int]":
        """The places of lines whose row was not in the input."""
        flags, places = self._flags, self._places
        found = (places[i] for i in range(len(flags)) if flags[i] & (_KNOWN | _SEEN) == _KNOWN)
        return array("Q", found)

    def _entry(self, key: bytes) -> int:
        """The entry of a key, a new one if need be."""
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
        self._places.append(MISSING)
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
    """The key of an id; of the ``number``-th row too many that has it."""
    return jsonl.digest(name.encode(), b"%d" % number) if number else jsonl.digest(name.encode())
