"""A simulator of the Apilaplas chat API: starts, stops, is scripted and asked.

It runs in the caller's event loop (`async with`) or in a thread of its own (`in_thread`). It
refuses to be a public server: it listens on loopback unless told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from laplas_async.simulator.app import Service
from laplas_async.simulator.counters import Counts, Predicate, Seen, Tally
from laplas_async.simulator.faults import Choose, Fault, Script
from laplas_async.simulator.handler import Desk, Terms
from laplas_async.simulator.limits import HiddenLimit, Turnstile
from laplas_async.simulator.pace import Pace

if TYPE_CHECKING:
    from types import TracebackType

_MAX_BODY = 64 * 1024 * 1024
# Handlers are cancelled before, so nothing is left to wait for; zero would mean "for ever".
_SHUTDOWN = 0.1


class Simulator:
    """The other party, on loopback, for tests and demonstrations.

    `api_key`: the key it takes; None takes any bearer that is not empty. `status`: that of
    success, 200 or 201. `pace`, `limit`, `faults`: how fast it answers, what it hides, and
    what the first requests meet (see `script`). `costs`: answers tell `meta.usage`. `port` 0
    is any free one. `remember`: how many requests `requests` keeps. After it was stopped it
    may be started again. Cancelling `stop` leaves it stopping.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        status: int = 200,
        pace: Pace | None = None,
        limit: HiddenLimit | None = None,
        faults: Sequence[Fault | None] = (),
        costs: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        remember: int = 10_000,
    ) -> None:
        if not 200 <= status <= 299:
            msg = f"status is that of success, 200 to 299, not {status}"
            raise ValueError(msg)
        self._host = host
        self._port = port
        self._bound: tuple[str, int] | None = None
        self._runner: web.ServerRunner | None = None
        self._server: _CountingServer | None = None
        self._tally = Tally(remember)
        self._script = Script(faults)
        self._turnstile = Turnstile(limit, time.monotonic())
        self._service = Service(
            Desk(
                terms=Terms(api_key=api_key, status=status, pace=pace or Pace(), costs=costs),
                tally=self._tally,
                script=self._script,
                turnstile=self._turnstile,
            )
        )

    def __repr__(self) -> str:
        """Show the address, never the key."""
        where = "not started" if self._bound is None else self.base_url
        return f"<Simulator {where}>"

    @property
    def base_url(self) -> str:
        """The base URL to give to a client, `http://HOST:PORT/v1`; RuntimeError if not started."""
        if self._bound is None:
            msg = "the simulator is not started: use `async with`, `in_thread()` or `start()`"
            raise RuntimeError(msg)
        host, port = self._bound
        return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"

    @property
    def port(self) -> int:
        """The port it listens on; RuntimeError if not started."""
        if self._bound is None:
            msg = "the simulator is not started"
            raise RuntimeError(msg)
        return self._bound[1]

    @property
    def counts(self) -> Counts:
        """The counts at this moment."""
        return self._tally.counts

    @property
    def requests(self) -> list[Seen]:
        """The last requests seen, oldest first."""
        return self._tally.requests

    @property
    def limit(self) -> HiddenLimit:
        """The hidden limit; setting it (None: no limit) starts with a full bucket at once."""
        return self._turnstile.limit

    @limit.setter
    def limit(self, limit: HiddenLimit | None) -> None:
        self._turnstile.replace(limit, time.monotonic())

    def script(self, *faults: Fault | None) -> None:
        """Append what the next chat requests meet, one each in order of arrival; None: no fault.

        A request takes its entry even if it is then refused or rejected.
        """
        self._script.add(*faults)

    def script_always(self, rule: Fault | Choose | None) -> None:
        """Set what requests meet once the script is used up.

        A callable is given the request's body and number and returns a fault or None.
        """
        self._script.always(rule)

    def clear(self) -> None:
        """Forget the script, the requests and the sums; what is in flight or open goes on."""
        self._script.clear()
        self._tally.clear()

    async def wait_for(self, predicate: Predicate, timeout: float = 1.0) -> bool:  # noqa: ASYNC109
        """Return True as soon as `predicate(counts)` holds, or False after `timeout` seconds.

        From any event loop. Cancelling it leaves nothing behind.
        """
        return await self._tally.wait_for(predicate, timeout)

    async def wait_idle(self, timeout: float = 1.0) -> bool:  # noqa: ASYNC109
        """Return True once no request is in flight, or False after `timeout` seconds."""
        return await self.wait_for(_is_idle, timeout)

    def block_until(self, predicate: Predicate | None = None, timeout: float = 1.0) -> bool:
        """Do as `wait_for` from synchronous code, beside `in_thread`; by default until idle."""
        return self._tally.block_until(predicate or _is_idle, timeout)

    async def start(self) -> Self:
        """Listen; an OSError says that the port is taken."""
        if self._runner is not None:
            msg = "the simulator is started already"
            raise RuntimeError(msg)
        server = _CountingServer(self._service)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=4096).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._server = server
        host, port = runner.addresses[0][:2]
        self._bound = (host, port)
        return self

    async def stop(self) -> None:
        """Stop listening, cancel what is being answered, and close all connections."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        running = list(self._service.tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await runner.cleanup()
        if self._server is not None:
            self._server.abort()
            self._server = None
        self._bound = None
        # Closed transports say so one turn of the loop later.
        await self.wait_for(lambda counts: counts.open_connections == 0)

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
        """Run in a thread with its own event loop, started when this returns and ended after."""
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(
            target=self._run, args=(started,), name="laplas-simulator", daemon=True
        )
        thread.start()
        try:
            loop, ending = started.result()
        except BaseException:
            thread.join()
            raise
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(ending.set)
            thread.join()

    def _run(self, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        async def live() -> None:
            ending = asyncio.Event()
            async with self:
                started.set_result((asyncio.get_running_loop(), ending))
                await ending.wait()

        try:
            asyncio.run(live())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)


def _is_idle(counts: Counts) -> bool:
    return counts.in_flight == 0


class _CountingServer(web.Server):
    """Counts connections, but not those that only ask about the simulator itself."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            service.handle,
            request_factory=self._build,
            handler_cancellation=True,
            access_log=None,
        )
        self._tally = service.desk.tally
        self._open: dict[Any, asyncio.Transport] = {}
        # Those that have asked for nothing yet, and those that only ask about the simulator.
        self._fresh: set[Any] = set()
        self._exempted: set[Any] = set()
        service.admin = self._exempt

    def abort(self) -> None:
        """Close what is still open, without waiting for readers to take what was written."""
        for transport in list(self._open.values()):
            transport.abort()

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = transport
        self._fresh.add(handler)
        self._tally.connect(opened=1, accepted=1)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._fresh.discard(handler)
        if self._open.pop(handler, None) is not None and handler not in self._exempted:
            self._tally.connect(opened=-1)
        self._exempted.discard(handler)

    def _exempt(self, request: web.BaseRequest) -> None:
        if request.protocol in self._fresh:
            self._fresh.discard(request.protocol)
            self._exempted.add(request.protocol)
            self._tally.connect(opened=-1, accepted=-1)

    def _build(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
        if not message.path.startswith("/_"):
            self._fresh.discard(protocol)
            if protocol in self._exempted:
                self._exempted.discard(protocol)
                self._tally.connect(opened=1, accepted=1)
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY
        )
