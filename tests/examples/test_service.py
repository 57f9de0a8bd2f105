"""``service.py``: what a browser sees of an answer and of a failure, and what its leaving does."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from laplas_async.simulator import Fault, Simulator

from .conftest import Start


@pytest.fixture
async def address(start: Start) -> str:
    """The address of the running service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = start("service.py", "--port", port)
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.poll() is None, process.communicate()
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return f"http://127.0.0.1:{port}/ask"
    raise AssertionError("the service does not listen")


@asynccontextmanager
async def asking(address: str, question: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(address, data=question) as response,
    ):
        yield response


async def events(response: aiohttp.ClientResponse) -> list[tuple[str, Any]]:
    found = []
    for block in (await response.text()).split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_a_complete_answer_ends_with_done(address: str, service: Simulator) -> None:
    async with asking(address, "Name a river.") as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        *texts, end = await events(response)
    assert {name for name, _ in texts} == {"text"}
    assert end == ("done", "")
    assert service.requests[-1].body["messages"][-1]["content"] == "Name a river."


async def test_a_truncated_answer_ends_with_an_error_and_without_done(
    address: str, service: Simulator
) -> None:
    service.script(Fault.cut(after=3))
    async with asking(address, "Name a river.") as response:
        assert response.status == 200
        names = [name for name, _ in await events(response)]
    assert names[-1] == "error"
    assert "text" in names
    assert "done" not in names


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.status(401), 502), (Fault.quota(), 503), (Fault.status(400), 502)]
)
async def test_a_failure_before_the_first_text_is_no_200(
    address: str, service: Simulator, fault: Fault, status: int
) -> None:
    service.script(fault)
    async with asking(address, "Name a river.") as response:
        assert response.status == status
        assert (await response.json())["error"]


async def test_a_question_that_cannot_be_sent_is_a_bad_request(
    address: str, service: Simulator
) -> None:
    async with asking(address, "") as response:
        assert response.status == 400
        assert (await response.json())["error"] == "messages='': must not be empty"
    assert service.counts.requests == 0


async def test_a_browser_that_leaves_ends_the_request_to_the_model(
    address: str, service: Simulator
) -> None:
    service.script(Fault.stall(after=2))
    async with asking(address, "Name a river.") as response:
        assert await response.content.readline() == b"event: text\n"
        assert service.counts.in_flight == 1
    assert await service.wait_for(lambda counts: counts.in_flight == 0, timeout=10)
