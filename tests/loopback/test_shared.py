"""One limit for several clients and processes of a machine, over real sockets.

Configured limits show that it is shared without asking any clock: with ``concurrency=2`` in each of
four processes, the service never has more than two requests at once.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from laplas_async import (
    DEFAULT_MODEL,
    ConfigError,
    Gate,
    LaplasClient,
    Limits,
    QuotaExceededError,
    RequestTimeoutError,
)
from laplas_async.simulator import Fault, Simulator, Timing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")

from laplas_async.pacing.shared import directory  # noqa: E402 - Unix only
from laplas_async.pacing.shared.gate import SharedGate  # noqa: E402
from laplas_async.pacing.shared.joining import group_name  # noqa: E402
from laplas_async.pacing.shared.worker import Mode  # noqa: E402

KEY = "test-key"
WORKER = """
import asyncio, sys
from laplas_async import LaplasClient, Limits
async def main(url, calls, concurrency):
    limits = Limits(concurrency=concurrency)
    async with LaplasClient("test-key", url, shared=True, limits=limits) as client:
        async def call():
            await client.complete("Hello", max_tokens=3)
        print("ready", flush=True)
        await asyncio.gather(*(call() for _ in range(calls)))
        print("done", flush=True)
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory; pytest's own would be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="laplas-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield Path(path)


