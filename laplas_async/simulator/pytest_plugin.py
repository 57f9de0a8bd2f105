"""The pytest plugin that comes with laplas_async: a simulator for the tests of your program.

It refuses to change anything by itself: no environment variable, no option, no hook. Importing it
loads neither aiohttp nor the server; the fixtures do.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from laplas_async.simulator.server import Simulator


@pytest.fixture
def laplas_simulator_factory() -> "Iterator[Callable[..., Simulator]]":
    """Start simulators: call it with ``Simulator``'s options (``api_key`` defaults to "test-key").

    Each runs in its own thread, so it serves synchronous tests and every async plugin. All are
    stopped when the test ends.
    """
    # Imported here so that pytest starts as fast as without the plugin.
    from laplas_async.simulator.server import Simulator  # noqa: PLC0415

    with ExitStack() as stack:

        def start(**options: Any) -> Simulator:
            simulator = Simulator(**{"api_key": "test-key", **options})
            return stack.enter_context(simulator.in_thread())

        yield start


@pytest.fixture
def laplas_simulator(laplas_simulator_factory: "Callable[..., Simulator]") -> "Simulator":
    """Return a running simulator that accepts the key "test-key"."""
    return laplas_simulator_factory()
