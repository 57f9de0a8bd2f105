"""``LiveText`` through discord.py, against Discord's rules on loopback."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from laplas_async.bots import Gone, LiveText, PortError, SlowDown, Uncertain
from laplas_async.bots.schedule import ChatPace
from laplas_async.errors import StreamTruncatedError
from laplas_async.simulator import FakeDiscord, Reaction

PROSE = "The river runs to the sea. It is long, and nobody knows why it is there at all.\n\n"
FAST = ChatPace(interval=0.02)

discord: Any = pytest.importorskip("discord", reason="discord.py is not installed")


@pytest.fixture
async def server() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as server:
        with server.patch():
            yield server


@pytest.fixture
async def client(server: FakeDiscord) -> AsyncIterator[Any]:
    """A client that has logged in; the HTTP API needs no gateway."""
    async with discord.Client(intents=discord.Intents.default()) as client:
        await client.login(server.token)
        yield client


@pytest.fixture
def port(client: Any) -> Any:
    return new_port(client.get_partial_messageable(200))


def new_port(destination: Any, **options: Any) -> Any:
    from laplas_async.bots import DiscordPort

    return DiscordPort(destination, **{"pace": FAST, **options})


async def show(port: Any, stream: Any, **options: Any) -> Any:
    async with asyncio.timeout(20):
        return await LiveText(port, **options).show(stream)


async def seen(server: FakeDiscord, text: str) -> None:
    assert await server.wait_for(lambda: any(text in shown for shown in server.texts()))


async def test_the_text_grows(server: FakeDiscord, port: Any, script: Any) -> None:
    stream = script("A **bo")
    task = asyncio.create_task(show(port, stream))
    await seen(server, "A **bo ▌")
    stream.write("ld** word").end()
    shown = await task
    assert server.texts() == ["A **bold** word"]
    assert shown.messages[0].id == server.messages[0].id


async def test_12390_characters_arrive_without_loss(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    text = (PROSE * 160)[:12_390]
    await show(port, script(*re.findall(r".{1,40}", text, re.DOTALL)).end())
    assert re.sub(r"\s", "", "".join(server.texts())) == re.sub(r"\s", "", text)
    assert len(server.texts()) == 7


async def test_5000_emoji_arrive_without_loss(server: FakeDiscord, port: Any, script: Any) -> None:
    await show(port, script("👨‍👩‍👧‍👦👍🏽🇩🇪❤️😀" * 1000).end())
    assert "".join(server.texts()) == "👨‍👩‍👧‍👦👍🏽🇩🇪❤️😀" * 1000
    for shown in server.texts():
        assert not re.match(r"[\u200d\ufe0f\U0001f3fb-\U0001f3ff]", shown)


async def test_a_code_heavy_answer_arrives_without_loss(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    code = "".join(f"def function_{n}(x):\n    return x * {n}\n\n" for n in range(200))
    text = f"Here:\n\n```python\n{code}```\n\nThat is _all_."
    await show(port, script(*re.findall(r".{1,50}", text, re.DOTALL)).end())
    blocks = []
    for shown in server.texts():
        assert shown.count("```") % 2 == 0
        blocks += re.findall(r"^```python\n(.*?)^```$", shown, re.MULTILINE | re.DOTALL)
    assert "".join(blocks) == code


async def test_a_429_on_the_final_edit_delays_it(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(port, stream))
    await seen(server, "Hello ▌")
    server.script(Reaction.slow_down(0.6), Reaction.slow_down(0.6), method="PATCH message")
    stream.write(" World").end()
    await task
    assert server.texts() == ["Hello World"]
    assert server.count("POST message") == 1


async def test_a_429_midway_means_silence_and_then_the_newest_text(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    """discord.py would sleep and then send the text of before."""
    stream = script("One")
    task = asyncio.create_task(show(port, stream))
    await seen(server, "One ▌")
    server.script(Reaction.slow_down(1))
    stream.write(" two")
    assert await server.wait_for(lambda: server.count("PATCH message") == 1)
    stream.write(" three", " four")
    await seen(server, "four")
    stream.end()
    await task
    assert server.messages[0].versions[:2] == ["One ▌", "One two three four ▌"]
    edits = [call for call in server.calls if call.method == "PATCH message"]
    assert edits[1].at - edits[0].at >= 1


async def test_the_bots_own_requests_are_as_patient_as_before(
    server: FakeDiscord, client: Any, port: Any, script: Any
) -> None:
    shown = await show(port, script("Hello").end())
    server.script(Reaction.slow_down(0.1), Reaction.slow_down(0.1))
    await shown.messages[0].edit(content="Edited")
    await client.get_partial_messageable(200).send("Sent")
    assert server.texts() == ["Edited", "Sent"]


async def test_during_a_wait_of_minutes_the_stream_is_read(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(port, stream, patience=5))
    await seen(server, "Hello ▌")
    server.script(Reaction.slow_down(280))
    stream.write(*["word "] * 300).end()
    with pytest.raises(SlowDown) as caught:
        await task
    assert stream.unread == 0
    assert caught.value.text.count("word") == 300


async def test_a_429_from_the_proxy_is_a_429(server: FakeDiscord, port: Any, script: Any) -> None:
    server.script(Reaction.refuse(429, "Too many"))
    with pytest.raises(SlowDown):
        await show(port, script("Hello").end(), patience=0)


async def test_after_a_deletion_the_answer_continues_in_a_new_message(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(port, stream))
    await seen(server, "Hello ▌")
    server.delete(server.messages[0].id)
    stream.write(" World").end()
    await task
    assert server.texts() == ["Hello World"]


async def test_a_bot_without_access_closes_the_stream(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    server.script(Reaction.refuse(403, "Missing Access", code=50001))
    stream = script("Hello")
    with pytest.raises(Gone, match="Missing Access") as caught:
        await show(port, stream)
    assert caught.value.chat
    assert stream.closed


async def test_a_message_whose_response_is_lost_is_not_sent_again(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    server.script(Reaction.lost(applied=True))
    with pytest.raises(Uncertain):
        await show(port, script("Hello").end())
    assert len(server.texts()) == 1


async def test_a_message_that_discord_py_sends_again_after_a_502_is_not_doubled(
    server: FakeDiscord, port: Any, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(port, stream))
    await seen(server, "Hello ▌")
    stream.end()
    await task
    assert server.messages[0].nonce is not None


async def test_a_refusal_for_good_is_raised(server: FakeDiscord, port: Any, script: Any) -> None:
    stream = script("Hello")
    server.script(Reaction.refuse(400, "Something else", code=1))
    with pytest.raises(PortError, match="Something else"):
        await show(port, stream)
    assert stream.closed


async def test_a_truncated_answer_is_shown_marked_and_raised(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    with pytest.raises(StreamTruncatedError):
        await show(port, script("```py\nx = 1").end(StreamTruncatedError("cut")))
    assert server.texts() == ["```py\nx = 1\n```\n\n\n(The answer was cut off.)"]


async def test_an_empty_answer_sends_nothing(server: FakeDiscord, port: Any, script: Any) -> None:
    await show(port, script("", " \n").end())
    assert server.messages == []


async def test_the_model_mentions_nobody(server: FakeDiscord, port: Any, script: Any) -> None:
    await show(port, script("@everyone and <@7>, look!").end())
    assert [message.pinged for message in server.messages] == [False]


async def test_stop_shows_what_arrived_without_a_cursor(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    stream = script("Hello")
    live = LiveText(port)
    task = asyncio.create_task(live.show(stream))
    await seen(server, "Hello ▌")
    live.stop()
    assert not (await task).complete
    assert server.texts() == ["Hello"]


async def test_a_message_under_way_when_cancelled_arrives_and_is_recorded(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    server.script(Reaction.late(0.3))
    live = LiveText(port)
    task = asyncio.create_task(live.show(script("Hello")))
    assert await server.wait_for(lambda: server.count("POST message") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.texts() == ["Hello"]
    assert live.messages[0].id == server.messages[0].id


async def test_typing_is_shown_until_there_is_text(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    stream = script()
    task = asyncio.create_task(show(port, stream))
    assert await server.wait_for(lambda: server.typing == [200])
    stream.write("Hello").end()
    await task
    assert server.texts() == ["Hello"]


async def test_a_rejected_typing_indicator_does_not_affect_the_answer(
    server: FakeDiscord, port: Any, script: Any
) -> None:
    stream = script()
    server.script(Reaction.refuse(403, "Missing Permissions", code=50013), method="POST typing")
    task = asyncio.create_task(show(port, stream))
    assert await server.wait_for(lambda: server.count("POST typing") == 1)
    stream.write("Hello").end()
    await task
    assert server.texts() == ["Hello"]


async def test_the_usual_pace_is_tolerated_by_discord(script: Any) -> None:
    async with FakeDiscord(pace=True) as server:
        with server.patch():
            async with discord.Client(intents=discord.Intents.default()) as client:
                await client.login(server.token)
                port = new_port(client.get_partial_messageable(200), pace=None)
                stream = script("word ")
                task = asyncio.create_task(show(port, stream))
                for number in range(30):
                    await asyncio.sleep(0.1)
                    stream.write(f"word{number} ")
                stream.end()
                await task
        assert 429 not in {call.status for call in server.calls}
        assert server.texts()[0].endswith("word29")


# --- interactions -----------------------------------------------------------------------------


def interaction(server: FakeDiscord, client: Any) -> Any:
    return discord.Interaction(data=server.interaction(), state=client._connection)


async def test_an_interaction_is_answered_as_such(
    server: FakeDiscord, client: Any, script: Any
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(new_port(interaction(server, client)), stream))
    await seen(server, "Hello ▌")
    stream.write(" World").end()
    await task
    assert server.texts() == ["Hello World"]
    assert server.count("POST callback") == 1
    assert server.count("POST message") == 0


async def test_after_a_429_an_interaction_shows_the_newest_text(
    server: FakeDiscord, client: Any, script: Any
) -> None:
    stream = script("One")
    task = asyncio.create_task(show(new_port(interaction(server, client)), stream))
    await seen(server, "One ▌")
    server.script(Reaction.slow_down(1))
    stream.write(" two")
    assert await server.wait_for(lambda: server.count("PATCH webhook") == 1)
    stream.write(" three", " four")
    await seen(server, "four")
    stream.end()
    await task
    assert server.messages[0].versions[:2] == ["One ▌", "One two three four ▌"]


async def test_when_its_token_has_died_the_answer_continues_in_the_channel(
    server: FakeDiscord, client: Any, script: Any
) -> None:
    asked = interaction(server, client)
    stream = script("Hello")
    task = asyncio.create_task(show(new_port(asked), stream))
    await seen(server, "Hello ▌")
    server.expire(asked.token)
    stream.write(" World").end()
    await task
    assert server.texts()[-1] == "Hello World"
    assert server.count("POST message") == 1


async def test_a_token_that_died_before_the_answer_is_no_obstacle(
    server: FakeDiscord, client: Any, script: Any
) -> None:
    asked = interaction(server, client)
    server.expire(asked.token)
    await show(new_port(asked), script("Hello").end(), typing=False)
    assert server.texts() == ["Hello"]
    assert server.count("POST message") == 1
