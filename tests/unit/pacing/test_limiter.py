"""The limiter in virtual time: hours of traffic in a second, against limits not published."""

import copy
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.pacing.gate import Gate
from laplas_async.pacing.ledger import Ticket
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits
from tests.unit.pacing.hidden import Bucket, Hidden, Places
from tests.unit.pacing.scenarios import WORLDS
from tests.unit.pacing.world import World, constant, exponential

# One or two of each kind; all of them are judged by judge.py. Share of the possible throughput.
HELD = {
    "bucket 20/s b 20": 0.95,
    "bucket 20/s b 1": 0.90,
    "bucket 2/s b 1, 6 s": 0.90,
    "bucket 20/s b 20, long answers": 0.90,
    "bucket 20/s b 20, far": 0.90,
    "sliding 100 per 10 s, far": 0.85,
    "sliding 100 per 10 s, Retry-After": 0.85,
    "fixed 20 per 1 s": 0.85,
    "fixed 100 per 10 s": 0.85,
    "sliding 60 per 60 s": 0.85,
    "fixed 60 per 60 s, Retry-After": 0.85,
    "4 at once": 0.90,
    "16 at once, uneven": 0.90,
    "100 at once, long answers": 0.90,
    "bucket 10/s and sliding 200/min": 0.85,
    "20 per s and 300 per min": 0.85,
    "10/s b 5 and 8 at once": 0.90,
    "bucket 40/s b 40, to a quarter": 0.80,
    "bucket 20/s b 20, doubles": 0.80,
    "32 at once, to a quarter": 0.80,
    "bucket 20/s b 20, two clients": 0.80,
    "bucket 20/s b 20, 50 calls": 0.80,
}


@pytest.mark.parametrize("seed", [21, 22])
@pytest.mark.parametrize("name", HELD)
def test_it_finds_a_hidden_limit_and_wastes_little(name: str, seed: int) -> None:
    world = next(world for world in WORLDS if world.name == name)
    outcome = world.run(Limiter, seed)
    assert outcome.share >= HELD[name] - 0.02
    assert outcome.rejected <= 12 + world.most * world.calls


def test_hours_of_traffic_stay_at_the_limit() -> None:
    world = World("hours", lambda _: [Bucket(10, 10)], 30_000)
    outcome = world.run(Limiter, 1)
    assert outcome.seconds <= 1.02 * 3000
    assert outcome.rejected <= 900


def test_memory_does_not_grow_with_the_traffic() -> None:
    limiter = Limiter(Limits(requests_per_minute=100_000))
    for step in range(120_000):
        now = step * 0.001
        if limiter.decide(now).go:
            ticket = limiter.started(now)
            limiter.accepted(ticket, now)
            limiter.ended(ticket, now)
    books = [*limiter._configured, limiter.learner.window.book, limiter.learner.longer.book]
    assert all(len(book._groups) < 6000 for book in books)
    assert len(limiter.learner.air._young) < 100


@settings(max_examples=25, deadline=None)
@given(
    rate=st.one_of(st.none(), st.floats(1, 300)),
    number=st.one_of(st.none(), st.integers(1, 100)),
    mean=st.floats(0.02, 5),
    distance=st.floats(0.001, 0.2),
    factor=st.floats(0.3, 3),
    seed=st.integers(0, 1000),
)
def test_whatever_the_limit_is_every_call_is_answered(  # noqa: PLR0917 - hypothesis gives them
    rate: float | None,
    number: int | None,
    mean: float,
    distance: float,
    factor: float,
    seed: int,
) -> None:
    def limits(_: float) -> list[Hidden]:
        found: list[Hidden] = []
        if rate is not None:
            found.append(Bucket(rate, max(1, rate)))
        if number is not None:
            found.append(Places(number))
        return found

    world = World(
        "any",
        limits,
        300,
        answer=exponential(mean),
        distance=distance,
        scale=(0.5, factor),
        bound=60,
    )
    outcome = world.run(Limiter, seed)
    assert outcome.answered == world.calls


@settings(max_examples=40, deadline=None)
@given(
    per_minute=st.integers(1, 300),
    concurrency=st.integers(1, 50),
    mean=st.floats(0.01, 20),
    seed=st.integers(0, 1000),
)
def test_a_configured_limit_holds_in_any_window(
    per_minute: int, concurrency: int, mean: float, seed: int
) -> None:
    limits = Limits(concurrency=concurrency, requests_per_minute=per_minute)
    world = World(
        "free", lambda _: [], min(500, 4 * per_minute), answer=exponential(mean), bound=1e9
    )
    outcome = world.run(lambda: Limiter(limits), seed)
    assert outcome.most_in_flight <= concurrency
    starts = outcome.starts
    for first, later in zip(starts, starts[per_minute:], strict=False):
        assert later - first >= 60.0
    assert outcome.rejected == 0


