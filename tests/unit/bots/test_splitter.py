import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.bots.graphemes import is_boundary, utf16_length
from laplas_async.bots.splitter import Part, Splitter, split

PROSE = "The river runs to the sea. It is long, and nobody knows why.\n\n"
# Pieces that make up difficult texts when they are joined at random.
PIECES = [
    *("word ", "word", " ", "\n", "\n\n", "é", "e\u0301", "漢字かな", "。", "한국어", "क्षि"),
    *("😀", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "❤️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "\u200b", "\u00a0", "\r\n", "\ud83d"),
    *("**bold text**", "_it_", "`code`", "[a link](https://example.org/a_b)", "![i](x)", "~~no~~"),
    *("```python\n", "```\n", "\n```\n", "~~~\n", "````md\n", "````\n", "  ```\n", "> quoted\n"),
    *(
        "**",
        "*",
        "`",
        "[",
        "](",
        ")",
        "https://example.org/a/b?c=d_e",
        "- item\n",
        "1. one\n",
        "\\*",
    ),
    *("print('hello world')\n", "    indented\n", "a" * 30, "<@123>", "||spoiler||", "```"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=60).map("".join)


def bodies(parts: list[Part]) -> str:
    return "".join(part.body for part in parts)


@given(TEXTS, st.integers(1, 120), st.sampled_from([len, utf16_length]))
def test_the_parts_are_the_text_and_within_the_limit(text: str, limit: int, size: object) -> None:
    assert callable(size)
    parts = split(text, limit, size=size)
    assert bodies(parts) == text
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
    for part in parts:
        # One character alone may be too large for a limit of 1.
        assert size(part.text) <= limit or len(part.text) == 1


@given(TEXTS, st.integers(20, 120), st.data())
def test_a_growing_text_is_laid_out_without_loss(
    text: str, limit: int, data: st.DataObject
) -> None:
    splitter = Splitter(limit)
    position = 0
    while position < len(text):
        step = data.draw(st.integers(1, 40))
        before = list(splitter.sealed)
        splitter.feed(text[position : position + step])
        position += step
        assert splitter.sealed[: len(before)] == before, "a sealed part has changed"
        assert len(splitter.tail.text) <= limit
    splitter.feed("", final=True)
    parts = [*splitter.sealed, splitter.tail]
    assert bodies(parts) == text
    assert all(len(part.text) <= limit for part in parts)


@given(TEXTS, st.integers(70, 150))
def test_no_grapheme_is_cut(text: str, limit: int) -> None:
    for part in split(text, limit)[:-1]:
        assert is_boundary(text, part.end)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=20), min_size=1), st.integers(20, 60))
def test_no_word_is_cut(words: list[str], limit: int) -> None:
    parts = split(" ".join(words), limit)
    assert " ".join(part.body.strip() for part in parts).split() == words


@given(
    st.lists(st.sampled_from(["**two words**", "[a link](http://x.y/z)", "`a b`", "word", "\n"])),
    st.integers(30, 80),
)
def test_no_link_bold_text_or_code_is_cut(words: list[str], limit: int) -> None:
    for part in split(" ".join(words), limit):
        assert part.body.count("**") % 2 == 0
        assert part.body.count("`") % 2 == 0
        assert part.body.count("[") == part.body.count(")")


@given(st.lists(st.sampled_from(["x = 1\n", "\n", "for a in b:\n", "    print(a)\n"]), min_size=1))
def test_a_fence_is_closed_and_opened_again_with_its_language(lines: list[str]) -> None:
    code = "".join(lines)
    parts = split(f"Before:\n\n```python\n{code}```\nAfter.", 60)
    shown = ""
    for part in parts:
        assert part.text.count("```") % 2 == 0
        for block in re.finditer(r"^```python\n(.*?)^```$", part.text, re.MULTILINE | re.DOTALL):
            assert block[1], "an empty block"
            shown += block[1]
    assert shown == code


def test_a_text_within_the_limit_is_one_part() -> None:
    assert [part.text for part in split("Hello.", 6)] == ["Hello."]
    assert [part.text for part in split("", 6)] == [""]


def test_a_message_ends_between_paragraphs_lines_or_words_in_this_order() -> None:
    assert split("aaa aaa aaa\n\nbb\nbbb bbb", 20)[0].body == "aaa aaa aaa\n\n"
    assert split("aaa aaa aaaa\nbbb bbb bbb", 20)[0].body == "aaa aaa aaaa\n"
    assert split("aaa aaa aaa aaa aaa aaa", 20)[0].body == "aaa aaa aaa aaa aaa "


