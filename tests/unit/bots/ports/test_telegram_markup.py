import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.bots.graphemes import utf16_length
from laplas_async.bots.ports.telegram_markup import render_markdown


def entities(text: str) -> list[tuple[str, str]]:
    """The type of each entity and the text that it covers."""
    shown, found = render_markdown(text)
    units = shown.encode("utf-16-le")
    return [
        (
            entity["type"],
            units[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])].decode(
                "utf-16-le"
            ),
        )
        for entity in found
    ]


@pytest.mark.parametrize(
    ("text", "shown", "expected"),
    [
        ("a **b** c", "a b c", [("bold", "b")]),
        ("a __b__ c", "a b c", [("bold", "b")]),
        ("a *b* _c_", "a b c", [("italic", "b"), ("italic", "c")]),
        ("***b***", "b", [("bold", "b"), ("italic", "b")]),
        ("~~b~~ ||c||", "b c", [("strikethrough", "b"), ("spoiler", "c")]),
        ("`**b**` ``a`b``", "**b** a`b", [("code", "**b**"), ("code", "a`b")]),
        ("**b `c` _d_**", "b c d", [("bold", "b c d"), ("code", "c"), ("italic", "d")]),
        ("[a **b**](http://c/d_e)", "a b", [("text_link", "a b"), ("bold", "b")]),
        ("# Title #\nText", "Title\nText", [("bold", "Title")]),
        ("😀 **😀**", "😀 😀", [("bold", "😀")]),
        ("```py\nx = 1\n```\nb", "x = 1\nb", [("pre", "x = 1")]),
        ("```\nx", "x", [("pre", "x")]),
        ("\\*a\\* \\_b\\_", "*a* _b_", []),
    ],
)
def test_markup_becomes_entities(text: str, shown: str, expected: list[tuple[str, str]]) -> None:
    assert render_markdown(text)[0] == shown
    assert entities(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("2 * 3 * 4", "a_b_c", "snake_case_name and other_name", "* item\n* item", "**open"),
        *("https://a.b/c_d_e", "- [ ] task", "a < b & c", "5*3*2", "__init__.py", "[1] [2]"),
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert render_markdown(text) == (text, [])


def test_the_language_of_code_and_the_address_of_a_link_are_kept() -> None:
    _, [code] = render_markdown("```python\nx\n```")
    assert code["language"] == "python"
    _, [link] = render_markdown("[a](https://b.c/d_(e))")
    assert link["url"] == "https://b.c/d_(e)"


@given(st.text(alphabet="*_`~[]()#|\\ab😀 \n", max_size=120))
def test_every_entity_is_inside_the_text(text: str) -> None:
    shown, found = render_markdown(text)
    for entity in found:
        assert entity["length"] > 0
        assert 0 <= entity["offset"] <= utf16_length(shown) - entity["length"]


@given(st.text(alphabet="ab😀 \n.,", max_size=120))
def test_text_without_markup_is_unchanged(text: str) -> None:
    assert render_markdown(text) == (text, [])
