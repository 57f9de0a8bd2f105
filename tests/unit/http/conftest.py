"""What the HTTP tests share."""

import socket

import pytest


@pytest.fixture
def unused_tcp_port() -> int:
    """A port on which nothing listens: it was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