def test_a_configured_limit_is_used_up() -> None:
    world = World("free", lambda _: [], 600, bound=1e9)
    outcome = world.run(lambda: Limiter(Limits(requests_per_minute=60)), 1)
    assert outcome.seconds <= 9 * 60 + 2


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    adaptive=st.booleans(),
    per_minute=st.one_of(st.none(), st.integers(1, 50)),
)
def test_deciding_changes_nothing_and_it_never_waits_for_ever(
    seed: int, adaptive: bool, per_minute: int | None
) -> None:
    """Any order of facts: asking leaves no trace, and with nothing in flight the wait is finite."""
    rng = random.Random(seed)
    limiter = Limiter(Limits(adaptive=adaptive, requests_per_minute=per_minute))
    running: list[Ticket] = []
    now = 0.0
    for _ in range(120):
        before = copy.deepcopy(limiter)
        decision = limiter.decide(now)
        assert repr_of(limiter) == repr_of(before)
        if not running:
            assert decision.until < math.inf
        if decision.go and rng.random() < 0.7:
            running.append(limiter.started(now))
        elif running:
            ticket = running.pop(rng.randrange(len(running)))
            fact = rng.choice(("succeed", "reject", "fail", "end"))
            if fact == "succeed":
                limiter.accepted(ticket, now)
                limiter.ended(ticket, now)
            elif fact == "reject":
                limiter.rejected(ticket, now, rng.choice((None, 0.0, 1.0, 90.0)))
            elif fact == "fail":
                limiter.failed(ticket, now)
            else:
                limiter.ended(ticket, now)
        elif not decision.go:
            now = max(now, decision.until)
        now += rng.random() * 0.2
    assert limiter.in_flight == len(running)


def repr_of(thing: object) -> object:
    """All attributes, deeply: estimators compare by identity."""
    if isinstance(thing, list | tuple) or type(thing).__name__ == "deque":
        return [repr_of(part) for part in thing]  # type: ignore[attr-defined]
    names = getattr(thing, "__attrs_attrs__", None)
    if names is None:
        return repr(thing)
    return [(name.name, repr_of(getattr(thing, name.name))) for name in names]


def test_tokens_are_reserved_and_settled_with_what_was_used() -> None:
    limiter = Limiter(Limits(tokens_per_minute=1000, adaptive=False))
    first = limiter.started(0.0, 600)
    assert limiter.decide(1.0, 600).until == pytest.approx(60.0)
    limiter.settle(first, 100)  # the completion was short: the rest is free again
    limiter.ended(first, 1.0)
    assert limiter.decide(1.0, 600).go
    limiter.started(1.0, 600)
    assert limiter.decide(2.0, 400).until == pytest.approx(60.0)
    assert limiter.decide(60.0, 400).go


def test_when_the_service_is_down_only_probes_go_and_it_comes_back() -> None:
    world = World("down", lambda _: [], 500, answer=constant(0.05), down=(0.0, 600.0), bound=1e9)
    outcome = world.run(Limiter, 1)
    assert outcome.failed < 70  # in ten minutes
    assert outcome.seconds < 600 + 31 + 20  # one last pause, and then at once
    assert len([at for at in outcome.starts if 60 <= at < 600]) < 30


def test_a_burst_of_rejections_is_one_lesson() -> None:
    limiter = Limiter()
    tickets = [limiter.started(i / 1000) for i in range(20)]
    for ticket in tickets[10:]:
        limiter.rejected(ticket, 0.1)
    assert limiter.closed
    assert limiter.rejections == 10
    probe_at = limiter.decide(0.1).until
    assert 0.1 < probe_at < 0.3
    limiter.started(probe_at)
    assert not limiter.decide(probe_at).go  # one at a time


def test_retry_after_closes_it_for_all() -> None:
    limiter = Limiter()
    limiter.rejected(limiter.started(0.0), 0.1, retry_after=7.0)
    assert limiter.decide(0.1).until == pytest.approx(7.1)
    assert limiter.decide(7.2).go


def test_no_single_response_stops_the_client_for_long() -> None:
    limiter = Limiter()
    limiter.rejected(limiter.started(0.0), 0.1, retry_after=86_400.0)
    assert limiter.decide(0.1).until <= 30.2
    limiter.pause(0.1, 1e9)
    assert limiter.decide(0.1).until <= 30.2


def test_without_learning_a_rejection_changes_nothing() -> None:
    limiter = Limiter(Limits(adaptive=False, concurrency=5))
    limiter.rejected(limiter.started(0.0), 0.1, retry_after=7.0)
    assert limiter.decide(0.1).go
    assert limiter.concurrency == 5


def test_a_belief_reads_as_a_limit() -> None:
    world = next(world for world in WORLDS if world.name == "4 at once, uneven")
    limiter = Limiter()
    world.run(lambda: limiter, 1)
    assert [str(rule) for rule in limiter.rules] == ["4 at once"]
    assert all(rule.evidence for rule in limiter.rules)


def test_a_configured_number_may_be_above_the_usual_ceiling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("laplas_async.pacing.gate._OPEN_FILES", 10_000)
    assert Gate(Limits(concurrency=2000)).pace.concurrency == 2000
    assert Gate().pace.concurrency == 1000
