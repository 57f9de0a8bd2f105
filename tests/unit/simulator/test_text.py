"""Text and tokens."""

from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator.rng import SeededRandom
from laplas_async.simulator.text import paragraph, tokens


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


@given(st.text(alphabet="abcdefgh é日🙂\u0301\u200d\n"), st.integers(0, 30))
def test_a_prefix_is_cut_into_the_same_tokens(text: str, count: int) -> None:
    result = tokens(text)
    assert tokens("".join(result[:count])) == result[:count]


def test_tokens_are_about_four_characters() -> None:
    text = paragraph(SeededRandom("length"), 200)
    assert 3 < len(text) / len(tokens(text)) < 5


@given(st.integers(), st.integers(1, 25))
def test_a_paragraph_holds_characters_of_several_bytes(key: int, sentences: int) -> None:
    text = paragraph(SeededRandom(key), sentences)
    assert len(text.encode()) > len(text)


def test_marks_stay_with_their_letters() -> None:
    assert tokens("re\u0301sume\u0301") == ["re\u0301su", "me\u0301"]
