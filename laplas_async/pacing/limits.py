"""What the user tells of the service's limits, and the ledger that keeps them in any window."""

from collections import deque

from attrs import define, field, frozen

from laplas_async.errors import ConfigError

_WINDOW = 60.0  # seconds: what is told is per minute


@frozen
class Limits:
    """What is known of the service's limits; None where nothing is.

    ``concurrency``: requests in flight at once; a stream counts until it ends.
    ``requests_per_minute`` and ``tokens_per_minute`` are kept in any window of 60 s. ``adaptive``:
    learn from rejections, below what is told; with False a rejection only delays the request that
    met it. ``max_wait``: seconds a call waits for its turn before it fails; None: as long as it
    takes.
    """

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    adaptive: bool = True
    max_wait: float | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("concurrency", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(
                    f"Limits.{name}={value!r}: must be an integer, at least 1, or None"
                )
        wait = self.max_wait
        if wait is not None and not (type(wait) in (int, float) and wait >= 0):
            raise ConfigError(f"Limits.max_wait={wait!r}: must be seconds, at least 0, or None")


@define(eq=False, repr=False)
class Ticket:
    """One request that was let through: when, as the how-manieth in flight, reserving what."""

    started: float
    level: int
    tokens: int = 0
    settled: bool = False  # known as accepted or rejected
    rejected: bool = False


@define(eq=False, repr=False)
class Ledger:
    """The requests and tokens of the last minute, against what is told of them."""

    limits: Limits
    _starts: deque[float] = field(factory=deque)
    _tickets: deque[Ticket] = field(factory=deque)
    _tokens: int = 0

    def delay(self, now: float, tokens: int) -> float:
        """Seconds until one more that reserves ``tokens`` fits."""
        delay = 0.0
        per_minute = self.limits.requests_per_minute
        if per_minute is not None and len(self._starts) >= per_minute:
            delay = self._starts[-per_minute] + _WINDOW - now
        budget = self.limits.tokens_per_minute
        if budget is not None and tokens:
            self._forget_tokens(now)
            left = budget - self._tokens - tokens
            for ticket in self._tickets:
                if left >= 0:
                    break
                left += ticket.tokens
                delay = max(delay, ticket.started + _WINDOW - now)
        return delay

    def enter(self, ticket: Ticket) -> None:
        """One goes."""
        if self.limits.requests_per_minute is not None:
            while self._starts and self._starts[0] <= ticket.started - _WINDOW:
                self._starts.popleft()
            self._starts.append(ticket.started)
        if self.limits.tokens_per_minute is not None and ticket.tokens:
            self._forget_tokens(ticket.started)
            self._tickets.append(ticket)
            self._tokens += ticket.tokens

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """It used so many tokens, in place of those reserved."""
        if self._tickets and ticket.tokens and ticket.started >= self._tickets[0].started:
            self._tokens += tokens - ticket.tokens
            ticket.tokens = tokens

    def _forget_tokens(self, now: float) -> None:
        while self._tickets and self._tickets[0].started <= now - _WINDOW:
            self._tokens -= self._tickets.popleft().tokens
