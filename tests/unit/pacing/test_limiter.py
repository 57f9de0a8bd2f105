"""The limiter in virtual time: hours of traffic in a second, against limits that it is not told."""

import heapq
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async import ConfigError, Limits
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Ticket

Latency = Callable[[random.Random], float]
HEAVY = (1, 1, 2, 2, 3, 4, 6, 10, 20)  # seconds; most answers are quick, some are not


@define
class World:
    """A service with a hidden limit, and a job of ``calls`` that are all there from the start.

    The job goes through the limiter alone, event by event; ``echo`` is the seconds until a
    rejection is heard of. ``changes``: after so many answers, these attributes.
    """

    calls: int = 600
    rate: float | None = None
    burst: float | None = None
    concurrency: int | None = None
    latency: Latency = lambda _: 0.2
    echo: float = 0.002
    changes: list[tuple[int, dict[str, Any]]] = field(factory=list)
    limiter: Limiter = field(factory=Limiter)
    down_until: float = 0.0
    seed: int = 1

    now: float = 0.0
    spent: float = 0.0  # seconds that the answers took, all together
    rejected: int = 0
    failed: int = 0
    starts: list[float] = field(factory=list)
    most_in_flight: int = 0

    def run(self) -> float:  # noqa: PLR0912 - the world's own table of events
        """The seconds it took."""
        chance = random.Random(self.seed)
        tokens, seen = float(self.burst or self.rate or 0), 0.0
        inside = answered = number = 0
        waiting = self.calls
        # The first connection tells how far away the service is.
        ends: list[tuple[float, int, str, Ticket | None]] = [(self.echo, 0, "connect", None)]
        while answered < self.calls:
            while self.changes and answered >= self.changes[0][0]:
                for name, value in self.changes.pop(0)[1].items():
                    setattr(self, name, value)
            delay = self.limiter.delay(self.now) if waiting else math.inf
            if delay <= 0:
                if self.rate is not None:
                    full = self.burst or self.rate
                    tokens, seen = min(full, tokens + (self.now - seen) * self.rate), self.now
                ticket = self.limiter.start(self.now)
                self.starts.append(self.now)
                self.most_in_flight = max(self.most_in_flight, self.limiter.in_flight)
                waiting, number = waiting - 1, number + 1
                kind, after = "answer", self.latency(chance)
                if self.now < self.down_until:
                    kind, after = "fail", 0.01
                elif (self.concurrency is not None and inside >= self.concurrency) or (
                    self.rate is not None and tokens < 1
                ):
                    kind, after = "reject", self.echo
                else:
                    tokens, inside = tokens - 1, inside + 1
                    self.spent += after
                heapq.heappush(ends, (self.now + after, number, kind, ticket))
                self.now += 0.00005  # what sending costs
                continue
            wakes = self.now + delay + chance.random() * 0.001  # timers are never exact
            if not ends or wakes < ends[0][0]:
                assert wakes < math.inf, "it waits for ever"
                self.now = wakes
                continue
            self.now, _, kind, ended = heapq.heappop(ends)
            if ended is None:
                self.limiter.hear(self.echo)
            elif kind == "answer":
                inside, answered = inside - 1, answered + 1
                self.limiter.answer(ended)
            else:
                waiting += 1
                if kind == "reject":
                    self.rejected += 1
                    self.limiter.reject(ended, self.now)
                else:
                    self.failed += 1
                    self.limiter.fail(ended, self.now)
        return self.now


