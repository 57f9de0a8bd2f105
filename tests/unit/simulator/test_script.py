"""A script gives one fault per request, and then one rule for all that follow."""

from laplas_async.simulator import Fault
from laplas_async.simulator.script import Script


def test_a_script_is_used_up_in_order() -> None:
    script = Script([Fault.drop(), None])
    script.always(Fault.html())
    assert [script.take() for _ in range(4)] == [Fault.drop(), None, Fault.html(), Fault.html()]
    script.clear()
    assert script.take() is None


def test_entries_are_appended() -> None:
    script = Script()
    script.add(Fault.drop())
    script.add(None, Fault.html())
    assert [script.take() for _ in range(4)] == [Fault.drop(), None, Fault.html(), None]
