"""One limit for workers on many machines, through a real Redis that the tests start and torment.

Needs the ``redis`` package and ``redis-server`` or ``valkey-server``. Workers are clients in this
process, whose messages all pass through the server; where one must die, it is a process.
"""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from laplas_async import ConfigError, Gate, LaplasClient, Limits, QuotaExceededError
from laplas_async.pacing.shared.gate import SharedGate
from laplas_async.pacing.shared.worker import Mode
from laplas_async.simulator import Fault, HiddenLimit, Simulator, Timing

pytest.importorskip("redis")
PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="neither redis-server nor valkey-server")
KEY = "test-key"
WORKER = """
import asyncio, sys
from laplas_async import LaplasClient, Limits
async def main(url, through, calls):
    limits = Limits(concurrency=2)
    async with LaplasClient("test-key", url, shared=through, limits=limits) as client:
        print("ready", flush=True)
        await asyncio.gather(*(client.complete("Hello", max_tokens=3) for _ in range(calls)))
        print("done", flush=True)
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class Server:
    """A Redis that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None
        options = ("--save", "", "--appendonly", "no", "--dir", str(self._folder))
        self._process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", *options],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(1000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        raise RuntimeError("the server does not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def command(self, *words: str) -> None:
        parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall("".join(parts).encode())
            assert connection.recv(100)[:1] in b"+:$*"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def client_of(simulator: Simulator, server: Server, concurrency: int | None = 2) -> LaplasClient:
    limits = Limits(concurrency=concurrency)
    return LaplasClient(KEY, simulator.base_url, shared=server.url, limits=limits)


def mode(client: LaplasClient) -> Mode:
    assert isinstance(client.gate, SharedGate)
    return client.gate.worker.mode


async def calls(client: LaplasClient, count: int = 1) -> None:
    await asyncio.gather(*(client.complete("Hello", max_tokens=3) for _ in range(count)))


async def both_known(*clients: LaplasClient) -> None:
    """Until each has a state in which all are."""
    for client in clients:
        gate = client.gate
        assert isinstance(gate, SharedGate)
        async with asyncio.timeout(60):
            while (state := gate.worker.state) is None or len(state.workers) < len(clients):
                await asyncio.sleep(0.01)


async def calls_until(client: LaplasClient, wanted: Mode) -> int:
    """Call, one at a time, until the client is in that mode; how many calls it took."""
    made = 0
    async with asyncio.timeout(60):
        while mode(client) is not wanted:
            await calls(client)
            made += 1
    return made


