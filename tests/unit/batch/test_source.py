"""Where the bytes come from: files, compressed ones, streams; cut ones, and reads that wait."""

import gzip
import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard

from laplas_async.batch.source import Source
from laplas_async.errors import ConfigError, JournalError

TEXT = b"".join(b'{"prompt": "Question %d"}\n' % i for i in range(20_000))


def read(given: Any) -> bytes:
    source = Source(given)
    try:
        return b"".join(source.pieces())
    finally:
        source.close()


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def write_and_close(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as stream:
        stream.write(data)


def gz(data: bytes) -> bytes:
    return gzip.compress(data)


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def test_a_file_as_it_is(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "in.jsonl", TEXT)) == TEXT
    assert read(str(saved(tmp_path / "empty", b""))) == b""


@pytest.mark.parametrize(("name", "pack"), [("in.jsonl.gz", gz), ("in.jsonl.ZST", zst)])
def test_a_compressed_file(tmp_path: Path, name: str, pack: Any) -> None:
    path = tmp_path / name
    assert read(saved(path, pack(TEXT))) == TEXT
    assert read(saved(path, pack(TEXT) + pack(b"") + pack(b"more"))) == TEXT + b"more"
    assert read(saved(path, b"")) == b""
    whole = pack(TEXT)
    for cut in (1, 10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(JournalError, match="cut off") as caught:
            read(saved(path, whole[:cut]))
        assert caught.value.path == str(path)
    with pytest.raises(JournalError, match="corrupt"):
        read(saved(path, b"no such thing"))
    with pytest.raises(JournalError, match="corrupt"):
        read(saved(path, whole + b"rubbish behind it"))


def test_gzip_may_be_padded(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "in.gz", gz(b"a") + bytes(600) + gz(b"b") + bytes(9))) == b"ab"


@pytest.mark.parametrize(("name", "pack"), [("in.gz", gz), ("in.zst", zst)])
def test_what_unpacks_to_much_comes_in_pieces(tmp_path: Path, name: str, pack: Any) -> None:
    source = Source(saved(tmp_path / name, pack(bytes(50_000_000))))
    sizes = [len(piece) for piece in source.pieces()]
    source.close()
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 8 * 1024 * 1024


def test_streams() -> None:
    assert read(io.BytesIO(TEXT)) == TEXT
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        thread = threading.Thread(target=write_and_close, args=(writer, TEXT))
        thread.start()
        assert read(stream) == TEXT
        thread.join()
        assert not stream.closed


def test_a_read_that_waits_can_be_ended() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb"), os.fdopen(reader, "rb") as stream:
        source = Source(stream)
        threading.Timer(0.01, source.stop).start()
        assert list(source.pieces()) == []
        source.close()


def test_a_named_pipe_that_nobody_writes_to_yet(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = Source(path)
    thread = threading.Timer(0.01, lambda: path.write_bytes(TEXT[:1000]))
    thread.start()
    assert b"".join(source.pieces()) == TEXT[:1000]
    thread.join()
    source.close()


def test_how_much_is_done(tmp_path: Path) -> None:
    source = Source(saved(tmp_path / "in", bytes(1_000_000)))
    done = [source.done for _ in source.pieces()]
    source.close()
    assert done[0] is not None
    assert 0 < done[0] < 0.5
    assert done[-1] == 1
    assert Source(io.BytesIO(b"x")).done is None


def test_what_cannot_be_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Source(tmp_path / "none")
    with pytest.raises(ConfigError, match="folder"):
        Source(tmp_path)
    with pytest.raises(ConfigError, match="binary"):
        Source(io.StringIO("x"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="path or a stream"):
        Source(3)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r'pip install "laplas-async\[cli\]"'):
        Source(saved(tmp_path / "in.zst", b""))


def test_it_knows_its_own_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "in", b"x")
    link = tmp_path / "link"
    link.symlink_to(path)
    source = Source(path)
    assert source.is_same_as(str(link))
    assert not source.is_same_as(str(saved(tmp_path / "other", b"x")))
    assert not source.is_same_as(str(tmp_path / "none"))
    source.close()
