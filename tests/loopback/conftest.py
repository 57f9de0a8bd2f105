"""A simulator in the test's own loop, and a client of it that never waits between tries."""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from laplas_async import LaplasClient, RetryPolicy
from laplas_async.simulator import Simulator

KEY = "test-key-that-never-shows"


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as simulator:
        yield simulator


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator in a thread, for commands: the environment leads to it."""
    with Simulator(api_key=KEY).in_thread() as service:
        monkeypatch.setenv("LAPLAS_API_KEY", KEY)
        monkeypatch.setenv("LAPLAS_BASE_URL", service.base_url)
        yield service


@pytest.fixture
def policy() -> RetryPolicy:
    return RetryPolicy(max_rejections=3, jitter=lambda _delay: 0.0)


@pytest.fixture
async def client(simulator: Simulator, policy: RetryPolicy) -> AsyncIterator[LaplasClient]:
    async with LaplasClient(KEY, simulator.base_url, retry=policy) as client:
        yield client


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens: it was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A private authority's certificate, and the context of a server that it vouches for."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path, context
