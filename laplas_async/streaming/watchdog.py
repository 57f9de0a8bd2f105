"""Whether a streamed answer still lives: one timer for the whole stream.

No token re-arms it, nor is its time noted: the timer looks, when it fires, whether content has
come since it looked last. It refuses to know bytes, chunks and connections.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from laplas_async.errors import LaplasError, RequestTimeoutError, StreamTimeoutError
from laplas_async.timeouts import Timeouts

# When every choice has its finish_reason, only usage and [DONE] are missing: servers that forget
# to send them, and to hang up, are not waited for longer.
AFTER_FINISH_SECONDS = 5.0
_LOOKS = 8  # in the time of ``idle``: it is told at most an eighth of it too late, never too early


class Watched(Protocol):
    """What is asked of an answer when the timer fires, and how it is told that it is late."""

    begun: bool
    """Content has come."""
    waiting: bool
    """A reader waits for more: one that takes its time is not a server that is silent."""

    @property
    def progress(self) -> int:
        """A number that grows with all content that comes."""
        ...

    @property
    def finished(self) -> bool:
        """Every choice has its finish_reason."""
        ...

    def close(self, reason: LaplasError | None = None) -> None:
        """It came too late: end it for this reason."""
        ...


class Clock(Protocol):
    """What is used of an event loop: its time, and timers."""

    def time(self) -> float:
        """Now, in seconds."""
        ...

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> asyncio.Handle:
        """Call it then."""
        ...


class Watch:
    """The timeouts of one stream, which it closes when one has run out.

    ``sent_at`` is the clock's time of sending; the clock is the running loop's. The answer is known
    to the timer alone, so one that has ended is free at once.
    """

    __slots__ = (
        "_clock",
        "_first_at",
        "_quiet_since",
        "_seen",
        "_timeouts",
        "_timer",
        "_total",
        "_total_at",
    )

    def __init__(self, timeouts: Timeouts, sent_at: float, clock: Clock | None = None) -> None:
        self._timeouts = timeouts
        self._total = timeouts.total_for(stream=True)
        self._total_at = None if self._total is None else sent_at + self._total
        first = timeouts.first_token
        self._first_at = None if first is None else sent_at + first
        self._clock: Clock = asyncio.get_running_loop() if clock is None else clock
        self._timer: asyncio.Handle | None = None
        self._seen = -1
        self._quiet_since = 0.0

    def look(self, answer: Watched) -> None:
        """Judge now, and set the timer for the next look.

        To be called at the beginning, and when an answer begins or finishes.
        """
        self.stop()
        now = self._clock.time()
        looks: list[float] = []
        if self._total_at is not None:
            if self._total_at <= now:
                words = f"not at its end within {self._total} s of sending (total)"
                answer.close(_error(answer, words, "total"))
                return
            looks.append(self._total_at)
        if not answer.begun:
            if self._first_at is not None:
                if self._first_at <= now:
                    seconds = self._timeouts.first_token
                    words = f"no content within {seconds} s of sending (first_token)"
                    answer.close(_error(answer, words, "first_token"))
                    return
                looks.append(self._first_at)
        elif (idle := self._idle(answer)) is not None:
            progress = answer.progress
            if progress != self._seen or not answer.waiting:
                self._seen, self._quiet_since = progress, now
            late_at = self._quiet_since + idle
            if late_at <= now:
                answer.close(
                    _error(answer, f"no content for {self._timeouts.idle} s (idle)", "idle")
                )
                return
            looks.append(min(late_at, now + idle / _LOOKS))
        if looks:
            self._timer = self._clock.call_at(min(looks), self.look, answer)

    def stop(self) -> None:
        """No more of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _idle(self, answer: Watched) -> float | None:
        idle = self._timeouts.idle
        if answer.finished:
            return min(idle or AFTER_FINISH_SECONDS, AFTER_FINISH_SECONDS)
        return idle


def _error(answer: Watched, words: str, phase: str) -> LaplasError:
    kind = StreamTimeoutError if answer.begun else RequestTimeoutError
    return kind(words, phase=phase)
