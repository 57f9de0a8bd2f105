"""The simulator as users hold it: starting, stopping, scripting faults and reading the counts.

It runs in the caller's event loop (``async with``) or in its own thread (``in_thread``). It refuses
to be a public server: it listens on loopback unless ``host`` says otherwise.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from laplas_async.simulator import catalog
from laplas_async.simulator.app import Service
from laplas_async.simulator.counters import Counters, Counts, Predicate, Seen
from laplas_async.simulator.faults import Fault
from laplas_async.simulator.handler import ServerSettings, ServerState
from laplas_async.simulator.limiter import RequestLimiter
from laplas_async.simulator.limits import HiddenLimit
from laplas_async.simulator.script import FaultRule, Script
from laplas_async.simulator.timing import Timing

# Bytes of a request; several images as data URLs fit.
_MAX_BODY = 64 * 1024 * 1024
# Seconds. The handlers are cancelled before the shutdown, so nothing is left to wait for, but
# aiohttp takes 0 as "without limit" (test_stopping_does_not_wait_for_stalled_responses).
_SHUTDOWN_TIMEOUT = 0.1


class Simulator:
    """A server on loopback that speaks the Apilaplas chat API, for tests and demonstrations.

    ``api_key``: the only key accepted; None accepts every bearer token that is not empty.
    ``status``: the status of success, 200 to 299. ``timing``: how fast it responds. ``limit``:
    which requests it rejects with a 429; all of several limits apply at the same time. ``faults``:
    what goes wrong with the first requests (see ``script``). ``costs``: responses have
    ``meta.usage``. ``models``: the body of ``GET /v1/models`` (None: a few models as the service
    lists them). ``balance``: the credits that ``GET /v1/billing/balance`` reports. ``port``: 0 is
    any free port. ``remember``: how many requests ``requests`` keeps. ``clock``: seconds for the
    limit and for ``Seen``, never going back; replace it to test limits per minute or hour without
    waiting. It may be started again after it was stopped. Raises ``ValueError`` for a status out of
    range.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        status: int = 200,
        timing: Timing | None = None,
        limit: HiddenLimit | Sequence[HiddenLimit] | None = None,
        faults: Sequence[Fault | None] = (),
        costs: bool = False,
        models: Any = None,
        balance: float = 1_000_000,
        host: str = "127.0.0.1",
        port: int = 0,
        remember: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 200 <= status <= 299:
            raise ValueError(f"status must be that of a success, 200 to 299, not {status}")
        self._host = host
        self._port = port
        self._bound: tuple[str, int] | None = None
        self._runner: web.ServerRunner | None = None
        self._server: _CountingServer | None = None
        self._clock = clock
        self._counters = Counters(remember)
        self._script = Script(faults)
        self._limiter = RequestLimiter(limit, clock())
        self._service = Service(
            ServerState(
                settings=ServerSettings(
                    api_key=api_key,
                    status=status,
                    timing=timing or Timing(),
                    costs=costs,
                    models=catalog.models() if models is None else models,
                    balance=balance,
                ),
                counters=self._counters,
                script=self._script,
                limiter=self._limiter,
                clock=clock,
            )
        )

    def __repr__(self) -> str:
        """Show the address, never the key."""
        where = "not started" if self._bound is None else self.base_url
        return f"<Simulator {where}>"

    @property
    def base_url(self) -> str:
        """The base URL, ``http://HOST:PORT/v1``. Raises ``RuntimeError`` if not started."""
        if self._bound is None:
            raise RuntimeError(
                "the simulator is not started: use `async with`, `in_thread()` or `start()`"
            )
        host, port = self._bound
        return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"

    @property
    def port(self) -> int:
        """The port it listens on. Raises ``RuntimeError`` if not started."""
        if self._bound is None:
            raise RuntimeError("the simulator is not started")
        return self._bound[1]

    @property
    def counts(self) -> Counts:
        """The counts at this moment."""
        return self._counters.counts

    @property
    def requests(self) -> list[Seen]:
        """The last ``remember`` requests, oldest first."""
        return self._counters.requests

    @property
    def limit(self) -> HiddenLimit:
        """The hidden limit; setting it (None: no limit) takes effect at once, unused so far."""
        return self._limiter.limit

    @limit.setter
    def limit(self, limit: HiddenLimit | Sequence[HiddenLimit] | None) -> None:
        self._limiter.replace(limit, self._clock())

    def script(self, *faults: Fault | None) -> None:
        """Append faults for the next chat requests, one each in order of arrival; None is no fault.

        A request uses up its entry even if it is then refused or rejected.
        """
        self._script.add(*faults)

    def script_always(self, rule: Fault | FaultRule | None) -> None:
        """Set the fault of every request once the script is used up; None is no fault.

        A callable receives the request's body and number and returns a fault or None.
        """
        self._script.always(rule)

    def clear(self) -> None:
        """Forget the script and the requests and reset the counts; requests in flight continue."""
        self._script.clear()
        self._counters.clear()

    async def wait_for(self, predicate: Predicate, timeout: float = 1.0) -> bool:  # noqa: ASYNC109
        """Return True as soon as ``predicate(counts)`` holds, or False after ``timeout`` seconds.

        May be called from any event loop. Cancelling it leaves nothing behind.
        """
        return await self._counters.wait_for(predicate, timeout)

    async def wait_idle(self, timeout: float = 1.0) -> bool:  # noqa: ASYNC109
        """Return True once no request is in flight, or False after ``timeout`` seconds.

        Cancelling it leaves nothing behind.
        """
        return await self.wait_for(_is_idle, timeout)

    def block_until(self, predicate: Predicate | None = None, timeout: float = 1.0) -> bool:
        """Do the same as ``wait_for`` in synchronous code; without a predicate wait until idle."""
        return self._counters.block_until(predicate or _is_idle, timeout)

    async def start(self) -> Self:
        """Start to listen. Raises ``OSError`` if the port is in use. Cancelling stops it again."""
        if self._runner is not None:
            raise RuntimeError("the simulator is already started")
        server = _CountingServer(self._service)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN_TIMEOUT)
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
        """Stop listening, cancel the requests in flight, and close all connections.

        Cancelling it leaves the simulator stopped but some connections perhaps still open.
        """
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
        # Transports report that they are closed one iteration of the loop later.
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
        """Run it in a thread with its own event loop: started on entry, stopped on exit."""
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(
            target=self._run, args=(started,), name="laplas-simulator", daemon=True
        )
        thread.start()
        try:
            loop, stopping = started.result()
        except BaseException:
            thread.join()
            raise
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()

    def _run(self, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        async def run() -> None:
            stopping = asyncio.Event()
            async with self:
                started.set_result((asyncio.get_running_loop(), stopping))
                await stopping.wait()

        try:
            asyncio.run(run())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)


