import pytest

from laplas_async.simulator.telegram_parse import ParseError, parse, utf16


@pytest.mark.parametrize(
    ("mode", "text", "shown"),
    [
        (None, "<b>*a*</b>", "<b>*a*</b>"),
        ("HTML", "<b>a</b> &lt; <a href='x'>b</a>", "a < b"),
        ("html", "<pre><code class='language-py'>x</code></pre>", "x"),
        ("MarkdownV2", "*a* __b__ `c*` \\. [d](e)", "a b c* . d"),
        ("MarkdownV2", "```py\nx\n```", "py\nx\n"),
        ("Markdown", "*a* _b_ c.", "a b c."),
    ],
)
def test_what_telegram_shows(mode: str | None, text: str, shown: str) -> None:
    assert parse(text, mode) == shown


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        *(("HTML", text) for text in ("a < b", "<b>a", "<x>a</x>", "</b>", "<b><i>a</b></i>")),
        *(("MarkdownV2", text) for text in ("a.", "*a", "a-b", "`a", "(a)")),
        ("Markdown", "*a"),
    ],
)
def test_what_telegram_cannot_parse(mode: str, text: str) -> None:
    with pytest.raises(ParseError):
        parse(text, mode)


def test_lengths_are_in_utf16() -> None:
    assert utf16("a😀") == 3
