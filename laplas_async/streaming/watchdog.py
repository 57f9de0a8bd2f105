"""The timeouts of one stream: one timer, however many tokens arrive.

No token re-arms the timer or records a time: when it fires, it checks whether content has been
received since it fired last. It refuses to know bytes, chunks and connections.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from laplas_async.errors import LaplasError, RequestTimeoutError, StreamTimeoutError
from laplas_async.timeouts import Timeouts

# Seconds. When every choice has its finish_reason, only usage and [DONE] are missing; some servers
# never send them nor close the connection (test_watchdog, test_stream).
AFTER_FINISH_SECONDS = 5.0
# Checks within ``idle``: silence is reported at most an eighth of it too late, never too early.
_CHECKS = 8


class Watched(Protocol):
    """What the timer needs to know of a stream, and how it ends a late one."""

    begun: bool
    """Content has been received."""
    waiting: bool
    """A reader is waiting for more; a slow reader is not a silent server."""

    @property
    def progress(self) -> int:
        """A number that grows with all content that is received."""
        ...

    @property
    def settled(self) -> bool:
        """Every choice has its finish_reason, and no content is expected any more."""
        ...

    def close(self, reason: LaplasError | None = None) -> None:
        """End it with this error."""
        ...


class Clock(Protocol):
    """The part of an event loop that is used: its time and its timers."""

    def time(self) -> float:
        """Now, in seconds."""
        ...

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> asyncio.Handle:
        """Call it at that time."""
        ...


class Watchdog:
    """The timeouts of one stream, which it closes when one has expired.

    ``sent_at`` is the clock's time of sending; the clock is the running loop's. The stream is known
    to the timer alone, so one that has ended is freed at once.
    """

    __slots__ = (
        "_clock",
        "_first_at",
        "_progress",
        "_quiet_since",
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
        self._progress = -1
        self._quiet_since = 0.0

    def check(self, stream: Watched) -> None:
        """Check now, and set the timer for the next check.

        Called at the start, and when the stream begins or its choices finish.
        """
        self.stop()
        now = self._clock.time()
        checks: list[float] = []
        if self._total_at is not None:
            if self._total_at <= now:
                message = f"not complete within {self._total} s of sending (total)"
                stream.close(_error(stream, message, "total"))
                return
            checks.append(self._total_at)
        if not stream.begun:
            if self._first_at is not None:
                if self._first_at <= now:
                    timeout = self._timeouts.first_token
                    message = f"no content within {timeout} s of sending (first_token)"
                    stream.close(_error(stream, message, "first_token"))
                    return
                checks.append(self._first_at)
        elif (idle := self._idle(stream)) is not None:
            progress = stream.progress
            if progress != self._progress or not stream.waiting:
                self._progress, self._quiet_since = progress, now
            late_at = self._quiet_since + idle
            if late_at <= now:
                message = f"no content for {self._timeouts.idle} s (idle)"
                stream.close(_error(stream, message, "idle"))
                return
            checks.append(min(late_at, now + idle / _CHECKS))
        if checks:
            self._timer = self._clock.call_at(min(checks), self.check, stream)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _idle(self, stream: Watched) -> float | None:
        idle = self._timeouts.idle
        if stream.settled:
            return min(idle or AFTER_FINISH_SECONDS, AFTER_FINISH_SECONDS)
        return idle


def _error(stream: Watched, message: str, phase: str) -> LaplasError:
    kind = StreamTimeoutError if stream.begun else RequestTimeoutError
    return kind(message, phase=phase)
