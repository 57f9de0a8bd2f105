"""Law 9, pay only for what you use: which modules ``import laplas_async`` loads.

Counts and names of modules, in new processes; never seconds (``benchmarks/imports.py`` has those).
"""

import functools
import json
import subprocess
import sys

import pytest

# Beyond those that aiohttp loads by itself: our own modules and what they need of attrs, orjson and
# the standard library. A new module that every program needs may raise it; a new dependency should
# be imported where it is used instead.
MOST_MODULES = 90


@functools.cache
def loaded_by(code: str) -> frozenset[str]:
    """Return the modules that are loaded after the code has run in a new interpreter."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-W", "error", "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return frozenset(json.loads(ran.stdout.splitlines()[-1]))


def added() -> frozenset[str]:
    return loaded_by("import laplas_async") - loaded_by("import aiohttp")


@pytest.mark.parametrize(
    "package",
    [
        *("batch", "bots", "tools", "structured", "openai", "report", "observe.otel"),
        *("cli", "simulator", "__main__"),
    ],
)
def test_importing_the_library_loads_no_optional_package(package: str) -> None:
    name = f"laplas_async.{package}"
    assert not [one for one in added() if one == name or one.startswith(f"{name}.")]


@pytest.mark.parametrize(
    "module",
    [
        *("urllib.request", "http.server", "sqlite3", "tempfile", "difflib"),
        *("cattrs", "uvloop", "rich", "zstandard", "aiohttp_socks", "python_socks"),
        *("opentelemetry", "openai", "aiogram", "discord", "slack_sdk", "redis", "ray"),
        *("aiohttp.web", "pytest", "hypothesis", "jsonschema", "trustme"),
    ],
)
def test_importing_the_library_loads_no_module_that_only_some_programs_need(module: str) -> None:
    assert not [one for one in added() if one == module or one.startswith(f"{module}.")]


def test_importing_the_library_loads_few_modules() -> None:
    assert len(added()) <= MOST_MODULES, sorted(added())


@pytest.mark.parametrize("name", ["run_batch", "BatchReport", "BatchProgress"])
def test_a_lazy_name_is_imported_on_first_use(name: str) -> None:
    loaded = loaded_by(f"import laplas_async; laplas_async.{name}")
    assert "laplas_async.batch" in loaded


def test_a_first_call_with_plain_messages_needs_no_import_on_the_event_loop() -> None:
    """What the first request imports is imported in a thread, before the connection (law 6)."""
    code = """
import asyncio, sys, threading
import laplas_async
from laplas_async.simulator import Simulator

class Watch:
    found = []
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            self.found.append(name)

async def main():
    async with Simulator() as simulator:
        async with laplas_async.LaplasClient("k", simulator.base_url) as client:
            sys.meta_path.insert(0, Watch())
            await client.complete("Hello")
            async with client.stream("Hello") as stream:
                await stream.completion()
            sys.meta_path.pop(0)
    assert not [name for name in Watch.found if name.startswith(("cattrs", "laplas_async"))]

asyncio.run(main())
"""
    assert "cattrs" in loaded_by(code)
