"""The progress of a batch on stderr: a live panel on a terminal, otherwise a line now and then.

It is drawn in a thread, so that a blocked terminal (Ctrl-S, a pager) never stops the batch. It
refuses to count, which the batch does, and to write to stdout.
"""

import sys
import threading
from collections import deque
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Protocol, Self

from laplas_async.batch.report import BatchProgress
from laplas_async.cli.terminal import note
from laplas_async.pacing.gate import Pace

LIVE_INTERVAL: Final = 0.25  # seconds between two drawings: lively, and cheap
LINE_INTERVAL: Final = 5.0  # seconds between two lines: a log of an hour has 720
_FIRST_LINE: Final = 1.0  # seconds; a shorter batch has only its summary
_CLOSE_TIMEOUT: Final = 2.0  # seconds that a blocked terminal may delay the end


class View:
    """Shows a batch while it runs, as a context manager; ``update`` and ``say`` never block.

    ``interval``: how often it wants to be updated, in seconds.
    """

    def __init__(self, look: "Look") -> None:
        self._look = look
        self.interval = look.interval
        self._latest: BatchProgress | None = None
        self._messages: deque[str] = deque()
        self._changed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._draw, name="laplas-view", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._changed.set()
        self._thread.join(_CLOSE_TIMEOUT)

    def update(self, progress: BatchProgress) -> None:
        """Show this as soon as possible; only the latest progress is shown."""
        self._latest = progress
        self._changed.set()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._messages.append(text)
        self._changed.set()

    def _draw(self) -> None:
        # The terminal was closed; rich ends the thread by SystemExit then.
        with suppress(OSError, ValueError, SystemExit):
            self._look.open()
            try:
                self._follow()
            finally:
                self._look.close()

    def _follow(self) -> None:
        drawn: BatchProgress | None = None
        while True:
            self._changed.wait()
            self._changed.clear()
            ended = self._ended
            while self._messages:
                self._look.say(self._messages.popleft())
            if ended:
                return
            latest = self._latest
            if latest is not None and latest is not drawn:
                drawn = latest
                self._look.draw(latest)


class Look(Protocol):
    """The appearance. All calls are made in one thread, ``open`` first and ``close`` last."""

    interval: float

    def open(self) -> None:
        """Set up the terminal."""

    def draw(self, progress: BatchProgress) -> None:
        """Show this progress."""

    def say(self, text: str) -> None:
        """Print a line that stays."""

    def close(self) -> None:
        """Restore the terminal."""


def make_view(title: str, *, quiet: bool) -> View:
    """The view that fits stderr."""
    if quiet or sys.stderr is None:
        return View(QuietLook())
    if sys.stderr.isatty():
        with suppress(ImportError, _DumbTerminal):  # without the extra "cli": plain lines
            return View(LiveLook(title))
    return View(PlainLook())


class _DumbTerminal(Exception):  # noqa: N818 - caught in this module
    """The terminal can only append."""


class QuietLook:
    """Nothing."""

    interval = 60.0

    def open(self) -> None:
        """Nothing."""

    def draw(self, progress: BatchProgress) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainLook:
    """A line every few seconds: for a pipe, a terminal that can only append, or without rich."""

    interval = 0.5

    def __init__(self) -> None:
        self._due = _FIRST_LINE

    def open(self) -> None:
        """Nothing: a batch of less than a second has only its summary."""

    def draw(self, progress: BatchProgress) -> None:
        """A line, if one is due by the clock of the batch."""
        if progress.elapsed >= self._due:
            self._due = progress.elapsed + LINE_INTERVAL - self.interval / 2
            note(line(progress))

    def say(self, text: str) -> None:
        """The line."""
        note(text)

    def close(self) -> None:
        """Nothing."""


