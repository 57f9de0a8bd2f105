"""A worker: it sends only what was granted, says what became of it, and acts alone in silence."""

import math

import pytest

from laplas_async.pacing.decision import GO
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared import worker as module
from laplas_async.pacing.shared.worker import ALONE_AFTER, JOINING, TICK, Mode, SharedLimiter


def joined(limits: Limits | None = None, *, ceiling: int = 100) -> SharedLimiter:
    worker = SharedLimiter(limits or Limits(), "w", 0.0, ceiling=ceiling, version="1")
    assert worker.decide(0.0).reason == JOINING
    assert worker.receive(m.Welcome(), 0.0) is None
    return worker


def state(now: float = 5.0, workers: tuple[str, ...] = ("w",)) -> m.State:
    rule = {"kind": "rate", "number": 20.0, "since": 1.0, "evidence": "learned"}
    return m.State(now, {}, workers, 16, 20.0, closed=False, reason="a learned limit", rules=[rule])


def test_it_sends_only_what_was_granted() -> None:
    worker = joined()
    assert worker.outgoing(0.0, 3) == [m.Want(0, 3)]
    worker.receive(m.Grant(1, (0, 0)), 0.1)
    for _ in range(2):
        assert worker.decide(0.1) is GO
        worker.started(0.1)
    assert not worker.decide(0.1).go
    assert worker.decide(0.1).until == math.inf
    assert worker.in_flight == 2
    assert worker.outgoing(0.1, 1) == []  # the leader knows that one is wanted still


def test_what_changed_is_sent_once() -> None:
    worker = joined()
    assert worker.outgoing(0.0, 1) == [m.Want(0, 1)]
    assert worker.outgoing(0.0, 1) == []
    assert worker.outgoing(0.0, 0) == [m.Want(0, 0)]


def test_a_permit_for_which_nobody_waits_any_more_is_returned() -> None:
    worker = joined()
    worker.outgoing(0.0, 1)
    worker.receive(m.Grant(1, (0,)), 0.1)
    assert worker.has_stock
    assert worker.outgoing(0.1, 0) == [m.Reports(((m.UNUSED, 1, None, 0.0),))]
    assert not worker.decide(0.1).go


def test_an_accepted_end_is_one_report() -> None:
    worker = joined()
    worker.outgoing(0.1, 2)
    worker.receive(m.Grant(1, (0, 0)), 0.1)
    one, two = worker.started(0.1), worker.started(0.1)
    worker.accepted(one, 0.2)
    worker.ended(one, 0.2)
    assert not worker.outbox.urgent
    worker.rejected(two, 0.2, 1.5)
    assert worker.outbox.urgent
    assert worker.rejections == 1
    reports = ((m.DONE, 1, None, 0.0), (m.REJECTED, 2, 1.5, 0.0))
    assert worker.outgoing(0.2, 0) == [m.Reports(reports)]
    worker.ended(one, 0.3)  # a second time
    assert worker.outgoing(0.3, 0) == []


def test_the_fitting_permit_is_used_and_a_smaller_one_is_not() -> None:
    worker = joined(Limits(tokens_per_minute=1000))
    assert worker.outgoing(0.0, 2, [50, 80]) == [m.Want(0, 2, (50, 80))]
    worker.receive(m.Grant(1, (50, 80)), 0.1)
    assert worker.decide(0.1, 60) is GO
    assert not worker.decide(0.1, 90).go
    ticket = worker.started(0.1, 60)
    assert ticket.tokens == 60
    reports = m.Reports(((m.TOKENS, 2, 60, 0.0), (m.UNUSED, 1, None, 0.0)))
    assert worker.outgoing(0.1, 1, [90]) == [reports, m.Want(2, 1, (90,))]


def test_without_a_limit_on_tokens_any_permit_fits() -> None:
    worker = joined()
    assert worker.outgoing(0.0, 2, [50]) == [m.Want(0, 2, (50,))]
    worker.receive(m.Grant(1, (50, 50)), 0.1)
    assert worker.decide(0.1, 700) is GO
    assert worker.started(0.1, 700).tokens == 700
    assert worker.decide(0.1, 3) is GO


def test_it_says_that_it_is_alive() -> None:
    worker = joined()
    assert worker.outgoing(0.4, 0) == []
    assert worker.outgoing(0.5, 0) == [m.Alive(0, 0)]
    assert worker.outgoing(0.6, 0) == []


def test_never_more_in_flight_than_its_ceiling() -> None:
    worker = joined(ceiling=1)
    worker.receive(m.Grant(1, (0, 0)), 0.1)
    worker.started(0.1)
    assert not worker.decide(0.1).go


def silence(worker: SharedLimiter, since: float, seconds: float) -> float:
    now = since
    while now < since + seconds:
        now += TICK
        worker.tick(now)
    return now


