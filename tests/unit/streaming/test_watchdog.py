"""The timeouts of a stream, in injected time."""

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
from laplas_async.streaming.watchdog import AFTER_FINISH_SECONDS, Watchdog

IDLE = 8.0
TIMEOUTS = Timeouts(first_token=5.0, idle=IDLE)


class ManualClock:
    """A clock and its timers; ``advance`` moves it."""

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

    def advance(self, seconds: float) -> None:
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
class Stream:
    """What a watchdog needs of a stream."""

    begun: bool = False
    waiting: bool = True
    progress: int = 0
    settled: bool = False
    errors: list[LaplasError | None] = field(factory=list)

    def close(self, reason: LaplasError | None = None) -> None:
        self.errors.append(reason)


@define
class Scene:
    """A watched stream, and the time."""

    timeouts: Timeouts = TIMEOUTS
    clock: ManualClock = field(factory=ManualClock)
    stream: Stream = field(factory=Stream)

    @property
    def errors(self) -> list[LaplasError | None]:
        return self.stream.errors

    def begin(self) -> Watchdog:
        watchdog = Watchdog(self.timeouts, self.clock.now, self.clock)
        watchdog.check(self.stream)
        return watchdog


def test_the_first_token_times_out_exactly() -> None:
    scene = Scene()
    scene.begin()
    scene.clock.advance(4.999)
    assert not scene.errors
    scene.clock.advance(0.001)
    (error,) = scene.errors
    assert isinstance(error, RequestTimeoutError)
    assert error.phase == "first_token"
    assert not scene.clock.running


@pytest.mark.parametrize("begun", [False, True])
def test_the_total_counts_from_sending(begun: bool) -> None:
    scene = Scene(timeouts=Timeouts(first_token=None, idle=None, total=3.0))
    scene.stream.begun = begun
    scene.begin()
    scene.clock.advance(2.999)
    assert not scene.errors
    scene.clock.advance(0.001)
    (error,) = scene.errors
    assert isinstance(error, StreamTimeoutError if begun else RequestTimeoutError)
    assert error.phase == "total"


@given(gaps=st.lists(st.floats(0.0, IDLE * 0.999), max_size=20))
def test_silence_is_reported_never_early_and_at_most_an_eighth_late(gaps: list[float]) -> None:
    scene = Scene()
    scene.stream.begun = True
    scene.begin()
    for gap in gaps:  # content arrives, each time just in time
        scene.clock.advance(gap)
        scene.stream.progress += 1
    assert not scene.errors
    scene.clock.advance(IDLE - 1e-6)
    assert not scene.errors
    scene.clock.advance(IDLE / 8 + 2e-6)
    (error,) = scene.errors
    assert isinstance(error, StreamTimeoutError)
    assert error.phase == "idle"


def test_a_slow_reader_is_not_silence() -> None:
    scene = Scene()
    scene.stream.begun, scene.stream.waiting = True, False
    scene.begin()
    scene.clock.advance(100 * IDLE)
    assert not scene.errors
    scene.stream.waiting = True
    scene.clock.advance(2 * IDLE)
    assert len(scene.errors) == 1


def test_the_idle_timeout_is_short_after_the_last_finish_reason() -> None:
    scene = Scene(timeouts=Timeouts(idle=600.0))
    scene.stream.begun = True
    watchdog = scene.begin()
    scene.clock.advance(1.0)
    scene.stream.settled, scene.stream.progress = True, 1
    watchdog.check(scene.stream)
    scene.clock.advance(AFTER_FINISH_SECONDS - 0.01)
    assert not scene.errors
    scene.clock.advance(0.02)
    assert len(scene.errors) == 1


@pytest.mark.parametrize("begun", [False, True])
def test_no_timeouts_no_timer(begun: bool) -> None:
    scene = Scene(timeouts=Timeouts(first_token=None, idle=None))
    scene.stream.begun = begun
    scene.begin()
    assert not scene.clock.running


def test_a_stopped_watchdog_reports_nothing() -> None:
    scene = Scene()
    watchdog = scene.begin()
    watchdog.stop()
    watchdog.stop()
    scene.clock.advance(1000.0)
    assert not scene.errors
