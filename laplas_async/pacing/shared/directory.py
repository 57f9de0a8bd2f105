"""Where the workers of one user on one machine meet: a private directory with a lock and a socket.

``lock.N`` is held by the leader of generation N for as long as it runs, ``leader.N`` is its socket.
A leader that was stopped keeps its lock, so its successor takes the next generation. It refuses a
directory that another user owns or may write to.
"""

import fcntl
import os
import socket
import stat
import struct
import tempfile
from pathlib import Path
from typing import Final

from attrs import frozen

from laplas_async.errors import ConfigError

# Bytes of a Unix socket's path, on the strictest platform (macOS); Linux takes 107.
_LONGEST_PATH: Final = 103
_NAME: Final = "laplas-async"


def runtime_directory() -> Path:
    """The user's runtime directory: that of the session, or one in the directory for temporary
    files. Raises ``ConfigError`` if it is not the user's alone.
    """
    user = os.geteuid()
    session = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}"
    base, name = Path(session), _NAME
    if not os.access(base, os.W_OK | os.X_OK) or len(f"{base}/{name}/{'0' * 34}") > _LONGEST_PATH:
        base, name = Path(tempfile.gettempdir()), f"{_NAME}-{user}"
    path = base / name
    path.mkdir(mode=0o700, exist_ok=True)
    check_private(path)
    return path


def check_private(path: Path) -> None:
    """Raise ``ConfigError`` unless it is a directory that only this user can use."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is not a directory: remove it, or set XDG_RUNTIME_DIR")
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}: refused, for its owner "
            "could read what is shared; remove it, or set XDG_RUNTIME_DIR"
        )
    if found.st_mode & 0o077:
        raise ConfigError(f"{path} can be used by others: chmod 700 {path}")


def is_same_user(connection: socket.socket) -> bool:
    """Whether the process at the other end is this user's; True where the system cannot say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, size))
    return bool(user == os.geteuid())


@frozen
class MeetingPlace:
    """The files of one group of workers in ``directory``."""

    directory: Path
    group: str

    @property
    def generation(self) -> int:
        """The latest of which there is a lock; 1 if there is none."""
        prefix = f"{self.group}.lock."
        found = [
            int(name.removeprefix(prefix))
            for name in os.listdir(self.directory)  # noqa: PTH208 - names, not paths
            if name.startswith(prefix) and name.removeprefix(prefix).isdigit()
        ]
        return max(found, default=1)

    def socket_path(self, generation: int) -> str:
        """Where the leader of a generation listens."""
        return str(self.directory / f"{self.group}.{generation}")

    def lock_path(self, generation: int) -> Path:
        """What the leader of a generation holds."""
        return self.directory / f"{self.group}.lock.{generation}"

    def exists(self, generation: int) -> bool:
        """Whether there was a leader of this generation."""
        return self.lock_path(generation).exists()

    def lock(self, generation: int) -> int | None:
        """A descriptor that holds the lock; None if another process holds it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.lock_path(generation), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if not self.holds(generation, descriptor):  # its file was removed meanwhile
            os.close(descriptor)
            return None
        return descriptor

    def holds(self, generation: int, descriptor: int) -> bool:
        """Whether the lock is still that of the generation: the next one removes its file."""
        try:
            found = self.lock_path(generation).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(descriptor))

    def remove(self, generation: int) -> None:
        """Leave nothing behind; only while the lock is held, and nobody else is there."""
        Path(self.socket_path(generation)).unlink(missing_ok=True)
        self.lock_path(generation).unlink(missing_ok=True)

    def listen(self, generation: int) -> socket.socket:
        """The socket of the leader, which holds the lock; one of a dead leader is replaced."""
        for older in range(1, generation):
            self.lock_path(older).unlink(missing_ok=True)
            Path(self.socket_path(older)).unlink(missing_ok=True)
        path = self.socket_path(generation)
        Path(path).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)  # noqa: FBT003
            listener.bind(path)
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
        return listener
