import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.bots.markup import fence_opened_by, outline


def spans(text: str) -> list[str]:
    return [text[start:end] for start, end in outline(text).spans]


@pytest.mark.parametrize(
    "span",
    [
        *("**bold**", "*it*", "__bold__", "_it_", "***both***", "~~gone~~", "||spoiler||"),
        *("`code`", "``a`b``", "`**not bold`", "[a](b)", "[a [b] c](d)", "![i](u)", "[a][ref]"),
        *("[a](<b c>)", "[a](b(c)d)", "<@123>", "<:name:5>", "<https://a.b/c>", "**over\na line**"),
    ],
)
def test_a_span_is_found_whole(span: str) -> None:
    assert spans(f"Before {span} after.") == [span]


@pytest.mark.parametrize(
    "text",
    [
        *("2 * 3 * 4", "a_b_c", "* item\n* item", "- item", "**never closed", "[1]", "a < b > c"),
        *("\\*not it\\*", "snake_case and more_of_it", "https://a.b/c_d_e?f=*g", "5 ** 2", "`open"),
        "**one\n\nparagraph** two",
    ],
)
def test_plain_text_has_no_spans(text: str) -> None:
    assert spans(text) == []


@pytest.mark.parametrize("text", ["a **b", "a `b", "a [b", "a [b](http://c", "a [b][c", "a [b]"])
def test_an_open_sign_is_reported(text: str) -> None:
    assert outline(text).open_from == 2


def test_a_blank_line_ends_what_is_open() -> None:
    assert outline("a **b\n\nc").open_from is None


def test_code_is_found_between_its_fences() -> None:
    text = "a\n```python\nx = 1\n```\nb"
    [code] = outline(text).code
    assert text[code.start : code.end] == "x = 1\n"
    assert code.fence.language == "python"
    assert outline(text).fence is None


@pytest.mark.parametrize(
    ("line", "opening"),
    [
        ("```", "```\n"),
        ("```python title=a\n", "```python\n"),
        ("  ~~~~ js\n", "  ~~~~js\n"),
        ("> ```py", "> ```py\n"),
        ("- ```py\n", "  ```py\n"),
        ("10. ```py\n", "    ```py\n"),
    ],
)
def test_a_fence_is_opened(line: str, opening: str) -> None:
    fence = fence_opened_by(line)
    assert fence is not None
    assert fence.opening == opening


@pytest.mark.parametrize("line", ["``", "```a```", "text ```", "`````x`", "-```", ""])
def test_other_lines_open_no_fence(line: str) -> None:
    assert fence_opened_by(line) is None


def test_only_its_own_kind_and_length_closes_a_fence() -> None:
    found = outline("````\n```\n~~~~\n`````\nafter")
    assert found.fence is None
    assert len(found.code) == 1


@given(st.text(alphabet="*_`~[]()<>|\\ab \n", max_size=200))
def test_any_text_has_an_outline(text: str) -> None:
    found = outline(text)
    assert found.spans == sorted(found.spans)
    assert all(0 <= start < end <= len(text) for start, end in found.spans)
