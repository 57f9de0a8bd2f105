"""What a running batch shows on stderr: a live panel on a terminal, else a line now and then.

It is drawn in a thread of its own, so that a terminal that stands still (Ctrl-S, a pager) never
stops the batch. It refuses to count, which the batch does, and to write to stdout.
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

LIVE_EVERY: Final = 0.25  # seconds between two drawings
LINE_EVERY: Final = 5.0
_FIRST_LINE: Final = 1.0
_PATIENCE: Final = 2.0  # seconds for a terminal that stands still, at the end


class View:
    """Shows a batch while it runs, as a context manager; ``update`` and ``say`` never wait.

    ``interval``: seconds between two moments that are worth telling it.
    """

    def __init__(self, look: "Look") -> None:
        self._look = look
        self.interval = look.interval
        self._latest: BatchProgress | None = None
        self._said: deque[str] = deque()
        self._news = threading.Event()
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
        self._news.set()
        self._thread.join(_PATIENCE)

    def update(self, progress: BatchProgress) -> None:
        """Show this when there is time."""
        self._latest = progress
        self._news.set()

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._said.append(text)
        self._news.set()

    def _draw(self) -> None:
        # A terminal that went away takes no more; rich ends the thread by SystemExit then.
        with suppress(OSError, ValueError, SystemExit):
            self._look.open()
            try:
                self._follow()
            finally:
                self._look.close()

    def _follow(self) -> None:
        drawn: BatchProgress | None = None
        while True:
            self._news.wait()
            self._news.clear()
            ended = self._ended
            while self._said:
                self._look.say(self._said.popleft())
            if ended:
                return
            latest = self._latest
            if latest is not None and latest is not drawn:
                drawn = latest
                self._look.draw(latest)


class Look(Protocol):
    """How it looks. All is called in one thread, ``open`` first and ``close`` last."""

    interval: float

    def open(self) -> None:
        """Take the terminal."""

    def draw(self, progress: BatchProgress) -> None:
        """Show this."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def make_view(title: str, *, quiet: bool) -> View:
    """The view that stderr is good for."""
    if quiet or sys.stderr is None:
        return View(QuietLook())
    if sys.stderr.isatty():
        with suppress(ImportError, _Dumb):  # without the extra "cli" it is plain, and complete
            return View(LiveLook(title))
    return View(PlainLook())


class _Dumb(Exception):  # noqa: N818 - a finding
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
    """A line every few seconds, for a pipe, a terminal that can only append, or without rich."""

    interval = 0.5

    def __init__(self) -> None:
        self._due = _FIRST_LINE

    def open(self) -> None:
        """Nothing: what takes less than a second is told by its summary."""

    def draw(self, progress: BatchProgress) -> None:
        """A line, if it is time for one by the batch's own clock."""
        if progress.elapsed >= self._due:
            self._due = progress.elapsed + LINE_EVERY - self.interval / 2
            note(line(progress))

    def say(self, text: str) -> None:
        """The line."""
        note(text)

    def close(self) -> None:
        """Nothing."""


class LiveLook:
    """A panel that is drawn over itself, by rich. Raises ``ImportError`` without it."""

    interval = LIVE_EVERY

    def __init__(self, title: str) -> None:
        console: Any = import_module("rich.console").Console(file=sys.stderr, highlight=False)
        if console.is_dumb_terminal:
            raise _Dumb
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
            auto_refresh=False,  # then there is no second thread
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def open(self) -> None:
        """Take the terminal."""
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
        parts = (rows_told(progress), speed_told(progress), limits_told(progress.pace))
        self._show([", ".join(part) for part in parts])

    def say(self, text: str) -> None:
        """A line above the panel."""
        self._live.console.print(self._text(text))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _show(self, lines: list[str]) -> None:
        inner = self._group(self._bar, *(self._text(told) for told in lines))
        title = self._text(self._title)
        self._live.update(self._panel(inner, title=title, title_align="left"), refresh=True)


# --- in words ---------------------------------------------------------------------------------


def line(progress: BatchProgress) -> str:
    """A batch at one moment, in one line."""
    parts = (
        rows_told(progress),
        speed_told(progress),
        limits_told(progress.pace),
        _left(progress),
    )
    return ", ".join(told for part in parts for told in part)


def rows_told(progress: BatchProgress) -> list[str]:
    """The rows, by what became of them."""
    counts = progress.counts
    of = "" if progress.rows is None else f" of {progress.rows:,}"
    told = [f"{counts.settled:,}{of} rows", f"{counts.answered:,} answered"]
    told.append(f"{counts.failed:,} failed")
    if counts.resumed:
        told.append(f"{counts.resumed:,} from before")
    return told


def speed_told(progress: BatchProgress) -> list[str]:
    """How fast it goes, and what it cost, where that is told."""
    told = [
        f"{amount(progress.rows_per_second)} rows/s",
        f"{amount(progress.tokens_per_second)} tokens/s",
    ]
    return told if progress.usd is None else [*told, money(progress.usd)]


def limits_told(pace: Pace) -> list[str]:
    """What is known of the limits, and who waits for them."""
    rate = "" if pace.rate is None else f"{amount(pace.rate)}/s and "
    return [
        f"limit {rate}{pace.concurrency:,} at once",
        f"{pace.in_flight:,} in flight",
        f"{pace.waiting:,} waiting",
        f"{pace.rejected:,} rejected",
    ]


def _share(progress: BatchProgress) -> list[str]:
    return [f"{progress.counts.settled / progress.rows:.0%}"] if progress.rows else []


def _left(progress: BatchProgress) -> list[str]:
    return [] if progress.left is None else [f"{span(progress.left)} left"]


def amount(value: float) -> str:
    """A number with as many places as say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def money(usd: float) -> str:
    """US dollars."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def span(seconds: float) -> str:
    """A time for a person: ``7 s``, ``2:05``, ``1:02:05``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
