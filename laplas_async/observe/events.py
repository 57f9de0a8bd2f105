"""What happens to a request, told to whoever listens: one record, one hook."""

from collections.abc import Callable
from typing import Literal

from attrs import frozen

from laplas_async.pacing.gate import Pace
from laplas_async.types import Attempt


@frozen
class Event:
    """One thing that happened. ``pace`` is what the gate knew then.

    ``kind``: "attempt" (a try ended, well or not; its ``attempt.waited`` tells the wait),
    "rejected" (the same for a limit: the gate has just learned from it), "retry" (the next try
    waits ``delay`` seconds, and then for its turn), or "limit" (what the gate takes for the
    service's limit has changed: see ``pace``).
    """

    kind: Literal["attempt", "rejected", "retry", "limit"]
    pace: Pace
    attempt: Attempt | None = None
    delay: float | None = None


Listener = Callable[[Event], None]
"""Is called in the event loop, so it must be quick; what it raises ends the call."""
