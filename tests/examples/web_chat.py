"""A chat in the browser: FastAPI, plain HTML, and answers that appear as they are written.

    pip install "laplas-async[fastapi]" fastapi uvicorn
    python tests/examples/web_chat.py --simulate        # no key: a simulator answers
    LAPLAS_API_KEY=... python tests/examples/web_chat.py --database chats.db

The page asks with EventSource. Each browser tab is a chat with its own history; a question that is
sent during an answer takes its place; the stop button keeps what was shown. When the tab is closed,
the request to the model ends.
"""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from laplas_async import Conversations, LaplasClient, MemoryStorage, SQLiteStorage, relay
from laplas_async.simulator import Simulator, Timing

PAGE = Path(__file__).with_suffix(".html")
SYSTEM = "You are a helpful assistant. Answer in plain text, and be brief."


def make_app(database: str | None = None, *, simulate: bool = False) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        simulator = Simulator(timing=Timing(first_token=0.4, tokens_per_second=40))
        async with simulator if simulate else nullcontext():
            address: dict[str, Any] = (
                {"api_key": "simulated", "base_url": simulator.base_url} if simulate else {}
            )
            storage = SQLiteStorage(database) if database else MemoryStorage()
            async with (
                LaplasClient(**address) as client,
                Conversations(client, system=SYSTEM, busy="replace", storage=storage) as chats,
            ):
                app.state.chats = chats
                yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return PAGE.read_text(encoding="utf-8")

    # The chat's name is a random one that the page has made up, and all that protects the chat: a
    # service with accounts takes the account instead.
    @app.get("/ask")
    async def ask(request: Request, chat: str, message: str, question: str) -> Any:
        answer = app.state.chats[chat].ask(question, message_id=message)
        return await relay(answer, request)

    @app.get("/messages")
    async def messages(chat: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await app.state.chats[chat].messages()
        return found

    @app.post("/stop")
    async def stop(chat: str) -> bool:
        stopped: bool = await app.state.chats[chat].stop()
        return stopped

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="Chat in the browser.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--database", help="a SQLite file that keeps the chats")
    parser.add_argument("--simulate", action="store_true", help="answer with nonsense, without key")
    arguments = parser.parse_args()
    app = make_app(arguments.database, simulate=arguments.simulate)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