def test_alone_after_a_second_of_silence_it_keeps_its_share() -> None:
    worker = joined()
    worker.receive(state(workers=("a", "w", "b", "c")), 0.1)
    worker.receive(m.Grant(1, (0,)), 0.1)
    held = worker.started(0.1)
    now = silence(worker, 0.1, ALONE_AFTER - TICK)
    assert not worker.decide(now).go
    now = silence(worker, now, 2 * TICK)
    assert worker.mode is Mode.ALONE
    assert worker.decide(now).go  # without a permit
    (hello,) = worker.outgoing(now, 3)  # if anybody can hear it
    assert isinstance(hello, m.Hello)
    assert worker.outgoing(now + 0.1, 3) == []
    sent = 0
    for step in range(400):
        at = now + step / 100
        if worker.decide(at).go:
            ticket = worker.started(at)
            worker.accepted(ticket, at)
            worker.ended(ticket, at)
            sent += 1
    assert 15 <= sent <= 22  # a quarter of 20 a second, for 4 s
    worker.ended(held, now + 4)
    assert worker.in_flight == 0


def test_what_was_sent_alone_is_in_the_next_hello() -> None:
    worker = joined()
    worker.receive(state(), 0.0)
    now = silence(worker, 0.0, 1.5)
    first, second = worker.started(now), worker.started(now)
    worker.rejected(first, now + 0.1)
    hello = worker.hello(now + 1.0)
    assert [report[:3] for report in hello.history] == [
        (m.STARTED, 1, 0.0),
        (m.STARTED, 2, 0.0),
        (m.REJECTED, 1, None),
    ]
    assert [report[3] for report in hello.history] == pytest.approx([1.0, 1.0, 0.9])
    assert hello.held == ((2, 0),)
    assert hello.next_number == 3
    assert hello.state == state()
    worker.receive(m.Welcome(), now + 1.0)
    assert worker.mode is Mode.SHARED
    worker.accepted(second, now + 1.1)
    worker.ended(second, now + 1.1)
    assert worker.outgoing(now + 1.1, 0) == [m.Reports(((m.DONE, 2, None, 0.0),))]


def test_a_state_makes_the_history_superfluous() -> None:
    worker = joined()
    worker.receive(m.Grant(1, (0,)), 0.1)
    worker.started(0.1)
    assert worker.hello(0.2).history
    worker.receive(m.Welcome(), 0.2)
    worker.receive(state(), 0.3)
    assert worker.hello(0.4).history == ()


def test_memory_is_bounded_alone() -> None:
    worker = joined()
    now = silence(worker, 0.0, 2.0)
    for step in range(10_000):
        at = now + step
        worker.ended(worker.started(at), at)
    assert len(worker.hello(now + 10_000).history) == module._MOST_HISTORY


def test_a_leader_that_is_heard_again_is_joined_again() -> None:
    worker = joined()
    now = silence(worker, 0.0, 2.0)
    reply = worker.receive(state(), now)
    assert isinstance(reply, m.Hello)
    assert worker.mode is Mode.ALONE  # until it is welcome
    worker.receive(m.Grant(1, (0,)), now)
    assert not worker.has_stock  # it may have been given to others since


def test_expired_it_joins_again() -> None:
    worker = joined()
    worker.receive(m.Grant(1, (0, 0)), 0.1)
    worker.started(0.1)
    reply = worker.receive(m.Expired(), 0.2)
    assert isinstance(reply, m.Hello)
    assert reply.held == ((1, 0),)
    assert not worker.decide(0.2).go
    worker.receive(m.Welcome(), 0.3)
    assert worker.outgoing(0.3, 2) == [m.Want(2, 2)]


def test_stopped_it_uses_no_permit_that_was_granted_meanwhile() -> None:
    worker = joined()
    worker.tick(0.2)
    reply = worker.receive(m.Grant(1, (0,)), 3.0)
    assert isinstance(reply, m.Hello)
    assert not worker.has_stock


def test_stopped_it_does_not_take_its_own_silence_for_the_leaders() -> None:
    worker = joined()
    worker.tick(0.2)
    worker.tick(5.0)
    assert worker.mode is Mode.SHARED


def test_refused_it_keeps_to_its_configured_limits() -> None:
    worker = SharedLimiter(Limits(concurrency=2), "w", 0.0, ceiling=100, version="1")
    worker.receive(m.Refused("another version"), 0.1)
    assert worker.mode is Mode.REFUSED
    assert not worker.limits.adaptive
    worker.started(0.1)
    worker.started(0.1)
    assert not worker.decide(0.1).go
    assert [str(rule) for rule in worker.rules] == ["2 at once"]
    silence(worker, 0.1, 5.0)
    assert worker.mode is Mode.REFUSED


def test_what_is_known_is_shown_in_its_own_time() -> None:
    worker = joined()
    worker.tick(100.0)
    worker.receive(state(now=5.0), 100.0)
    (rule,) = worker.rules
    assert (worker.concurrency, worker.rate_per_second) == (16, 20.0)
    assert rule.since == pytest.approx(96.0)
    assert worker.decide(100.0).reason == "a learned limit"
