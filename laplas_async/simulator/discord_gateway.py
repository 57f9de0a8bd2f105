"""The gateway of ``FakeDiscord``: a WebSocket that sends events and answers heartbeats.

It refuses to resume a session; a client starts a new one.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

_DISPATCH = 0
_INVALID_SESSION, _HELLO, _ACK = 9, 10, 11
_INTERVAL = 41_250  # milliseconds, as the real one asks for

Event = tuple[str, dict[str, Any]]


class Gateway:
    """The clients that are connected. ``ready`` makes the events that begin a session."""

    def __init__(self, ready: Callable[[], list[Event]]) -> None:
        self._ready = ready
        self._clients: set[_Client] = set()

    @property
    def connected(self) -> int:
        """How many clients are connected and identified."""
        return sum(client.identified for client in self._clients)

    def dispatch(self, name: str, data: dict[str, Any]) -> None:
        """Send an event to every client. Safe from any thread."""
        for client in list(self._clients):
            if client.identified:
                client.loop.call_soon_threadsafe(client.queue.put_nowait, (name, data))

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve a client until it leaves."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = _Client(socket)
        self._clients.add(client)
        await client.send(_HELLO, {"heartbeat_interval": _INTERVAL})
        sending = asyncio.create_task(client.send_events())
        try:
            async for message in socket:
                if message.type == web.WSMsgType.TEXT:
                    await self._receive(client, json.loads(message.data))
        finally:
            self._clients.discard(client)
            sending.cancel()
            await asyncio.wait((sending,))
        return socket

    async def _receive(self, client: "_Client", message: dict[str, Any]) -> None:
        match message["op"]:
            case 1:
                await client.send(_ACK, None)
            case 2:
                for event in self._ready():
                    client.queue.put_nowait(event)
                client.identified = True
            case 6:
                await client.send(_INVALID_SESSION, data=False)


class _Client:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self.identified = False
        self._socket = socket
        self._sequence = 0

    async def send_events(self) -> None:
        while True:
            name, data = await self.queue.get()
            self._sequence += 1
            await self.send(_DISPATCH, data, t=name, s=self._sequence)

    async def send(self, op: int, data: Any, **more: Any) -> None:
        await self._socket.send_str(json.dumps({"op": op, "d": data, "t": None, "s": None, **more}))