class LiveLook:
    """A panel that is redrawn in place, by rich. Raises ``ImportError`` without it."""

    interval = LIVE_INTERVAL

    def __init__(self, title: str) -> None:
        console: Any = import_module("rich.console").Console(file=sys.stderr, highlight=False)
        if console.is_dumb_terminal:
            raise _DumbTerminal
        live: Any = import_module("rich.live").Live
        bars: Any = import_module("rich.progress")
        self._panel: Any = import_module("rich.panel").Panel
        self._group: Any = import_module("rich.console").Group
        self._text: Any = import_module("rich.text").Text
        self._title = title
        self._bar = bars.Progress(
            bars.BarColumn(bar_width=None),
            bars.TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,
            expand=True,
        )
        self._row = self._bar.add_task("reading", total=None)
        self._live = live(
            console=console,
            auto_refresh=False,  # no second thread
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def open(self) -> None:
        """Set up the terminal."""
        self._live.start()
        self._show([])

    def draw(self, progress: BatchProgress) -> None:
        """The panel."""
        self._bar.update(
            self._row,
            total=progress.rows,
            completed=progress.counts.settled,
            description=" ".join(_share(progress) + _left(progress)),
        )
        parts = (describe_rows(progress), describe_speed(progress), describe_limits(progress.pace))
        self._show([", ".join(part) for part in parts] + describe_rules(progress.pace))

    def say(self, text: str) -> None:
        """A line above the panel."""
        self._live.console.print(self._text(text))

    def close(self) -> None:
        """Restore the terminal."""
        self._live.stop()

    def _show(self, lines: list[str]) -> None:
        inner = self._group(self._bar, *(self._text(line) for line in lines))
        title = self._text(self._title)
        self._live.update(self._panel(inner, title=title, title_align="left"), refresh=True)


# --- as text ----------------------------------------------------------------------------------


def line(progress: BatchProgress) -> str:
    """A batch at one moment, in one line."""
    parts = (
        describe_rows(progress),
        describe_speed(progress),
        describe_limits(progress.pace),
        _left(progress),
    )
    return ", ".join(text for part in parts for text in part)


def describe_rows(progress: BatchProgress) -> list[str]:
    """The rows by result."""
    counts = progress.counts
    of = "" if progress.rows is None else f" of {progress.rows:,}"
    parts = [f"{counts.settled:,}{of} rows", f"{counts.answered:,} answered"]
    parts.append(f"{counts.failed:,} failed")
    if counts.resumed:
        parts.append(f"{counts.resumed:,} from before")
    return parts


def describe_speed(progress: BatchProgress) -> list[str]:
    """The speed, the latency, and the cost as far as it is known, with its cap."""
    parts = [
        f"{amount(progress.rows_per_second)} rows/s",
        f"{amount(progress.tokens_per_second)} tokens/s",
    ]
    if (latency := progress.latency) is not None:
        parts.append(f"latency p50 {amount(latency.p50)} s p95 {amount(latency.p95)} s")
    if progress.usd_limit is not None:
        parts.append(f"{money(progress.usd_spent or 0.0)} of {money(progress.usd_limit)}")
    elif progress.usd is not None:
        parts.append(money(progress.usd))
    return parts


def describe_limits(pace: Pace) -> list[str]:
    """The limits that are known, and how many requests wait for them."""
    rate = "" if pace.rate is None else f"{amount(pace.rate)}/s and "
    return [
        f"limit {rate}{pace.concurrency:,} at once",
        f"{pace.in_flight:,} in flight",
        f"{pace.waiting:,} waiting",
        f"{pace.rejected:,} rejected",
    ]


def describe_rules(pace: Pace, *, wall: float | None = None) -> list[str]:
    """The limits that are known or believed, and why the next request waits."""
    lines = [f"rules: {'; '.join(pace.describe(wall=wall))}"] if pace.rules else []
    return lines if pace.reason is None else [*lines, f"the next request waits: {pace.reason}"]


def _share(progress: BatchProgress) -> list[str]:
    return [f"{progress.counts.settled / progress.rows:.0%}"] if progress.rows else []


def _left(progress: BatchProgress) -> list[str]:
    return [] if progress.left is None else [f"{span(progress.left)} left"]


def amount(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def money(usd: float) -> str:
    """US dollars."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def span(seconds: float) -> str:
    """A duration, as people write it: ``7 s``, ``2:05``, ``1:02:05``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
