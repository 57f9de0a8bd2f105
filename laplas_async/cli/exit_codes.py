"""The exit codes of all commands; the last two are those a shell reports for SIGINT and SIGPIPE."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1  # of a batch: some rows failed
WRONG_USAGE: Final = 2
STOPPED_EARLY: Final = 3  # a batch
INTERRUPTED: Final = 130  # Ctrl-C
READER_GONE: Final = 141  # the reader of the output closed it
