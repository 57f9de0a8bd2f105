"""``tests/examples/web_chat.py`` as its users start it, and its page in a headless browser."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from laplas_async.simulator import Fault, Simulator

for module in ("fastapi", "uvicorn", "sse_starlette"):
    pytest.importorskip(module, reason=f"{module} is not installed (the extra 'frameworks')")

PROGRAM = Path(__file__).resolve().parents[1] / "examples" / "web_chat.py"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
PATIENCE = 60.0  # seconds, for conditions; time is never measured


@asynccontextmanager
async def running(service: Simulator | None, *arguments: str) -> AsyncIterator[str]:
    """The program in a process; the address of its page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = dict(os.environ)
    if service is not None:
        environment |= {"LAPLAS_API_KEY": "k", "LAPLAS_BASE_URL": service.base_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), "--port", str(port), *arguments), env=environment
    )
    try:
        await until(lambda: listens(port))
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        assert await process.wait() in (0, -15)


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.fixture
async def service() -> AsyncIterator[Simulator]:
    async with Simulator() as service:
        yield service


async def test_one_command_starts_it_against_the_simulator() -> None:
    question = {"chat": "c", "message": "m1", "question": "Name a river."}
    async with running(None, "--simulate") as address, aiohttp.ClientSession() as session:
        async with session.get(address) as response:
            assert "EventSource" in await response.text()
        async with session.get(address + "ask", params=question) as response:
            assert "event: done" in await response.text()
        async with session.get(address + "ask", params=question) as response:
            assert response.status == 409  # the same message once more
        async with session.get(address + "messages", params={"chat": "c"}) as response:
            roles = [message["role"] for message in await response.json()]
            assert roles == ["user", "assistant"]


async def test_a_chat_survives_a_restart(service: Simulator, tmp_path: Path) -> None:
    database = ("--database", str(tmp_path / "chats.db"))
    for number in range(2):
        question = {"chat": "c", "message": f"m{number}", "question": f"Question {number}"}
        async with (
            running(service, *database) as address,
            aiohttp.ClientSession() as session,
            session.get(address + "ask", params=question) as response,
        ):
            assert "event: done" in await response.text()
    roles = [message["role"] for message in service.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


# --- in a browser ---------------------------------------------------------------------------------


class Tab:
    """A tab of a headless Chromium, over its debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json(message)
        while (answer := json.loads(await self._socket.receive_str())).get("id") != self._number:
            pass
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        done = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def wait(self, expression: str) -> None:
        await until(lambda: self.evaluate(expression))

    async def open(self, address: str) -> None:
        await self.call("Page.navigate", url=address)
        await self.wait("document.readyState === 'complete'")


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = Path(profile) / "DevToolsActivePort"

        async def started() -> bool:
            return port_file.exists() and port_file.read_text().count("\n") >= 1

        try:
            await until(started)
            base = f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}/json/new?about:blank"
            async with aiohttp.ClientSession() as session:
                async with session.put(base) as response:
                    found = await response.json()
                async with session.ws_connect(found["webSocketDebuggerUrl"]) as socket:
                    yield Tab(socket)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it may have crashed
                process.kill()
            await process.wait()


TEXTS = "[...document.querySelectorAll('.message')].map(message => message.innerText)"
IDLE = "!document.querySelector('.writing')"


async def test_a_page_shows_answers_as_they_are_written(service: Simulator, tab: Tab) -> None:
    service.script(None, Fault.stall(after=3), Fault.cut(after=3), Fault.stall(after=3), None)
    async with running(service) as address:
        await tab.open(address)
        await tab.evaluate("document.querySelector('textarea').value = 'Name a river.'")
        await tab.evaluate("document.querySelector('form').requestSubmit()")
        await tab.wait(f"{TEXTS}.length === 2 && {IDLE}")
        question, answer = await tab.evaluate(TEXTS)
        assert question == "Name a river."
        assert len(answer) > 20
        # Stopped: what was shown stays, and the request to the model ends.
        await tab.evaluate("ask('And the longest?')")
        await tab.wait(f"{TEXTS}[3].length > 5")
        await tab.evaluate("document.querySelector('#stop').click()")
        await tab.wait(IDLE)
        assert (await tab.evaluate(TEXTS))[3].endswith("Stopped.")
        assert await service.wait_idle(PATIENCE)
        # Broken off: the page says so.
        await tab.evaluate("ask('The deepest?')")
        await tab.wait(IDLE)
        assert "The answer broke off" in (await tab.evaluate(TEXTS))[5]
        # A newer question takes the place of an answer.
        await tab.evaluate("ask('The widest?')")
        await tab.wait(f"{TEXTS}[7].length > 5")
        await tab.evaluate("ask('The nearest?')")
        await tab.wait(IDLE)
        assert "A newer question" in (await tab.evaluate(TEXTS))[7]
        assert len((await tab.evaluate(TEXTS))[9]) > 20
        assert await service.wait_idle(PATIENCE)
        # After reloading, the chat goes on.
        shown = len(await tab.evaluate(TEXTS))
        await tab.open(address)
        await tab.wait(f"{TEXTS}.length === {shown}")
        assert service.counts.requests == 5


@pytest.mark.parametrize("leave", ["navigate", "close"])
async def test_a_page_that_is_left_ends_the_request_to_the_model(
    service: Simulator, tab: Tab, leave: str
) -> None:
    service.script(Fault.stall(after=3))
    async with running(service) as address:
        await tab.open(address)
        await tab.evaluate("ask('Name a river.')")
        await tab.wait(f"{TEXTS}[1].length > 5")
        assert service.counts.in_flight == 1
        if leave == "navigate":
            await tab.open("about:blank")
        else:
            await tab.call("Page.close")
        assert await service.wait_idle(PATIENCE)


async def test_a_service_that_is_gone_is_reported_and_not_asked_again(
    service: Simulator, tab: Tab
) -> None:
    service.script(Fault.status(401))
    async with running(service) as address:
        await tab.open(address)
        await tab.evaluate("ask('Name a river.')")
        await tab.wait(IDLE)
        assert "No answer" in (await tab.evaluate(TEXTS))[1]
    await tab.evaluate("ask('Are you there?')")
    await tab.wait(IDLE)
    assert "No answer" in (await tab.evaluate(TEXTS))[3]
    assert service.counts.requests == 1
