"""The page as a whole: self-contained, escaped, small, and what it shows and hides."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from laplas_async import ConfigError
from laplas_async.report import RunReport, read_run

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
VOID = {"meta", "rect", "path", "line"}


class Page(HTMLParser):
    """Checks that tags are closed in order; collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href") or name[:2] == "on"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(report: RunReport, **options: Any) -> Page:
    return Page(report.html(**options))


def test_it_needs_no_script_and_no_network(write: Write, make: Make) -> None:
    report = read_run(write(*(make(n) for n in range(50)), make(50, status=500)))
    found = page(report)
    assert not found.tags & {"script", "link", "img", "iframe", "object", "form"}
    assert found.links == []
    html = report.html()
    assert not re.search(r"url\(|@import|https?://", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme:dark" in html
    assert "svg" in found.tags


def test_hostile_text_stays_text(write: Write, make: Make) -> None:
    evil = "</td><script>alert(1)</script>\u202e\x1b[2J\"'&"
    lines = [
        make(0, custom_id=evil, latency=99.0),
        make(1, custom_id=evil, status=None, code=evil, failure=evil),
        make(2, body={"model": evil, "choices": [{"finish_reason": evil}]}),
        make(3, tries=[{"status": 500, "error": evil}, {"status": 200}]),
        make(4, status=400, message=evil),
    ]
    report = read_run(write(*lines))
    for messages in (False, True):
        found = page(report, messages=messages)
        assert "script" not in found.tags
        assert any("alert(1)" in words for words in found.words)
        assert not {"\u202e", "\x1b"} & set(report.html(messages=messages))


def test_content_is_shown_only_on_request(write: Write, make: Make) -> None:
    report = read_run(write(make(0), make(1, status=400), make(2, status=None)))
    assert "SECRET" not in report.html()
    assert "--messages" in report.html()
    assert "no: SECRET" in report.html(messages=True)
    assert "SECRET" not in json.dumps(report.as_dict())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_rows_are_a_sensible_page(write: Write, make: Make, count: int) -> None:
    report = read_run(write(*(make(n) for n in range(count))))
    words = " ".join(page(report).words)
    assert ("The output has no rows." if not count else "completed.") in words
    assert "Nothing to do." in words
    assert "nan" not in words


def test_the_page_is_small_for_any_number_of_rows(write: Write, make: Make) -> None:
    def line(n: int) -> dict[str, Any]:
        limit = {"rate": n / 7 + 0.123456, "concurrency": n}
        failed = {"status": 500 + n % 99, "failure": f"Kind{n % 60}Error"} if n % 9 == 0 else {}
        tries = [{"status": 429, "started": 1000.0 + n / 3, "error": f"R{n % 99}: x"}, {}]
        return make(n, latency=n**1.5 / 999, limit=limit, tries=tries, waited=n / 99, **failed)

    report = read_run(write(*(line(n) for n in range(5000))))
    assert len(report.html(messages=True).encode()) < 300_000


def test_it_is_written_whole_and_never_over_the_output(write: Write, make: Make) -> None:
    output = write(make(0))
    report = read_run(output)
    target = output.with_suffix(".html")
    target.write_text("old")
    report.write(target)
    assert target.read_text(encoding="utf-8") == report.html()
    link = output.with_name("link.html")
    link.symlink_to(output)
    for path in (output, link):
        with pytest.raises(ConfigError, match="is the output"):
            report.write(path)
    with pytest.raises(OSError, match="No such file"):
        report.write(output.parent / "missing" / "x.html")
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "link.html", "out.html", "out.jsonl",
    ]  # fmt: skip


def test_the_numbers_are_plain_json(write: Write, make: Make) -> None:
    numbers = json.loads(json.dumps(read_run(write(make(0), make(1))).as_dict(), allow_nan=False))
    assert numbers["completed"] == 2
    assert numbers["latency"]["p90"] == 0.5
    assert numbers["usd"] is None


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_goals_must_be_seconds(write: Write, make: Make, value: float) -> None:
    with pytest.raises(ConfigError, match="latency="):
        read_run(write(make(0)), latency=value)
