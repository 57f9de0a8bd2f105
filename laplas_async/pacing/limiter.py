"""When the next request may be sent: the rules of the user, and below them what was learned.

Pure arithmetic over ``now``, in seconds of any clock that never goes back. It refuses to wait and
to know who waits: ``gate`` asks ``decide(now, cost)``, which changes nothing, and reports facts:
``started``, then ``accepted``, ``rejected`` or ``failed``, and ``ended``.

How a limit is found that nobody publishes, in the order in which it happens:

1. ``ramp``: requests are sent by round trips, each with a quarter of what was accepted so far;
   hardly any until a connection or a response has shown how long a round trip is.
2. ``air``: a request that was not rejected within a round trip was accepted. That is known long
   before its response.
3. ``closure``: after a rejection that no rule explains nothing is sent until all in the air has
   settled, and then one probe at a time, at growing gaps that prefer round periods.
4. What is accepted at the reopening shows the kind of limit, and ``verdict`` names it. Accepted
   again only because requests had ended, and rejected at the same number in flight: a limit on
   the number at once (``concurrency``). Far more than a bucket could have gained meanwhile: a
   ``window``, of as many as were accepted before it closed. One or two and then a rejection: a
   token bucket (``rate``), or the least ``spacing`` where there is no burst. Beside a rate that
   had held for long, a closure of many of its intervals is a window.
5. From then on the rule is enforced like a configured one, by the books of the ``ledger``. Each
   estimator goes on looking for more just above its limit, seldom enough that it costs few
   rejections, and ever faster when a rejection is overdue.
6. A rejection is attributed to the rule whose limit that request tried, or else to the one that
   had held it back last. One that no rule explains, and a second in a row, closes again (3).

``outage`` is apart: failures are no rejections. ``tuning`` holds all the numbers.
"""

import math

from attrs import define, field

from laplas_async.pacing.decision import CONFIGURED, FULL, GO, PAUSED, Go, Wait
from laplas_async.pacing.learner import Learner
from laplas_async.pacing.ledger import Rule, Ticket, WindowBook
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.outage import Outage
from laplas_async.pacing.tuning import TUNING

_MINUTE = 60.0  # seconds: configured limits are per minute


@define(eq=False, repr=False)
class Limiter:
    """How many may be in flight, and from when. ``ceiling``: never more at once than this."""

    limits: Limits = field(factory=Limits)
    ceiling: int = 1000
    in_flight: int = 0
    rejections: int = 0
    learner: Learner = field(factory=Learner)
    outage: Outage = field(factory=Outage)
    _configured: list[WindowBook] = field(init=False)
    _paused_until: float = -math.inf

    def __attrs_post_init__(self) -> None:
        requests, tokens = self.limits.requests_per_minute, self.limits.tokens_per_minute
        self._configured = []
        if requests is not None:
            self._configured.append(WindowBook(requests, _MINUTE))
        if tokens is not None:
            self._configured.append(WindowBook(tokens, _MINUTE, "tokens"))

    # --- questions; none of them changes anything ---------------------------------------------

    @property
    def concurrency(self) -> int:
        """How many may be in flight now."""
        configured = self.limits.concurrency
        most = self.ceiling if configured is None else min(configured, self.ceiling)
        if not self.limits.adaptive:
            return most
        if self.outage.down:
            return 1
        learned = self.learner.most_at_once
        return most if learned >= most else max(1, int(learned))

    @property
    def closed(self) -> bool:
        """Whether only probes go, one at a time, since a rejection that nothing explains."""
        return self.learner.closure is not None

    @property
    def rate_per_second(self) -> float | None:
        """The learned pace, in requests a second; None while none is known."""
        rate = self.learner.rate
        return None if rate is None else rate.book.rate

    @property
    def verdict(self) -> str | None:
        """What the last rejection that was judged was taken for; None before the first."""
        return None if self.learner.cause is None else self.learner.cause.value

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What is configured, and what is believed."""
        rules = [
            Rule("window", book.number, book.period, unit=book.unit) for book in self._configured
        ]
        if self.limits.concurrency is not None:
            rules.append(Rule("concurrency", self.limits.concurrency))
        return (*rules, *self.learner.rules())

    def decide(self, now: float, cost: int = 0) -> Go | Wait:
        """Whether a request that costs ``cost`` tokens may be sent now."""
        if self.in_flight >= self.concurrency:
            return FULL
        until, reason = self._paused_until, PAUSED
        if self.limits.adaptive:
            at, why = self.learner.free_at(now, cost, self.in_flight)
            if at > until:
                until, reason = at, why
        for book in self._configured:
            if (at := book.free_at(now, cost)) > until:
                until, reason = at, CONFIGURED
        return GO if until <= now else Wait(until, reason)

    # --- facts --------------------------------------------------------------------------------

    def connected(self, delay: float) -> None:
        """A connection took ``delay`` seconds: a rejection will take about as long."""
        self.learner.air.connect(delay)

    def started(self, now: float, cost: int = 0) -> Ticket:
        """A request is sent."""
        self.in_flight += 1
        ticket = Ticket(now, self.in_flight, cost)
        for book in self._configured:
            book.enter(now, cost)
        if self.limits.adaptive:
            self.learner.start(ticket)
        return ticket

    def accepted(self, ticket: Ticket, now: float) -> None:
        """The service took it: its response has begun, or was read whole."""
        self.outage.succeed()
        if self.limits.adaptive:
            self.learner.accept(ticket, now)

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """It used ``tokens``, in place of those reserved."""
        for book in self._configured:
            book.correct(ticket, tokens)
        ticket.tokens = tokens

    def ended(self, ticket: Ticket, now: float) -> None:
        """It is over, and nothing more is known of it."""
        self.in_flight -= 1
        if self.limits.adaptive:
            self.learner.end(ticket, now, self.in_flight)

    def failed(self, ticket: Ticket, now: float) -> None:
        """The service failed, or could not be reached."""
        self.ended(ticket, now)
        if self.limits.adaptive:
            self.pause(now, self.outage.fail())

    def rejected(self, ticket: Ticket, now: float, retry_after: float | None = None) -> None:
        """It was rejected for a limit; ``retry_after``: the seconds that the service asked for."""
        self.in_flight -= 1
        self.rejections += 1
        if self.limits.adaptive:
            if retry_after is not None:
                self.pause(now, retry_after)
            self.learner.reject(ticket, now, retry_after)

    def pause(self, now: float, delay: float) -> None:
        """Send nothing for ``delay`` seconds; no single response can stop the client for long."""
        if delay > 0:
            until = now + min(delay, TUNING.pause_most)
            self._paused_until = max(self._paused_until, until)