def test_a_short_paragraph_does_not_become_a_message() -> None:
    assert split("# A\n\n" + "word " * 20, 50)[0].body.count("word") == 9


def test_a_word_larger_than_a_message_is_cut_between_graphemes() -> None:
    family = "👨‍👩‍👧‍👦"
    parts = split(family * 10, 24, size=utf16_length)
    assert {part.body for part in parts} == {family * 2}


def test_a_word_of_the_size_of_a_message_is_not_cut_for_the_space_before_it() -> None:
    parts = split(f"{'a' * 20} {'b' * 20} c", 20)
    assert [part.body for part in parts] == ["a" * 20, " ", "b" * 20, " c"]


def test_5000_emoji_fill_their_messages() -> None:
    parts = split("😀" * 5000, 4096, size=utf16_length)
    assert [len(part.body) for part in parts] == [2048, 2048, 904]


def test_emoji_after_a_word_do_not_leave_it_alone_in_its_message() -> None:
    parts = split("Here: " + "😀" * 50, 40)
    assert len(parts[0].body) == 40


def test_text_without_spaces_is_cut_after_punctuation() -> None:
    assert (
        split("今日は雨です。明日は晴れです。" * 3, 20)[0].body == "今日は雨です。明日は晴れです。"
    )


def test_bold_text_that_is_closed_late_stays_whole() -> None:
    """The place to end a message is left open while a sign may still be closed."""
    splitter = Splitter(40)
    splitter.feed("Some words of prose before **bold words that")
    assert splitter.sealed == []
    assert len(splitter.tail.text) <= 40
    splitter.feed(" go on** and more")
    assert [part.body for part in splitter.sealed] == ["Some words of prose before "]


def test_a_sign_that_is_never_closed_is_plain_text() -> None:
    splitter = Splitter(40)
    splitter.feed("2 **3 is 8, as everybody knows who " * 3)
    assert len(splitter.sealed[0].body) > 30


def test_the_end_of_a_block_is_not_carried_over_alone() -> None:
    """A cut just before the closing line would leave an empty block in the next message."""
    code = "```py\n" + "x = 1\n" * 4
    splitter = Splitter(len(code) + 3)
    splitter.feed(code)
    splitter.feed("```\nThat was it.", final=True)
    assert [part.text for part in [*splitter.sealed, splitter.tail]] == [
        code + "```",
        "\nThat was it.",
    ]


@pytest.mark.parametrize("mark", ["```", "~~~~", "`````"])
def test_a_fence_is_reopened_as_it_was_written(mark: str) -> None:
    text = f"  {mark}rust ignore\n" + "let x = 1;\n" * 20 + f"  {mark}\n"
    second = split(text, 100)[1]
    assert second.opening == f"  {mark}rust\n"
    assert second.closing in {"", f"  {mark}"}


def test_at_a_tiny_limit_fences_are_left_open_rather_than_fill_the_message() -> None:
    parts = split("```python\n" + "x = 1\n" * 20 + "```", 20)
    assert all(not part.opening for part in parts)


def test_a_remark_follows_a_block_that_was_left_open() -> None:
    splitter = Splitter(100)
    splitter.feed("```py\nx = 1")
    splitter.close_fence()
    splitter.feed("(cut off)", final=True)
    assert splitter.tail.text == "```py\nx = 1\n```\n(cut off)"


def test_a_preview_closes_the_fence_that_is_open() -> None:
    splitter = Splitter(100)
    splitter.feed("```py\nx = 1")
    assert splitter.tail.text == "```py\nx = 1\n```"


def test_the_size_may_be_smaller_than_the_text() -> None:
    """As for Telegram, where the target of a link does not count."""

    def size(text: str) -> int:
        return len(re.sub(r"\]\([^)]*\)", "]", text))

    text = "[a](https://example.org/very/long/address) " * 40
    parts = split(text, 40, size=size)
    assert bodies(parts) == text
    assert all(30 < size(part.text) <= 40 for part in parts[:-1])


def test_a_limit_under_1_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Splitter(0)


def test_a_long_text_takes_work_in_proportion_to_its_length() -> None:
    measured = 0

    def size(text: str) -> int:
        nonlocal measured
        measured += len(text)
        return len(text)

    def work(parts: int) -> int:
        nonlocal measured
        measured = 0
        split(PROSE * parts, 400, size=size)
        return measured

    assert work(400) < work(100) * 5
