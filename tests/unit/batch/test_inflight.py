"""The file beside the output: one run at a time, and the rows in flight when it was killed."""

from pathlib import Path

import pytest

from laplas_async.batch.inflight import SLOTS, InFlight
from laplas_async.errors import JournalError


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def key(number: int) -> bytes:
    return number.to_bytes(16)


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def test_one_run_at_a_time(out: str) -> None:
    first = InFlight(out)
    with pytest.raises(JournalError, match="another run") as caught:
        InFlight(out)
    assert caught.value.path == out
    first.close()
    InFlight(out).close()


def test_it_is_deleted_when_empty(out: str) -> None:
    flight = InFlight(out)
    slot = flight.take(key(1))
    flight.clear([slot])
    flight.give_back([slot])
    assert Path(flight.path).exists()
    flight.close()
    assert not Path(flight.path).exists()


def test_rows_in_flight_are_left_for_the_next_run(out: str) -> None:
    flight = InFlight(out)
    slots = [flight.take(key(n)) for n in range(1, 6)]
    flight.clear(slots[:2])
    flight.close()
    after = InFlight(out)
    assert after.left.keys() == {key(3), key(4), key(5)}
    # Their slots are not reused before they are cleared.
    others = {after.take(key(9)) for _ in range(SLOTS - 3)}
    assert not after.has_room
    assert others.isdisjoint(after.left.values())
    after.clear(after.left.values())
    after.give_back(after.left.values())
    assert after.has_room
    after.forget()
    after.close()
    assert InFlight(out).left == {}


def test_the_lock_is_on_the_file_not_on_its_name(out: str) -> None:
    # A run that ends deletes the file; a lock on a deleted file must not count.
    flight = InFlight(out)
    Path(flight.path).unlink()
    other = InFlight(out)
    with pytest.raises(JournalError):
        InFlight(out)
    other.take(key(1))
    other.close()
    flight.close()


def test_a_file_that_laplas_did_not_write_is_left_alone(out: str) -> None:
    path = Path(f"{out}.laplas")
    path.write_bytes(b"my notes")
    with pytest.raises(JournalError, match="was not written by laplas"):
        InFlight(out)
    assert path.read_bytes() == b"my notes"


@pytest.mark.parametrize("start", [b"", b"laplas", bytes(100)])
def test_a_file_that_was_not_finished(out: str, start: bytes) -> None:
    Path(f"{out}.laplas").write_bytes(start)
    flight = InFlight(out)
    assert flight.left == {}
    flight.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    before = open_files()
    (tmp_path / "out.laplas").mkdir()
    with pytest.raises(OSError, match="directory"):
        InFlight(str(tmp_path / "out"))
    assert open_files() == before
