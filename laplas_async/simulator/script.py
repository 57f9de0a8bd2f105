"""The script of a simulator: which fault each request meets.

It refuses to know what a fault does.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from laplas_async.simulator.faults import Fault

FaultRule = Callable[[dict[str, Any], int], Fault | None]


class Script:
    """The faults of the next requests: one entry each, and then one rule for all that follow.

    An entry of None is no fault. Safe to use from several threads.
    """

    def __init__(self, entries: Sequence[Fault | None] = ()) -> None:
        self._entries = deque(entries)
        self._always: Fault | FaultRule | None = None

    def add(self, *entries: Fault | None) -> None:
        """Append entries, one per request in order of arrival."""
        self._entries.extend(entries)

    def always(self, rule: Fault | FaultRule | None) -> None:
        """Set the fault once no entries are left; a callable receives (body, number)."""
        self._always = rule

    def clear(self) -> None:
        """Remove all faults."""
        self._entries.clear()
        self._always = None

    def take(self) -> Fault | FaultRule | None:
        """Return the fault of the request that has just arrived and use up its entry."""
        try:
            return self._entries.popleft()
        except IndexError:
            return self._always
