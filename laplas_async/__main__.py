"""``python -m laplas_async``, which is ``laplas``."""

import sys

from laplas_async.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
