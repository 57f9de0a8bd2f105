"""The service: an aiohttp.web handler for every path of the simulator.

It refuses to know the chat API, which is `visit`'s; it answers about the simulator itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web
from attrs import asdict

from laplas_async.simulator.handler import MODELS, Desk, Visit
from laplas_async.simulator.limits import HiddenLimit

MODEL: Final = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
_JSON: Final = {"Content-Type": "application/json; charset=utf-8"}


class Service:
    """Handles every request of a simulator, in one event loop."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.tasks: set[asyncio.Task[Any]] = set()
        self.admin: Callable[[web.BaseRequest], None] = lambda _request: None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        task = asyncio.current_task()
        if task is not None:
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if request.path.startswith("/_"):
            return await self._about_itself(request)
        if request.path == MODELS and request.method == "GET":
            one = {"id": MODEL, "object": "model", "created": 1_721_692_800, "owned_by": "Meta"}
            return _json({"object": "list", "data": [one]})
        return await Visit(self.desk, request).serve()

    async def _about_itself(self, request: web.BaseRequest) -> web.StreamResponse:
        self.admin(request)
        asked = (request.method, request.path)
        if asked == ("GET", "/_counts"):
            return _json(asdict(self.desk.tally.counts))
        if asked == ("POST", "/_limit"):
            try:
                told = orjson.loads(await request.read() or b"null") or {}
                limit = HiddenLimit(
                    rate=told.get("rate"),
                    burst=told.get("burst"),
                    concurrency=told.get("concurrency"),
                    headers=bool(told.get("headers", False)),
                )
            except (ValueError, TypeError, AttributeError) as error:
                return _json({"message": f"not a limit: {error}"}, status=400)
            self.desk.turnstile.replace(limit, time.monotonic())
            told = ("rate", "burst", "concurrency", "headers")
            return _json({name: getattr(limit, name) for name in told})
        return _json({"message": f"Cannot {request.method} {request.path}"}, status=404)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, headers=_JSON, body=orjson.dumps(value))
