"""A listener is informed of each event, and cannot harm a call whatever it raises."""

import asyncio
import logging
from typing import Any

import pytest

from laplas_async.observe.events import Event, EventPublisher
from laplas_async.pacing.gate import Gate

EVENT = Event("attempt", Gate().pace)


class ListenerError(Exception):
    pass


def raising(error: BaseException) -> Any:
    def listener(event: Event) -> None:
        raise error

    return listener


async def collected() -> list[dict[str, Any]]:
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


def test_the_listener_receives_the_event() -> None:
    seen: list[Event] = []
    EventPublisher(seen.append).publish(EVENT)
    assert seen == [EVENT]


def test_no_listener_is_no_error() -> None:
    EventPublisher().publish(EVENT)


@pytest.mark.parametrize("error", [ListenerError("x"), asyncio.CancelledError(), StopIteration()])
async def test_what_a_listener_raises_reaches_the_loop_s_exception_handler_once(
    error: BaseException,
) -> None:
    contexts = await collected()
    EventPublisher(raising(error)).publish(EVENT)
    assert [context["exception"] for context in contexts] == [error]
    assert "on_event" in contexts[0]["message"]


def test_outside_of_a_loop_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="laplas_async"):
        EventPublisher(raising(ListenerError("outside"))).publish(EVENT)
    assert "outside" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_an_interrupt_is_not_swallowed(error: BaseException) -> None:
    with pytest.raises(type(error)):
        EventPublisher(raising(error)).publish(EVENT)


def test_a_change_of_the_limits_is_an_event() -> None:
    seen: list[Event] = []
    pace = Gate().pace
    EventPublisher(seen.append).limit_changed(pace)
    assert seen == [Event("limit", pace)]
