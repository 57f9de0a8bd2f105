"""A chat bot for the terminal: streamed answers, a bounded history, errors that do not end it.

    LAPLAS_API_KEY=... python tests/examples/terminal_bot.py

An empty line or Ctrl-D ends the conversation; Ctrl-C while it answers interrupts that answer.
"""

import asyncio
import sys

from laplas_async import LaplasClient, LaplasError, Message, StreamError

SYSTEM = Message("system", "You are a helpful assistant. Be brief.")
REMEMBERED = 20  # messages, questions and answers


class Bot:
    """A conversation. A question that failed is forgotten; a broken answer is kept, marked."""

    def __init__(self, client: LaplasClient) -> None:
        self._client = client
        self._history: list[Message] = []

    async def answer(self, question: str) -> None:
        """Print the answer as it arrives, and remember it."""
        asked = Message("user", question)
        try:
            async with self._client.stream([SYSTEM, *self._history, asked]) as stream:
                async for text in stream.text():
                    print(text, end="", flush=True)
                answer = (await stream.completion()).text
        except StreamError as error:
            answer = f"{error.partial.text} [interrupted]"
            print(f"\n[{error}]", end="")
        print()
        self._history += [asked, Message("assistant", answer)]
        del self._history[:-REMEMBERED]


def main() -> None:
    with asyncio.Runner() as runner:
        client = LaplasClient()
        bot = Bot(client)
        try:
            while question := input("> ").strip():
                try:
                    runner.run(bot.answer(question))
                except LaplasError as error:
                    print(f"[{type(error).__name__}: {error}]")
                except KeyboardInterrupt:
                    print("\n[interrupted]")
        except (EOFError, KeyboardInterrupt):
            print()
        finally:
            runner.run(client.aclose())


if __name__ == "__main__":
    try:
        main()
    except LaplasError as error:  # no key, for example
        sys.exit(str(error))
