"""Relaying for Starlette and FastAPI, on sse-starlette; imported when a request of them is relayed.

The response opens the stream itself, since only a response can watch for the browser's leaving.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Self

from sse_starlette import EventSourceResponse, ServerSentEvent  # pyright: ignore[reportMissingImports]
from starlette.responses import JSONResponse, PlainTextResponse, Response  # pyright: ignore[reportMissingImports]

from laplas_async.bots.relay_source import (
    RelayOptions,
    Source,
    log,
    open_or_gone,
    retry_after,
    status_of,
    stop,
)
from laplas_async.errors import LaplasError

Send = Callable[[Any], Awaitable[None]]


class RelayResponse(Response):
    """The response that relays a stream. Awaiting it gives itself."""

    def __init__(self, source: Source, request: Any, options: RelayOptions) -> None:
        super().__init__(headers=options.headers)
        self._source = source
        self._form = options.form
        self._options = options
        self._is_open = False
        self._reconnected = options.form.is_events and "last-event-id" in request.headers

    def __await__(self) -> Generator[Any, Any, Self]:
        """The response itself: handlers read alike with every framework."""
        return self
        yield

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Open the stream, and send what comes of it. Cancelling it closes the stream."""
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            response = await self._begin(scope, gone)
            if response is not None:
                await response(scope, lambda: _message(gone), send)
            elif self._is_open:
                await self._send_text(gone, send)
        except TimeoutError:  # of a send: the stream's own are events
            log.warning("a reader that took nothing was given up")
        finally:
            await stop(gone)
            await self._source.aclose()

    async def _begin(self, scope: Any, gone: "asyncio.Future[None]") -> Response | None:
        """A response to be sent; None: nothing, or plain text if the stream is open.

        Before the first text, an error has its true status.
        """
        if scope.get("method") == "HEAD":
            return Response(headers=self._options.headers, media_type=self._media_type)
        if self._reconnected:
            return Response(status_code=204)  # EventSource does not try again
        try:
            self._is_open = await open_or_gone(self._source, gone)
        except LaplasError as error:
            return self._refuse(error)
        if not self._is_open or not self._form.is_events:
            return None
        options = self._options
        return EventSourceResponse(
            self._events(),
            headers=options.headers,
            ping=1e9 if options.heartbeat is None else options.heartbeat,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
            sep="\n",
            send_timeout=options.send_timeout,
        )

    @property
    def _media_type(self) -> str:
        return "text/event-stream" if self._form.is_events else "text/plain"

    def _refuse(self, error: LaplasError) -> Response:
        failure = self._source.failure(error, self._options.describe)
        settings: Any = {"status_code": status_of(error), "headers": retry_after(error)}
        if self._form.json_errors:
            return JSONResponse({"error": failure.to_dict()}, **settings)
        return PlainTextResponse(failure.message, **settings)

    async def _events(self) -> Any:
        events = self._source.events(self._form, self._options.describe)
        try:
            async for event in events:
                yield ServerSentEvent(event.data, event=event.event, id=event.id, sep="\n")
        finally:
            await events.aclose()

    async def _send_text(self, gone: "asyncio.Future[None]", send: Send) -> None:
        sending = asyncio.ensure_future(self._send_pieces(send))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            await stop(sending)

    async def _send_pieces(self, send: Send) -> None:
        head = Response(headers=self._options.headers, media_type=self._media_type)
        headers = [pair for pair in head.raw_headers if pair[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for event in self._source.events(self._form, self._options.describe):
            await self._send_body(send, event.data.encode(), more=True)
        await self._send_body(send, b"", more=False)

    async def _send_body(self, send: Send, body: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._options.send_timeout):
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def _disconnected(receive: Any) -> None:
    """Return when the client has gone. What is left of the request's body is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _message(gone: "asyncio.Future[None]") -> dict[str, str]:
    """What ``receive`` gives to the response inside, while this one does the receiving."""
    await asyncio.shield(gone)
    return {"type": "http.disconnect"}
