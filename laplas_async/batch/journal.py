"""The output file: what is in it at the start, lines appended so that they stay, order at the end.

A result counts once its line is on disk (``fsync``); a line that a kill or a power cut left
without its end is taken out or completed. Called from threads only. It refuses to know rows and
requests, and to cut off what it has not written.
"""

import contextlib
import errno
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from laplas_async.batch.background import breathe
from laplas_async.batch.inflight import Flight
from laplas_async.batch.results import OPENING, Known, read_line
from laplas_async.errors import ConfigError, JournalError

_BLOCK = 128 * 1024
_PEEK = 16 * 1024  # most lines are shorter
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stopped(Exception):  # noqa: N818 - no error
    """The work was told to stop."""


class Journal:
    """The output file and its lock, from ``__init__`` to ``close``.

    Raises ``ConfigError`` for a path that can be no output, ``JournalError`` for a file that
    cannot be used.
    """

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self.path = path = os.path.realpath(output)  # a link stays one: its target is replaced
        _check_path(path)
        self.end = 0  # of what is saved
        self.mended = 0  # lines that had been cut
        try:
            self.flight = Flight(path)
            try:
                self._draft.unlink(missing_ok=True)  # of a rewrite that was killed
                is_new = not Path(path).exists()
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                if is_new:
                    _sync_directory(path)
            except BaseException:
                self.flight.close()
                raise
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror or error}", path=path) from None
        self._closed = False

    def close(self) -> None:
        """Close the file and give up its lock. Safe to call twice."""
        if not self._closed:
            self._closed = True
            os.close(self._fd)
            self.flight.close()

    # --- what is there ------------------------------------------------------------------------

    def scan(
        self, record: Callable[[Known, int], None], is_stopped: Callable[[], bool] = bool
    ) -> None:
        """Tell each whole line and its place; mend the end.

        Raises ``JournalError`` with its number for a line that is broken, or is none of ours.
        """
        number = known = 0
        for place, line, is_whole in self._lines(is_stopped):
            number += 1
            try:
                if line.strip():
                    record(read_line(line), place)
                    known += 1
            except ValueError as error:
                if not _was_cut(line, is_whole=is_whole, is_alone=not known):
                    words = f"{self.path}, line {number}: {error}; move the file away, or mend it"
                    raise JournalError(words, path=self.path, line=number) from None
                # Nothing behind it was on disk either: it would have been saved with it.
                os.ftruncate(self._fd, place)
                self.end = place
                self.mended += 1
                break
            self.end = place + len(line) + 1
            if not is_whole:
                os.pwrite(self._fd, b"\n", place + len(line))
                self.mended += 1
        if number:  # a killed run may have written lines and not synced them
            os.fsync(self._fd)

    def _lines(self, is_stopped: Callable[[], bool]) -> Iterator[tuple[int, bytes, bool]]:
        """Place, line, and whether its end is there, for each."""
        place = position = 0
        pieces: list[bytes] = []
        while block := os.pread(self._fd, _BLOCK, position):
            _go_on(is_stopped)
            breathe()
            position += len(block)
            *whole, rest = block.split(b"\n")
            for piece in whole:
                line = b"".join((*pieces, piece)) if pieces else piece
                pieces.clear()
                yield place, line, True
                place += len(line) + 1
            if rest:
                pieces.append(rest)
        if pieces:
            yield place, b"".join(pieces), False

    # --- what is added ------------------------------------------------------------------------

    def append(self, lines: list[bytes]) -> tuple[int, JournalError | None]:
        """Write these and wait until they are on disk; how many are, and why not all."""
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
        """After a write that failed: keep the lines that fitted; how many, and their bytes."""
        saved = kept = 0
        for line in lines:
            if kept + len(line) > written:
                break
            saved, kept = saved + 1, kept + len(line)
        try:
            os.ftruncate(self._fd, self.end + kept)
            os.fsync(self._fd)
        except OSError:
            return 0, 0  # the next start will see what is there
        return saved, kept

    def _failure(self, error: OSError) -> JournalError:
        words = f"{self.path}: {error.strerror or error}"
        if error.errno in _FULL:
            words += "; make room and run the same again: it goes on"
        return JournalError(words, path=self.path)

    # --- order at the end ---------------------------------------------------------------------

    def rewrite(self, places: Iterable[int], is_stopped: Callable[[], bool] = bool) -> None:
        """Put the lines of these places, and no others, into the file, in this order.

        It is written anew beside the old one and takes its name when it is on disk, so a kill
        harms neither. The file is at its end then: nothing can be appended.
        """
        try:
            with self._draft.open("wb", buffering=_BLOCK) as draft:
                for place in places:
                    draft.write(self._line_at(place))
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
                words = f"{self._failure(error)} (all results are there; not yet in order)"
                raise JournalError(words, path=self.path) from None
            raise

    def places(
        self, superseded: "array[int]", is_stopped: Callable[[], bool] = bool
    ) -> Iterator[int]:
        """The places of all lines but these, as they are in the file."""
        leave_out = iter(sorted(superseded))
        next_out = next(leave_out, None)
        for place, _, _ in self._lines(is_stopped):
            if place == next_out:
                next_out = next(leave_out, None)
            else:
                yield place

    def _line_at(self, place: int) -> bytes:
        size = _PEEK
        while True:
            data = os.pread(self._fd, size, place)
            if (end := data.find(b"\n")) >= 0:
                return data[: end + 1]
            if len(data) < size:  # somebody else has written to the file
                words = f"{self.path}: was changed by another program while it was written"
                raise JournalError(words, path=self.path)
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
        raise ConfigError(f"{path}: must be a plain file, to be read again when the batch goes on")


def _was_cut(line: bytes, *, is_whole: bool, is_alone: bool) -> bool:
    """Whether a line that cannot be read is what a kill or a power cut left of one of ours.

    After a power cut, blocks that were not on disk yet are zeros. ``is_alone``: nothing before it
    shows that the file is ours, so it must look like that itself.
    """
    if line.startswith(OPENING) or OPENING.startswith(line):
        return not is_whole or b"\0" in line
    return line.startswith(b"\0") and (not is_alone or not line.strip(b"\0"))


def _sync_directory(path: str) -> None:
    """Make a name stay, as ``fsync`` of the file alone does not."""
    fd = os.open(Path(path).parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(fd)
