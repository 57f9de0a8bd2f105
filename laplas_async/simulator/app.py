"""The web application: an aiohttp.web handler for every path of the simulator.

It refuses to know the chat API, which is ``handler``'s; it serves the other endpoints of the
service and those about the simulator itself.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web
from attrs import asdict

from laplas_async.simulator import catalog
from laplas_async.simulator.error_bodies import ErrorContext
from laplas_async.simulator.handler import MODELS, RequestHandler, ServerState, has_valid_key
from laplas_async.simulator.limits import limit_from_json

BALANCE: Final = "/v1/billing/balance"
_JSON: Final = {"Content-Type": "application/json; charset=utf-8"}


class Service:
    """Handles every request of a simulator, in one event loop."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.tasks: set[asyncio.Task[Any]] = set()
        self.on_admin_request: Callable[[web.BaseRequest], None] = lambda _request: None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to any request. Cancelling it ends the request as abandoned."""
        task = asyncio.current_task()
        if task is not None:
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if request.path.startswith("/_"):
            return await self._handle_admin(request)
        if request.method == "GET":
            path = request.path.rstrip("/")
            # The service lists its models with and without /v1.
            if path in (MODELS, MODELS.removeprefix("/v1")):
                return _json(self.state.settings.models)
            if path == BALANCE:
                return self._balance(request)
        return await RequestHandler(self.state, request).serve()

    def _balance(self, request: web.BaseRequest) -> web.Response:
        if has_valid_key(request, self.state.settings.api_key):
            return _json(catalog.balance(self.state.settings.balance))
        context = ErrorContext.of_request(BALANCE, 0)
        return _json(context.body(401), status=401)

    async def _handle_admin(self, request: web.BaseRequest) -> web.StreamResponse:
        self.on_admin_request(request)
        route = (request.method, request.path)
        if route == ("GET", "/_counts"):
            return _json(asdict(self.state.counters.counts))
        if route == ("POST", "/_limit"):
            try:
                limit = limit_from_json(orjson.loads(await request.read() or b"null"))
            except (ValueError, TypeError) as error:
                return _json({"message": f"not a limit: {error}"}, status=400)
            self.state.limiter.replace(limit, self.state.clock())
            return _json(asdict(limit))
        return _json({"message": f"Cannot {request.method} {request.path}"}, status=404)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, headers=_JSON, body=orjson.dumps(value))
