"""Requests in the air: sent, and neither accepted nor rejected as far as is known.

A request that was not rejected within slightly more than the slowest rejection's round trip was
accepted; that is known long before its response. A rejection overtakes no other one.
"""

import math
from collections import deque
from collections.abc import Iterator

from attrs import define, field

from laplas_async.pacing.ledger import Ticket
from laplas_async.pacing.tuning import TUNING


@define(eq=False, repr=False)
class Air:
    """In the order of sending. ``settle_after``: seconds until silence means acceptance."""

    settle_after: float = TUNING.settle_unknown
    measured: bool = False  # whether anything has shown how far away the service is
    last_sent: float = -math.inf
    _echo: float = 0.0  # seconds: the slowest rejection lately
    _young: deque[Ticket] = field(factory=deque)

    def connect(self, delay: float) -> None:
        """A connection took so long: a rejection will take about as long."""
        if not self._echo:
            self._measure(TUNING.connects * delay)

    def respond(self, delay: float) -> None:
        """A response began after so long: a rejection takes no longer than that."""
        if not self.measured:
            self._measure(delay)

    def _measure(self, delay: float) -> None:
        wanted = max(TUNING.settle_first, delay + TUNING.settle_slack)
        self.settle_after = min(TUNING.settle_most, wanted)
        self.measured = True

    def reject(self, delay: float) -> None:
        """A rejection took so long to come back."""
        self._echo = max(delay, TUNING.echo_decay * self._echo)
        wanted = TUNING.settle_factor * self._echo + TUNING.settle_slack
        self.settle_after = min(TUNING.settle_most, wanted)
        self.measured = True

    def add(self, ticket: Ticket) -> None:
        """One is sent."""
        self.last_sent = ticket.started
        self._young.append(ticket)

    def settled(self, now: float, before: float = -math.inf) -> Iterator[Ticket]:
        """Take out those that are known as accepted at ``now``, and all sent before ``before``."""
        young, limit = self._young, max(now - self.settle_after, before)
        while young and (young[0].settled or young[0].started < limit):
            ticket = young.popleft()
            if not ticket.settled:
                yield ticket

    @property
    def overtaking(self) -> float:
        """Seconds within which one request may overtake another on its way."""
        return TUNING.overtake * self._echo

    def later(self, sent: float) -> int:
        """How many are in the air that were sent after ``sent``."""
        return sum(not ticket.settled and ticket.started > sent for ticket in self._young)

    def overtakers(self, sent: float) -> int:
        """How many in the air may have overtaken the one of ``sent``."""
        most = sent + self.overtaking
        return sum(
            sent < ticket.started <= most and (ticket.accepted or not ticket.settled)
            for ticket in self._young
        )

    def clear_at(self) -> float:
        """When all will be settled, at the latest."""
        for ticket in reversed(self._young):
            if not ticket.settled:
                return ticket.started + self.settle_after + 1e-9
        return -math.inf
