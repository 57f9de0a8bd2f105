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

# A model's text is not trusted: no escape sequence in it may move the cursor, set a title or fill
# the clipboard. Tabs and line ends stay.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}")
_DIM, _NORMAL = "\x1b[2m", "\x1b[22m"
_CONTROLS |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


class Output:
    """Standard output for a model's text: each piece is out when ``write`` returns.

    On a terminal, control characters are replaced; a pipe gets the text unchanged. A slow reader
    blocks the event loop, which has nothing else to do: the rest waits in the socket.
    Raises ``BrokenPipeError`` once the reader has gone, ``OSError`` for a full disk.
    """

    def __init__(self) -> None:
        if sys.stdout is None:  # closed by the shell: >&-
            raise OSError("standard output is closed")
        self._stream: TextIO = sys.stdout
        self.is_terminal = self._stream.isatty()
        self.is_unicode = (self._stream.encoding or "").lower().replace("-", "") == "utf8"
        self._in_line = False
        self._in_reasoning = False
        tolerate(self._stream)

    def write(self, text: str) -> None:
        """Write and flush."""
        if not text:
            return
        if self._in_reasoning:
            self._in_reasoning = False
            self.end_line()
            self._stream.write("\n")
        self._in_line = not text.endswith("\n")
        self._stream.write(text.translate(_CONTROLS) if self.is_terminal else text)
        self._stream.flush()

    def write_reasoning(self, text: str) -> None:
        """Write a model's reasoning, dimmed and apart from the answer; on a terminal alone."""
        if not text or not self.is_terminal:
            return
        self._in_reasoning, self._in_line = True, not text.endswith("\n")
        # Each piece by itself, so that no interruption leaves the terminal dimmed.
        self._stream.write(f"{_DIM}{text.translate(_CONTROLS)}{_NORMAL}")
        self._stream.flush()

    def end_line(self) -> None:
        """End the line, if one was started."""
        self._in_reasoning = False
        if self._in_line:
            self.write("\n")


def fill_closed() -> None:
    """Open nothing in place of a standard stream that the shell closed (``2>&-``).

    Otherwise the next file that is opened gets its number: libuv aborts then, and what a library
    writes to number 2 would end up in that file. For Python the stream stays closed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def tolerate(stream: TextIO) -> None:
    """Let a stream replace what its encoding lacks, where Python would raise."""
    reconfigure = getattr(stream, "reconfigure", None)  # a stream in memory has none
    if reconfigure is not None:
        reconfigure(errors="replace")


def complain(text: str) -> None:
    """Print one line to stderr, whatever the text contains."""
    note(f"laplas: {' '.join(text.split())}")


def note(text: str) -> None:
    """Print text to stderr, without control characters; nothing if it is closed."""
    if sys.stderr is None:  # print() would go to stdout
        return
    try:
        print(text.translate(_CONTROLS), file=sys.stderr, flush=True)
    except OSError:  # stderr is gone; discarded, or Python would exit with a code of its own
        discard(sys.stderr)


def describe(error: LaplasError) -> str:
    """An error in one line: its message, and facts that the user cannot see otherwise."""
    more = []
    if isinstance(error, StreamError) and error.partial.text:
        more.append("the answer is incomplete")
    if len(error.attempts) > 1:
        more.append(f"{len(error.attempts)} attempts")
    if error.request_id:
        more.append(f"request id {error.request_id}")
    message = error.message or type(error).__name__
    return f"{message} [{', '.join(more)}]" if more else message


def end_line() -> None:
    """Leave the line on which a terminal shows ^C."""
    if sys.stderr is not None and sys.stderr.isatty():
        note("")


def flush() -> None:
    """Write what Python has buffered, while an error can still be reported."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Discard what is still buffered, so that Python reports nothing about it at exit."""
    if sys.stdout is not None:
        discard(sys.stdout)


def discard(stream: TextIO) -> None:
    """Discard what a stream has buffered, and all that is written to it from now on."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream without a descriptor
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def make_runner() -> asyncio.Runner:
    """An event loop for a command: uvloop's if that is installed (the extra ``uvloop``)."""
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
