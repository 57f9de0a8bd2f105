"""The files of a shard in work: its names, its lock, and which rows a killed process had in flight.

It refuses to know what is in rows and results.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from laplas_async.batch import jsonl
from laplas_async.batch.inflight import keys_left
from laplas_async.batch.parts import write_durably
from laplas_async.errors import ConfigError

# A row that was in flight when its process was killed is sent alone from then on, and set aside
# after this many deaths. The death of a crowd is evidence against none of it: of 30,000 rows over
# Ray, an actor and the driver killed, one innocent row was alone at the second kill (test_shard).
MOST_DEATHS = 2
_CROWD = 8  # rows: fewer are alone for so short a time that a kill from outside hardly meets one
_LOCK_INTERVAL = 0.2  # seconds between two looks at a shard that another process works on


@define
class ShardFiles:
    """The files of a shard."""

    directory: Path
    shard: str
    suffix: str

    @property
    def part(self) -> Path:
        """The results."""
        return self.directory / f"part-{self.shard}{self.suffix}"

    @property
    def errors(self) -> Path:
        """The rows without a completion."""
        return self.directory / "errors" / f"{self.shard}.jsonl"

    @property
    def journal(self) -> Path:
        """The journal of the rows that are sent together."""
        return self._work("jsonl")

    @property
    def alone(self) -> Path:
        """The journal of rows that are sent one at a time."""
        return self._work("alone.jsonl")

    @property
    def deaths(self) -> Path:
        """How often each row was in flight at a death."""
        return self._work("deaths.json")

    @property
    def running(self) -> Path:
        """There while a process works on the shard."""
        return self._work("running")

    @property
    def lock(self) -> Path:
        """Held by that process."""
        return self._work("lock")

    def remove_work(self, *, keep_journals: bool) -> None:
        """Remove what only an unfinished shard needs."""
        self.forget_deaths()
        for path in () if keep_journals else (self.journal, self.alone):
            path.unlink(missing_ok=True)
            Path(f"{path}.laplas").unlink(missing_ok=True)

    def forget_deaths(self) -> None:
        """Let no row be suspected of anything."""
        self.deaths.unlink(missing_ok=True)
        self.running.unlink(missing_ok=True)

    def _work(self, name: str) -> Path:
        return self.directory / "work" / f"{self.shard}.{name}"


@define
class Deaths:
    """Which rows were in flight when a process died, and how many deaths count against each.

    While a shard is worked on, its file ``running`` says so, and which row is sent alone; found at
    the start, it is what a killed process left behind. A process that is stopped removes it.
    """

    counts: dict[str, int] = field(factory=dict)

    @classmethod
    def load(cls, files: ShardFiles, unfinished: Sequence[str]) -> Self:
        """The deaths so far, the last one included. ``unfinished``: the rows without a result."""
        made = cls()
        with contextlib.suppress(FileNotFoundError):
            made.counts = json.loads(files.deaths.read_bytes())
        try:
            alone = json.loads(files.running.read_bytes())["alone"]
        except FileNotFoundError:
            return made
        left = keys_left(str(files.journal))
        names = [name for name in unfinished if jsonl.digest(name.encode()) in left]
        for name in names if alone is None else [alone]:
            evidence = alone is not None or len(names) <= _CROWD
            made.counts[name] = made.counts.get(name, 0) + evidence
        _write_json(files.deaths, made.counts)
        files.running.unlink()
        return made

    def is_suspect(self, custom_id: str) -> bool:
        """Whether a row was in flight when a process died."""
        return custom_id in self.counts

    def is_set_aside(self, custom_id: str) -> bool:
        """Whether it is not sent any more."""
        return self.counts.get(custom_id, 0) >= MOST_DEATHS

    @contextlib.contextmanager
    def watch(self, files: ShardFiles) -> Iterator[Callable[[str | None], None]]:
        """Let ``running`` exist until the block is left by anything but a death.

        Call what it yields with the row that is sent alone from now on, or None.
        """
        try:
            yield lambda alone: _write_json(files.running, {"alone": alone})
        finally:
            files.running.unlink(missing_ok=True)


def _write_json(path: Path, value: Any) -> None:
    data = json.dumps(value).encode()
    write_durably(path, lambda draft: write_bytes(draft, data))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, for ``write_durably``."""
    path.write_bytes(data)


@contextlib.asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold a shard's lock; while another process has it, wait. A killed process loses it."""
    try:
        import fcntl  # noqa: PLC0415 - missing on Windows, where all else works
    except ImportError:
        raise ConfigError("shards need a system with flock (Linux, macOS, WSL)") from None
    while (fd := _try_lock(path, fcntl)) is None:  # noqa: ASYNC110 - the event is in another process
        await asyncio.sleep(_LOCK_INTERVAL)
    try:
        yield
    finally:
        _unlock(path, fd)


def _try_lock(path: Path, fcntl: Any) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last holder may have deleted the file between this open and this lock.
        if os.path.samestat(path.stat(), os.fstat(fd)):
            return fd
    os.close(fd)
    return None


def _unlock(path: Path, fd: int) -> None:
    path.unlink(missing_ok=True)
    os.close(fd)
