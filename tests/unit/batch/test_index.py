"""What is known of each row: ids made and taken, and a table that finds what it was given."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from laplas_async.batch.index import MISSING, Index
from laplas_async.batch.jsonl import digest
from laplas_async.batch.rows import BadRow, RequestDefaults, Row


def row(custom_id: str = "", content: str = "x") -> Row:
    made = digest(content.encode())
    return Row(1, custom_id, made, made, {}, 1)


def ids(*rows: Row | BadRow) -> list[tuple[str, bool]]:
    index = Index()
    claimed = [index.claim(one)[0] for one in rows]
    assert len({one.key for one in claimed}) == len(rows)
    return [(one.custom_id, isinstance(one, Row)) for one in claimed]


def test_a_row_keeps_its_id_and_the_second_of_an_id_is_bad() -> None:
    assert ids(row("a"), row("b"), row("a"), row("a")) == [
        ("a", True),
        ("b", True),
        ("a", False),
        ("a", False),
    ]


def test_rows_without_an_id_get_one_from_what_they_say() -> None:
    (one, _), (other, _), (again, _), (third, _) = ids(
        row(content="x"), row(content="y"), row(content="x"), row(content="x")
    )
    assert one.startswith("row-")
    assert len(one) == 4 + 16
    assert other not in (one, again)
    assert (again, third) == (f"{one}-2", f"{one}-3")


def test_a_made_id_gives_way_to_one_from_the_input() -> None:
    [(made, _)] = ids(row())
    assert ids(row(made), row(), row()) == [(made, True), (f"{made}-2", True), (f"{made}-3", True)]
    assert ids(row(f"{made}-2"), row(), row())[1:] == [(made, True), (f"{made}-3", True)]
    assert ids(row(), row(made)) == [(made, True), (made, False)]


def test_lines_that_are_no_rows_have_ids_too() -> None:
    read = RequestDefaults("m").read
    names = [name for name, _ in ids(read(1, b"{"), read(2, b"{"), read(3, b"["))]
    assert len(set(names)) == 3
    assert all(name.startswith("line-") for name in names)


def test_what_the_output_says_of_a_row() -> None:
    index = Index()
    key, asked, changed = digest(b"a"), digest(b"what"), digest(b"else")
    index.record(key, asked, 100, completed=False)
    index.record(digest(b"gone"), asked, 150, completed=True)
    index.record(key, asked, 200, completed=True)
    assert list(index.superseded) == [100]
    _, entry = index.claim(row("a"))
    assert index.is_known(entry)
    assert index.is_completed(entry)
    assert index.position(entry) == 200
    assert index.is_unchanged(entry, asked)
    assert not index.is_unchanged(entry, changed)
    assert list(index.orphaned_rows()) == [150]
    _, new = index.claim(row("new"))
    assert not index.is_known(new)
    assert index.position(new) == MISSING
    assert index.known == 2
    assert len(index) == 3


@given(st.lists(st.integers(0, 300)))
def test_it_finds_each_that_it_was_given(numbers: list[int]) -> None:
    index = Index()
    last: dict[int, int] = {}
    places = itertools.count()
    for number in numbers:
        # Alike in the low half, so that they all come to one part and one place in it.
        key = bytes(8) + number.to_bytes(8)
        last[number] = place = next(places)
        index.record(key, digest(b"%d" % number), place, completed=True)
    assert index.known == len(last)
    assert sorted([*index.superseded, *last.values()]) == list(range(len(numbers)))
    assert sorted(index.orphaned_rows()) == sorted(last.values())
