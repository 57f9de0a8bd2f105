"""A Telegram bot: streamed answers, a history for each chat, and a button that stops an answer.

    TELEGRAM_BOT_TOKEN=... LAPLAS_API_KEY=... python tests/examples/telegram_bot.py
    python tests/examples/telegram_bot.py --simulate     # simulators play Telegram and the model

Needs aiogram 3 (``pip install 'laplas-async[telegram]'``). The histories are in a file, so they
survive a restart; a message that Telegram delivers twice is answered once.
"""
# pyright: reportMissingImports=false

import argparse
import asyncio
import logging
import os
from pathlib import Path

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import CommandStart
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

from laplas_async import (
    Conversations,
    DuplicateMessageError,
    LaplasClient,
    LaplasError,
    LiveText,
    SQLiteStorage,
    StreamTruncatedError,
)
from laplas_async.bots import AiogramPort, PortError
from laplas_async.simulator import FakeTelegram, Simulator, Timing

SYSTEM = "You are a helpful assistant in a chat on Telegram. Be brief."
STOP = InlineKeyboardMarkup(
    inline_keyboard=[[InlineKeyboardButton(text="Stop", callback_data="stop")]]
)

log = logging.getLogger("telegram_bot")


async def greet(message: Message) -> None:
    await message.answer("Hello! Ask me anything.")


async def answer(message: Message, bot: Bot, conversations: Conversations) -> None:
    """Answer a message; the next one of this chat waits until this answer is complete."""
    port = AiogramPort(
        bot,
        message.chat.id,
        thread_id=message.message_thread_id if message.is_topic_message else None,
        reply_to=message.message_id,
        preview_markup=STOP,
    )
    stream = conversations[message.chat.id].ask(message.text or "", message_id=message.message_id)
    try:
        await LiveText(port).show(stream)  # it shows "typing" until the first text arrives
    except DuplicateMessageError:
        log.info("message %s was delivered again", message.message_id)
    except PortError as error:
        log.warning("chat %s: %s", message.chat.id, error)  # blocked, for example
    except StreamTruncatedError as error:
        if not error.closed:  # otherwise somebody pressed the button
            log.warning("chat %s: %s", message.chat.id, error)
    except LaplasError as error:
        log.warning("chat %s: %s: %s", message.chat.id, type(error).__name__, error)
        await message.answer("Sorry, I cannot answer just now.")


async def stop(query: CallbackQuery, conversations: Conversations) -> None:
    if query.message is not None:
        await conversations[query.message.chat.id].stop()
    await query.answer("Stopped.")


def make_dispatcher() -> Dispatcher:
    dispatcher = Dispatcher()
    dispatcher.message.register(greet, CommandStart())
    dispatcher.message.register(answer, F.text)
    dispatcher.callback_query.register(stop, F.data == "stop")
    return dispatcher


async def run(
    dispatcher: Dispatcher, token: str, *, api: str | None = None, database: Path | None = None
) -> None:
    """Answer until stopped. ``api``: another server than Telegram's."""
    session = AiohttpSession(api=TelegramAPIServer.from_base(api)) if api else AiohttpSession()
    storage = None if database is None else SQLiteStorage(database)
    async with (
        Bot(token, session=session) as bot,
        LaplasClient() as client,
        Conversations(client, system=SYSTEM, storage=storage) as conversations,
    ):
        await dispatcher.start_polling(bot, conversations=conversations)


async def simulate() -> None:
    """Play a conversation against simulators, and print what the chat shows at its end."""
    timing = Timing(first_token=0.2, tokens_per_second=60)
    async with FakeTelegram() as telegram, Simulator(timing=timing) as service:
        os.environ |= {"LAPLAS_API_KEY": "simulated", "LAPLAS_BASE_URL": service.base_url}
        dispatcher = make_dispatcher()
        bot = asyncio.create_task(run(dispatcher, telegram.token, api=telegram.url))
        await play(telegram, "Name a river.")
        await play(telegram, "Tell me a long story.", stopped=True)
        await dispatcher.stop_polling()
        await bot


async def play(telegram: FakeTelegram, question: str, *, stopped: bool = False) -> None:
    """Ask, and print what the chat shows once the answer is complete."""
    print(f"you: {question}")
    before = len(telegram.messages)
    telegram.receive(question)
    await telegram.wait_for(lambda: len(telegram.messages) > before, timeout=60)
    if stopped:
        telegram.press(telegram.messages[-1], "stop")
        print("(you press Stop)")
    # The button is under a message only while its text grows.
    await telegram.wait_for(lambda: not telegram.messages[-1].reply_markup, timeout=60)
    print("\n".join(f"bot: {message.text}" for message in telegram.messages[before:]))


def main() -> None:
    parser = argparse.ArgumentParser(description="A Telegram bot.")
    parser.add_argument("--simulate", action="store_true", help="play a conversation")
    parser.add_argument("--api", help="the URL of a Bot API server, instead of Telegram's")
    parser.add_argument("--database", type=Path, default=Path("telegram_bot.sqlite3"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if arguments.simulate:
        asyncio.run(simulate())
    else:
        token = os.environ["TELEGRAM_BOT_TOKEN"]
        asyncio.run(run(make_dispatcher(), token, api=arguments.api, database=arguments.database))


if __name__ == "__main__":
    main()
