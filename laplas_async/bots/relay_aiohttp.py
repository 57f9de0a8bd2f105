"""Relaying for aiohttp.web, on aiohttp-sse; imported when a request of it is relayed."""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp_sse import EventSourceResponse  # pyright: ignore[reportMissingImports]

from laplas_async.bots.relay_formats import Format
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

# Seconds between two looks at whether the client has gone: aiohttp.web informs handlers only by
# cancelling them, and only if the application asks for it (handler_cancellation).
_LOOK = 0.025
_CLIENT_CLOSED_REQUEST = 499  # nginx's; nobody sees it but the access log


async def relay_request(
    source: Source, request: web.BaseRequest, options: RelayOptions
) -> web.StreamResponse:
    """Open the stream and send what comes of it. Cancelling it closes the stream."""
    form = options.form
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        if request.method == "HEAD":
            return web.Response(headers={**options.headers, **_content_type(form)})
        if form.is_events and "Last-Event-ID" in request.headers:
            return web.Response(status=204)  # EventSource does not try again
        try:
            if not await open_or_gone(source, gone):
                return web.Response(status=_CLIENT_CLOSED_REQUEST)
        except LaplasError as error:
            return _refuse(source, error, options)
        response = _response(options)
        await _send_all(source, request, response, options, gone)
        return response
    finally:
        await stop(gone)
        await source.aclose()


async def _disconnected(request: web.BaseRequest) -> None:
    while (transport := request.transport) is not None and not transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)


def _content_type(form: Format) -> dict[str, str]:
    kind = "text/event-stream" if form.is_events else "text/plain; charset=utf-8"
    return {"Content-Type": kind}


def _refuse(source: Source, error: LaplasError, options: RelayOptions) -> web.Response:
    failure = source.failure(error, options.describe)
    status, headers = status_of(error), retry_after(error)
    if options.form.json_errors:
        return web.json_response({"error": failure.to_dict()}, status=status, headers=headers)
    return web.Response(text=failure.message, status=status, headers=headers)


def _response(options: RelayOptions) -> web.StreamResponse:
    if not options.form.is_events:
        return web.StreamResponse(headers={**options.headers, **_content_type(options.form)})
    response: web.StreamResponse = EventSourceResponse(
        headers=options.headers,
        sep="\n",
        allow_all_methods=True,
        send_timeout=options.send_timeout,
        ping_interval=1e9 if options.heartbeat is None else options.heartbeat,
    )
    return response


async def _send_all(
    source: Source,
    request: web.BaseRequest,
    response: Any,
    options: RelayOptions,
    gone: "asyncio.Future[None]",
) -> None:
    sending = asyncio.ensure_future(_send(source, request, response, options))
    try:
        await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    except ConnectionError:
        pass  # the client left while something was written
    except TimeoutError:  # of a send: the stream's own are events
        log.warning("a reader that took nothing was given up")
        if request.transport is not None:
            request.transport.abort()
    except LaplasError:  # plain text cannot say so; it is logged
        if request.transport is not None:
            request.transport.close()
    finally:
        await stop(sending)


async def _send(
    source: Source, request: web.BaseRequest, response: Any, options: RelayOptions
) -> None:
    await response.prepare(request)
    events = source.events(options.form, options.describe)
    try:
        if options.form.is_events:
            async with response:
                async for event in events:
                    await response.send(event.data, id=event.id, event=event.event)
        else:
            async for event in events:
                async with asyncio.timeout(options.send_timeout):
                    await response.write(event.data.encode())
    finally:
        await events.aclose()
