"""The output file: lines that stay, repaired ends, and files of others left alone."""

import json
import os
import resource
import signal
import stat
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laplas_async.batch.index import Index
from laplas_async.batch.journal import Journal, Stopped
from laplas_async.batch.results import Known, failure_line
from laplas_async.batch.rows import RequestDefaults, Row
from laplas_async.errors import ConfigError, ConnectionFailedError, JournalError


def result(number: int, message: str = "gone") -> bytes:
    data = json.dumps({"custom_id": f"r{number}", "prompt": "x"}).encode()
    row = RequestDefaults("m").read(number, data)
    assert isinstance(row, Row)
    Index().claim(row)
    return failure_line(row, ConnectionFailedError(message))


LINES = [result(n, "ü" * n) for n in range(1, 6)]
KEYS = [line[17:49].decode() for line in LINES]


def opened(path: Path) -> tuple[Journal, list[str]]:
    """A journal and the keys that it knows, in the order of their lines."""
    found: list[tuple[Known, int]] = []
    journal = Journal(path)
    try:
        journal.scan(lambda known, place: found.append((known, place)))
    except BaseException:
        journal.close()
        raise
    data = path.read_bytes()
    for known, place in found:
        assert data[place + 17 :].startswith(known.key.hex().encode())
    return journal, [known.key.hex() for known, _ in found]


def keys(path: Path) -> list[str]:
    journal, known = opened(path)
    journal.close()
    return known


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_what_was_appended_is_there(out: Path) -> None:
    journal, known = opened(out)
    assert known == []
    assert journal.append(LINES[:2]) == (2, None)
    assert journal.append([]) == (0, None)
    assert journal.append(LINES[2:]) == (3, None)
    journal.close()
    journal.close()
    assert out.read_bytes() == b"".join(LINES)
    assert keys(out) == KEYS
    assert [*out.parent.iterdir()] == [out]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_journal_cut_at_any_byte_has_each_row_once(out: Path, choose: st.DataObject) -> None:
    order = choose.draw(st.permutations(range(5)))
    whole = b"".join(LINES[n] for n in order)
    out.write_bytes(whole[: choose.draw(st.integers(0, len(whole)))])
    for _ in range(choose.draw(st.integers(0, 2))):  # killed again, while it went on
        count = choose.draw(st.integers(0, 2))
        journal, known = opened(out)
        journal.append([LINES[n] for n in order if KEYS[n] not in known][:count])
        journal.close()
        os.truncate(out, choose.draw(st.integers(0, out.stat().st_size)))
    journal, known = opened(out)
    journal.append([LINES[n] for n in order if KEYS[n] not in known])
    journal.close()
    assert out.read_bytes() == whole
    assert keys(out) == [KEYS[n] for n in order]


def test_a_line_that_lacks_but_its_end_is_kept(out: Path) -> None:
    out.write_bytes(b"".join(LINES)[:-1])
    journal, known = opened(out)
    assert known == KEYS
    assert journal.repaired == 1
    journal.close()
    assert out.read_bytes() == b"".join(LINES)


@pytest.mark.parametrize("hole", [bytes(10), bytes(5000)])
def test_zeros_that_a_power_cut_left(out: Path, hole: bytes) -> None:
    for torn in (hole, LINES[2][:30] + hole, hole + LINES[2][-9:], hole + b"\n" + LINES[3]):
        out.write_bytes(LINES[0] + LINES[1] + torn)
        journal, known = opened(out)
        assert known == KEYS[:2]
        assert journal.repaired == 1
        journal.append(LINES[2:])
        journal.close()
        assert out.read_bytes() == b"".join(LINES)
    out.write_bytes(hole)
    assert keys(out) == []
    assert out.read_bytes() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"my notes",
        b"my notes\n",
        b'{"custom_id": "a"}\n',
        b"\0\0\0\x18ftypmp42\0\0\n rest",
        b"\x89PNG\r\n\x1a\n\0\0",
    ],
)
def test_a_file_that_laplas_did_not_write_is_left_as_it_is(out: Path, data: bytes) -> None:
    out.write_bytes(data)
    with pytest.raises(JournalError, match="line 1") as caught:
        keys(out)
    assert (caught.value.path, caught.value.line) == (str(out), 1)
    assert out.read_bytes() == data
    assert not Path(f"{out}.laplas").exists()


