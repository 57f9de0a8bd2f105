"""Relaying to WebSockets of Starlette and aiohttp.web.

It refuses to close a WebSocket, which may carry many answers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Literal, Protocol

from laplas_async.bots.relay_formats import Format, ServerEvent
from laplas_async.bots.relay_source import Describe, Source, log, open_or_gone, stop
from laplas_async.errors import LaplasError


class Socket(Protocol):
    """A WebSocket of some framework."""

    async def send(self, text: str) -> None:
        """Send a text frame; raises ``ConnectionError`` if the other end has gone."""
        ...

    async def receive(self) -> str | None:
        """The next text, "" for other frames, None once the other end has gone."""
        ...


class StarletteSocket:
    """A ``starlette.websockets.WebSocket``."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        """Send a text frame."""
        try:
            await self._websocket.send_text(text)
        except Exception as error:
            # Servers raise errors of their own, and Starlette a RuntimeError, once it has gone.
            raise ConnectionResetError("the WebSocket is closed") from error

    async def receive(self) -> str | None:
        """The next text."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        return message.get("text") or ""


class AiohttpSocket:
    """An ``aiohttp.web.WebSocketResponse``."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        """Send a text frame."""
        await self._websocket.send_str(text)

    async def receive(self) -> str | None:
        """The next text."""
        message = await self._websocket.receive()
        if self._websocket.closed or message.type.name in ("CLOSE", "CLOSING", "CLOSED", "ERROR"):
            return None
        return message.data if message.type.name == "TEXT" else ""


class SocketRelay:
    """One answer on its way to a WebSocket."""

    def __init__(
        self,
        source: Source,
        form: Format,
        socket: Socket,
        *,
        send_timeout: float | None,
        describe: Describe | None,
        on_message: Callable[[str], Awaitable[object] | object] | None,
    ) -> None:
        self._source = source
        self._form = form
        self._socket = socket
        self._send_timeout = send_timeout
        self._describe = describe
        self._on_message = on_message

    async def run(self) -> Literal["complete", "failed", "disconnected"]:
        """Open the stream and send what comes of it. Cancelling it closes the stream."""
        gone = asyncio.ensure_future(self._receive())
        try:
            if not await open_or_gone(self._source, gone):
                await gone  # an error of on_message
                return "disconnected"
            return await self._send_all(gone)
        except LaplasError as error:  # before the first text
            failure = self._source.failure(error, self._describe)
            try:
                for event in self._form.fail(failure):
                    await self._send(event)
            except (ConnectionError, TimeoutError):
                return "disconnected"
            return "failed"
        finally:
            await stop(gone)
            await self._source.aclose()

    async def _receive(self) -> None:
        while (text := await self._socket.receive()) is not None:
            if text and self._on_message is not None:
                done = self._on_message(text)
                if isawaitable(done):
                    await done

    async def _send_all(
        self, gone: "asyncio.Future[None]"
    ) -> Literal["complete", "failed", "disconnected"]:
        sending: asyncio.Future[Any] = asyncio.ensure_future(self._send_events())
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                await gone  # an error of on_message
                return "disconnected"
            return "complete" if await sending else "failed"
        except ConnectionError:
            return "disconnected"
        except TimeoutError:
            log.warning("a reader that took nothing was given up")
            return "disconnected"
        finally:
            await stop(sending)

    async def _send_events(self) -> bool:
        """Send everything; whether the answer was complete."""
        events = self._source.events(self._form, self._describe)
        try:
            async for event in events:
                await self._send(event)
        except LaplasError:
            return False
        finally:
            await events.aclose()
        return not self._source.failed

    async def _send(self, event: ServerEvent) -> None:
        async with asyncio.timeout(self._send_timeout):
            await self._socket.send(event.data)
