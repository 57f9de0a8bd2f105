"""Whole programs for openai's client show the same with openai's package and with our import."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from laplas_async.simulator import Fault, Simulator

pytest.importorskip("openai", reason="openai is not installed")
pytest.importorskip("fastapi", reason="fastapi is not installed")
httpx: Any = pytest.importorskip("httpx", reason="httpx is not installed")

HERE = Path(__file__).resolve().parent


def _programs() -> Any:
    path = Path(__file__).parent.parent / "examples" / "openai_programs.py"
    spec = importlib.util.spec_from_file_location("openai_programs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["bot", "evaluation"])
async def test_a_program_shows_the_same_with_both_packages(name: str) -> None:
    run = getattr(_programs(), name)
    theirs, ours = await run("openai"), await run("laplas_async.openai")
    assert ours
    assert ours == theirs


async def test_a_fastapi_relay_shows_the_same_with_both_packages() -> None:
    programs = _programs()
    theirs = await _relay(programs, "openai")
    ours = await _relay(programs, "laplas_async.openai")
    assert len(ours) == 11
    assert ours == theirs


async def _relay(programs: Any, package: str) -> list[Any]:
    """Whole answers, streams and failures, as a browser sees them."""
    async with Simulator(api_key=programs.KEY) as sim:
        os.environ.update(BOT_KEY=programs.KEY, BOT_URL=sim.base_url)
        program = programs.load("openai_relay.py", package, HERE)
        seen: list[Any] = []
        transport = httpx.ASGITransport(program.app)
        async with (
            program.app.router.lifespan_context(program.app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as browser,
        ):
            ask = {"messages": [{"role": "user", "content": "Name a river."}]}
            seen.append((await browser.get("/models")).json())
            whole = (await browser.post("/chat", json=ask)).json()
            seen.append([whole["choices"][0]["message"]["content"], whole["usage"]])
            seen.append((await browser.post("/chat/stream", json=ask)).text)
            seen.append((await browser.post("/chat", json={})).status_code)
            for fault in (Fault.status(429, retry_after=0), Fault.status(404), Fault.drop()):
                sim.script(fault)
                response = await browser.post("/chat", json=ask)
                seen.append([response.status_code, response.json()])
                seen.append(response.headers.get("retry-after"))
            sim.script(Fault.error_event(after=2, body={"error": {"message": "overloaded"}}))
            seen.append((await browser.post("/chat/stream", json=ask)).text)
        return seen
