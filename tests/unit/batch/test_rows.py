"""One line of the input: both formats, defaults, digests, and every kind of invalid row."""

import json
from typing import Any

import pytest

from laplas_async.batch.rows import BadRow, RequestDefaults, Row, TooLong, read_too_long
from laplas_async.errors import ConfigError

QUESTION = [{"role": "user", "content": "Name a river."}]


def read(value: Any, defaults: RequestDefaults | None = None) -> Row | BadRow:
    defaults = defaults or RequestDefaults("m")
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    row = defaults.read(7, data)
    return (isinstance(row, Row) and defaults.check(row)) or row


def fields(value: Any, defaults: RequestDefaults | None = None) -> dict[str, Any]:
    row = read(value, defaults)
    assert isinstance(row, Row), row
    return row.fields


def asked(value: Any, defaults: RequestDefaults | None = None) -> bytes:
    return read(value, defaults).asked


def test_a_line_of_openais_batch_format() -> None:
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "x", "messages": QUESTION, "max_tokens": 5, "stream": True},
    }
    row = read(line)
    assert isinstance(row, Row)
    assert (row.custom_id, row.line) == ("a", 7)
    assert row.fields == {"model": "x", "messages": QUESTION, "max_tokens": 5}


def test_plain_lines() -> None:
    wanted = {"model": "m", "messages": QUESTION}
    assert fields({"messages": QUESTION}) == wanted
    assert fields({"prompt": "Name a river."}) == wanted
    assert fields({"messages": "Name a river."}) == wanted
    assert fields({"prompt": "Name a river.", "messages": None, "custom_id": None}) == wanted
    assert asked({"prompt": "Name a river."}) == asked({"messages": QUESTION})


def test_a_row_does_not_decide_how_the_response_is_transferred() -> None:
    options = {"stream": True, "stream_options": {"include_usage": False}}
    assert fields({"prompt": "x", **options}) == fields({"prompt": "x"})


def test_unknown_fields_are_passed_on() -> None:
    got = fields({"prompt": "x", "thinking": {"on": True}, "extra_body": {"beam": 2}})
    assert got["extra_body"] == {"thinking": {"on": True}, "beam": 2}
    # Names of call arguments are fields like any other.
    assert fields({"prompt": "x", "extra_headers": {"a": "b"}})["extra_body"] == {
        "extra_headers": {"a": "b"}
    }


def test_defaults_are_for_rows_that_have_none() -> None:
    defaults = RequestDefaults("m", {"max_tokens": 9, "top_p": None, "extra_body": {"beam": 2}})
    assert fields({"prompt": "x"}, defaults)["max_tokens"] == 9
    assert fields({"prompt": "x", "max_tokens": None}, defaults)["max_tokens"] == 9
    assert fields({"prompt": "x", "max_tokens": 3}, defaults)["max_tokens"] == 3
    assert fields({"prompt": "x"}, defaults)["extra_body"] == {"beam": 2}
    assert fields({"prompt": "x"}, RequestDefaults("m", {"model": "other"}))["model"] == "other"


