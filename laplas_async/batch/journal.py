"""The output file: scanned at the start, appended to durably, put in order at the end.

A result counts once its line is on disk (``fsync``); a line that a kill or a power cut left
incomplete is removed or completed. Called from threads only. It refuses to know rows and requests,
and to truncate what laplas has not written.
"""

import contextlib
import errno
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from laplas_async.batch.background import yield_gil
from laplas_async.batch.inflight import InFlight
from laplas_async.batch.results import OPENING, Known, read_line
from laplas_async.errors import ConfigError, JournalError

_BLOCK = 128 * 1024
_PEEK = 16 * 1024  # bytes read at first to find the end of a line; most lines are shorter
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stopped(Exception):  # noqa: N818 - not an error
    """The work was interrupted."""


class Journal:
    """The output file and its lock, from ``__init__`` to ``close``.

    Raises ``ConfigError`` for a path that cannot be an output, ``JournalError`` for a file that
    cannot be used.
    """

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self.path = path = os.path.realpath(
            output
        )  # a symbolic link stays one: its target is replaced
        _check_path(path)
        self.end = 0  # bytes that are saved
        self.repaired = 0  # lines that were incomplete
        try:
            self.in_flight = InFlight(path)
            try:
                self._draft.unlink(missing_ok=True)  # of a rewrite that was killed
                is_new = not Path(path).exists()
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                if is_new:
                    _sync_directory(path)
            except BaseException:
                self.in_flight.close()
                raise
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror or error}", path=path) from None
        self._closed = False

    def close(self) -> None:
        """Close the file and release its lock. Safe to call twice."""
        if not self._closed:
            self._closed = True
            os.close(self._fd)
            self.in_flight.close()

    # --- at the start -------------------------------------------------------------------------

    def scan(
        self, record: Callable[[Known, int], None], is_stopped: Callable[[], bool] = bool
    ) -> None:
        """Call ``record`` with each complete line and its position; repair the end of the file.

        Raises ``JournalError`` with the number of a line that is corrupt or is not laplas's.
        """
        number = known = 0
        for position, line, is_complete in self._lines(is_stopped):
            number += 1
            try:
                if line.strip():
                    record(read_line(line), position)
                    known += 1
            except ValueError as error:
                if not _was_cut(line, is_complete=is_complete, is_first=not known):
                    message = f"{self.path}, line {number}: {error}; move the file away, or fix it"
                    raise JournalError(message, path=self.path, line=number) from None
                # Nothing after it was on disk either: it would have been synced with it.
                os.ftruncate(self._fd, position)
                self.end = position
                self.repaired += 1
                break
            self.end = position + len(line) + 1
            if not is_complete:
                os.pwrite(self._fd, b"\n", position + len(line))
                self.repaired += 1
        if number:  # a killed run may have written lines and not synced them
            os.fsync(self._fd)

    def _lines(self, is_stopped: Callable[[], bool]) -> Iterator[tuple[int, bytes, bool]]:
        """Position, line, and whether it has its line end, for each."""
        start = position = 0
        pieces: list[bytes] = []
        while block := os.pread(self._fd, _BLOCK, position):
            _go_on(is_stopped)
            yield_gil()
            position += len(block)
            *whole, rest = block.split(b"\n")
            for piece in whole:
                line = b"".join((*pieces, piece)) if pieces else piece
                pieces.clear()
                yield start, line, True
                start += len(line) + 1
            if rest:
                pieces.append(rest)
        if pieces:
            yield start, b"".join(pieces), False

    # --- appending ----------------------------------------------------------------------------

    def append(self, lines: list[bytes]) -> tuple[int, JournalError | None]:
        """Write these lines and sync; return how many are on disk, and why not all."""
        data = memoryview(b"".join(lines))
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self.end + written)
            os.fsync(self._fd)
        except OSError as error:
            saved, kept = self._keep_whole(lines, written if written < len(data) else 0)
            self.end += kept
            return saved, self._failure(error)
        self.end += written
        return len(lines), None

    def _keep_whole(self, lines: list[bytes], written: int) -> tuple[int, int]:
        """After a failed write, keep the complete lines; return their number and bytes."""
        saved = kept = 0
        for line in lines:
            if kept + len(line) > written:
                break
            saved, kept = saved + 1, kept + len(line)
        try:
            os.ftruncate(self._fd, self.end + kept)
            os.fsync(self._fd)
        except OSError:
            return 0, 0  # the next run scans what is left
        return saved, kept

    def _failure(self, error: OSError) -> JournalError:
        message = f"{self.path}: {error.strerror or error}"
        if error.errno in _DISK_FULL:
            message += "; make room and run the same again to resume"
        return JournalError(message, path=self.path)

    # --- order at the end ---------------------------------------------------------------------

    def rewrite(self, positions: Iterable[int], is_stopped: Callable[[], bool] = bool) -> None:
        """Keep the lines at these positions, in this order, and no others.

        A new file is written beside the old one and replaces it once it is on disk, so a kill
        loses nothing. Nothing can be appended afterwards.
        """
        try:
            with self._draft.open("wb", buffering=_BLOCK) as draft:
                for position in positions:
                    draft.write(self._line_at(position))
                    _go_on(is_stopped)
                draft.flush()
                os.fchmod(draft.fileno(), stat.S_IMODE(os.fstat(self._fd).st_mode))
                os.fsync(draft.fileno())
            self._draft.replace(self.path)
            _sync_directory(self.path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                self._draft.unlink()
            if isinstance(error, OSError):
                message = f"{self._failure(error)} (all results are saved, but not yet in order)"
                raise JournalError(message, path=self.path) from None
            raise

    def positions(
        self, superseded: "array[int]", is_stopped: Callable[[], bool] = bool
    ) -> Iterator[int]:
        """The positions of all lines but these, in the order of the file."""
        leave_out = iter(sorted(superseded))
        next_out = next(leave_out, None)
        for position, _, _ in self._lines(is_stopped):
            if position == next_out:
                next_out = next(leave_out, None)
            else:
                yield position

    def _line_at(self, position: int) -> bytes:
        size = _PEEK
        while True:
            data = os.pread(self._fd, size, position)
            if (end := data.find(b"\n")) >= 0:
                return data[: end + 1]
            if len(data) < size:  # another program has written to the file
                message = f"{self.path}: was changed by another program during the batch"
                raise JournalError(message, path=self.path)
            size *= 4

    @property
    def _draft(self) -> Path:
        return Path(f"{self.path}.laplas-new")


def _go_on(is_stopped: Callable[[], bool]) -> None:
    if is_stopped():
        raise Stopped


def _check_path(path: str) -> None:
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if not Path(path).parent.is_dir():
            raise ConfigError(f"{path}: there is no such folder") from None
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path}: is a folder; name a file for the results")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path}: must be a regular file: a batch that resumes reads it")


def _was_cut(line: bytes, *, is_complete: bool, is_first: bool) -> bool:
    """Whether a line that cannot be read is what a kill or a power cut left of a result line.

    After a power cut, blocks that were not on disk yet are zeros. ``is_first``: no earlier line
    shows that laplas wrote the file, so this one must look like it.
    """
    if line.startswith(OPENING) or OPENING.startswith(line):
        return not is_complete or b"\0" in line
    return line.startswith(b"\0") and (not is_first or not line.strip(b"\0"))


def _sync_directory(path: str) -> None:
    """Make a new name durable, which ``fsync`` of the file alone does not."""
    fd = os.open(Path(path).parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported by the file system
            raise
    finally:
        os.close(fd)
