"""A chat bot as people write it for openai's client: commands, history, an answer that grows.

Only its import was changed. ``Chat`` is what a messenger's library gives such a bot.
"""

import asyncio
import logging
import os
from collections import defaultdict
from typing import Any, Protocol

import laplas_async.openai as openai  # noqa: PLR0402 - was: import openai

logger = logging.getLogger(__name__)

MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
SYSTEM = {"role": "system", "content": "You are a helpful assistant in a messenger. Be brief."}
KEPT = 12  # messages of a chat that are sent again
EDIT_EVERY = 20  # characters between two edits of the growing message


class Chat(Protocol):
    """One chat of the messenger."""

    id: int

    async def send(self, text: str) -> int: ...

    async def edit(self, message_id: int, text: str) -> None: ...


class Bot:
    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self.client = client
        self.history: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.tokens: dict[int, int] = defaultdict(int)
        self.locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def handle(self, chat: Chat, text: str) -> None:
        async with self.locks[chat.id]:
            if text == "/reset":
                self.history.pop(chat.id, None)
                await chat.send("Forgotten.")
            elif text == "/stats":
                count = len(self.history[chat.id])
                await chat.send(f"{count} messages, {self.tokens[chat.id]} tokens")
            elif text == "/models":
                names = [model.id async for model in self.client.models.list()]
                await chat.send("\n".join(sorted(names)[:3]))
            else:
                await self.answer(chat, text)

    async def answer(self, chat: Chat, text: str) -> None:
        history = self.history[chat.id]
        history.append({"role": "user", "content": text})
        message_id = await chat.send("...")
        shown = answer = ""
        try:
            stream = await self.client.chat.completions.create(
                model=MODEL,
                messages=[SYSTEM, *history[-KEPT:]],
                temperature=0.7,
                max_tokens=200,
                stream=True,
                stream_options={"include_usage": True},
                user=str(chat.id),
            )
            async for chunk in stream:
                if chunk.usage is not None:
                    self.tokens[chat.id] += chunk.usage.total_tokens
                if not chunk.choices:
                    continue
                answer += chunk.choices[0].delta.content or ""
                if len(answer) - len(shown) >= EDIT_EVERY:
                    shown = answer
                    await chat.edit(message_id, shown + " ▌")
        except openai.RateLimitError as error:
            seconds = error.response.headers.get("retry-after", "a few")
            await self.give_up(chat, message_id, f"Too many questions: try again in {seconds} s.")
        except openai.APITimeoutError:
            await self.give_up(chat, message_id, "The model did not answer in time.")
        except openai.AuthenticationError as error:
            logger.error("%s %s", error.status_code, type(error).__name__)  # noqa: TRY400
            await self.give_up(chat, message_id, "The bot is misconfigured.")
        except openai.BadRequestError as error:
            reason = error.body["message"] if isinstance(error.body, dict) else "?"
            await self.give_up(chat, message_id, f"Refused: {reason}")
        except openai.APIStatusError as error:
            await self.give_up(chat, message_id, f"The service answered {error.status_code}.")
        except openai.APIError as error:
            logger.warning("%s", type(error).__name__)
            await self.give_up(chat, message_id, "The connection broke.")
        else:
            history.append({"role": "assistant", "content": answer})
            await chat.edit(message_id, answer)

    async def give_up(self, chat: Chat, message_id: int, text: str) -> None:
        self.history[chat.id].pop()
        await chat.edit(message_id, text)


def make_client() -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        api_key=os.environ["BOT_KEY"],
        base_url=os.environ["BOT_URL"],
        timeout=openai.Timeout(30.0, connect=5.0),
        max_retries=0,
        default_headers={"X-Title": "messenger bot"},
    )
