"""One answer at a time: who is first, who waits, who gives way."""

import pytest

from laplas_async.bots import line as line_module
from laplas_async.bots.line import Line, Place, check_busy
from laplas_async.errors import ChatBusyError, ConfigError


class Asker:
    """Someone who takes places, and never has to give way here."""

    async def replace(self) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        raise AssertionError


def place(message_id: str | None = None) -> Place:
    return Place(Asker(), message_id)


async def test_places_are_called_in_order_of_arrival() -> None:
    line = Line()
    first, second, third = place(), place(), place()
    for one in (first, second, third):
        assert line.join(one, "queue") == []
    assert [one.turn.done() for one in (first, second, third)] == [True, False, False]
    line.leave(first)
    assert [one.turn.done() for one in (second, third)] == [True, False]
    line.leave(third)  # it waited no longer
    line.leave(second)
    assert len(line) == 0
    assert not third.turn.done()


async def test_leaving_twice_calls_nobody_early() -> None:
    line = Line()
    first, second, third = place(), place(), place()
    for one in (first, second, third):
        line.join(one, "queue")
    line.leave(first)
    line.leave(first)
    assert not third.turn.done()


async def test_a_newer_message_replaces_all_others() -> None:
    line = Line()
    first, second, newest = place(), place(), place()
    line.join(first, "queue")
    line.join(second, "queue")
    assert line.join(newest, "replace") == [first, second]
    assert line.first is newest
    assert newest.turn.done()
    line.leave(first)  # which lost its place already
    assert line.first is newest


async def test_a_busy_chat_refuses() -> None:
    line = Line()
    line.join(place(), "refuse")
    with pytest.raises(ChatBusyError, match="still being answered") as caught:
        line.join(place(), "refuse", "7")
    assert caught.value.chat == "7"
    assert len(line) == 1


async def test_a_line_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "MOST_WAITING", 2)
    line = Line()
    for _ in range(3):
        line.join(place(), "queue")
    with pytest.raises(ChatBusyError, match="2 messages are waiting"):
        line.join(place(), "queue")


async def test_a_place_is_found_by_its_message() -> None:
    line = Line()
    line.join(place("5"), "queue")
    assert line.has("5")
    assert not line.has("6")
    assert not line.has(None)


def test_an_unknown_policy_is_refused() -> None:
    assert check_busy("queue") == "queue"
    with pytest.raises(ConfigError, match="queue, replace, refuse"):
        check_busy("wait")
