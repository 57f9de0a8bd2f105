"""A web service that relays a streamed completion as server-sent events.

    LAPLAS_API_KEY=... python tests/examples/service.py --port 8080
    curl -N --data "Name a river." http://127.0.0.1:8080/ask

The HTTP status is honest: entering ``client.stream(...)`` waits for the first text, so whatever
fails before it becomes a status of 4xx or 5xx. A later failure is an ``error`` event, and ``done``
is sent only for a complete answer. When the browser goes away, the request to the model is
cancelled.
"""

import argparse
import json
from collections.abc import AsyncIterator

from aiohttp import web

from laplas_async import (
    ConfigError,
    LaplasClient,
    LaplasError,
    RateLimitError,
    RequestTimeoutError,
)

CLIENT = web.AppKey("client", LaplasClient)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    """One client for the whole service, so that all requests share its gate and connections."""
    async with LaplasClient() as client:
        app[CLIENT] = client
        yield


def event(name: str, text: str) -> bytes:
    return f"event: {name}\ndata: {json.dumps(text)}\n\n".encode()


def status_of(error: LaplasError) -> int:
    match error:
        case ConfigError():
            return 400
        case RateLimitError():
            return 503
        case RequestTimeoutError():
            return 504
    return 502


async def ask(request: web.Request) -> web.StreamResponse:
    question = await request.text()
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    try:
        async with request.app[CLIENT].stream(question) as stream:
            await response.prepare(request)
            async for text in stream.text():
                await response.write(event("text", text))
    except LaplasError as error:
        if not response.prepared:
            return web.json_response({"error": error.message}, status=status_of(error))
        await response.write(event("error", error.message))
    else:
        await response.write(event("done", ""))
    await response.write_eof()
    return response


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_post("/ask", ask)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="Relay streamed completions.")
    parser.add_argument("--port", type=int, default=8080)
    port: int = parser.parse_args().port
    # Without handler_cancellation a browser that leaves is noticed only at the next write.
    web.run_app(make_app(), host="127.0.0.1", port=port, handler_cancellation=True)


if __name__ == "__main__":
    main()
