"""A Discord bot: mention it, and it answers in a thread, where the conversation goes on.

    DISCORD_BOT_TOKEN=... LAPLAS_API_KEY=... python tests/examples/discord_bot.py
    python tests/examples/discord_bot.py --simulate     # simulators play Discord and the model

Needs discord.py 2 (``pip install 'laplas-async[discord]'``), and of the bot's settings the message
content intent. Each thread has its own history, kept in a file; a button stops an answer, and a
message that is sent during an answer takes its place.
"""
# pyright: reportMissingImports=false

import argparse
import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import discord

from laplas_async import (
    Conversations,
    DuplicateMessageError,
    LaplasClient,
    LaplasError,
    LiveText,
    SQLiteStorage,
    StreamTruncatedError,
)
from laplas_async.bots import DiscordPort, PortError
from laplas_async.simulator import FakeDiscord, Simulator, Timing

SYSTEM = "You are a helpful assistant in a thread on Discord. Be brief."

log = logging.getLogger("discord_bot")


class StopButton(discord.ui.View):
    """A button under an answer while it grows."""

    def __init__(self, conversations: Conversations, thread: int) -> None:
        super().__init__(timeout=None)
        button: Any = discord.ui.Button(label="Stop", custom_id="stop")
        button.callback = self.stop_answer
        self.add_item(button)
        self._conversations = conversations
        self._thread = thread

    async def stop_answer(self, interaction: Any) -> None:
        await interaction.response.defer()
        await self._conversations[self._thread].stop()


class Bot(discord.Client):
    """Answers in threads that it has started."""

    def __init__(self, conversations: Conversations) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(intents=intents)
        self._conversations = conversations

    async def on_message(self, message: Any) -> None:
        if message.author.bot:
            return
        thread = message.channel
        if not isinstance(thread, discord.Thread):
            if self.user not in message.mentions:
                return
            name = message.clean_content[:80] or "Conversation"
            thread = await message.create_thread(name=name)
        elif thread.owner_id != self.user.id:
            return
        await self.answer(message, thread)

    async def answer(self, message: Any, thread: Any) -> None:
        """Answer a message; an answer of this thread that is still growing ends."""
        stop = StopButton(self._conversations, thread.id)
        port = DiscordPort(thread, preview_view=stop)
        question = message.clean_content.strip() or "Hello!"
        stream = self._conversations[thread.id].ask(question, message_id=message.id)
        try:
            await LiveText(port).show(stream)  # it shows "typing" until the first text arrives
        except DuplicateMessageError:
            log.info("message %s was delivered again", message.id)
        except PortError as error:
            log.warning("thread %s: %s", thread.id, error)  # deleted, for example
        except StreamTruncatedError as error:
            if not error.closed:  # otherwise it was stopped, or a newer message took its place
                log.warning("thread %s: %s", thread.id, error)
        except LaplasError as error:
            log.warning("thread %s: %s: %s", thread.id, type(error).__name__, error)
            await thread.send("Sorry, I cannot answer just now.")
        finally:
            stop.stop()


async def run(token: str, *, database: Path | None = None) -> None:
    """Answer until cancelled."""
    storage = None if database is None else SQLiteStorage(database)
    async with (
        LaplasClient() as client,
        Conversations(client, system=SYSTEM, storage=storage, busy="replace") as conversations,
        Bot(conversations) as bot,
    ):
        await bot.start(token)


async def simulate() -> None:
    """Play a conversation against simulators, and print what the thread shows."""
    timing = Timing(first_token=0.2, tokens_per_second=60)
    async with FakeDiscord() as server, Simulator(timing=timing) as service:
        os.environ |= {"LAPLAS_API_KEY": "simulated", "LAPLAS_BASE_URL": service.base_url}
        with server.patch():
            bot = asyncio.create_task(run(server.token))
            await server.wait_for(lambda: server.gateway.connected > 0, timeout=60)
            thread = server.receive("<@42> Name a river.")
            await show(server, "Name a river.", thread)
            server.receive("Tell me a long story.", channel_id=thread)
            await show(server, "Tell me a long story.", thread, stopped=True)
            bot.cancel()
            await asyncio.wait((bot,))


async def show(server: FakeDiscord, question: str, thread: int, *, stopped: bool = False) -> None:
    """Print a question and its answer, once the answer is complete."""
    print(f"you: {question}")
    before = len(server.texts(thread))
    await server.wait_for(lambda: len(server.texts(thread)) > before, timeout=60)
    message = server.messages[-1]
    if stopped:
        print("(you press Stop)")
        server.press(message, "stop")
    # The button is under a message only while its text grows.
    await server.wait_for(lambda: not server.messages[-1].components, timeout=60)
    print("\n".join(f"bot: {text}" for text in server.texts(thread)[before:]))


def main() -> None:
    parser = argparse.ArgumentParser(description="A Discord bot.")
    parser.add_argument("--simulate", action="store_true", help="play a conversation")
    parser.add_argument("--database", type=Path, default=Path("discord_bot.sqlite3"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if arguments.simulate:
        asyncio.run(simulate())
    else:
        asyncio.run(run(os.environ["DISCORD_BOT_TOKEN"], database=arguments.database))


if __name__ == "__main__":
    main()