@contextlib.asynccontextmanager
async def worker(
    url: str, calls: int, concurrency: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, url, str(calls), str(concurrency)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return (await process.stdout.readline()).strip()


def client_of(simulator: Simulator, concurrency: int = 2, **settings: Any) -> LaplasClient:
    limits = Limits(concurrency=concurrency)
    return LaplasClient(KEY, simulator.base_url, shared=True, limits=limits, **settings)


def gate_of(client: LaplasClient) -> SharedGate:
    assert isinstance(client.gate, SharedGate)
    return client.gate


async def calls(client: LaplasClient, count: int) -> None:
    await asyncio.gather(*(client.complete("Hello", max_tokens=3) for _ in range(count)))


async def calls_until_refused(client: LaplasClient) -> None:
    """Until the message that refuses them has arrived."""
    while True:
        await calls(client, 1)


async def test_two_clients_share_one_limit_and_leave_nothing_behind() -> None:
    async with Simulator(timing=Timing(plain=0.005)) as simulator:
        async with client_of(simulator) as one, client_of(simulator) as two:
            await asyncio.gather(calls(one, 20), calls(two, 20))
            assert gate_of(one).worker.mode is gate_of(two).worker.mode is Mode.SHARED
            assert one.pace.concurrency == 2
            assert [str(rule) for rule in two.pace.rules] == ["2 at once"]
        assert simulator.counts.answered == 40
        assert simulator.counts.max_in_flight <= 2
        await simulator.wait_idle()
    assert "laplas-leader" not in {thread.name for thread in threading.enumerate()}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_processes_share_one_limit() -> None:
    async with (
        Simulator(timing=Timing(plain=0.005)) as simulator,
        contextlib.AsyncExitStack() as all_,
    ):
        workers = [
            await all_.enter_async_context(worker(simulator.base_url, 30, 2)) for _ in range(3)
        ]
        for one in workers:
            assert [await line(one), await line(one)] == [b"ready", b"done"]
        assert simulator.counts.answered == 90
        assert simulator.counts.max_in_flight <= 2


async def test_another_key_url_or_model_is_another_limit() -> None:
    names = {
        group_name(*identity)
        for identity in [
            ("http://a/v1", "k", "m"),
            ("http://b/v1", "k", "m"),
            ("http://a/v1", "l", "m"),
            ("http://a/v1", "k", "n"),
        ]
    }
    assert len(names) == 4
    assert group_name("http://a/v1/", "k", "m") in names
    assert not any(name == "k" for name in names)


async def test_batches_share_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPLAS_API_KEY", KEY)
    rows = "".join(json.dumps({"prompt": f"{n}?", "max_tokens": 3}) + "\n" for n in range(20))
    (tmp_path / "in.jsonl").write_text(rows)
    async with Simulator(timing=Timing(plain=0.005)) as simulator:
        monkeypatch.setenv("LAPLAS_BASE_URL", simulator.base_url)
        command = [sys.executable, "-m", "laplas_async", "batch", str(tmp_path / "in.jsonl")]
        options = ["--shared", "--concurrency", "2", "--quiet"]
        batches = [
            await asyncio.create_subprocess_exec(*command, str(tmp_path / f"{n}.jsonl"), *options)
            for n in range(2)
        ]
        assert [await batch.wait() for batch in batches] == [0, 0]
        assert simulator.counts.answered == 40
        assert simulator.counts.max_in_flight <= 2


async def test_a_killed_leader_is_replaced_and_its_work_goes_on() -> None:
    async with Simulator(timing=Timing(plain=0.02)) as simulator:  # noqa: SIM117
        async with worker(simulator.base_url, 10_000, 2) as first:
            await line(first)
            await simulator.wait_for(lambda counts: counts.answered > 5, 20)
            async with client_of(simulator) as client:
                await calls(client, 5)  # it has joined
                first.kill()
                await first.wait()
                answered = simulator.counts.answered
                await calls(client, 50)
                assert simulator.counts.answered >= answered + 50
                assert simulator.counts.max_in_flight <= 4  # those of the killed one, and 2
                assert gate_of(client).worker.mode is Mode.SHARED


async def test_a_killed_workers_permits_are_free() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        await calls(client, 1)  # it leads
        simulator.script(Fault.stall(), Fault.stall())
        async with worker(simulator.base_url, 2, 2) as other:
            await line(other)
            await simulator.wait_for(lambda counts: counts.in_flight == 2, 20)
            waiting = asyncio.ensure_future(calls(client, 1))
            while not client.pace.waiting:
                await asyncio.sleep(0)
            other.kill()
            await waiting


async def test_a_stopped_workers_permits_expire() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        await calls(client, 1)
        simulator.script(Fault.stall(), Fault.stall())
        async with worker(simulator.base_url, 2, 2) as other:
            await line(other)
            await simulator.wait_for(lambda counts: counts.in_flight == 2, 20)
            other.send_signal(signal.SIGSTOP)
            await calls(client, 3)
            assert simulator.counts.in_flight == 2


async def test_a_cancelled_call_returns_its_permit() -> None:
    async with (
        Simulator() as simulator,
        client_of(simulator, 1) as one,
        client_of(simulator, 1) as two,
    ):
        simulator.script(Fault.stall())
        held = asyncio.ensure_future(calls(one, 1))
        await simulator.wait_for(lambda counts: counts.in_flight == 1, 10)
        given_up = [asyncio.ensure_future(calls(two, 1)) for _ in range(20)]
        while two.pace.waiting < 20:
            await asyncio.sleep(0)
        for step, waiting in enumerate(given_up):
            if step == 10:
                held.cancel()
            waiting.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(held, *given_up, return_exceptions=True)
        await asyncio.gather(calls(one, 2), calls(two, 2))
        assert one.pace.in_flight == two.pace.in_flight == 0


async def test_a_call_that_gets_no_turn_in_time_fails() -> None:
    async with Simulator() as simulator:
        limits = Limits(concurrency=1, max_wait=0.05)
        async with (
            client_of(simulator, 1) as one,
            LaplasClient(KEY, simulator.base_url, shared=True, limits=limits) as two,
        ):
            simulator.script(Fault.stall())
            held = asyncio.ensure_future(calls(one, 1))
            await simulator.wait_for(lambda counts: counts.in_flight == 1, 10)
            with pytest.raises(RequestTimeoutError, match="turn"):
                await calls(two, 1)
            held.cancel()


async def test_a_quota_stops_all_and_teaches_nothing() -> None:
    async with (
        Simulator() as simulator,
        client_of(simulator, 1) as one,
        client_of(simulator, 1) as two,
    ):
        await asyncio.gather(calls(one, 1), calls(two, 1))
        simulator.script(Fault.quota())
        with pytest.raises(QuotaExceededError) as met:
            await calls(one, 1)
        with pytest.raises(QuotaExceededError) as informed:
            await calls_until_refused(two)
        assert informed.value.message == met.value.message
        sent = simulator.counts.requests
        with pytest.raises(QuotaExceededError):
            await calls(two, 5)
        assert simulator.counts.requests == sent
        assert one.pace.rejected == two.pace.rejected == 0
        assert not one.pace.rules[1:]


async def test_another_version_is_refused_and_keeps_its_configured_limits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Simulator(timing=Timing(plain=0.002)) as simulator, client_of(simulator) as client:
        await calls(client, 1)
        gate = Gate.shared(KEY, simulator.base_url, limits=Limits(concurrency=3))
        gate.worker.version = "0.0.1"
        async with LaplasClient(KEY, simulator.base_url, gate=gate) as other:
            await calls(other, 10)
            assert gate.worker.mode is Mode.REFUSED
            assert other.pace.concurrency == 3
        await gate.aclose()
        assert caplog.text.count("install one version everywhere") == 1


async def test_a_stale_socket_is_replaced(runtime: Path) -> None:
    async with Simulator() as simulator:
        place = directory.MeetingPlace(
            directory.runtime_directory(),
            group_name(simulator.base_url, KEY, DEFAULT_MODEL),
        )
        lock = place.lock(1)
        assert lock is not None
        place.listen(1).close()  # as after a kill
        os.close(lock)
        async with client_of(simulator) as client:
            await calls(client, 1)
            assert gate_of(client).worker.mode is Mode.SHARED
        assert list((runtime / "laplas-async").iterdir()) == []  # the last one removes all


async def test_garbage_at_the_socket_harms_nobody(runtime: Path) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        await calls(client, 1)
        (path,) = (path for path in (runtime / "laplas-async").iterdir() if path.is_socket())
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"another program" in await reader.read()
        writer.close()
        await calls(client, 3)


def test_a_directory_of_another_user_is_refused(runtime: Path) -> None:
    path = runtime / "laplas-async"
    path.mkdir(mode=0o700)
    path.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        LaplasClient(KEY, shared=True)
    path.chmod(0o700)
    if os.geteuid() != 0:
        return
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        LaplasClient(KEY, shared=True)


def test_a_link_in_place_of_the_directory_is_refused(runtime: Path) -> None:
    (runtime / "elsewhere").mkdir()
    (runtime / "laplas-async").symlink_to(runtime / "elsewhere")
    with pytest.raises(ConfigError, match="not a directory"):
        Gate.shared(KEY)


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not say")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
async def test_a_process_of_another_user_is_refused(
    runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        await calls(client, 1)
        (path,) = (path for path in (runtime / "laplas-async").iterdir() if path.is_socket())
        for directory_ in (runtime, path.parent):
            directory_.chmod(0o777)
        path.chmod(0o777)
        program = f"""
        import os, socket
        os.setuid(12345)
        s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r})
        assert s.recv(10) == b""
        """
        ran = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", textwrap.dedent(program)], check=False
        )
        assert ran.returncode == 0
        assert "another user" in caplog.text


async def test_a_closed_gate_refuses_those_that_wait_and_those_that_come() -> None:
    gate = Gate.shared(KEY, "http://127.0.0.1:9/v1", limits=Limits(concurrency=1))
    held = await gate.acquire()
    waiting = asyncio.ensure_future(gate.acquire())
    while not gate.waiting:
        await asyncio.sleep(0)
    await gate.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await waiting
    with pytest.raises(ConfigError, match="closed"):
        await gate.acquire()
    held.release()
    await gate.aclose()


async def test_the_settings_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="shared, gate"):
        LaplasClient(KEY, shared=True, gate=Gate())


FORK = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from laplas_async import ConfigError, LaplasClient
url = sys.argv[1]

async def child(parent):
    try:
        await parent.gate.acquire()
    except ConfigError as error:
        assert "forked" in str(error)
    else:
        raise AssertionError("the parent's gate was used")
    async with LaplasClient("test-key", url, shared=True) as client:
        await client.complete("Hello", max_tokens=3)  # the parent leads
        print("joined", flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # meanwhile the parent dies
        await client.complete("Hello", max_tokens=3)
        print("leads", flush=True)

async def main():
    async with LaplasClient("test-key", url, shared=True) as client:
        await client.complete("Hello", max_tokens=3)
        if os.fork() == 0:
            try:
                asyncio._set_running_loop(None)
                asyncio.run(child(client))
            finally:
                sys.stdout.flush()
                os._exit(0)
        await client.complete("Hello", max_tokens=3)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_forked_child_keeps_neither_the_lock_nor_the_connection() -> None:
    """The parent, which leads, is killed; the child then takes the lock."""
    async with Simulator() as simulator:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FORK, simulator.base_url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert await line(process) == b"joined"
        process.kill()
        process.stdin.write(b"\n")
        assert await line(process) == b"leads"
        await process.communicate()
