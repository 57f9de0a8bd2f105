"""What takes seconds among the processes of one machine: stopped leaders, blocked event loops.

Needs no framework; it is here because the default run should stay fast.
"""

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from laplas_async import LaplasClient, Limits
from laplas_async.pacing.shared.gate import SharedGate
from laplas_async.pacing.shared.worker import Mode
from laplas_async.simulator import Fault, Simulator, Timing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
KEY = "test-key"
WORKER = """
import asyncio, sys, time
from laplas_async import LaplasClient, Limits
async def main(url, calls, blocked):
    limits = Limits(concurrency=2)
    async with LaplasClient("test-key", url, shared=True, limits=limits) as client:
        print("ready", flush=True)
        running = asyncio.gather(*(client.complete("Hello", max_tokens=3) for _ in range(calls)))
        if blocked:
            await asyncio.to_thread(sys.stdin.readline)
            time.sleep(blocked)  # the event loop, as a careless user does
        await running
        print("done", flush=True)
asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
"""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory; pytest's own would be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="laplas-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield Path(path)


@contextlib.asynccontextmanager
async def worker(url: str, calls: int, blocked: float = 0.0) -> AsyncIterator[Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, url, str(calls), str(blocked)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()


def client_of(simulator: Simulator) -> LaplasClient:
    limits = Limits(concurrency=2)
    return LaplasClient(KEY, simulator.base_url, shared=True, limits=limits)


async def calls_until(client: LaplasClient, wanted: Mode) -> None:
    assert isinstance(client.gate, SharedGate)
    async with asyncio.timeout(60):
        while client.gate.worker.mode is not wanted:
            await client.complete("Hello", max_tokens=3)


async def test_a_stopped_leader_is_replaced_and_steps_down() -> None:
    async with (
        Simulator(timing=Timing(plain=0.01)) as simulator,
        worker(simulator.base_url, 300) as first,
    ):
        await first.stdout.readline()
        assert await simulator.wait_for(lambda counts: counts.answered > 5, 60)
        async with client_of(simulator) as client:
            await client.complete("Hello", max_tokens=3)
            first.send_signal(signal.SIGSTOP)
            await calls_until(client, Mode.ALONE)
            await calls_until(client, Mode.SHARED)  # and leads the next generation
            first.send_signal(signal.SIGCONT)
            assert (await first.stdout.readline()).strip() == b"done"
            await calls_until(client, Mode.SHARED)


async def test_a_blocked_event_loop_holds_up_nobody_else() -> None:
    """A worker takes both permits and blocks its loop for 5 s; its permits expire meanwhile."""
    async with Simulator() as simulator, client_of(simulator) as client:
        await client.complete("Hello", max_tokens=3)  # it leads
        simulator.script(Fault.slow_headers(1.0), Fault.slow_headers(1.0))
        async with worker(simulator.base_url, 6, blocked=5.0) as other:
            await other.stdout.readline()
            assert await simulator.wait_for(lambda counts: counts.in_flight == 2, 60)
            other.stdin.write(b"\n")
            answered = simulator.counts.answered
            await asyncio.gather(*(client.complete("Hello", max_tokens=3) for _ in range(5)))
            assert simulator.counts.answered >= answered + 5
            assert (await other.stdout.readline()).strip() == b"done"


async def test_a_leader_whose_users_loop_is_blocked_goes_on_granting() -> None:
    async with (
        Simulator(timing=Timing(plain=0.005)) as simulator,
        worker(simulator.base_url, 1, blocked=5.0) as leader,
    ):
        await leader.stdout.readline()
        assert await simulator.wait_for(lambda counts: counts.answered == 1, 60)
        async with client_of(simulator) as client:
            await client.complete("Hello", max_tokens=3)
            leader.stdin.write(b"\n")
            assert isinstance(client.gate, SharedGate)
            for _ in range(50):
                await client.complete("Hello", max_tokens=3)
                assert client.gate.worker.mode is Mode.SHARED