def test_a_broken_line_in_the_middle_is_reported(out: Path) -> None:
    data = LINES[0] + LINES[1][:-9] + b"\n" + LINES[2]
    out.write_bytes(data)
    with pytest.raises(JournalError, match="line 2") as caught:
        keys(out)
    assert caught.value.line == 2
    assert out.read_bytes() == data
    out.write_bytes(LINES[0] + b"what is this")
    with pytest.raises(JournalError, match="line 2"):
        keys(out)


def test_blank_lines_do_no_harm(out: Path) -> None:
    out.write_bytes(b"\n" + LINES[0] + b"  \n" + LINES[1] + b"\n")
    assert keys(out) == KEYS[:2]


def test_a_long_line(out: Path) -> None:
    data = result(1, "x").replace(b'"x"', b'"' + b"x" * 3_000_000 + b'"')
    out.write_bytes(data + LINES[1])
    assert keys(out) == KEYS[:2]
    journal, _ = opened(out)
    journal.rewrite([len(data), 0])
    journal.close()
    assert out.read_bytes() == LINES[1] + data


def places() -> "array[int]":
    ends = array("Q", [0])
    for line in LINES:
        ends.append(ends[-1] + len(line))
    return ends


def test_a_rewrite_puts_lines_in_order(out: Path) -> None:
    out.write_bytes(b"".join(LINES))
    out.chmod(0o640)
    journal, _ = opened(out)
    journal.rewrite([places()[n] for n in (3, 0, 2)])
    journal.close()
    assert out.read_bytes() == LINES[3] + LINES[0] + LINES[2]
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert [*out.parent.iterdir()] == [out]


def test_a_rewrite_may_leave_lines_out(out: Path) -> None:
    out.write_bytes(b"".join(LINES))
    journal, _ = opened(out)
    journal.rewrite(journal.positions(array("Q", [places()[4], places()[1]])))
    journal.close()
    assert out.read_bytes() == LINES[0] + LINES[2] + LINES[3]


def test_a_rewrite_that_is_given_up_changes_nothing(out: Path) -> None:
    out.write_bytes(b"".join(LINES))
    journal, _ = opened(out)
    with pytest.raises(Stopped):
        journal.rewrite(places()[:-1], lambda: True)
    journal.close()
    assert out.read_bytes() == b"".join(LINES)
    assert [*out.parent.iterdir()] == [out]


def test_a_rewrite_that_was_killed_is_cleaned_up(out: Path) -> None:
    out.write_bytes(b"".join(LINES))
    Path(f"{out}.laplas-new").write_bytes(LINES[3])
    assert keys(out) == KEYS
    assert [*out.parent.iterdir()] == [out]


def test_a_link_stays_a_link(out: Path, tmp_path: Path) -> None:
    out.write_bytes(b"".join(LINES))
    link = tmp_path / "link.jsonl"
    link.symlink_to(out)
    journal, _ = opened(link)
    journal.rewrite([0])
    with pytest.raises(JournalError, match="another run"):
        Journal(out)
    journal.close()
    assert link.is_symlink()
    assert out.read_bytes() == LINES[0]


def test_a_scan_can_be_stopped(out: Path) -> None:
    out.write_bytes(LINES[0])
    journal = Journal(out)
    with pytest.raises(Stopped):
        journal.scan(lambda known, place: None, lambda: True)
    journal.close()


def test_what_cannot_be_an_output(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        Journal(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        Journal(tmp_path / "none" / "out")
    with pytest.raises(ConfigError, match="regular file"):
        Journal("/dev/null")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="Not a directory"):
        Journal(tmp_path / "file" / "out")


def test_a_disk_that_is_full_keeps_whole_lines(out: Path) -> None:
    journal, _ = opened(out)
    assert journal.append(LINES[:1]) == (1, None)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = len(LINES[0]) + len(LINES[1]) + 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        count, failure = journal.append(LINES[1:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert count == 1
    assert isinstance(failure, JournalError)
    assert "make room" in failure.message
    assert failure.path == str(out)
    assert out.read_bytes() == LINES[0] + LINES[1]
    assert journal.append(LINES[2:]) == (3, None)
    journal.close()
    assert out.read_bytes() == b"".join(LINES)
