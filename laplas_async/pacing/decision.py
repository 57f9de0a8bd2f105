"""What a gate asks and informs, and the decision: send now, or not before some moment."""

import math
from typing import ClassVar, Final, Protocol

from attrs import frozen

from laplas_async.pacing.ledger import Rule, Ticket
from laplas_async.pacing.limits import Limits


@frozen
class Go:
    """The next request may be sent now."""

    go: ClassVar[bool] = True
    until: ClassVar[float] = -math.inf
    reason: ClassVar[str] = ""


@frozen
class Wait:
    """Not before ``until``; infinite: not before one in flight has ended. ``reason``: a phrase."""

    until: float
    reason: str
    go: ClassVar[bool] = False


GO: Final = Go()
FULL: Final = Wait(math.inf, "as many requests are in flight as may be")
PAUSED: Final = "the service asked for a pause, or is down"
PROBING: Final = "rejected for a limit: one probe at a time until the service takes more"
TRYING: Final = "the service takes requests again: finding out how many"
STARTING: Final = "no limit is known yet: sending more with each round trip"
LEARNED: Final = "a learned limit"
CONFIGURED: Final = "a configured limit"


class Decider(Protocol):
    """The interface of ``limiter.Limiter``, where each member is explained.

    A worker's part of a limiter that several processes share has it too: ``shared.worker``.
    """

    @property
    def limits(self) -> Limits:
        """What is configured."""
        ...

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        ...

    @property
    def rejections(self) -> int:
        """How many were rejected."""
        ...

    @property
    def concurrency(self) -> int:
        """How many may be in flight now."""
        ...

    @property
    def closed(self) -> bool:
        """Whether only probes go."""
        ...

    @property
    def rate_per_second(self) -> float | None:
        """The learned pace."""
        ...

    @property
    def verdict(self) -> str | None:
        """What the last rejection that was judged was taken for."""
        ...

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What is configured, and what is believed."""
        ...

    def decide(self, now: float, cost: int = 0) -> Go | Wait:
        """Whether a request may be sent now. Changes nothing."""
        ...

    def connected(self, delay: float) -> None:
        """A connection took ``delay`` seconds."""
        ...

    def started(self, now: float, cost: int = 0) -> Ticket:
        """A request is sent."""
        ...

    def accepted(self, ticket: Ticket, now: float) -> None:
        """The service took it."""
        ...

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """It used ``tokens``."""
        ...

    def ended(self, ticket: Ticket, now: float) -> None:
        """It is over."""
        ...

    def failed(self, ticket: Ticket, now: float) -> None:
        """The service failed, or could not be reached."""
        ...

    def rejected(self, ticket: Ticket, now: float, retry_after: float | None = None) -> None:
        """It was rejected for a limit."""
        ...

    def pause(self, now: float, delay: float) -> None:
        """Send nothing for ``delay`` seconds."""
        ...
