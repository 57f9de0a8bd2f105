"""Each estimator alone."""

import math

import pytest

from laplas_async.pacing.air import Air
from laplas_async.pacing.closure import Closure
from laplas_async.pacing.concurrency import Concurrency
from laplas_async.pacing.ledger import Ticket
from laplas_async.pacing.outage import Outage
from laplas_async.pacing.ramp import Ramp
from laplas_async.pacing.rate import Rate
from laplas_async.pacing.spacing import Spacing
from laplas_async.pacing.window import Window


def closure(first: float = 0.0, last: float = 0.0) -> Closure:
    return Closure(
        decided=0.0, since=0.0, first=first, last=last, opened=0.0, origin=0.0, accepted=20
    )


def test_silence_is_taken_for_acceptance_after_a_round_trip() -> None:
    air, ticket = Air(), Ticket(1.0, 1)
    air.add(ticket)
    assert list(air.settled(1.0 + air.settle_after / 2)) == []
    assert air.clear_at() > 1.0
    assert list(air.settled(air.clear_at())) == [ticket]
    assert air.clear_at() == -math.inf


def test_probes_become_rarer_and_prefer_round_periods() -> None:
    closed, now, times = closure(), 0.1, []
    closed.schedule(now)
    while now < 400:
        now = closed.next_at
        times.append(now)
        closed.reject(Ticket(now, 1), now, None)
    assert len(times) < 25
    for period in (1, 2, 10, 30, 60, 300):
        assert any(abs(at - period) < 0.01 for at in times), times


def test_an_acceptance_proves_room_and_a_rejection_proves_none() -> None:
    places = Concurrency()
    places.accept(Ticket(0.0, 4), 0)
    assert not places.feasible  # nothing was rejected
    places.reject(Ticket(0.1, 5), 0)
    assert places.feasible
    places.accept(Ticket(0.2, 6), 0)  # six are inside, so it was not for the number
    assert not places.feasible


def test_the_rate_is_what_was_accepted_from_empty_to_empty() -> None:
    rate = Rate.begin(1.0, accepted=10, trial=closure())
    for at in range(40):
        rate.accept(1.0 + at / 10, held=True)
    rate.reject(5.0, 0)
    assert rate.base == pytest.approx(10.0, rel=0.02)
    assert str(rate.rule).startswith("10")


def test_an_overdue_rejection_doubles_the_pace() -> None:
    rate = Rate.begin(1.0, accepted=100, trial=closure(first=-9.0))
    before = rate.book.rate
    for at in range(200):
        rate.accept(1.0 + at / 10, held=True)
    assert rate.book.rate > 2 * before


def test_a_spacing_is_found_between_accepted_and_rejected() -> None:
    spacing = Spacing.begin(1.0, start=0.5, trial=closure(last=0.25))
    now = 1.0
    for _ in range(300):
        now += 1.0
        if spacing.book.rate <= 2.2:
            spacing.accept(now, held=True)
        else:
            spacing.reject(now, 0)
    assert 2.0 <= spacing.book.rate <= 2.3


def test_a_window_is_measured_from_opening_to_opening() -> None:
    window = Window()
    window.open(0.0)
    for _ in range(20):
        window.book.enter(0.0, 0)
        window.accept()
    window.open(9.0)
    assert window.believe(9.0, 20, 0.0)
    assert str(window.rule) == "20 per 9 s (window)"
    for _ in range(20):
        window.accept()
    window.measure(19.0, 18.0)
    assert str(window.rule) == "20 per 10 s (window)"


def test_a_window_that_rejects_early_in_its_cycle_is_longer_than_measured() -> None:
    window = Window()
    window.open(0.0)
    for _ in range(20):
        window.accept()
    window.open(9.0)
    window.believe(9.0, 20, 0.0)
    window.accept()
    assert window.early
    window.measure(19.0, 18.0)
    assert str(window.rule) == "20 per 19 s (window)"


def test_a_window_whose_second_cycle_takes_far_fewer_is_doubtful() -> None:
    window = Window()
    window.open(0.0)
    for _ in range(84):
        window.accept()
    window.open(90.0)
    window.believe(90.0, 84, 0.0)
    for _ in range(60):
        window.accept()
    assert window.doubtful
    for _ in range(20):
        window.accept()
    assert not window.doubtful


def test_an_outage_pauses_longer_and_longer_and_one_success_ends_it() -> None:
    outage = Outage()
    pauses = [outage.fail() for _ in range(30)]
    assert pauses[:9] == [0.0] * 9
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0
    outage.succeed()
    assert not outage.down


def test_little_is_sent_until_the_distance_is_known() -> None:
    """A service 150 ms away gets seven requests before the first connection has opened."""
    ramp, now, sent = Ramp(), 0.0, 0
    while now < 0.15:
        ramp.grope(now, 0.0)
        now, sent = max(now, ramp.next_at), sent + 1
    assert sent <= 7


def test_the_first_sign_of_life_shows_the_distance() -> None:
    air = Air()
    assert not air.measured
    air.connect(0.1)
    assert air.measured
    assert 0.1 < air.settle_after < 0.2
    air = Air()
    air.respond(0.3)
    assert 0.3 < air.settle_after < 0.4


def test_a_number_that_was_too_low_grows_by_cycles_and_never_without_bound() -> None:
    window = Window()
    window.open(0.0)
    window.accept()
    window.open(9.0)
    window.believe(9.0, 1, 0.0)
    for _ in range(5000):
        window.accept()
    assert window.book.number <= 1.25 * window.number + 1


def test_a_period_between_rejected_and_accepted_is_narrowed_down() -> None:
    """28 s were measured, 19 s were too short: 20 s are tried, and hold."""
    window = Window()
    window.open(0.0)
    for _ in range(20):
        window.accept()
    window.open(28.0)
    window.believe(28.0, 20, 0.0)
    window.floor = 19.0
    for _ in range(20):
        window.accept()
    window.send(56.0, 0.0)
    assert window.shorter
    tried = window.book.period
    assert 19.0 < tried < 28.0
    window.lengthen()
    assert window.book.period == window.period == pytest.approx(28.0)
    assert window.floor == tried


def test_an_extra_request_is_not_sent_together_with_another() -> None:
    places = Concurrency()
    places.accept(Ticket(0.0, 4), 0)
    places.reject(Ticket(0.1, 5), 0)
    places.believe(0.2)
    for _ in range(100):
        places.end(2.0)
        places.accept(Ticket(1.0, int(places.limit)), 10**6)
        if places.sure < math.inf:
            break
    assert places.limit > places.sure
    assert 0.1 < places.gap < 2.0 / places.sure


def test_time_in_which_another_rule_held_requests_shows_no_rate() -> None:
    rate = Rate.begin(1.0, accepted=10, trial=closure())
    before = rate.base
    rate.interrupt()
    rate.reject(61.0, 0)
    assert rate.base == before


def test_a_long_retry_after_leaves_a_bucket_little_to_refill() -> None:
    closed = closure(first=0.0, last=0.0)
    closed.asked = 10.0
    assert closed.refill(10.1) == pytest.approx(1.01)
