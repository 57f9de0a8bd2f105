"""The file beside the output, ``OUT.laplas``: a lock, and the keys of rows in flight.

A row's key is entered before it is sent and cleared once its result is on disk. The file is mapped
into memory, so an entry costs no system call and outlives a killed process; after a power cut the
file may be some seconds old. It refuses to know results.
"""

import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from laplas_async.errors import ConfigError, JournalError

_MAGIC = b"laplas batch 1\n\0"
_SIZE = 16  # bytes of a key, and of the magic
# The file is 256 KiB, whatever runs. More rows than this are never in flight or unsaved at once: a
# process can hardly open more sockets.
SLOTS = 16_383
_EMPTY = bytes(_SIZE)
_BYTES = _SIZE * (SLOTS + 1)
_STRIDE = 64 * _SIZE


class InFlight:
    """The rows in flight, and the exclusive right to write to one output.

    ``left``: keys that an earlier run left there, with their slots. The event loop calls ``take``
    and ``give_back``, the thread that saves calls ``clear``. Raises ``JournalError`` if another run
    holds the lock.
    """

    def __init__(self, output: str) -> None:
        self.path = f"{output}.laplas"
        self._fd = _lock(self.path)
        try:
            self._map = _map(self._fd, self.path)
        except BaseException:
            os.close(self._fd)
            raise
        self.left = {key: slot for slot, key in _filled(self._map[_SIZE:])}
        taken = frozenset(self.left.values())
        self._fresh = (slot for slot in range(SLOTS) if slot not in taken)
        self._fresh_count = SLOTS - len(taken)
        self._free: list[int] = []  # slots that were taken and given back

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free or self._fresh_count)

    def take(self, key: bytes) -> int:
        """Enter a key, before its row is sent; return its slot. Only if it ``has_room``."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = next(self._fresh)
            self._fresh_count -= 1
        at = _SIZE * (slot + 1)
        self._map[at : at + _SIZE] = key
        return slot

    def clear(self, slots: Iterable[int]) -> None:
        """Clear these slots: the results of their rows are on disk."""
        for slot in slots:
            at = _SIZE * (slot + 1)
            self._map[at : at + _SIZE] = _EMPTY

    def give_back(self, slots: Iterable[int]) -> None:
        """Make these slots, which were cleared, available again."""
        self._free.extend(slots)

    def close(self) -> None:
        """Release the lock. Delete the file if it is empty, as it is after ``forget``."""
        empty = self._map[_SIZE:] == bytes(_BYTES - _SIZE)
        self._map.close()
        if empty:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()
        os.close(self._fd)  # after the unlink: a run that got the lock in between would lose it

    def forget(self) -> None:
        """Clear it all: every row has its result, so what earlier runs left is obsolete."""
        self._map[_SIZE:] = bytes(_BYTES - _SIZE)


def count_left(output: str) -> int:
    """How many rows an ended run left in flight, without its lock; 0 if there is no such file."""
    return len(keys_left(output))


def keys_left(output: str) -> frozenset[bytes]:
    """The keys of the rows that an ended run left in flight, without its lock."""
    try:
        data = Path(f"{output}.laplas").read_bytes()
    except OSError:
        return frozenset()
    if not data.startswith(_MAGIC):
        return frozenset()
    return frozenset(key for _, key in _filled(data[_SIZE:]))


def _lock(path: str) -> int:
    try:
        import fcntl  # noqa: PLC0415 - missing on Windows, where all else works
    except ImportError:
        raise ConfigError("run_batch: needs a system with flock (Linux, macOS, WSL)") from None
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have deleted the file between this open and this lock.
            with contextlib.suppress(FileNotFoundError):
                named, opened = Path(path).stat(), os.fstat(fd)
                if (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino):
                    return fd
        except BlockingIOError:
            os.close(fd)
            output = path.removesuffix(".laplas")
            raise JournalError(f"{output}: another run is writing to it", path=output) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _filled(data: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(data), _STRIDE):
        if data[start : start + _STRIDE].strip(b"\0"):  # most of it is empty
            for at in range(start, min(start + _STRIDE, len(data)), _SIZE):
                if (key := data[at : at + _SIZE]) != _EMPTY:
                    yield at // _SIZE, key


def _map(fd: int, path: str) -> mmap.mmap:
    head = os.pread(fd, _SIZE, 0)
    if not _MAGIC.startswith(head.rstrip(b"\0")):
        raise JournalError(f"{path}: exists but was not written by laplas; move it away", path=path)
    size = os.fstat(fd).st_size
    if size < _BYTES:
        # Real zeros, not a hole: a full disk raises an error here, not a signal at a later write.
        missing = bytes(_BYTES - size)
        while missing:
            missing = missing[os.pwrite(fd, missing, _BYTES - len(missing)) :]
    mapped = mmap.mmap(fd, _BYTES)
    mapped[:_SIZE] = _MAGIC
    return mapped
