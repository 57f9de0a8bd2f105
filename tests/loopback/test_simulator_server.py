"""Starting and stopping the simulator, its thread, and the pytest plugin."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from laplas_async.simulator import Fault, Simulator

BODY = {"model": "m", "messages": [{"role": "user", "content": "Name a river — 日本 🙂"}]}
STREAM = BODY | {"stream": True, "stream_options": {"include_usage": True}}
KEY = {"Authorization": "Bearer test-key"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_key="test-key") as events:
        yield events


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=KEY) as session:
        yield session


def chat(
    http: aiohttp.ClientSession, sim: Simulator, body: Any = None, **options: Any
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    return http.post(f"{sim.base_url}/chat/completions", json=body or BODY, **options)


async def status_of(http: aiohttp.ClientSession, sim: Simulator, body: Any = None) -> int:
    async with chat(http, sim, body) as response:
        return response.status


async def first_bytes(response: aiohttp.ClientResponse, count: int) -> bytes:
    got = b""
    while got.count(b"\n\n") < count:
        got += await response.content.readany()
    return got


async def test_stopping_does_not_wait_for_stalled_responses(http: aiohttp.ClientSession) -> None:
    sim = Simulator()
    await sim.start()
    sim.script(Fault.stall(), Fault.heartbeats(interval=100), Fault.slow_headers(100))
    url = f"{sim.base_url}/chat/completions"
    streams = [await http.post(url, json=STREAM) for _ in range(2)]
    waiting = asyncio.ensure_future(status_of(http, sim))
    assert await sim.wait_for(lambda counts: counts.in_flight == 3)
    before = asyncio.all_tasks()
    start = time.monotonic()
    await sim.stop()
    assert time.monotonic() - start < 5
    with pytest.raises(aiohttp.ClientError):
        await waiting
    for response in streams:
        response.close()
    assert (sim.counts.abandoned, sim.counts.open_connections) == (3, 0)
    assert asyncio.all_tasks() <= before - {waiting}
    gc.collect()


async def test_stopping_does_not_wait_for_a_client_that_reads_nothing() -> None:
    sim = Simulator()
    await sim.start()
    sim.script(Fault.never_ends(10**9))
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port, limit=1024)
    body = orjson.dumps(STREAM)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += "Authorization: Bearer x\r\nContent-Type: application/json\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.readline()
    start = time.monotonic()
    await sim.stop()
    assert time.monotonic() - start < 5
    assert (sim.counts.open_connections, sim.counts.in_flight) == (0, 0)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_it_can_be_restarted_but_not_started_twice(http: aiohttp.ClientSession) -> None:
    sim = Simulator()
    with pytest.raises(RuntimeError, match="not started"):
        _ = sim.base_url
    for _ in range(2):
        async with sim:
            async with chat(http, sim) as response:
                assert response.status == 200
            with pytest.raises(RuntimeError, match="already"):
                await sim.start()
            with pytest.raises(OSError, match="in use"):
                await Simulator(port=sim.port).start()
    await sim.stop()
    assert sim.counts.answered == 2
    assert "not started" in repr(sim)


async def test_in_a_thread_from_another_loop(http: aiohttp.ClientSession) -> None:
    with Simulator(api_key="test-key").in_thread() as sim:
        sim.script(Fault.stall(after=1))
        async with chat(http, sim, STREAM) as response:
            await first_bytes(response, 2)
            response.close()
        assert await sim.wait_idle()
        async with chat(http, sim, STREAM) as response:
            await response.read()
        assert sim.counts.answered == 1
        assert "test-key" not in repr(sim)


def test_in_a_thread_a_port_in_use_is_an_error() -> None:
    with (
        Simulator().in_thread() as sim,
        pytest.raises(OSError, match="in use"),
        Simulator(port=sim.port).in_thread(),
    ):
        pass


def test_in_a_thread_from_synchronous_code() -> None:
    with Simulator().in_thread() as sim:
        code = (
            "import urllib.request, sys;"
            "ask = urllib.request.Request(sys.argv[1] + '/chat/completions', sys.argv[2].encode(),"
            "{'Authorization': 'Bearer x', 'Content-Type': 'application/json'});"
            "print(len(urllib.request.urlopen(ask).read()))"
        )
        call = [sys.executable, "-c", code, sim.base_url, orjson.dumps(BODY).decode()]
        result = subprocess.run(call, check=True, capture_output=True)
        assert int(result.stdout) > 100
        assert sim.block_until(lambda counts: counts.answered == 1)
        assert sim.block_until()


def test_the_pytest_plugin_in_a_project_of_its_own(tmp_path: Path) -> None:
    test = tmp_path / "test_bot.py"
    test.write_text(
        "import os, urllib.request, urllib.error, pytest\n"
        "def test_bot(laplas_simulator, laplas_simulator_factory):\n"
        "    assert 'LAPLAS_BASE_URL' not in os.environ\n"
        "    with pytest.raises(urllib.error.HTTPError) as error:\n"
        "        urllib.request.urlopen(laplas_simulator.base_url + '/nowhere')\n"
        "    error.value.close()\n"
        "    assert laplas_simulator.counts.refused == 1\n"
        "    assert laplas_simulator_factory(status=201).port != laplas_simulator.port\n"
    )
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-W", "error"),
            *("-p", "laplas_async.simulator.pytest_plugin", "-c", "/dev/null", str(test)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        # Works whether or not the package is installed, and loads only this plugin.
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_importing_the_plugin_imports_no_server() -> None:
    code = (
        "import sys, types; package = types.ModuleType('laplas_async');"
        "import importlib.util as util;"
        "package.__path__ = list(util.find_spec('laplas_async').submodule_search_locations);"
        "sys.modules['laplas_async'] = package;"
        "import laplas_async.simulator.pytest_plugin;"
        "assert 'aiohttp' not in sys.modules, 'aiohttp'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
