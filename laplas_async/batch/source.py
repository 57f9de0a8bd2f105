"""The bytes of the input, from a file or a stream, decompressed in small pieces.

Read in one thread; ``stop``, from any other, ends a blocked read (of a pipe or a terminal). It
refuses to know lines, and to accept a truncated compressed file as complete.
"""

import contextlib
import os
import select
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from laplas_async.errors import ConfigError, JournalError

_BLOCK = 256 * 1024
# Bytes given to the zstd decoder at a time. A zstd block holds 128 KiB and takes 4 bytes if they
# are all equal, so 256 bytes never expand to more than 8 MiB (test_source: bounded pieces).
_ZSTD_INPUT = 256


class Source:
    """An input: a path, or an open binary stream, which is not closed.

    ``done``: the fraction that was read, 0 to 1; None if the size is unknown. Raises
    ``ConfigError`` for an input that cannot be read at all.
    """

    def __init__(self, source: str | os.PathLike[str] | BinaryIO) -> None:
        self._stream: Any = None
        self._fd = -1
        self._own = False
        if isinstance(source, str | os.PathLike):
            self.name = os.fspath(source)
            try:
                self._fd = os.open(self.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise ConfigError(f"{self.name}: {error.strerror}") from None
            self._own = True
        else:
            self.name = str(getattr(source, "name", "the input"))
            self._stream = _checked(source)
            with contextlib.suppress(
                OSError, AttributeError
            ):  # a stream in memory has no descriptor
                self._fd = source.fileno()
        self._stopping = False
        self._wake: tuple[int, int] | None = None
        self._read = 0
        try:
            self._stat = os.fstat(self._fd) if self._fd >= 0 else None
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        mode = 0 if self._stat is None else self._stat.st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"{self.name}: is a folder; name a file of rows")
        self._decoder = _decoder(self.name) if self._own else None
        if self._stat is not None and not stat.S_ISREG(mode):
            self._wake = os.pipe()

    @property
    def done(self) -> float | None:
        """The fraction that was read, 0 to 1."""
        size = 0 if self._stat is None or not self._own else self._stat.st_size
        return min(1.0, self._read / size) if size else None

    def is_same_as(self, path: str) -> bool:
        """Whether ``path`` is the file that is read."""
        try:
            return self._stat is not None and os.path.samestat(self._stat, Path(path).stat())
        except OSError:
            return False

    def stop(self) -> None:
        """End a blocked read, and all later ones."""
        self._stopping = True
        if self._wake is not None:
            os.write(self._wake[1], b".")

    def close(self) -> None:
        """Close what was opened here."""
        if self._own and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        for fd in self._wake or ():
            os.close(fd)
        self._wake = None

    def pieces(self) -> Iterator[bytes]:
        """The bytes, decompressed. Raises ``JournalError`` if they are truncated or corrupt."""
        try:
            while not self._stopping and (data := self._next()):
                self._read += len(data)
                if self._decoder is None:
                    yield data
                else:
                    yield from self._decoder.decode(data)
            if self._decoder is not None and not self._stopping and not self._decoder.is_complete:
                raise JournalError(
                    f"{self.name}: was cut off: the compressed data has no end", path=self.name
                )
        except OSError as error:
            message = f"{self.name}: cannot be read ({error.strerror or error})"
            raise JournalError(message, path=self.name) from None
        except _Corrupt as error:
            raise JournalError(f"{self.name}: is corrupt ({error})", path=self.name) from None

    def _next(self) -> bytes:
        """Some bytes; none at the end, and once it was stopped."""
        while True:
            if self._wake is not None:
                self._wait(self._wake[0])
                if self._stopping:
                    return b""
            if self._stream is None:
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._fd, _BLOCK)
            else:
                read = getattr(self._stream, "read1", self._stream.read)
                data: bytes | None = read(_BLOCK)
                if data is not None:
                    return data

    def _wait(self, wake: int) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(wake, select.POLLIN)
        poll.poll()


class _Corrupt(Exception):  # noqa: N818 - never leaves this module
    pass


class _Decoder(Protocol):
    """``is_complete``: whether the input so far ends where compressed data may end."""

    is_complete: bool

    def decode(self, data: bytes) -> Iterator[bytes]: ...


class _Gzip:
    def __init__(self) -> None:
        self._inner: Any = None
        self.is_complete = True

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner is None:
                data = data.lstrip(b"\0")  # padding between and after the members
                if not data:
                    break
                self._inner = zlib.decompressobj(wbits=31)
                self.is_complete = False
            try:
                piece = self._inner.decompress(data, _BLOCK)
            except zlib.error as error:
                raise _Corrupt(error) from None
            if piece:
                yield piece
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data, self._inner, self.is_complete = self._inner.unused_data, None, True


class _Zstandard:
    def __init__(self, name: str) -> None:
        try:
            import zstandard  # noqa: PLC0415 - an extra
        except ImportError:
            hint = 'pip install "laplas-async[cli]"'
            raise ConfigError(f"{name}: reading .zst needs zstandard: {hint}") from None
        self._error = zstandard.ZstdError
        self._begin = zstandard.ZstdDecompressor().decompressobj
        self._inner: Any = None
        self.is_complete = True

    def decode(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_INPUT):
            part = data[at : at + _ZSTD_INPUT]
            while part:
                if self._inner is None:
                    self._inner = self._begin()
                    self.is_complete = False
                try:
                    piece = self._inner.decompress(part)
                except self._error as error:
                    raise _Corrupt(error) from None
                if piece:
                    yield piece
                part = b""
                if self._inner.eof:
                    part, self._inner, self.is_complete = self._inner.unused_data, None, True


def _decoder(name: str) -> _Decoder | None:
    match Path(name).suffix.lower():
        case ".gz":
            return _Gzip()
        case ".zst":
            return _Zstandard(name)
    return None


def _checked(stream: Any) -> Any:
    if not callable(getattr(stream, "read", None)):
        raise ConfigError("input: must be a path or a stream that is open for reading")
    if hasattr(stream, "encoding"):
        raise ConfigError("input: must be a binary stream (sys.stdin.buffer, or open(..., 'rb'))")
    return stream
