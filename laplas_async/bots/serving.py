"""``relay`` and ``relay_websocket``: send a streamed answer on from a web service.

They find out which framework a request is of, and import nothing else of it. They refuse to decide
what is asked: a stream goes in, and is closed in any case.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, Literal, get_args

from laplas_async.bots.relay_formats import FormatName, FrameName, new_format
from laplas_async.bots.relay_source import Describe, RelayOptions, Source
from laplas_async.errors import ConfigError

_HEARTBEAT = 15.0  # seconds; proxies give up after 30 (Heroku: 55, nginx and AWS: 60)
# Seconds; a reader that takes nothing for so long has gone, or keeps a model busy for nothing.
_SEND_TIMEOUT = 30.0

Outcome = Literal["complete", "failed", "disconnected"]
OnMessage = Callable[[str], Awaitable[object] | object]


def relay(
    stream: Any,
    request: Any,
    *,
    as_: FormatName = "sse",
    heartbeat: float | None = _HEARTBEAT,
    send_timeout: float | None = _SEND_TIMEOUT,
    describe: Describe | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Answer a browser with a stream, in a handler of FastAPI, Starlette or aiohttp.web.

    ``return await relay(client.stream(question), request)``. ``stream`` is one that was not entered
    yet (of ``client.stream``, ``conversation.ask``, or any async iterator of chunks or text); with
    aiohttp.web it may have been. The response's status is sent with the first text: an error before
    it has the service's status and message. A later one is a single error event. Only a complete
    answer has an end marker. The stream is closed when the browser leaves, at any moment.

    ``as_``: "sse" for ``EventSource``: events ``text`` (a JSON string), then ``done`` or ``error``;
    "text": plain text, the connection is cut if the answer breaks off (Starlette's
    BaseHTTPMiddleware does not let that through: the text would look complete); "ui": the AI SDK's
    UI message stream; "openai": chunks as OpenAI sends them. ``heartbeat``: seconds between
    comments that keep proxies from closing the connection. ``send_timeout``: seconds after which a
    reader that takes nothing has gone. None: no such limit. ``describe``: the message that the
    reader sees of an error; the default is ``error.message``. ``headers``: further ones.

    Raises ``ConfigError`` for arguments that cannot be right, and for a library that is missing.
    Cancelling it closes the stream.
    """
    form = new_format(as_, get_args(FormatName))
    _check_seconds("heartbeat", heartbeat)
    _check_seconds("send_timeout", send_timeout)
    source = Source(stream)
    options = RelayOptions(
        form, heartbeat, send_timeout, describe, {**_HEADERS, **form.headers, **(headers or {})}
    )
    if _is_a(request, "aiohttp.web", "BaseRequest"):
        relay_request = _load("relay_aiohttp", "aiohttp_sse", "aiohttp").relay_request
        return relay_request(source, request, options)
    if _is_a(request, "starlette.requests", "HTTPConnection"):
        response = _load("relay_starlette", "sse_starlette", "fastapi").RelayResponse
        return response(source, request, options)
    raise _unknown("request", request)


async def relay_websocket(
    stream: Any,
    websocket: Any,
    *,
    as_: FrameName = "json",
    send_timeout: float | None = _SEND_TIMEOUT,
    describe: Describe | None = None,
    on_message: OnMessage | None = None,
) -> Outcome:
    """Relay a stream to a WebSocket that was accepted (Starlette, FastAPI) or prepared (aiohttp).

    Each message is a text frame. ``as_``: "json": ``{"type": "text", "text": ...}``, then
    ``{"type": "done", ...}`` or ``{"type": "error", ...}``; else the data of ``relay``'s events.
    While it runs it receives what the browser sends, since nothing else shows that it left: text
    goes to ``on_message`` (which may call ``stream.aclose()``), and without one is dropped.

    Returns "complete", "failed" (after the error was sent), or "disconnected": then receive
    nothing more. Never closes the WebSocket, and always the stream. Raises ``ConfigError``;
    cancelling it closes the stream.
    """
    form = new_format(as_, get_args(FrameName))
    _check_seconds("send_timeout", send_timeout)
    if _is_a(websocket, "aiohttp.web", "WebSocketResponse"):
        kind = "AiohttpSocket"
    elif _is_a(websocket, "starlette.websockets", "WebSocket"):
        kind = "StarletteSocket"
    else:
        raise _unknown("websocket", websocket)
    sockets = import_module("laplas_async.bots.relay_sockets")
    run = sockets.SocketRelay(
        Source(stream),
        form,
        getattr(sockets, kind)(websocket),
        send_timeout=send_timeout,
        describe=describe,
        on_message=on_message,
    )
    outcome: Outcome = await run.run()
    return outcome


# Neither a cache nor a proxy's buffer may hold back what is sent piece by piece.
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def _check_seconds(name: str, value: float | None) -> None:
    if value is not None and (isinstance(value, bool) or not value > 0):
        raise ConfigError(f"{name}={value!r}: must be more than 0 seconds, or None")


def _is_a(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a framework's class; a framework that is not loaded has none."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _load(name: str, needed: str, extra: str) -> Any:
    try:
        import_module(needed)
    except ImportError:
        package = needed.replace("_", "-")
        raise ConfigError(f"relay() needs {package}: pip install 'laplas-async[{extra}]'") from None
    return import_module(f"laplas_async.bots.{name}")


def _unknown(name: str, value: Any) -> ConfigError:
    return ConfigError(f"{name}={value!r:.80}: must be one of aiohttp.web, Starlette or FastAPI")