def _is_idle(counts: Counts) -> bool:
    return counts.in_flight == 0


class _CountingServer(web.Server):
    """Counts connections, except those used only for requests about the simulator itself."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            service.handle,
            request_factory=self._build,
            handler_cancellation=True,
            access_log=None,
        )
        self._counters = service.state.counters
        self._open: dict[Any, asyncio.Transport] = {}
        # Connections without a request so far, and those with only requests about the simulator.
        self._fresh: set[Any] = set()
        self._exempted: set[Any] = set()
        service.on_admin_request = self._exempt

    def abort(self) -> None:
        """Close all open connections without waiting until clients have read what was written."""
        for transport in list(self._open.values()):
            transport.abort()

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = transport
        self._fresh.add(handler)
        self._counters.connect(opened=1, accepted=1)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._fresh.discard(handler)
        if self._open.pop(handler, None) is not None and handler not in self._exempted:
            self._counters.connect(opened=-1)
        self._exempted.discard(handler)

    def _exempt(self, request: web.BaseRequest) -> None:
        if request.protocol in self._fresh:
            self._fresh.discard(request.protocol)
            self._exempted.add(request.protocol)
            self._counters.connect(opened=-1, accepted=-1)

    def _build(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
        if not message.path.startswith("/_"):
            self._fresh.discard(protocol)
            if protocol in self._exempted:
                self._exempted.discard(protocol)
                self._counters.connect(opened=1, accepted=1)
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY
        )
