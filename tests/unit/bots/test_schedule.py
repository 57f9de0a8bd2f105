import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.bots.schedule import Allowance, ChatPace, Schedule, Turn

PACE = ChatPace(interval=1.0)


def wait_all(schedule: Schedule, now: float) -> list[tuple[str, float]]:
    """Take every change as soon as it may be sent."""
    taken = []
    while (at := schedule.next_time(now)) is not None:
        now = max(now, at)
        turn = schedule.take(now)
        assert turn is not None
        taken.append((turn.chat, now))
    return taken


def test_the_first_change_of_a_chat_is_allowed_at_once() -> None:
    schedule = Schedule()
    schedule.join("a", PACE, 0, final=False)
    assert wait_all(schedule, 0) == [("a", 0)]


def test_the_changes_of_a_chat_keep_its_interval() -> None:
    schedule = Schedule()
    for _ in range(3):
        schedule.join("a", PACE, 0, final=False)
    assert [at for _, at in wait_all(schedule, 0)] == [0, 1, 2]


def test_the_interval_counts_from_the_end_of_a_slow_request() -> None:
    schedule = Schedule()
    schedule.join("a", PACE, 0, final=False)
    assert wait_all(schedule, 0) == [("a", 0)]
    schedule.finish("a", 0.7)
    schedule.join("a", PACE, 0.7, final=False)
    assert wait_all(schedule, 0.7) == [("a", 1.7)]


def test_chats_do_not_wait_for_each_other() -> None:
    schedule = Schedule()
    for chat in "abc":
        schedule.join(chat, PACE, 0, final=False)
    assert [at for _, at in wait_all(schedule, 0)] == [0, 0, 0]


def test_the_budget_of_the_bot_is_shared() -> None:
    schedule = Schedule(Allowance(2, 1.0))
    for chat in "abcde":
        schedule.join(chat, PACE, 0, final=False)
    assert [at for _, at in wait_all(schedule, 0)] == [0, 0, 1, 1, 2]


def test_final_edits_go_first() -> None:
    schedule = Schedule(Allowance(1, 1.0))
    for chat, final in (("a", False), ("b", False), ("c", True), ("d", True)):
        schedule.join(chat, PACE, 0, final=final)
    assert [chat for chat, _ in wait_all(schedule, 0)] == ["c", "d", "a", "b"]


def test_a_final_edit_need_not_wait_for_the_interval_of_previews() -> None:
    schedule = Schedule()
    pace = ChatPace(interval=3.0, shortest=0.5)
    schedule.join("a", pace, 0, final=False)
    assert wait_all(schedule, 0) == [("a", 0)]
    schedule.join("a", pace, 0, final=False)
    schedule.join("a", pace, 0, final=True)
    assert [at for _, at in wait_all(schedule, 0)] == [0.5, 3.5]


def test_previews_leave_a_fifth_of_an_allowance_to_final_edits() -> None:
    schedule = Schedule()
    pace = ChatPace(interval=0, allowance=Allowance(20, 60))
    for _ in range(17):
        schedule.join("a", pace, 0, final=False)
    assert [at for _, at in wait_all(schedule, 0)] == [0] * 16 + [60]
    schedule = Schedule()
    for _ in range(21):
        schedule.join("a", pace, 0, final=True)
    assert [at for _, at in wait_all(schedule, 0)] == [0] * 20 + [60]


def test_a_silenced_chat_is_silent_and_the_others_are_not() -> None:
    schedule = Schedule()
    schedule.join("a", PACE, 0, final=True)
    schedule.join("b", PACE, 0, final=False)
    schedule.silence("a", 30, 0)
    assert wait_all(schedule, 0) == [("b", 0), ("a", 30)]


def test_a_silenced_bot_is_silent_everywhere() -> None:
    schedule = Schedule()
    schedule.join("a", PACE, 0, final=False)
    schedule.join("b", PACE, 0, final=False)
    schedule.silence("a", 30, 0, everywhere=True)
    assert [at for _, at in wait_all(schedule, 0)] == [30, 30]


def test_a_shorter_silence_does_not_end_a_longer_one() -> None:
    schedule = Schedule()
    schedule.join("a", PACE, 0, final=False)
    schedule.silence("a", 30, 0)
    schedule.silence("a", 1, 0)
    assert wait_all(schedule, 0) == [("a", 30)]


def test_each_refusal_doubles_the_interval_of_the_chat() -> None:
    schedule = Schedule()
    schedule.join("a", PACE, 0, final=False)
    schedule.silence("a", 10, 0)
    schedule.silence("a", 10, 0)
    schedule.join("a", PACE, 0, final=False)
    assert [at for _, at in wait_all(schedule, 0)] == [10, 14]
    schedule.join("a", PACE, 400, final=False)
    schedule.join("a", PACE, 400, final=False)
    assert [at for _, at in wait_all(schedule, 400)] == [400, 401], "forgiven after five minutes"


def test_refusals_without_a_time_become_rarer() -> None:
    schedule = Schedule()
    now, times = 0.0, []
    for _ in range(8):
        schedule.join("a", PACE, now, final=True)
        [(_, now)] = wait_all(schedule, now)
        times.append(now)
        schedule.silence("a", 0, now)
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 45.5]


def test_a_turn_that_is_given_up_takes_nothing() -> None:
    schedule = Schedule()
    turn = schedule.join("a", PACE, 0, final=False)
    schedule.leave(turn)
    schedule.leave(turn)
    assert schedule.next_time(0) is None
    schedule.join("a", PACE, 0, final=False)
    assert wait_all(schedule, 0) == [("a", 0)]


def test_idle_chats_are_forgotten() -> None:
    schedule = Schedule()
    for number in range(10_000):
        schedule.join(str(number), PACE, number, final=False)
        assert isinstance(schedule.take(number), Turn)
    assert len(schedule._chats) <= 260


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 5)), max_size=40),
    st.integers(1, 5),
)
def test_no_allowance_is_ever_exceeded(changes: list[tuple[str, bool, float]], count: int) -> None:
    schedule = Schedule(Allowance(count, 1.0))
    pace = ChatPace(interval=0.5, shortest=0.1, allowance=Allowance(4, 10))
    now, taken = 0.0, []
    for chat, final, delay in changes:
        schedule.join(chat, pace, now, final=final)
        now += delay
        while (turn := schedule.take(now)) is not None:
            taken.append((turn.chat, now))
    taken += wait_all(schedule, now)
    assert len(taken) == len(changes)
    times = [at for _, at in taken]
    assert times == sorted(times)
    for start, end in zip(times, times[count:], strict=False):
        assert end - start >= 1.0 - 1e-9
    for chat in "abc":
        own = [at for name, at in taken if name == chat]
        assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(own))
        assert all(b - a >= 10 - 1e-9 for a, b in zip(own, own[4:], strict=False))


@pytest.mark.parametrize("final", [True, False])
def test_the_pace_of_a_chat_may_change(final: bool) -> None:
    schedule = Schedule()
    schedule.join("a", PACE, 0, final=final)
    schedule.join("a", ChatPace(interval=5, shortest=5), 0, final=final)
    assert [at for _, at in wait_all(schedule, 0)] == [0, 5]