@contextlib.asynccontextmanager
async def worker(url: str, server: Server, count: int) -> AsyncIterator[Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, url, server.url, str(count)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()


async def test_clients_share_one_limit_and_leave_nothing_behind(server: Server) -> None:
    async with Simulator(timing=Timing(plain=0.005)) as simulator:
        async with client_of(simulator, server) as one, client_of(simulator, server) as two:
            await asyncio.gather(calls(one, 20), calls(two, 20))
            assert mode(one) is mode(two) is Mode.SHARED
            assert [str(rule) for rule in two.pace.rules] == ["2 at once"]
        assert simulator.counts.max_in_flight <= 2
        await simulator.wait_idle()
    while "laplas-redis" in {thread.name for thread in threading.enumerate()}:
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_killed_worker_and_a_killed_leader(server: Server) -> None:
    """The process leads; its permits expire, its lease ends, and the client takes over."""
    async with Simulator() as simulator:
        simulator.script(None, Fault.stall(), Fault.stall())
        async with worker(simulator.base_url, server, 3) as process:
            assert (await process.stdout.readline()).strip() == b"ready"
            await simulator.wait_for(lambda counts: counts.requests == 3, 20)
            async with client_of(simulator, server) as client:
                waiting = asyncio.ensure_future(calls(client, 2))
                while not client.pace.waiting:
                    await asyncio.sleep(0)
                process.kill()
                await waiting
                await calls_until(client, Mode.SHARED)
                await calls(client, 5)


@pytest.mark.parametrize("how", ["flushed", "restarted empty"])
async def test_a_server_that_was_emptied_costs_nothing_but_time(
    server: Server, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Simulator(timing=Timing(plain=0.005)) as simulator,
        client_of(simulator, server) as one,
        client_of(simulator, server) as two,
    ):
        await asyncio.gather(calls(one, 5), calls(two, 5))
        await both_known(one, two)
        if how == "flushed":
            server.command("FLUSHALL")
        else:
            server.stop()
            server.start()
        for _ in range(3):
            await asyncio.gather(calls(one, 10), calls(two, 10))
        await asyncio.gather(calls_until(one, Mode.SHARED), calls_until(two, Mode.SHARED))
        await asyncio.gather(calls(one, 10), calls(two, 10))
        assert simulator.counts.max_in_flight <= 2
        assert caplog.text.count("no contact") <= 2


@pytest.mark.parametrize("how", ["down", "hanging"])
async def test_without_a_server_each_keeps_its_share_and_warns_once(
    server: Server, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Simulator(timing=Timing(plain=0.005)) as simulator,
        client_of(simulator, server) as one,
        client_of(simulator, server) as two,
    ):
        await asyncio.gather(calls(one, 5), calls(two, 5))
        await both_known(one, two)
        if how == "down":
            server.stop()
        else:
            server.send(signal.SIGSTOP)
        await asyncio.gather(calls_until(one, Mode.ALONE), calls_until(two, Mode.ALONE))
        for _ in range(20):
            await asyncio.gather(calls(one, 5), calls(two, 5))
        assert simulator.counts.max_in_flight <= 2
        if how == "down":
            server.start()
        else:
            server.send(signal.SIGCONT)
        await asyncio.gather(calls_until(one, Mode.SHARED), calls_until(two, Mode.SHARED))
        await asyncio.gather(calls(one, 10), calls(two, 10))
        assert simulator.counts.max_in_flight <= 2
        assert caplog.text.count("no contact") == 2  # one of each client


async def test_a_server_that_is_not_there_delays_a_call_by_a_second(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    async with Simulator() as simulator, client_of(simulator, server) as client:
        await calls(client, 10)
        assert mode(client) is Mode.ALONE
        assert simulator.counts.max_in_flight <= 2
        server.start()
        await calls_until(client, Mode.SHARED)


async def test_what_was_learned_survives_an_outage(server: Server) -> None:
    limit = HiddenLimit(rate=40, burst=5)
    async with (
        Simulator(timing=Timing(plain=0.01), limit=limit) as simulator,
        client_of(simulator, server, None) as one,
        client_of(simulator, server, None) as two,
    ):
        while not (one.pace.rules and two.pace.rules):
            await asyncio.gather(calls(one, 20), calls(two, 20))
        server.stop()
        await asyncio.gather(calls_until(one, Mode.ALONE), calls_until(two, Mode.ALONE))
        await asyncio.gather(calls(one, 20), calls(two, 20))
        server.start()
        await asyncio.gather(calls_until(one, Mode.SHARED), calls_until(two, Mode.SHARED))
        assert one.pace.rules
        assert two.pace.rules


async def test_a_quota_reaches_the_others(server: Server) -> None:
    async with (
        Simulator() as simulator,
        client_of(simulator, server) as one,
        client_of(simulator, server) as two,
    ):
        await asyncio.gather(calls(one), calls(two))
        simulator.script(Fault.quota())
        with pytest.raises(QuotaExceededError):
            await calls(one)
        with pytest.raises(QuotaExceededError):
            await calls_until(two, Mode.REFUSED)  # which it never is


async def test_a_blocked_event_loop_holds_up_nobody_else(server: Server) -> None:
    """The process that is stopped for its user's sake holds both permits; they expire."""
    async with Simulator() as simulator:
        simulator.script(Fault.stall(), Fault.stall())
        async with worker(simulator.base_url, server, 2) as process:
            await process.stdout.readline()
            await simulator.wait_for(lambda counts: counts.in_flight == 2, 20)
            process.send_signal(signal.SIGSTOP)
            async with client_of(simulator, server) as client:
                await calls(client, 3)
                await calls_until(client, Mode.SHARED)
            process.send_signal(signal.SIGCONT)


async def test_garbage_in_the_lists_harms_nobody(server: Server) -> None:
    async with Simulator() as simulator, client_of(simulator, server) as client:
        await calls(client)
        gate = client.gate
        assert isinstance(gate, SharedGate)
        link: Any = gate._link
        member = link._member
        for name in (member._leader_list, f"{member._prefix}worker:{gate.name}"):
            server.command("RPUSH", name, "garbage")
            server.command("RPUSH", name, 'x\n["want","x"]')
        await calls(client, 5)
        assert mode(client) is Mode.SHARED


def test_urls_that_cannot_be_right_are_refused_without_naming_them() -> None:
    for url in ("http://secret@host", "localhost:6379", "redis://host:port:secret"):
        with pytest.raises(ConfigError) as refused:
            Gate.shared(KEY, url=url)
        assert "secret" not in str(refused.value)


def test_nothing_of_the_key_is_in_a_name() -> None:
    from laplas_async.pacing.shared.joining import group_name

    assert KEY not in group_name("http://a", KEY, "m")
