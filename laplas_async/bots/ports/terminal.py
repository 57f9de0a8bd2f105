"""``TerminalPort``: shows a streamed answer in a terminal. It refuses to format Markdown."""

import sys
from typing import TextIO

from laplas_async.bots.port import Previews

# Writes to a screen are not limited; a message is as long as the text.
_LIMIT = 2**31
# Seconds between two writes: faster than anyone reads, and few enough for a slow connection.
_PACE = 0.05


class TerminalPort:
    """Writes the text as it grows, each message on lines of its own. ``output``: standard output.

    What was written is not taken back, so a text that changes is written once more.
    """

    limit = _LIMIT
    pace = _PACE
    previews = Previews(cursor="", append_only=True)

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output if output is not None else sys.stdout
        self._messages = 0
        self._written = ""
        self._ended = True

    def size(self, text: str) -> int:
        """The number of characters."""
        return len(text)

    async def send(self, text: str, *, formatted: bool) -> int:
        """Write a new message."""
        if not self._ended:
            self._write("\n")
        self._messages += 1
        self._written = ""
        self._show(text, end=formatted)
        return self._messages

    async def edit(self, message: int, text: str, *, formatted: bool) -> None:
        """Write what has been added to the last message."""
        if message == self._messages:
            self._show(text, end=formatted)

    def _show(self, text: str, *, end: bool) -> None:
        if not text.startswith(self._written):
            self._write("\n")
            self._written = ""
        self._write(text[len(self._written) :])
        self._written = text
        self._ended = end
        if end:
            self._write("\n")

    def _write(self, text: str) -> None:
        # Terminal escapes in a model's text would control the user's terminal.
        self._output.write("".join(c for c in text if c.isprintable() or c in "\n\t"))
        self._output.flush()
