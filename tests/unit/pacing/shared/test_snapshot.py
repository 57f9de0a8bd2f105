"""A limiter continues from its snapshot as if nothing had happened, and nothing else is read."""

import copy
import json
from typing import Any

import pytest

from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared import snapshot
from tests.unit.pacing.hidden import Bucket, FixedWindow, Hidden, Places
from tests.unit.pacing.shared.team import Team


def learned(hidden: list[Hidden], calls: int = 400) -> tuple[Limiter, float]:
    team = Team(hidden, workers=1, calls=calls)
    team.run()
    assert team.leader is not None
    return team.leader.limiter, team.now


def through_json(limiter: Limiter, limits: Limits | None = None) -> Limiter:
    values = json.loads(json.dumps(snapshot.take(limiter)))
    return snapshot.restore(values, limits or limiter.limits, ceiling=limiter.ceiling)


@pytest.mark.parametrize("hidden", [Bucket(20, 20), Places(8), FixedWindow(50, 5.0)], ids=repr)
def test_the_rules_and_the_next_decisions_are_the_same(hidden: Hidden) -> None:
    limiter, now = learned([copy.deepcopy(hidden)])
    again = through_json(limiter)
    assert [str(rule) for rule in again.rules] == [str(rule) for rule in limiter.rules]
    assert again.rules
    for _ in range(30):
        one, two = limiter.decide(now), again.decide(now)
        assert one.go == two.go
        assert one.until == pytest.approx(two.until, abs=1e-4)
        if one.go:
            for each in (limiter, again):
                each.ended(each.started(now), now)
        now += 0.01


def test_a_snapshot_of_a_snapshot_is_the_same() -> None:
    limiter, _ = learned([Bucket(20, 20)])
    assert snapshot.take(through_json(limiter)) == snapshot.take(limiter)


def test_a_fresh_limiter_has_one_too() -> None:
    assert snapshot.take(through_json(Limiter())) == snapshot.take(Limiter())


def test_taking_one_changes_nothing() -> None:
    limiter, _ = learned([Places(4)])
    assert snapshot.take(limiter) == snapshot.take(limiter)


def test_configured_limits_that_differ_are_the_new_ones() -> None:
    limits = Limits(requests_per_minute=60)
    limiter = Limiter(limits)
    for _ in range(60):
        limiter.ended(limiter.started(1.0), 1.0)
    assert not through_json(limiter).decide(2.0).go
    assert through_json(limiter, Limits(requests_per_minute=90)).decide(2.0).go


def test_its_size_is_bounded() -> None:
    limiter = Limiter(Limits(requests_per_minute=100_000))
    for number in range(100_000):
        now = number * 0.0005
        limiter.ended(limiter.started(now), now)
    assert len(json.dumps(snapshot.take(limiter))) < 200_000


@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, [], {}, {"type": "os:system"}, {"type": "limiter:__builtins__"}),
        *({"type": "../x:y"}, {"type": "gate:Gate"}, {"type": "ledger:math"}, {"ref": 99}),
        {"type": "ledger:WindowBook", "number": 1},
    ],
)
def test_nothing_else_is_read(value: Any) -> None:
    values = snapshot.take(Limiter()) | {"learner": value}
    if value in (None, 7, []):  # plain values are read, and fail at first use
        values.pop("learner")
    with pytest.raises(snapshot.SnapshotError):
        snapshot.restore(values, Limits(), ceiling=10)
