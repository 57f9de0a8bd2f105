"""The other end of the wire: a server on loopback that speaks the Apilaplas chat API, for tests.

    async with Simulator(api_key="test-key") as sim:
        sim.script(Fault.status(429, retry_after=1), None, Fault.cut(after=3))
        ...  # point a client at sim.base_url
        assert sim.counts.answered == 1

The same request always gets the same completion. ``Timing`` sets how fast responses are sent,
``Fault`` what goes wrong with them, ``HiddenLimit`` which requests are rejected with a 429
(its module shows every kind). ``FakeTelegram``, ``FakeDiscord`` and ``FakeSlack`` are chat
platforms, to test bots with. The package imports nothing else of laplas_async, so it checks the
client independently, and it refuses to be a model: its text is meaningless. Names are imported on
first use, which keeps the pytest plugin cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laplas_async.simulator.counters import Counts as Counts
    from laplas_async.simulator.counters import Seen as Seen
    from laplas_async.simulator.discord import FakeDiscord as FakeDiscord
    from laplas_async.simulator.error_bodies import error_body as error_body
    from laplas_async.simulator.fake_server import PlatformCall as PlatformCall
    from laplas_async.simulator.fake_server import Reaction as Reaction
    from laplas_async.simulator.fault_parser import parse_faults as parse_faults
    from laplas_async.simulator.faults import Fault as Fault
    from laplas_async.simulator.limits import HiddenLimit as HiddenLimit
    from laplas_async.simulator.limits import Rival as Rival
    from laplas_async.simulator.server import Simulator as Simulator
    from laplas_async.simulator.slack import FakeSlack as FakeSlack
    from laplas_async.simulator.telegram import FakeTelegram as FakeTelegram
    from laplas_async.simulator.timing import Timing as Timing

__all__ = [
    "Counts",
    "FakeDiscord",
    "FakeSlack",
    "FakeTelegram",
    "Fault",
    "HiddenLimit",
    "PlatformCall",
    "Reaction",
    "Rival",
    "Seen",
    "Simulator",
    "Timing",
    "error_body",
    "parse_faults",
]

_MODULES = {
    "Counts": "counters",
    "FakeDiscord": "discord",
    "FakeSlack": "slack",
    "FakeTelegram": "telegram",
    "Fault": "faults",
    "HiddenLimit": "limits",
    "PlatformCall": "fake_server",
    "Reaction": "fake_server",
    "Rival": "limits",
    "Seen": "counters",
    "Simulator": "server",
    "Timing": "timing",
    "error_body": "error_bodies",
    "parse_faults": "fault_parser",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
