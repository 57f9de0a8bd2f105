"""The programs run as their users run them: as processes, with the simulator as the service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from laplas_async.simulator import Simulator

HERE = Path(__file__).resolve().parent
KEY = "test-key-that-never-shows"


class Start(Protocol):
    """Start one of the programs in this directory."""

    def __call__(
        self, program: str, *arguments: object, key: str = KEY
    ) -> subprocess.Popen[str]: ...


@pytest.fixture
def service() -> Iterator[Simulator]:
    with Simulator(api_key=KEY).in_thread() as service:
        yield service


@pytest.fixture
def start(service: Simulator) -> Iterator[Start]:
    """Start a program; what is still running at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object, key: str = KEY) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        # Not -X dev: asyncio would report slow callbacks on stderr, and a busy machine has them.
        process = subprocess.Popen(
            [sys.executable, "-W", "error", HERE / program, *map(str, arguments)],
            text=True,
            encoding="utf-8",
            env={
                **os.environ,
                "LAPLAS_API_KEY": key,
                "LAPLAS_BASE_URL": service.base_url,
                "PYTHONUTF8": "1",
            },
            **pipes,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
