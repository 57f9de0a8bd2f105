"""``LiveText`` through aiogram and python-telegram-bot, against Telegram's rules on loopback."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laplas_async import Conversations, LaplasClient
from laplas_async.bots import Gone, LiveText, Phrases, PortError, SlowDown, Uncertain
from laplas_async.bots.schedule import ChatPace
from laplas_async.errors import (
    AnswerReplacedError,
    AuthenticationError,
    ChatBusyError,
    StreamTruncatedError,
)
from laplas_async.simulator import FakeTelegram, Fault, Reaction, Simulator, Timing

PROSE = "The river runs to the sea. It is long, and nobody knows why it is there at all.\n\n"
FAST = ChatPace(interval=0.02)

pytestmark = pytest.mark.filterwarnings("ignore:.*PTB_TIMEDELTA")  # of python-telegram-bot itself


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as telegram:
        yield telegram


@asynccontextmanager
async def aiogram_bot(telegram: FakeTelegram, read_timeout: float) -> AsyncIterator[Any]:
    aiogram = pytest.importorskip("aiogram", reason="aiogram is not installed")
    from aiogram.client.default import DefaultBotProperties
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer

    session = AiohttpSession(api=TelegramAPIServer.from_base(telegram.url), timeout=read_timeout)
    # A default parse mode is a trap for every text that is not meant for it.
    properties = DefaultBotProperties(parse_mode="MarkdownV2")
    async with aiogram.Bot(telegram.token, session=session, default=properties) as bot:
        yield bot


@asynccontextmanager
async def telegram_bot(telegram: FakeTelegram, read_timeout: float) -> AsyncIterator[Any]:
    pytest.importorskip("telegram", reason="python-telegram-bot is not installed")
    from telegram.ext import Defaults, ExtBot
    from telegram.request import HTTPXRequest

    request = HTTPXRequest(read_timeout=read_timeout)
    bot: Any = ExtBot(
        telegram.token,
        base_url=f"{telegram.url}/bot",
        request=request,
        defaults=Defaults(parse_mode="MarkdownV2"),
    )
    async with bot:
        yield bot


@pytest.fixture(params=["aiogram", "telegram"])
async def port(
    request: pytest.FixtureRequest, telegram: FakeTelegram
) -> AsyncIterator[Callable[..., Any]]:
    """Make a port; ``read_timeout`` is that of the first one."""
    open_bots: list[Any] = []

    async def make(
        chat_id: int = 7, *, read_timeout: float = 5, pace: Any = FAST, **options: Any
    ) -> Any:
        from laplas_async import bots

        if not open_bots:
            bot = {"aiogram": aiogram_bot, "telegram": telegram_bot}[request.param]
            context = bot(telegram, read_timeout)
            open_bots.append((context, await context.__aenter__()))
        kind: Any = bots.AiogramPort if request.param == "aiogram" else bots.TelegramPort
        return kind(open_bots[0][1], chat_id, pace=pace, **options)

    yield make
    for context, _ in open_bots:
        await context.__aexit__(None, None, None)


async def show(port: Any, stream: Any, **options: Any) -> Any:
    async with asyncio.timeout(20):
        return await LiveText(port, **options).show(stream)


async def seen(telegram: FakeTelegram, text: str) -> None:
    assert await telegram.wait_for(lambda: any(text in shown for shown in telegram.texts()))


# --- the text ---------------------------------------------------------------------------------


async def test_the_text_grows_and_is_formatted_at_the_end(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script("A **bo")
    task = asyncio.create_task(show(await port(), stream))
    await seen(telegram, "A **bo ▌")
    stream.write("ld** word").end()
    shown = await task
    [message] = telegram.messages
    assert message.text == "A bold word"
    assert message.entities == [{"type": "bold", "offset": 2, "length": 4}]
    assert shown.messages[0].message_id == message.message_id


async def test_12390_characters_arrive_without_loss(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    text = (PROSE * 160)[:12_390]
    await show(await port(), script(*re.findall(r".{1,40}", text, re.DOTALL)).end())
    assert "".join(telegram.texts()) == text
    assert len(telegram.texts()) == 4


async def test_5000_emoji_arrive_without_loss(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    emoji = "👨‍👩‍👧‍👦👍🏽🇩🇪❤️😀"
    text = emoji * 1000
    await show(await port(), script(text).end())
    assert "".join(telegram.texts()) == text
    for shown in telegram.texts():
        assert not re.match(r"[\u200d\ufe0f\U0001f3fb-\U0001f3ff]", shown)


async def test_a_code_heavy_answer_arrives_without_loss(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    code = [
        f"def function_{n}(x):\n    return x * {n}  # **not bold** `{n}`\n\n" for n in range(200)
    ]
    text = "Here:\n\n```python\n" + "".join(code) + "```\n\nThat is _all_."
    await show(await port(), script(*re.findall(r".{1,50}", text, re.DOTALL)).end())
    blocks = []
    for message in telegram.messages:
        units = message.text.encode("utf-16-le")
        for entity in message.entities:
            if entity["type"] == "pre":
                assert entity["language"] == "python"
                end = entity["offset"] + entity["length"]
                blocks.append(units[entity["offset"] * 2 : end * 2].decode("utf-16-le"))
    assert "\n".join(blocks).replace("\n", "") == "".join(code).replace("\n", "")
    assert telegram.texts()[-1].endswith("That is all.")


async def test_the_size_is_that_after_formatting(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    """8,000 characters with their addresses are one message of 4,000."""
    text = "[ab](https://example.org/a-long-address/with/a/path) " * 160
    await show(await port(), script(text).end())
    assert telegram.texts() == ["ab " * 160]


async def test_what_telegram_cannot_parse_is_shown_plain_once(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    await show(await port(parse_mode="MarkdownV2"), script("**Hello_ (world).").end())
    assert telegram.texts() == ["**Hello_ (world)."]
    assert [call.status for call in telegram.calls if call.parameters.get("parse_mode")] == [400]


async def test_a_parse_mode_formats_on_telegrams_side(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    await show(await port(parse_mode="HTML"), script("<b>Hello</b> &amp; more").end())
    assert telegram.texts() == ["Hello & more"]


async def test_an_empty_answer_sends_nothing(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    await show(await port(), script("", " \n").end())
    assert telegram.messages == []


async def test_an_error_before_the_text_replaces_the_placeholder(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script()
    live = show(await port(), stream, placeholder="…", phrases=Phrases(failed="Sorry."))
    task = asyncio.create_task(live)
    await seen(telegram, "…")
    stream.end(StreamTruncatedError("cut"))
    with pytest.raises(StreamTruncatedError):
        await task
    assert telegram.texts() == ["Sorry."]


async def test_a_truncated_answer_is_shown_marked_and_raised(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    with pytest.raises(StreamTruncatedError):
        await show(await port(), script("Half an ans").end(StreamTruncatedError("cut")))
    assert telegram.texts() == ["Half an ans\n\n(The answer was cut off.)"]


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("timedelta", ["", "1"])
async def test_a_429_on_the_final_edit_delays_it(
    telegram: FakeTelegram,
    port: Any,
    script: Any,
    timedelta: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", timedelta)  # python-telegram-bot may give a timedelta
    stream = script("Hello")
    task = asyncio.create_task(show(await port(), stream))
    await seen(telegram, "Hello ▌")
    telegram.script(Reaction.slow_down(1), Reaction.slow_down(1), method="editMessageText")
    stream.write(" World").end()
    await task
    assert telegram.texts() == ["Hello World"]
    assert telegram.count("editMessageText") == 3
    assert telegram.count("sendMessage") == 1


async def test_a_429_midway_means_silence_and_then_the_newest_text(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script("One")
    task = asyncio.create_task(show(await port(), stream))
    await seen(telegram, "One ▌")
    telegram.script(Reaction.slow_down(1))
    stream.write(" two")
    assert await telegram.wait_for(lambda: telegram.count("editMessageText") == 1)
    stream.write(" three", " four")
    await seen(telegram, "four")
    stream.end()
    await task
    [message] = telegram.messages
    assert message.versions[:2] == ["One ▌", "One two three four ▌"]
    edits = [call for call in telegram.calls if call.method == "editMessageText"]
    assert edits[1].at - edits[0].at >= 1.0


async def test_during_a_wait_of_minutes_the_stream_is_read(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(await port(), stream, patience=5))
    await seen(telegram, "Hello ▌")
    telegram.script(Reaction.slow_down(280))
    stream.write(*["word "] * 500).end()
    with pytest.raises(SlowDown) as caught:
        await task
    assert stream.unread == 0
    assert caught.value.text.count("word") == 500


async def test_after_a_deletion_the_answer_continues_in_a_new_message(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(await port(), stream))
    await seen(telegram, "Hello ▌")
    telegram.delete(telegram.messages[0].message_id)
    stream.write(" World").end()
    await task
    assert telegram.texts() == ["Hello World"]


async def test_a_blocked_bot_closes_the_stream(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    telegram.block(7)
    stream = script("Hello")
    with pytest.raises(Gone, match="blocked") as caught:
        await show(await port(), stream)
    assert caught.value.chat
    assert stream.closed


async def test_a_message_whose_response_is_lost_is_not_sent_again(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    telegram.script(Reaction.lost(applied=True))
    with pytest.raises(Uncertain):
        await show(await port(), script("Hello").end())
    assert telegram.count("sendMessage") == 1
    assert len(telegram.texts()) == 1


async def test_a_message_that_timed_out_is_not_sent_again(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    telegram.script(Reaction.late(30))
    with pytest.raises(Uncertain):
        await show(await port(read_timeout=0.5), script("Hello").end())
    assert telegram.count("sendMessage") == 1


async def test_an_edit_whose_response_is_lost_is_repeated(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    telegram.script(None, Reaction.lost(applied=True), Reaction.refuse(502, "Bad Gateway"))
    await show(await port(), script("Hello").end())
    assert telegram.texts() == ["Hello"]


async def test_while_telegram_cannot_be_reached_sending_is_tried_again(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    made = await port()
    await telegram.stop()
    with pytest.raises(SlowDown, match="not be shown"):
        await show(made, script("Hello").end(), patience=0.5)


async def test_a_refusal_for_good_is_raised(telegram: FakeTelegram, port: Any, script: Any) -> None:
    stream = script("Hello")
    telegram.script(Reaction.refuse(400, "Bad Request: something else"))
    with pytest.raises(PortError, match="omething else"):
        await show(await port(), stream)
    assert stream.closed


async def test_a_group_that_became_a_supergroup_is_followed(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    telegram.migrate(-5, -1005)
    await show(await port(-5), script("Hello").end())
    assert telegram.texts(-1005) == ["Hello"]


# --- conversations ----------------------------------------------------------------------------


@pytest.mark.parametrize("busy", ["queue", "replace", "refuse"])
async def test_a_second_message_follows_the_policy(
    telegram: FakeTelegram, port: Any, busy: Any
) -> None:
    timing = Timing(tokens_per_second=200)
    made = [await port(), await port()]
    async with (
        Simulator(timing=timing) as service,
        LaplasClient("key", service.base_url) as client,
        Conversations(client, busy=busy) as conversations,
    ):
        first = asyncio.create_task(show(made[0], conversations[7].ask("Tell me a story.")))
        await seen(telegram, " ▌")
        last = show(made[1], conversations[7].ask("Name a river."))
        second: Any = await asyncio.gather(last, return_exceptions=True)
        ended: Any = (await asyncio.gather(first, return_exceptions=True))[0]
    texts = telegram.texts()
    assert not any("▌" in text or "cut off" in text for text in texts)
    match busy:
        case "queue":
            assert [ended.text, second[0].text] == texts
        case "replace":
            assert isinstance(ended, AnswerReplacedError)
            assert ended.partial.text.startswith(texts[0].rstrip())
            assert texts[1:] == [second[0].text]
        case "refuse":
            assert isinstance(second[0], ChatBusyError)
            assert texts == [ended.text]


async def test_an_answer_that_failed_before_its_text_is_raised(
    telegram: FakeTelegram, port: Any
) -> None:
    async with (
        Simulator(faults=[Fault.status(401)]) as service,
        LaplasClient("key", service.base_url) as client,
    ):
        stream = client.stream("Name a river.")  # not entered: show does that
        with pytest.raises(AuthenticationError):
            await show(await port(), stream, placeholder="…")
    assert telegram.texts() == ["(No answer: something went wrong.)"]


async def test_telegramify_markdown_may_format(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    telegramify: Any = pytest.importorskip(
        "telegramify_markdown", reason="telegramify-markdown is not installed"
    )
    text = ("# Title\n\n- **one** and `two`\n- [three](https://a.b)\n\n" + PROSE) * 60
    made = await port(render=telegramify.convert)
    await show(made, script(*re.findall(r".{1,40}", text, re.DOTALL)).end())
    assert len(telegram.texts()) > 1
    shown = "".join(telegram.texts())
    assert shown.count("one and two") == shown.count("Title") == 60
    assert "**" not in shown
    kinds = {entity["type"] for message in telegram.messages for entity in message.entities}
    assert {"bold", "code", "text_link"} <= kinds


# --- ending early -----------------------------------------------------------------------------


async def test_stop_shows_what_arrived_without_a_cursor(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script("Hello")
    live = LiveText(await port())
    task = asyncio.create_task(live.show(stream))
    await seen(telegram, "Hello ▌")
    live.stop()
    assert not (await task).complete
    assert telegram.texts() == ["Hello"]
    assert stream.closed


async def test_a_message_under_way_when_cancelled_arrives_and_is_recorded(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    telegram.script(Reaction.late(0.3))
    live = LiveText(await port())
    task = asyncio.create_task(live.show(script("Hello")))
    assert await telegram.wait_for(lambda: telegram.count("sendMessage") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert telegram.texts() == ["Hello"]
    assert live.messages[0].message_id == telegram.messages[0].message_id


# --- typing, buttons, drafts ------------------------------------------------------------------


async def test_typing_is_shown_until_there_is_text(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script()
    task = asyncio.create_task(show(await port(), stream))
    assert await telegram.wait_for(lambda: telegram.typing == [7])
    stream.write("Hello").end()
    await task
    assert telegram.texts() == ["Hello"]


async def test_a_rejected_typing_indicator_does_not_affect_the_answer(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script()
    telegram.script(Reaction.slow_down(60), method="sendChatAction")
    task = asyncio.create_task(show(await port(), stream))
    assert await telegram.wait_for(lambda: telegram.count("sendChatAction") == 1)
    stream.write("Hello").end()
    await task
    assert telegram.texts() == ["Hello"]


async def test_a_draft_becomes_a_message(telegram: FakeTelegram, port: Any, script: Any) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(await port(drafts=True), stream))
    assert await telegram.wait_for(lambda: telegram.visible_drafts() == ["Hello ▌"])
    stream.write(" **World**").end()
    shown = await task
    assert telegram.texts() == ["Hello World"]
    assert telegram.visible_drafts() == []
    assert telegram.count("editMessageText") == 0
    assert shown.messages[0].message_id == telegram.messages[0].message_id


@pytest.mark.parametrize("reaction", [Reaction.refuse(400, "Bad Request: no"), None])
async def test_a_rejected_draft_falls_back_to_edits(
    telegram: FakeTelegram, port: Any, script: Any, reaction: Reaction | None
) -> None:
    stream = script("Hello")
    made = await port(7 if reaction else -7, drafts=True)
    telegram.script(reaction, method="sendMessageDraft")
    task = asyncio.create_task(show(made, stream))
    await seen(telegram, "Hello ▌")
    stream.write(" World").end()
    await task
    assert telegram.texts() == ["Hello World"]
    assert telegram.count("sendMessage") == 1
    assert telegram.count("sendMessageDraft") == (1 if reaction else 0)


async def test_a_draft_whose_final_markup_is_rejected_becomes_a_plain_message(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    stream = script("**Hello")
    task = asyncio.create_task(show(await port(drafts=True), stream))
    assert await telegram.wait_for(lambda: telegram.visible_drafts() != [])
    telegram.script(Reaction.refuse(400, "Bad Request: can't parse entities: x"))
    stream.end()
    await task
    assert telegram.texts() == ["**Hello"]


async def test_chats_of_one_bot_share_its_pace(
    telegram: FakeTelegram, port: Any, script: Any
) -> None:
    ports = [await port(chat) for chat in range(1, 27)]
    assert len({id(each.pace.bot) for each in ports}) == 1
    await asyncio.gather(*(show(each, script("Hello").end()) for each in ports))
    assert telegram.texts() == ["Hello"] * 26


async def test_the_usual_pace_is_tolerated_by_telegram(script: Any) -> None:
    """With the fake enforcing Telegram's limits, nothing is refused."""
    async with FakeTelegram(pace=True) as telegram:
        async with aiogram_bot(telegram, 5) as bot:
            from laplas_async.bots import AiogramPort

            stream = script("word ")
            live = show(AiogramPort(bot, 7), stream)
            task = asyncio.create_task(live)
            for number in range(30):
                await asyncio.sleep(0.1)
                stream.write(f"word{number} ")
            stream.end()
            await task
        assert {call.status for call in telegram.calls} == {200}
        assert telegram.texts()[0].endswith("word29 ")
