"""Values that grow over the chunks of a stream: text is joined, everything else is kept."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laplas_async.wire.fields import GrowingFields, GrowingParts

TEXTS = st.lists(st.text(max_size=5), max_size=10)


@given(TEXTS)
def test_a_text_is_the_pieces_joined(texts: list[str]) -> None:
    fields = GrowingFields()
    for text in texts:
        fields.add({"reasoning": text, "step": len(text)})
    last = {"reasoning": "".join(texts), "step": len(texts[-1])} if texts else {}
    assert fields.value() == last


def test_lists_are_extended_and_shared_with_nobody() -> None:
    fields = GrowingFields()
    first = [1]
    fields.add({"details": first})
    fields.add({"details": [2]})
    value = fields.value()
    assert value == {"details": [1, 2]}
    assert first == [1]
    value["details"].append(3)
    assert fields.value() == {"details": [1, 2]}


def test_text_and_thoughts_grow_and_other_parts_are_kept_in_their_places() -> None:
    parts = GrowingParts()
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "be"}]}
    more = {"type": "thinking", "thinking": [{"type": "text", "text": "cause"}]}
    image = {"type": "image_url", "image_url": {"url": "u"}}
    parts.add(thinking)
    parts.add(more)
    assert not parts.has_answer
    answer: list[Any] = [{"type": "text", "text": "Y"}, {"type": "text", "text": "es"}, image]
    for part in (*answer, "?", None):
        parts.add(part)
    assert parts.has_answer
    assert parts.value(then="!") == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "because"}]},
        {"type": "text", "text": "Yes"},
        image,
        "?",
        None,
        {"type": "text", "text": "!"},
    ]


def test_text_after_a_text_part_continues_it_and_another_index_does_not() -> None:
    parts = GrowingParts()
    parts.add({"type": "text", "text": "a", "index": 0})
    parts.add({"type": "text", "text": "b", "index": 1})
    assert [part["text"] for part in parts.value()] == ["a", "b"]
    alone = GrowingParts()
    alone.add({"type": "text", "text": "a"})
    assert alone.value(then="b") == [{"type": "text", "text": "ab"}]
    assert alone.value() == [{"type": "text", "text": "a"}]


def test_a_field_of_a_part_that_changes_its_kind_is_replaced() -> None:
    parts = GrowingParts()
    values: list[Any] = ["a", ["x"], 5]
    for value in values:
        parts.add({"type": "text", "text": value})
    assert parts.value() == [{"type": "text", "text": 5}]