def possible(world: World, seconds: float) -> float:
    """What a client that knows the limit would take for answers of so many seconds."""
    times = [seconds]
    if world.rate is not None:
        times.append((world.calls - (world.burst or world.rate)) / world.rate + seconds)
    if world.concurrency is not None:
        times.append(world.calls / world.concurrency * seconds)
    return max(times)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "hidden",
    [
        {"rate": 20},
        {"rate": 2, "calls": 400},
        {"rate": 5},
        {"rate": 100, "calls": 2000},
        {"rate": 500, "calls": 5000},
        {"concurrency": 16},
        {"concurrency": 1, "calls": 300},
        {"concurrency": 2, "calls": 300},
        {"concurrency": 4},
        {"concurrency": 64, "calls": 2000},
        {"concurrency": 200, "calls": 4000},
        {"rate": 40, "burst": 10, "concurrency": 4},
        {"rate": 20, "concurrency": 16},
        {"rate": 100, "concurrency": 16},
        {"rate": 20, "latency": lambda chance: chance.expovariate(5)},
        {"concurrency": 16, "calls": 1800, "latency": lambda chance: chance.expovariate(5)},
    ],
    ids=repr,
)
def test_it_finds_a_hidden_limit_and_wastes_little(hidden: dict[str, Any], seed: int) -> None:
    world = World(**hidden, seed=seed)
    took = world.run()
    assert possible(world, world.spent / world.calls) / took >= 0.9
    assert world.rejected / world.calls <= 0.05


@pytest.mark.parametrize(
    ("hidden", "change", "possible_seconds"),
    [
        ({"rate": 40}, {"rate": 10}, 260 / 40 + 300 / 10),
        ({"rate": 20}, {"rate": 40}, 280 / 20 + 300 / 40),
        ({"rate": 20}, {"rate": 5}, 280 / 20 + 300 / 5),
        ({"concurrency": 32, "calls": 600}, {"concurrency": 8}, 300 / 160 + 300 / 40),
        ({"concurrency": 16}, {"concurrency": 4}, 300 / 80 + 300 / 20),
        ({"concurrency": 8}, {"concurrency": 16}, 300 / 40 + 300 / 80),
    ],
    ids=repr,
)
def test_it_follows_a_limit_that_moves(
    hidden: dict[str, Any], change: dict[str, Any], possible_seconds: float
) -> None:
    world = World(**hidden, changes=[(300, change)])
    assert possible_seconds / world.run() >= 0.8
    assert world.rejected / world.calls <= 0.1


@pytest.mark.parametrize("hidden", [{"rate": 20}, {"concurrency": 100}], ids=repr)
def test_answers_of_one_to_twenty_seconds_do_not_fool_it(hidden: dict[str, Any]) -> None:
    world = World(**hidden, calls=3000, latency=lambda chance: chance.choice(HEAVY))
    tail = max(HEAVY)  # the last answers are waited for by anyone
    assert possible(world, sum(HEAVY) / len(HEAVY)) / (world.run() - tail) >= 0.8
    assert world.rejected / world.calls <= 0.05


def test_hours_of_traffic_stay_at_the_limit() -> None:
    world = World(rate=10, calls=100_000)  # nearly three hours
    assert world.run() <= 1.02 * 100_000 / 10
    assert world.rejected / world.calls <= 0.03


@settings(max_examples=40, deadline=None)
@given(
    rate=st.one_of(st.none(), st.floats(1, 300)),
    concurrency=st.one_of(st.none(), st.integers(1, 100)),
    mean=st.floats(0.02, 5),
    echo=st.floats(0.001, 0.2),
    later=st.floats(0.2, 3),
    seed=st.integers(0, 1000),
)
def test_whatever_the_limit_is_every_call_is_answered(  # noqa: PLR0917 - hypothesis gives them
    rate: float | None,
    concurrency: int | None,
    mean: float,
    echo: float,
    later: float,
    seed: int,
) -> None:
    change: dict[str, Any] = {}
    if rate is not None:
        change["rate"] = max(1.0, rate * later)
    if concurrency is not None:
        change["concurrency"] = max(1, int(concurrency * later))
    world = World(
        rate=rate,
        concurrency=concurrency,
        latency=lambda chance: chance.expovariate(1 / mean),
        echo=echo,
        changes=[(200, change)] if change else [],
        calls=400,
        seed=seed,
    )
    world.run()
    assert world.rejected <= world.calls / 2
    assert world.limiter.in_flight == 0


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1, 300),
    concurrency=st.integers(1, 50),
    mean=st.floats(0.01, 20),
    seed=st.integers(0, 1000),
)
def test_a_told_limit_is_kept_in_any_window(
    per_minute: int, concurrency: int, mean: float, seed: int
) -> None:
    limits = Limits(concurrency=concurrency, requests_per_minute=per_minute)
    world = World(
        limiter=Limiter(limits),
        calls=min(500, 4 * per_minute),
        latency=lambda chance: chance.expovariate(1 / mean),
        seed=seed,
    )
    world.run()
    assert world.most_in_flight <= concurrency
    starts = world.starts
    for first, later in zip(starts, starts[per_minute:], strict=False):
        assert later - first >= 60.0
    assert world.rejected == 0


