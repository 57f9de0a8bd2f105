"""``Fault`` values are checked and readable; a script gives one fault per request."""

from collections.abc import Callable

import pytest

from laplas_async.simulator import Fault
from laplas_async.simulator.faults import Script


@pytest.mark.parametrize(
    "build",
    [
        lambda: Fault.status(99),
        lambda: Fault.cut(after=-1),
        lambda: Fault.raw(b"", chunk=0),
        lambda: Fault.written(per_write=0),
    ],
)
def test_impossible_faults(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        build()


def test_the_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Fault.cut(after=2)) == "Fault.cut(after=2, end='cut')"


def test_a_script_is_taken_in_order() -> None:
    script = Script([Fault.drop(), None])
    script.always(Fault.html())
    assert [script.take() for _ in range(4)] == [Fault.drop(), None, Fault.html(), Fault.html()]
    script.clear()
    assert script.take() is None
