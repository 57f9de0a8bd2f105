"""A pytest plugin that installing laplas_async provides: a simulator for tests of your bot.

It refuses to change anything on its own: no environment, no option, no hook. Importing it
costs next to nothing; the server is imported by the fixture.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laplas_async.simulator.server import Simulator


@pytest.fixture
def laplas_simulator_factory() -> Iterator[Callable[..., Simulator]]:
    """Start simulators: call it with `Simulator`'s options (api_key is "test-key" by default).

    Each runs in a thread of its own, so it serves synchronous tests and any async plugin's.
    """
    from laplas_async.simulator.server import Simulator  # noqa: PLC0415 - keeps pytest's start fast

    with ExitStack() as stack:

        def started(**options: Any) -> Simulator:
            made = Simulator(**{"api_key": "test-key", **options})
            return stack.enter_context(made.in_thread())

        yield started


@pytest.fixture
def laplas_simulator(laplas_simulator_factory: Callable[..., Simulator]) -> Simulator:
    """Return a started simulator that takes the key "test-key"."""
    return laplas_simulator_factory()
