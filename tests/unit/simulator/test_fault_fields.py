"""The values of faults are checked and shown."""

from collections.abc import Callable

import pytest

from laplas_async.simulator import Fault
from laplas_async.simulator.fault_fields import FaultFields


@pytest.mark.parametrize(
    "build",
    [
        lambda: Fault.status(99),
        lambda: Fault.status(600),
        lambda: Fault.cut(after=-1),
        lambda: Fault.raw(b"", chunk=0),
        lambda: Fault.verbatim(b"", chunk=-1),
        lambda: Fault.written(per_write=0),
        lambda: Fault.slow_headers(-1),
        lambda: Fault.finish("abort", after=-1),
    ],
)
def test_impossible_values(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        build()


def test_the_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Fault.cut(after=2)) == "Fault.cut(after=2, end='cut')"
    assert repr(FaultFields(kind="drop")) == "Fault.drop()"


def test_equal_values_are_equal_faults() -> None:
    assert Fault.cut(after=2) == Fault.cut(after=2) != Fault.cut(after=3)
