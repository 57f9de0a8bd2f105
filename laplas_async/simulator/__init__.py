"""The other party: a server on loopback that speaks the Apilaplas chat API, for your tests.

    async with Simulator(api_key="test-key") as sim:
        sim.script(Fault.status(429, retry_after=1), None, Fault.cut(after=3))
        ...  # point a client at sim.base_url
        assert sim.counts.answered == 1

Answers are made deterministically from the request; `Pace` says how fast they come, `Fault`
what goes wrong, `HiddenLimit` what is turned away. It imports nothing else of laplas_async,
and refuses to be a model: the words mean nothing. Names are imported when first used, so the
pytest plugin stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laplas_async.simulator.counters import Counts as Counts
    from laplas_async.simulator.counters import Seen as Seen
    from laplas_async.simulator.fault_parser import parse_faults as parse_faults
    from laplas_async.simulator.faults import Fault as Fault
    from laplas_async.simulator.limits import HiddenLimit as HiddenLimit
    from laplas_async.simulator.pace import Pace as Pace
    from laplas_async.simulator.server import Simulator as Simulator

__all__ = ["Counts", "Fault", "HiddenLimit", "Pace", "Seen", "Simulator", "parse_faults"]

_HOMES = {
    "Counts": "counters",
    "Fault": "faults",
    "HiddenLimit": "limits",
    "Pace": "pace",
    "Seen": "counters",
    "Simulator": "server",
    "parse_faults": "fault_parser",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