def test_a_told_limit_is_used_up() -> None:
    world = World(limiter=Limiter(Limits(requests_per_minute=60)), calls=600)
    assert world.run() <= 9 * 60 + 2


def test_tokens_are_reserved_and_settled_with_what_was_used() -> None:
    limiter = Limiter(Limits(tokens_per_minute=1000))
    first = limiter.start(0.0, 600)
    assert limiter.delay(1.0, 600) == pytest.approx(59.0)
    limiter.settle(first, 100)  # the answer was short: the rest is free again
    limiter.answer(first)
    assert limiter.delay(1.0, 600) <= 0
    limiter.start(1.0, 600)
    assert limiter.delay(2.0, 400) == pytest.approx(58.0)
    assert limiter.delay(60.0, 400) <= 0


def test_when_the_service_is_down_only_probes_go_and_it_comes_back() -> None:
    world = World(calls=500, down_until=600.0, latency=lambda _: 0.05)
    took = world.run()
    assert world.failed < 70  # in ten minutes
    assert took < 600 + 31 + 20  # one last pause, and then at once
    during = [at for at in world.starts if 60 <= at < 600]
    assert len(during) < 30


def test_a_burst_of_rejections_is_one_lesson() -> None:
    limiter = Limiter()
    tickets = [limiter.start(i / 1000) for i in range(20)]
    for ticket in tickets[10:]:
        limiter.reject(ticket, 0.1)
    assert limiter.concurrency == 10


def test_retry_after_closes_it_for_all() -> None:
    limiter = Limiter()
    limiter.reject(limiter.start(0.0), 0.1, retry_after=7.0)
    assert limiter.delay(0.1) == pytest.approx(7.0)
    assert limiter.delay(7.2) <= 0


def test_without_learning_a_rejection_changes_nothing() -> None:
    limiter = Limiter(Limits(adaptive=False, concurrency=5))
    limiter.reject(limiter.start(0.0), 0.1, retry_after=7.0)
    assert limiter.delay(0.1) == 0
    assert limiter.concurrency == 5


@pytest.mark.parametrize(
    "arguments",
    [
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"requests_per_minute": -1},
        {"tokens_per_minute": True},
        {"max_wait": -1},
        {"max_wait": "long"},
    ],
    ids=repr,
)
def test_a_limit_that_cannot_be_is_told(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Limits(**arguments)


@pytest.mark.parametrize("overtaken_is_told_first", [False, True])
def test_a_request_that_was_overtaken_on_its_way_does_not_close_the_window(
    *, overtaken_is_told_first: bool
) -> None:
    # Its connection came up late: sixteen sent after it were let in, and it was not.
    limiter = Limiter()
    sent = [limiter.start(0.001 * place) for place in range(20)]
    rejected = [sent[1], *sent[17:]] if overtaken_is_told_first else [*sent[17:], sent[1]]
    for ticket in rejected:
        limiter.reject(ticket, 0.04)
    assert limiter.concurrency == 16
