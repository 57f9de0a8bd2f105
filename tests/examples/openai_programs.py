"""Load the programs written for openai's client, with our import or with openai's own.

``bot`` and ``evaluation`` put one through its paces against a simulator, and return what a user of
it saw, which must be the same with both packages.
"""

import asyncio
import os
import re
import types
from pathlib import Path
from typing import Any

from laplas_async.simulator import Fault, Simulator

HERE = Path(__file__).resolve().parent
KEY = "test-key-that-never-shows"


def load(program: str, package: str, directory: Path = HERE) -> Any:
    """A program, with ``package`` ("openai", "laplas_async.openai") in its imports."""
    source = (directory / program).read_text()
    assert source.count("laplas_async.openai") == source.count("was: ") > 0
    if package == "openai":
        source = source.replace("laplas_async.openai as openai", "openai")
        source = re.sub(r"\blaplas_async\.openai\b", "openai", source)
    module = types.ModuleType(Path(program).stem)
    exec(compile(source, program, "exec"), vars(module))
    return module


class Chat:
    """A chat of a messenger, which remembers each text that was shown."""

    def __init__(self, chat_id: int) -> None:
        self.id = chat_id
        self.messages: list[list[str]] = []

    async def send(self, text: str) -> int:
        self.messages.append([text])
        return len(self.messages) - 1

    async def edit(self, message_id: int, text: str) -> None:
        self.messages[message_id].append(text)


async def bot(package: str) -> list[Any]:
    """Two chats at once, commands, and each kind of failure."""
    async with Simulator(api_key=KEY) as sim:
        os.environ.update(BOT_KEY=KEY, BOT_URL=sim.base_url)
        program = load("openai_bot.py", package)
        client = program.make_client()
        made = program.Bot(client)
        one, two = Chat(1), Chat(2)
        await made.handle(one, "Name a river.")
        await asyncio.gather(made.handle(one, "And a lake?"), made.handle(two, "Name a tree."))
        for text in ("/stats", "/models"):
            await made.handle(one, text)
        for fault in (
            Fault.status(429, retry_after=0),
            Fault.status(400),
            Fault.status(401),
            Fault.status(503),
            Fault.error_event(after=3, body={"error": {"message": "overloaded"}}),
            Fault.drop(),
        ):
            sim.script(fault)
            await made.handle(two, "Again?")
        client.timeout = 0.2
        sim.script(Fault.slow_headers(5))
        await made.handle(two, "Still there?")
        client.timeout = 30
        await made.handle(two, "And now?")
        sent = [message["role"] for message in sim.requests[-1].body["messages"]]
        title = {name.lower(): value for name, value in sim.requests[-1].headers.items()}["x-title"]
        await made.handle(two, "/reset")
        await made.handle(two, "/stats")
        await client.close()
        return [one.messages, two.messages, sent, title]


async def evaluation(package: str) -> list[Any]:
    """Thirty cases, with faults in their way, and one that cannot be answered."""
    async with Simulator(api_key=KEY) as sim:
        os.environ.update(BOT_KEY=KEY, BOT_URL=sim.base_url)
        program = load("openai_evaluation.py", package)
        async with program.make_client() as client:
            cases = [
                program.Case(f"case-{number}", f"What is {number} and {number}?", number % 3 == 0)
                for number in range(30)
            ]
            made = program.Evaluation(client)
            sim.script(Fault.status(429, retry_after=0), None, Fault.status(500), Fault.drop())
            report = await made.run(cases)
            sim.script(Fault.status(401))
            failed = await made.run([program.Case("case-x", "What is one?")])
        return [report["cases"], report["answered"], report["failed"], report["tool_calls"], failed]
