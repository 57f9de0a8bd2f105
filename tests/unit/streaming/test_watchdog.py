"""The timeouts of a stream, in a time that the test turns."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from laplas_async import RequestTimeoutError, StreamTimeoutError, Timeouts
from laplas_async.errors import LaplasError
from laplas_async.streaming.watchdog import AFTER_FINISH_SECONDS, Watch

IDLE = 8.0
TIMEOUTS = Timeouts(first_token=5.0, idle=IDLE)


class TurnedClock:
    """A clock and its timers; ``turn`` moves it."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()  # for handles; never run
        self._loop.close()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._loop)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def turn(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                handle._run()
        self.now = until

    @property
    def running(self) -> int:
        return sum(not handle.cancelled() for _, _, handle in self._timers)


@define
class Answer:
    """What a watch asks of one."""

    begun: bool = False
    waiting: bool = True
    progress: int = 0
    finished: bool = False
    told: list[LaplasError | None] = field(factory=list)

    def close(self, reason: LaplasError | None = None) -> None:
        self.told.append(reason)


@define
class Scene:
    """A watched answer, and the time."""

    timeouts: Timeouts = TIMEOUTS
    clock: TurnedClock = field(factory=TurnedClock)
    answer: Answer = field(factory=Answer)

    @property
    def told(self) -> list[LaplasError | None]:
        return self.answer.told

    def begin(self) -> Watch:
        watch = Watch(self.timeouts, self.clock.now, self.clock)
        watch.look(self.answer)
        return watch


def test_the_first_token_is_late_to_the_moment() -> None:
    scene = Scene()
    scene.begin()
    scene.clock.turn(4.999)
    assert not scene.told
    scene.clock.turn(0.001)
    (error,) = scene.told
    assert isinstance(error, RequestTimeoutError)
    assert error.phase == "first_token"
    assert not scene.clock.running


@pytest.mark.parametrize("begun", [False, True])
def test_the_total_counts_from_sending(begun: bool) -> None:
    scene = Scene(timeouts=Timeouts(first_token=None, idle=None, total=3.0))
    scene.answer.begun = begun
    scene.begin()
    scene.clock.turn(2.999)
    assert not scene.told
    scene.clock.turn(0.001)
    (error,) = scene.told
    assert isinstance(error, StreamTimeoutError if begun else RequestTimeoutError)
    assert error.phase == "total"


@given(gaps=st.lists(st.floats(0.0, IDLE * 0.999), max_size=20))
def test_silence_is_told_never_too_early_and_little_too_late(gaps: list[float]) -> None:
    scene = Scene()
    scene.answer.begun = True
    scene.begin()
    for gap in gaps:  # content comes, each time just in time
        scene.clock.turn(gap)
        scene.answer.progress += 1
    assert not scene.told
    scene.clock.turn(IDLE - 1e-6)
    assert not scene.told
    scene.clock.turn(IDLE / 8 + 2e-6)
    (error,) = scene.told
    assert isinstance(error, StreamTimeoutError)
    assert error.phase == "idle"


def test_a_reader_who_takes_its_time_is_no_silence() -> None:
    scene = Scene()
    scene.answer.begun, scene.answer.waiting = True, False
    scene.begin()
    scene.clock.turn(100 * IDLE)
    assert not scene.told
    scene.answer.waiting = True
    scene.clock.turn(2 * IDLE)
    assert len(scene.told) == 1


def test_little_is_waited_for_behind_the_last_finish_reason() -> None:
    scene = Scene(timeouts=Timeouts(idle=600.0))
    scene.answer.begun = True
    watch = scene.begin()
    scene.clock.turn(1.0)
    scene.answer.finished, scene.answer.progress = True, 1
    watch.look(scene.answer)
    scene.clock.turn(AFTER_FINISH_SECONDS - 0.01)
    assert not scene.told
    scene.clock.turn(0.02)
    assert len(scene.told) == 1


@pytest.mark.parametrize("begun", [False, True])
def test_no_timeouts_no_timer(begun: bool) -> None:
    scene = Scene(timeouts=Timeouts(first_token=None, idle=None))
    scene.answer.begun = begun
    scene.begin()
    assert not scene.clock.running


def test_one_that_was_stopped_says_nothing() -> None:
    scene = Scene()
    watch = scene.begin()
    watch.stop()
    watch.stop()
    scene.clock.turn(1000.0)
    assert not scene.told
