import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from laplas_async.bots.pace import BotPace, shared_pace
from laplas_async.bots.schedule import Allowance, ChatPace

Run = Callable[[Coroutine[Any, Any, Any]], Any]
PACE = ChatPace(interval=1.0)


def test_turns_are_granted_in_time(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        pace, began = BotPace(), loop.time()
        for expected in (0, 1, 2):
            await pace.wait(pace.join("a", PACE))
            assert loop.time() - began == expected

    run(scenario())


def test_a_turn_that_becomes_final_goes_first(run: Run) -> None:
    async def scenario() -> list[str]:
        pace, order = BotPace(Allowance(1, 10)), []
        await pace.wait(pace.join("x", PACE))

        async def change(chat: str, turn: Any) -> None:
            await pace.wait(turn)
            order.append(chat)

        turns = {chat: pace.join(chat, PACE) for chat in "abc"}
        tasks = [asyncio.create_task(change(chat, turn)) for chat, turn in turns.items()]
        await asyncio.sleep(1)
        pace.promote(turns["c"])
        await asyncio.gather(*tasks)
        return order

    assert run(scenario()) == ["c", "a", "b"]


def test_a_cancelled_turn_lets_the_next_one_go(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        pace = BotPace()
        pace.silence("b", 0)
        turn = pace.join("a", PACE)
        await pace.wait(turn)
        waiting = asyncio.create_task(pace.wait(pace.join("a", PACE)))
        last = asyncio.create_task(pace.wait(pace.join("a", PACE)))
        await asyncio.sleep(0.5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await last
        assert loop.time() == 1001

    run(scenario())


def test_silence_moves_a_turn_that_waits(run: Run) -> None:
    async def scenario() -> None:
        pace = BotPace()
        await pace.wait(pace.join("a", PACE))
        turn = pace.join("a", PACE)
        pace.silence("a", 30)
        assert pace.delay(turn) == 30
        await pace.wait(turn)
        assert asyncio.get_running_loop().time() == 1030

    run(scenario())


def test_a_bot_has_one_pace_in_each_event_loop(run: Run) -> None:
    async def paces() -> tuple[BotPace, BotPace, BotPace]:
        return shared_pace("a"), shared_pace("a"), shared_pace("b")

    one, same, other = run(paces())
    assert one is same
    assert one is not other
    assert run(paces())[0] is not one
