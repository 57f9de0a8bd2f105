"""``HiddenLimit`` values: what is valid, how they combine, and how JSON describes them."""

from typing import Any

import orjson
import pytest
from attrs import asdict

from laplas_async.simulator.limits import HiddenLimit, Rival, limit_from_json


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"rate": float("inf")},
        {"rate": float("nan")},
        {"requests": 1, "per": float("inf")},
        {"burst": 0, "rate": 1},
        {"burst": 3},
        {"concurrency": -1},
        {"requests": 0},
        {"tokens": 0},
        {"requests": 1, "per": 0},
        {"requests": 1, "per": 10, "phase": 10},
        {"requests": 1, "phase": -1},
        {"requests": 1, "phase": 1, "sliding": True},
        {"sliding": True},
        {"rate": 1, "phase": 3},
        {"requests": 1, "charge": "none"},
        {"rate": 1, "headers": "all"},
        {"changes": ((2, HiddenLimit()), (1, HiddenLimit()))},
        {"changes": ((1, HiddenLimit(changes=((1, HiddenLimit()),))),)},
        {"changes": ((1, HiddenLimit(also=(HiddenLimit(),))),)},
        {"also": (HiddenLimit(also=(HiddenLimit(),)),)},
    ],
    ids=str,
)
def test_impossible_limits(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        HiddenLimit(**options)


@pytest.mark.parametrize(
    "options", [{"share": 0}, {"share": 1}, {"on": 0}, {"off": -1}, {"on": float("inf")}], ids=str
)
def test_impossible_rivals(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Rival(**options)


def test_a_rival_is_active_by_turns() -> None:
    rival = Rival(on=2, off=3, start=1)
    assert [rival.is_active(at) for at in (0.5, 1, 2.9, 3, 5.9, 6)] == [0, 1, 1, 0, 0, 1]
    assert rival.active_seconds(0, 1) == 0
    assert rival.active_seconds(0, 11) == 4
    assert rival.active_seconds(2, 7) == 2
    assert Rival(on=1, off=0).active_seconds(0, 7.5) == 7.5


def test_limits_combine() -> None:
    one, two, three = HiddenLimit(rate=1), HiddenLimit(requests=5), HiddenLimit(concurrency=2)
    assert HiddenLimit.all_of() == HiddenLimit()
    assert HiddenLimit.all_of(one) == one
    combined = HiddenLimit.all_of(HiddenLimit.all_of(one, two), three)
    assert combined.parts == (one, two, three)


def test_the_limit_in_force_follows_the_schedule() -> None:
    later = HiddenLimit(rate=5)
    limit = HiddenLimit(rate=20, changes=((30, later),))
    assert [limit.at(elapsed) for elapsed in (0, 29.9, 30, 99)] == [limit, limit, later, later]


def test_the_burst_defaults_to_the_rate() -> None:
    assert [HiddenLimit(rate=rate).size for rate in (0.1, 1, 2.5)] == [1, 1, 3]


@pytest.mark.parametrize(
    "limit",
    [
        HiddenLimit(),
        HiddenLimit(rate=2.5, burst=4, concurrency=3, headers="retry-after"),
        HiddenLimit(requests=5, tokens=9, per=1.5, phase=0.5, charge="requested"),
        HiddenLimit(rate=1, rival=Rival(on=3), changes=((4, HiddenLimit(rate=2)),)),
        HiddenLimit(rate=1, also=(HiddenLimit(requests=3, per=2, sliding=True),)),
    ],
    ids=str,
)
def test_a_limit_survives_json(limit: HiddenLimit) -> None:
    assert limit_from_json(orjson.loads(orjson.dumps(asdict(limit)))) == limit


def test_a_list_of_limits_applies_together() -> None:
    limit = limit_from_json([{"rate": 10}, {"requests": 200}])
    assert limit == HiddenLimit.all_of(HiddenLimit(rate=10), HiddenLimit(requests=200))


@pytest.mark.parametrize("value", [3, "rate", {"rates": 1}, {"rate": "fast"}, [[3]], {"rival": 3}])
def test_other_json_is_an_error(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        limit_from_json(value)
