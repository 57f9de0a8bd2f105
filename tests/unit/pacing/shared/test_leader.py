"""The leader: round robin, dead, silent and stopped workers, takeovers, the history of an outage.

Whole teams of workers against a hidden limit, in virtual time; and single messages.
"""

import copy

import pytest

from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.leader import LOST_AFTER, SILENT_AFTER, Leader
from tests.unit.pacing.hidden import Bucket, FixedWindow, Hidden, Places
from tests.unit.pacing.shared.team import CEILING, VERSION, Team


def jain(values: list[int]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


# --- whole teams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize(
    ("hidden", "possible"),
    [(Bucket(20, 20), 580 / 20), (Places(16), 600 * 0.202 / 16), (FixedWindow(40, 2.0), 28.2)],
    ids=["rate", "places", "window"],
)
def test_all_workers_together_use_what_there_is(
    hidden: Hidden, possible: float, workers: int
) -> None:
    team = Team([copy.deepcopy(hidden)], workers=workers, calls=600 // workers)
    team.run()
    assert team.answered == 600 // workers * workers
    floor = 0.8 if isinstance(hidden, FixedWindow) else 0.9  # as for one client
    assert team.now <= possible / floor
    assert team.rejected <= 0.08 * team.answered


def test_workers_are_served_in_round_robin() -> None:
    team = Team([Bucket(20, 20)], workers=16, calls=1000)
    team.run(until=30.0)
    assert jain([worker.answered for worker in team.workers]) > 0.99


def test_nobody_starves_when_there_are_few_places() -> None:
    team = Team([Places(2)], workers=16, calls=1000)
    team.run(until=60.0)
    assert min(worker.answered for worker in team.workers) >= 25
    assert team.most == 2


def test_a_dead_worker_frees_its_permits_at_once() -> None:
    team = Team([Places(4)], workers=4, calls=200)
    team.run(until=5.0)
    dead = team.workers[3]
    dead.dead = True
    assert team.leader is not None
    before = team.leader.limiter.in_flight
    team.leader.leave(dead.name, team.now)
    assert team.leader.limiter.in_flight == before - dead.limiter.in_flight
    team.run()
    assert all(worker.answered == 200 for worker in team.workers[:3])


def test_a_stopped_workers_permits_expire_after_two_seconds_and_it_comes_back() -> None:
    team = Team([Places(4)], workers=4, calls=300)
    team.run(until=5.0)
    stopped = team.workers[2]
    stopped.stopped = True
    team.run(until=5.0 + SILENT_AFTER + 1.0)
    assert team.leader is not None
    assert stopped.name not in team.leader.workers
    assert team.leader.limiter.in_flight <= 4
    stopped.proceed()
    team.run()
    team.drain()
    assert team.answered == 1200
    assert team.leader.limiter.in_flight == 0


def test_the_next_leader_goes_on_without_a_new_ramp() -> None:
    team = Team([Bucket(50, 10)], workers=4, calls=600)
    team.run(until=10.0)
    team.workers[0].dead = True
    team.depose()
    team.now += 0.01
    team.elect(team.workers[1])
    answered, rejected = team.answered, team.rejected
    team.run(until=20.0)
    assert (team.answered - answered) / 10.0 >= 0.9 * 50
    assert (team.rejected - rejected) <= 0.05 * 500
    assert team.leader is not None
    assert [str(rule) for rule in team.leader.limiter.rules]


@pytest.mark.parametrize("hidden", [Bucket(50, 10), Places(10), FixedWindow(100, 5.0)], ids=repr)
def test_after_an_outage_the_learner_draws_no_wrong_conclusion(hidden: Hidden) -> None:
    """Ten seconds without a leader, each worker on its share, and the history then."""
    team = Team([copy.deepcopy(hidden)], workers=4, calls=5000, seconds=0.1)
    team.run(until=20.0)
    before = team.answered
    team.depose()
    team.run(until=30.0)
    alone = team.answered - before
    assert alone >= 0.5 * before / 2
    team.elect(team.workers[1])
    answered, rejected = team.answered, team.rejected
    team.run(until=40.0)
    after = team.answered - answered
    assert after >= 0.85 * before / 2
    assert team.rejected - rejected <= 0.1 * after


def test_the_limit_halves_during_an_outage() -> None:
    bucket = Bucket(40, 10)
    team = Team([bucket], workers=4, calls=5000, seconds=0.1)
    team.run(until=20.0)
    team.depose()
    bucket.scale(0.5, team.now)
    answered, rejected = team.answered, team.rejected
    team.run(until=40.0)
    assert team.answered - answered >= 0.5 * 20 * 20
    assert team.rejected - rejected <= 0.5 * (team.answered - answered)
    team.elect(team.workers[1])
    team.run(until=45.0)
    answered, rejected = team.answered, team.rejected
    team.run(until=60.0)
    assert team.answered - answered >= 0.85 * 15 * 20
    assert team.rejected - rejected <= 0.06 * (team.answered - answered)


def test_a_worker_that_is_cut_off_keeps_its_share_and_comes_back() -> None:
    team = Team([Bucket(40, 10)], workers=4, calls=5000, seconds=0.1)
    team.run(until=10.0)
    lost = team.workers[3]
    lost.cut = True
    before = lost.answered
    team.run(until=20.0)
    assert 10 <= lost.answered - before <= 120  # the others take what they can get
    lost.cut = False
    team.run(until=25.0)
    assert team.leader is not None
    assert lost.name in team.leader.workers
    answered = [worker.answered for worker in team.workers]
    team.run(until=40.0)
    gained = [now.answered - then for now, then in zip(team.workers, answered, strict=True)]
    assert jain(gained) > 0.98
    assert sum(gained) >= 0.85 * 15 * 40


def test_more_workers_join() -> None:
    team = Team([Bucket(40, 10)], workers=64, calls=8)
    team.run()
    assert team.answered == 64 * 8
    assert team.now <= 64 * 8 / 40 / 0.9


# --- single messages ------------------------------------------------------------------------------


def leader_of(*names: str, limits: Limits | None = None) -> Leader:
    leader = Leader(limits or Limits(), ceiling=CEILING, version=VERSION, began=0.0)
    leader.grant(0.0)
    for name in names:
        leader.receive(name, m.Hello(name, VERSION, m.PROTOCOL, 1), 0.0)
    assert {name: leader.outbox.pop(name) for name in names} == {n: [m.Welcome()] for n in names}
    return leader


def granted(leader: Leader, name: str) -> int:
    messages = leader.outbox.pop(name, [])
    return sum(len(one.costs) for one in messages if isinstance(one, m.Grant))


def test_a_cancelled_want_is_not_granted() -> None:
    leader = leader_of("a", limits=Limits(concurrency=1))
    leader.receive("a", m.Want(0, 2), 0.0)
    leader.grant(0.0)
    assert granted(leader, "a") == 1
    leader.receive("a", m.Want(1, 0), 0.1)
    leader.receive("a", m.Reports(((m.ENDED, 1, None, 0.0),)), 0.1)
    leader.grant(0.1)
    assert granted(leader, "a") == 0
    assert leader.limiter.in_flight == 0


def test_a_lost_grant_is_granted_again() -> None:
    leader = leader_of("a", limits=Limits(concurrency=1))
    leader.lossy = True
    leader.receive("a", m.Want(0, 1), 0.0)
    leader.grant(0.0)
    assert granted(leader, "a") == 1  # and does not arrive
    leader.receive("a", m.Alive(0, 1), LOST_AFTER / 2)
    leader.grant(LOST_AFTER / 2)
    assert granted(leader, "a") == 0
    leader.receive("a", m.Alive(0, 1), 1.1 * LOST_AFTER)
    leader.grant(1.1 * LOST_AFTER)
    assert granted(leader, "a") == 1
    assert leader.limiter.in_flight == 1


def test_a_grant_that_has_arrived_is_not_granted_again() -> None:
    leader = leader_of("a")
    leader.receive("a", m.Want(0, 1), 0.0)
    leader.grant(0.0)
    assert granted(leader, "a") == 1
    leader.receive("a", m.Alive(1, 0, (), (1,)), 5.0)
    leader.grant(5.0)
    assert granted(leader, "a") == 0


def test_a_lost_report_of_an_end_is_repaired() -> None:
    leader = leader_of("a", limits=Limits(concurrency=2, adaptive=False))
    leader.receive("a", m.Want(0, 3), 0.0)
    leader.grant(0.0)
    assert granted(leader, "a") == 2
    leader.receive("a", m.Alive(2, 1, (), (2,)), 0.5)  # the end of 1 did not arrive
    leader.grant(0.5)
    assert granted(leader, "a") == 1
    assert leader.limiter.in_flight == 2


def test_without_a_lease_nothing_is_granted() -> None:
    leader = leader_of("a")
    leader.lease_until = 1.0
    leader.receive("a", m.Want(0, 1), 1.0)
    leader.grant(1.0)
    assert granted(leader, "a") == 0
    leader.lease_until = 2.0
    leader.grant(1.1)
    assert granted(leader, "a") == 1


def test_another_version_is_refused_politely() -> None:
    leader = leader_of("a")
    for hello in (m.Hello("b", "0.9", m.PROTOCOL, 1), m.Hello("b", VERSION, 2, 1)):
        leader.receive("b", hello, 0.0)
        (refused,) = leader.outbox.pop("b")
        assert isinstance(refused, m.Refused)
        assert "one version" in refused.reason
        assert leader.workers == ("a",)


def test_an_unknown_worker_must_join() -> None:
    leader = leader_of()
    leader.receive("x", m.Want(0, 1), 0.0)
    leader.grant(0.0)
    assert leader.outbox.pop("x") == [m.Expired()]


def test_a_stopped_leader_does_not_take_its_own_silence_for_the_workers() -> None:
    leader = leader_of("a")
    leader.tick(0.25)
    leader.tick(60.0)
    assert leader.workers == ("a",)
    for quarter in range(1, 10):
        leader.tick(60.0 + quarter / 4)
    assert not leader.workers


def test_a_quota_reaches_all_others_and_teaches_nothing() -> None:
    leader = leader_of("a", "b", "c")
    quota = m.Quota("Free-tier limit")
    leader.receive("a", quota, 0.0)
    assert leader.outbox == {"b": [quota], "c": [quota]}
    assert leader.limiter.rejections == 0


def test_tokens_are_reserved_and_corrected() -> None:
    leader = leader_of("a", limits=Limits(tokens_per_minute=100))
    leader.receive("a", m.Want(0, 2, (80, 60)), 0.0)
    until = leader.grant(0.0)
    assert granted(leader, "a") == 1
    assert until == pytest.approx(60.0)
    reports = ((m.TOKENS, 1, 30, 0.0), (m.DONE, 1, None, 0.0))
    leader.receive("a", m.Reports(reports), 1.0)
    leader.receive("a", m.Want(1, 1, (60,)), 1.0)
    leader.grant(1.0)
    assert granted(leader, "a") == 1


def test_a_new_leader_waits_for_the_workers_of_the_last_one() -> None:
    old = leader_of("a", "b", limits=Limits(concurrency=2))
    state = old.state(3.0)
    new = Leader(Limits(concurrency=2), ceiling=CEILING, version=VERSION, began=50.0)
    new.continue_from(state, 0.1, 50.0)
    new.collect_until = 50.02
    new.receive("a", m.Hello("a", VERSION, m.PROTOCOL, 1), 50.0)
    new.receive("a", m.Want(0, 2), 50.0)
    assert new.grant(50.0) == 50.02
    new.receive("b", m.Hello("b", VERSION, m.PROTOCOL, 8, ((7, 0),)), 50.01)
    new.grant(50.01)
    assert granted(new, "a") == 1  # the other place is held by b
    new.receive("b", m.Reports(((m.DONE, 7, None, 0.0),)), 50.3)
    new.grant(50.3)
    assert granted(new, "a") == 1


def test_an_end_that_is_reported_before_the_history_is_replayed_is_not_lost() -> None:
    limits = Limits(concurrency=1)
    new = Leader(limits, ceiling=CEILING, version=VERSION, began=50.0)
    new.collect_until = 50.5
    history = ((m.STARTED, 3, 0.0, 0.1),)
    new.receive("a", m.Hello("a", VERSION, m.PROTOCOL, 4, ((3, 0),), history), 50.0)
    new.receive("a", m.Reports(((m.DONE, 3, None, 0.0),)), 50.1)
    new.receive("a", m.Want(3, 1), 50.1)
    new.grant(50.6)
    assert granted(new, "a") == 1
    assert new.limiter.in_flight == 1


def test_a_history_that_is_sent_twice_counts_once() -> None:
    new = Leader(Limits(concurrency=1), ceiling=CEILING, version=VERSION, began=50.0)
    new.collect_until = 50.5
    history = ((m.STARTED, 3, 0.0, 0.2), (m.DONE, 3, None, 0.1))
    for at in (50.0, 50.2, 50.4):
        new.receive("a", m.Hello("a", VERSION, m.PROTOCOL, 4, (), history), at)
    new.grant(50.6)
    assert new.limiter.in_flight == 0


def test_a_new_leader_without_a_state_takes_the_one_that_a_worker_has() -> None:
    team = Team([Bucket(20, 20)], workers=2, calls=200)
    team.run()
    assert team.leader is not None
    state = team.leader.state(team.now)
    new = Leader(Limits(), ceiling=CEILING, version=VERSION, began=500.0)
    new.collect_until = 500.02
    assert new.grant(500.0) == 500.02
    new.receive("b", m.Hello("b", VERSION, m.PROTOCOL, 1, state=state, state_age=1.0), 500.01)
    new.grant(500.03)
    assert [str(rule) for rule in new.limiter.rules] == [
        str(rule) for rule in team.leader.limiter.rules
    ]
    assert new.state(500.03).now == pytest.approx(team.now + 1.02)


def test_a_state_that_cannot_be_read_is_no_state(caplog: pytest.LogCaptureFixture) -> None:
    leader = leader_of()
    new = Leader(Limits(), ceiling=CEILING, version=VERSION, began=0.0)
    broken = m.State(9.0, {"learner": 1}, (), 1, None, closed=False, reason="", rules=[])
    new.continue_from(broken, 0.0, 0.0)
    assert new.state(0.0).rules == leader.state(0.0).rules
    assert "lost" in caplog.text
