"""What the fakes of chat platforms share: a server on loopback, a script of reactions, a log.

It refuses to know a platform.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from attrs import frozen

_MAX_BODY = 16 * 1024 * 1024
_SHUTDOWN_TIMEOUT = 0.1  # seconds; 0 would mean "without limit" to aiohttp


@frozen
class Reaction:
    """What a fake platform does with one call instead of carrying it out.

    Use the constructors: ``slow_down`` (429), ``error``, ``lost``, ``late``. ``applied``: the call
    takes effect all the same, as when only the response is lost.
    """

    status: int = 200
    error: str = ""
    code: int = 0
    retry_after: float | None = None
    everywhere: bool = False
    delay: float = 0.0
    dropped: bool = False
    applied: bool = False

    @classmethod
    def slow_down(cls, retry_after: float, *, everywhere: bool = False) -> Self:
        """A 429 that asks to wait ``retry_after`` seconds; ``everywhere``: the whole bot."""
        return cls(status=429, retry_after=retry_after, everywhere=everywhere)

    @classmethod
    def refuse(cls, status: int, error: str, *, code: int = 0) -> Self:
        """A refusal: Telegram's ``description``, Discord's ``message`` and code, Slack's error."""
        return cls(status=status, error=error, code=code)

    @classmethod
    def lost(cls, *, applied: bool = True) -> Self:
        """The connection is closed without a response."""
        return cls(dropped=True, applied=applied)

    @classmethod
    def late(cls, delay: float) -> Self:
        """Carried out at once, but the response comes after ``delay`` seconds."""
        return cls(delay=delay, applied=True)


@frozen
class PlatformCall:
    """A call that was received: the platform's ``method``, and what it was called with.

    ``status`` is that of the response; ``at`` the time of arrival in seconds, ``time.monotonic``.
    """

    method: str
    parameters: Mapping[str, Any]
    status: int
    at: float


class FakePlatform:
    """A platform's HTTP API on loopback; the subclasses are the platforms.

    It runs in the caller's event loop (``async with``) or in its own thread (``in_thread``).
    ``calls`` is the log. ``clock``: seconds for what it measures; replace it to test limits.
    """

    def __init__(self, *, port: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.calls: list[PlatformCall] = []
        self.clock = clock
        self._port = port
        self._bound: int | None = None
        self._runner: web.AppRunner | None = None
        self._script: deque[Reaction | None] = deque()
        self._scripts: dict[str, deque[Reaction | None]] = {}
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``. Raises ``RuntimeError`` if it is not started."""
        if self._bound is None:
            raise RuntimeError("the fake is not started: use `async with` or `in_thread()`")
        return f"http://127.0.0.1:{self._bound}"

    def script(self, *reactions: Reaction | None, method: str | None = None) -> None:
        """Append what the next calls meet, one each; None carries the call out.

        Without ``method`` it is for the calls that send or change messages, in any order.
        """
        script = self._script if method is None else self._scripts.setdefault(method, deque())
        script.extend(reactions)

    def count(self, *methods: str) -> int:
        """How many calls of these methods were received; of all without a name."""
        return sum(not methods or call.method in methods for call in self.calls)

    async def wait_for(self, predicate: Callable[[], bool], timeout: float = 5.0) -> bool:  # noqa: ASYNC109
        """Return True once ``predicate()`` holds, or False after ``timeout`` seconds.

        Only in the event loop in which the fake runs.
        """
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(predicate)
        except TimeoutError:
            return False
        return True

    # --- for the subclasses ---

    def _routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    def _reaction(self, method: str, *, changes: bool) -> Reaction | None:
        """The scripted reaction to a call that has just arrived."""
        own = self._scripts.get(method)
        if own:
            return own.popleft()
        return self._script.popleft() if changes and self._script else None

    def _log(self, method: str, parameters: Mapping[str, Any], status: int, at: float) -> None:
        self.calls.append(PlatformCall(method, parameters, status, at))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _drop(self, request: web.Request) -> web.Response:
        """Close the connection without a response."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _finish(self, reaction: Reaction | None) -> None:
        await self._notify()
        if reaction is not None and reaction.delay:
            await asyncio.sleep(reaction.delay)

    # --- starting and stopping ---

    async def start(self) -> Self:
        """Start to listen. Raises ``OSError`` if the port is in use."""
        if self._runner is not None:
            raise RuntimeError("the fake is already started")
        application = web.Application(client_max_size=_MAX_BODY)
        application.add_routes(self._routes())
        runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
            handler_cancellation=True,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._bound = runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Stop to listen and close all connections."""
        runner, self._runner = self._runner, None
        self._bound = None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.start()

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Run it in a thread with its own event loop: started on entry, stopped on exit."""
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def run() -> None:
            stopping = asyncio.Event()
            async with self:
                started.set_result((asyncio.get_running_loop(), stopping))
                await stopping.wait()

        def main() -> None:
            try:
                asyncio.run(run())
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

        thread = threading.Thread(target=main, name="laplas-fake-platform", daemon=True)
        thread.start()
        loop, stopping = started.result()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()