@pytest.mark.parametrize(
    "defaults",
    [{"max_tokens": 0}, {"temprature": 1}, {"messages": QUESTION}, {"extra_body": {"stream": 1}}],
)
def test_defaults_that_no_row_could_have(defaults: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RequestDefaults("m", defaults)


def test_a_system_message_is_for_rows_that_have_none() -> None:
    defaults = RequestDefaults("m", system="Be brief.")
    described = fields({"prompt": "Name a river."}, defaults)["messages"]
    assert described == [{"role": "system", "content": "Be brief."}, *QUESTION]
    for role in ("system", "developer"):
        own = [{"role": role, "content": "Be long."}, *QUESTION]
        assert fields({"messages": own}, defaults)["messages"] == own


def test_the_digest_covers_the_request_and_not_its_spelling() -> None:
    row = {"prompt": "x", "max_tokens": 3, "temperature": 0.5}
    same = b'{ "temperature":5e-1, "custom_id":"a", "max_tokens":3,  "prompt":"\\u0078" }'
    assert asked(row) == asked(same)
    others = [
        asked({**row, "max_tokens": 4}),
        asked({**row, "prompt": "y"}),
        asked({**row, "beam": 1}),
        asked(row, RequestDefaults("other")),
        asked(row, RequestDefaults("m", {"top_p": 0.5})),
        asked(row, RequestDefaults("m", system="Be brief.")),
    ]
    assert len({asked(row), *others}) == 1 + len(others)


def test_what_a_row_says_has_a_digest_of_its_own() -> None:
    one, other = (
        read({"prompt": "x"}),
        read({"prompt": "x"}, RequestDefaults("m", {"max_tokens": 3})),
    )
    assert one.content == other.content  # so its id stays when a default changes
    assert one.asked != other.asked


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (b"{", "invalid_json", "not JSON"),
        (b"null", "invalid_json", "not a JSON object"),
        (b"[1]", "invalid_json", "not a JSON object"),
        (b'{"prompt": NaN}', "invalid_json", "not JSON"),
        (b'{"prompt": "x"} {"prompt": "y"}', "invalid_json", "not JSON"),
        (b'{"prompt": "\\ud83d"}', "invalid_json", "not JSON"),
        (b'{"prompt": "\xff"}', "invalid_utf8", "not UTF-8 at byte 13"),
        (b'{"prompt": "\xed\xa0\x80"}', "invalid_utf8", "not UTF-8"),
        (b"[" * 5000, "invalid_json", "not JSON"),
        (
            b'{"prompt": "x", "metadata": ' + b"[" * 500 + b"]" * 500 + b"}",
            "invalid_request",
            "JSON",
        ),
        ({}, "invalid_request", "no messages"),
        ({"messages": []}, "invalid_request", "no messages"),
        ({"prompt": ""}, "invalid_request", "no messages"),
        ({"prompt": 3}, "invalid_request", "prompt=3: must be a string"),
        ({"prompt": "x", "messages": QUESTION}, "invalid_request", "both"),
        ({"messages": 3}, "invalid_request", "messages=3"),
        ({"messages": [3]}, "invalid_request", "messages[0]=3"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "invalid_request", "messages[0].role"),
        ({"prompt": "x", "max_tokens": 0}, "invalid_request", "max_tokens=0: must be"),
        ({"prompt": "x", "temperature": "hot"}, "invalid_request", "temperature='hot'"),
        ({"prompt": "x", "model": 3}, "invalid_request", "model=3"),
        ({"prompt": "x", "extra_body": 3}, "invalid_request", "extra_body"),
        ({"prompt": "x", "custom_id": 3}, "invalid_request", "custom_id"),
        ({"prompt": "x", "custom_id": ""}, "invalid_request", "custom_id"),
        ({"body": "x"}, "invalid_request", "body='x'"),
        ({"body": {}}, "invalid_request", "no messages"),
        ({"body": {"prompt": "x"}, "url": "/v1/embeddings"}, "invalid_request", "url"),
        ({"body": {"prompt": "x"}, "method": "GET"}, "invalid_request", "method"),
    ],
)
def test_a_row_that_cannot_be_sent(line: Any, code: str, message: str) -> None:
    row = read(line)
    assert isinstance(row, BadRow)
    assert row.code == code
    assert message in row.message
    assert row.line == 7


def test_a_bad_row_keeps_its_id_where_that_can_be_read() -> None:
    assert read({"custom_id": "a", "prompt": "x", "n": 0}).custom_id == "a"
    assert read({"custom_id": "a"}).custom_id == "a"
    assert read(b"{").custom_id == ""


def test_a_row_that_was_bad_asks_something_else_once_it_is_good() -> None:
    line = {"custom_id": "a", "prompt": "x", "n": 0}
    assert asked(line) == asked(line)
    assert asked(line) != asked({**line, "n": 1})


def test_a_line_that_was_too_long() -> None:
    row = read_too_long(TooLong(3, 10_000_000, b"d" * 16))
    assert (row.code, row.line, row.custom_id) == ("line_too_long", 3, "")
    assert "10000000 bytes" in row.message
