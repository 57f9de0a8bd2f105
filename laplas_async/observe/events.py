"""What happened to a request, reported to the caller's listener: one record, one hook."""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from attrs import frozen

from laplas_async.pacing.gate import Pace
from laplas_async.types import Attempt

log = logging.getLogger("laplas_async")


@frozen
class Event:
    """One thing that happened; ``pace`` is what the gate knew at that moment.

    ``kind``: "attempt" (an attempt ended; ``attempt.waited`` is how long it waited before),
    "rejected" (the same for a rejection by a rate limit, from which the gate has just learned;
    ``delay`` is what the service asks to wait, which may be more than it is granted),
    "retry" (the next attempt waits ``delay`` seconds, and then for its turn), or "limit" (the gate
    believes in other limits than before: see ``pace``; ``reason``: what the last rejection was
    taken for).
    """

    kind: Literal["attempt", "rejected", "retry", "limit"]
    pace: Pace
    attempt: Attempt | None = None
    delay: float | None = None
    reason: str | None = None


Listener = Callable[[Event], None]
"""Called in the event loop, so it must be quick.

An exception that it raises goes to the event loop's exception handler and affects no call (law 4).
"""


class EventPublisher:
    """Passes events to a listener that may be absent, may change, and may raise."""

    __slots__ = ("__weakref__", "listener")

    def __init__(self, listener: Listener | None = None) -> None:
        self.listener = listener

    def publish(self, event: Event) -> None:
        """Call the listener, if there is one. Never raises for an error of the listener's."""
        listener = self.listener
        if listener is None:
            return
        try:
            listener(event)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a user's hook
            _report(error, event)

    def limit_changed(self, pace: Pace) -> None:
        """The gate believes in other limits than before."""
        log.info("limits: %s (%s)", "; ".join(pace.describe()) or "none known", pace.verdict)
        self.publish(Event("limit", pace, reason=pace.verdict))


def _report(error: BaseException, event: Event) -> None:
    context = {"message": f"on_event raised on {event.kind!r}", "exception": error}
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        log.exception("on_event raised on %r", event.kind, exc_info=error)
    else:
        loop.call_exception_handler(context)
