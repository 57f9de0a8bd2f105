import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.bots.graphemes import boundary_before, is_boundary, is_visible, utf16_length


@pytest.mark.parametrize(
    "grapheme",
    [
        *(
            "e\u0301",
            "👍🏽",
            "👨‍👩‍👧‍👦",
            "🇩🇪",
            "❤️",
            "1️⃣",
            "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "\r\n",
            "각",
            "각",
            "가\u11a8",
            "กำ",
        ),
        *("क्षि", "🏳️‍🌈", "e\u0301\u0323", "नि"),
    ],
)
def test_a_grapheme_has_no_boundary_inside(grapheme: str) -> None:
    text = f"a{grapheme}b"
    assert [at for at in range(len(text) + 1) if is_boundary(text, at)] == [
        *(0, 1),
        *(len(text) - 1, len(text)),
    ]


def test_two_flags_are_two_graphemes() -> None:
    text = "🇩🇪🇫🇷"
    assert [at for at in range(5) if is_boundary(text, at)] == [0, 2, 4]


@given(st.text())
def test_boundaries_of_any_text(text: str) -> None:
    for at in range(len(text) + 1):
        before = boundary_before(text, at)
        assert 0 <= before <= at
        assert is_boundary(text, before)


def test_lengths_are_counted_in_utf16() -> None:
    assert utf16_length("a😀é\ud83d") == 5


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u2060", "\ufe0f", "\u3164", "\u00a0"])
def test_text_that_shows_nothing(text: str) -> None:
    assert not is_visible(text)


@pytest.mark.parametrize("text", [".", " a", "😀", "漢", "\u0301"])
def test_text_that_shows_something(text: str) -> None:
    assert is_visible(text)
