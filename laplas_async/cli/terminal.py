"""Standard output and error, and the event loop of a command.

The only place that knows what a terminal is. It refuses to fail for a character that the output's
encoding lacks, and to pass a model's control characters on to a terminal.
"""

import asyncio
import os
import sys
from importlib import import_module
from typing import TextIO

from laplas_async.errors import LaplasError, StreamError

# A model's words are a stranger's: no escape sequence of theirs may move a cursor, set a title or
# fill a clipboard. Tabs and line ends stay.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}")
_CONTROLS |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


class Output:
    """Standard output for a model's text: each piece is out when ``write`` returns.

    On a terminal control characters are replaced; in a pipe the text is as it came. A slow reader
    blocks the event loop, which has nothing else to do: what waits stays in the socket.
    Raises ``BrokenPipeError`` once the reader has gone, ``OSError`` for a full disk.
    """

    def __init__(self) -> None:
        if sys.stdout is None:  # closed by the shell: >&-
            raise OSError("standard output is closed")
        self._stream: TextIO = sys.stdout
        self.is_terminal = self._stream.isatty()
        self.is_unicode = (self._stream.encoding or "").lower().replace("-", "") == "utf8"
        self._in_line = False
        tolerate(self._stream)

    def write(self, text: str) -> None:
        """Write and flush."""
        if not text:
            return
        self._in_line = not text.endswith("\n")
        self._stream.write(text.translate(_CONTROLS) if self.is_terminal else text)
        self._stream.flush()

    def end_line(self) -> None:
        """End the line, if one was begun."""
        if self._in_line:
            self.write("\n")


def fill_closed() -> None:
    """Open nothing in place of a standard stream that the shell closed (``2>&-``).

    Else the next file gets its number: libuv aborts at that, and a library's last words to number
    2 would end in somebody's file. For Python the stream stays closed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def tolerate(stream: TextIO) -> None:
    """Let a stream replace what its encoding lacks, where Python would raise."""
    reconfigure = getattr(stream, "reconfigure", None)  # a test's stream may have none
    if reconfigure is not None:
        reconfigure(errors="replace")


def complain(text: str) -> None:
    """One line on stderr, whatever the text holds."""
    note(f"laplas: {' '.join(text.split())}")


def note(text: str) -> None:
    """Text on stderr, without control characters. Nothing, if it is closed."""
    if sys.stderr is None:  # print() would go to stdout
        return
    try:
        print(text.translate(_CONTROLS), file=sys.stderr, flush=True)
    except OSError:  # nobody is left to tell; nor is Python at its end, by an exit code of its own
        discard(sys.stderr)


def describe(error: LaplasError) -> str:
    """An error for one line: its words, and what the user can neither see nor guess."""
    more = []
    if isinstance(error, StreamError) and error.partial.text:
        more.append("the answer is not whole")
    if len(error.attempts) > 1:
        more.append(f"{len(error.attempts)} tries")
    if error.request_id:
        more.append(f"request id {error.request_id}")
    words = error.message or type(error).__name__
    return f"{words} [{', '.join(more)}]" if more else words


def end_line() -> None:
    """Leave the line in which a terminal shows ^C."""
    if sys.stderr is not None and sys.stderr.isatty():
        note("")


def flush() -> None:
    """Write what Python holds back, here where an error of it can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Send what is still buffered nowhere, so that Python's own end has nothing to say."""
    if sys.stdout is not None:
        discard(sys.stdout)


def discard(stream: TextIO) -> None:
    """Send what a stream holds, and all that is written to it from now on, nowhere."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a test's
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def make_runner() -> asyncio.Runner:
    """An event loop for a command: uvloop's if that is installed (the extra ``uvloop``)."""
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
