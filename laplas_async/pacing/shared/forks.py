"""Descriptors that a forked child must not keep: a lock and connections whose end is a message.

A copy in the child would hold the lock, and keep a connection open, after the parent has died. The
child cannot close it through its owner, whose event loop is the parent's too (``calls.lifetime``),
so its number is made to lead to the null device.
"""

import contextlib
import os
from typing import Final

_KEPT: Final[set[int]] = set()


def guard(descriptor: int) -> None:
    """Take it from every child from now on."""
    _KEPT.add(descriptor)


def forget(descriptor: int) -> None:
    """It will be closed."""
    _KEPT.discard(descriptor)


def _drop() -> None:
    if not _KEPT:
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in _KEPT:
        with contextlib.suppress(OSError):
            os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
    _KEPT.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_drop)
