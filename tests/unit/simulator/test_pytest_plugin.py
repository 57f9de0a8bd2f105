"""The fixtures that users' tests get; ``test_simulator_server`` runs them in another project."""

import urllib.request
from collections.abc import Callable

from laplas_async.simulator import Simulator


def test_the_simulator_runs(laplas_simulator: Simulator) -> None:
    with urllib.request.urlopen(f"{laplas_simulator.base_url}/models") as response:
        assert response.status == 200


def test_the_factory_starts_several_with_their_options(
    laplas_simulator_factory: Callable[..., Simulator],
) -> None:
    first, second = laplas_simulator_factory(), laplas_simulator_factory(status=201)
    assert first.port != second.port
