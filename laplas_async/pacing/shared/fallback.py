"""What a worker does alone while it hears nothing of the others: its share of what was known.

Pure. The known rules, each divided by the number of workers, hold like configured ones, and below
them a learner of its own follows if the limit changes meanwhile.
"""

import math
from collections.abc import Iterable, Sequence

from attrs import evolve

from laplas_async.pacing.decision import CONFIGURED, FULL, Go, Wait
from laplas_async.pacing.ledger import Book, RateBook, Rule, Ticket, WindowBook
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.tuning import TUNING

REASON = f"{CONFIGURED}, or this worker's share of a learned one: the others are out of reach"


class ShareLimiter(Limiter):
    """A limiter of the share that falls to one of ``workers``; ``rank``: which of them, from 0.

    ``sent``: (time, tokens) of what this worker sent before; it counts in the windows.
    """

    def __init__(
        self,
        limits: Limits,
        rules: Sequence[Rule],
        *,
        workers: int,
        rank: int,
        ceiling: int,
        sent: Iterable[tuple[float, int]] = (),
    ) -> None:
        super().__init__(_divide(limits, workers, rank), ceiling=ceiling)
        learned = [rule for rule in rules if rule.evidence != "configured"]
        places = [
            _part(int(rule.number), workers, rank) for rule in learned if rule.kind == "concurrency"
        ]
        self._places = min(places, default=ceiling)
        self._books = [book for rule in learned if (book := _book(rule, workers, rank)) is not None]
        for at, tokens in sent:
            for book in (*self._configured, *self._books):
                book.enter(at, tokens)

    def decide(self, now: float, cost: int = 0) -> Go | Wait:
        """Whether a request that costs ``cost`` tokens may be sent now."""
        if self.in_flight >= self._places:
            return FULL
        decision = super().decide(now, cost)
        until = max((book.free_at(now, cost) for book in self._books), default=-math.inf)
        if until <= now or until <= decision.until:
            return decision
        return Wait(until, REASON)

    def started(self, now: float, cost: int = 0) -> Ticket:
        """A request is sent."""
        for book in self._books:
            book.enter(now, cost)
        return super().started(now, cost)


def _part(whole: int, workers: int, rank: int) -> int:
    """The share of ``rank``, at least 1: a worker that could send nothing would never end."""
    return max(1, whole // workers + (rank < whole % workers))


def _divide(limits: Limits, workers: int, rank: int) -> Limits:
    def part(whole: int | None) -> int | None:
        return None if whole is None else _part(whole, workers, rank)

    return evolve(
        limits,
        concurrency=part(limits.concurrency),
        requests_per_minute=part(limits.requests_per_minute),
        tokens_per_minute=part(limits.tokens_per_minute),
    )


def _book(rule: Rule, workers: int, rank: int) -> Book | None:
    if rule.kind == "rate":
        # No burst: the others have used what was saved up.
        return RateBook(rule.number / workers, TUNING.burst_none)
    if rule.kind == "window":
        return WindowBook(_part(int(rule.number), workers, rank), rule.period, rule.unit)
    return None
