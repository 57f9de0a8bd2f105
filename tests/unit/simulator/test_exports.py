"""The package's names are imported on first use, and only those."""

import subprocess
import sys

import pytest

from laplas_async import simulator


@pytest.mark.parametrize("name", simulator.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(simulator, name)
    assert name in dir(simulator)


def test_other_names_do_not() -> None:
    with pytest.raises(AttributeError, match="'Pace'"):
        _ = simulator.Pace


def test_importing_the_package_loads_no_server() -> None:
    code = (
        "import sys, laplas_async.simulator;"
        "assert not [name for name in sys.modules if name.startswith('laplas_async.simulator.')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
