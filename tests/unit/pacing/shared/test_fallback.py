"""The share of one worker that is alone."""

from laplas_async.pacing.ledger import Rule
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared.fallback import ShareLimiter


def share(
    *rules: Rule, workers: int = 4, rank: int = 0, limits: Limits | None = None
) -> ShareLimiter:
    return ShareLimiter(limits or Limits(), rules, workers=workers, rank=rank, ceiling=1000)


def sent_within(limiter: ShareLimiter, seconds: float) -> int:
    """How many are sent, one every 10 ms at most, each over at once and accepted."""
    sent = 0
    for step in range(int(seconds * 100)):
        now = step / 100
        if limiter.decide(now).go:
            ticket = limiter.started(now)
            limiter.accepted(ticket, now)
            limiter.ended(ticket, now)
            sent += 1
    return sent


def test_a_rate_is_divided() -> None:
    rule = Rule("rate", 20.0, burst=8.0, evidence="learned")
    assert 48 <= sent_within(share(rule), 10.0) <= 53


def test_a_window_is_divided() -> None:
    assert sent_within(share(Rule("window", 40, 5.0, evidence="learned")), 4.9) == 10


def test_places_are_divided_and_each_worker_keeps_one_at_least() -> None:
    rule = Rule("concurrency", 6, evidence="learned")
    sizes = []
    for rank in range(4):
        limiter = share(rule, rank=rank)
        now = 0.0
        for _ in range(100):
            now += 0.1
            if limiter.decide(now).go:
                limiter.started(now)
        sizes.append(limiter.in_flight)
    assert sizes == [2, 2, 1, 1]
    few = share(Rule("concurrency", 2, evidence="learned"), workers=16, rank=15)
    few.started(0.0)
    assert few.in_flight == 1
    assert not few.decide(1.0).go


def test_configured_limits_are_divided() -> None:
    limits = Limits(concurrency=8, requests_per_minute=100, tokens_per_minute=4000)
    assert share(limits=limits, rank=3).limits == Limits(
        concurrency=2, requests_per_minute=25, tokens_per_minute=1000
    )


def test_it_follows_when_the_limit_drops() -> None:
    limiter = share(Rule("rate", 40.0, burst=1.0, evidence="learned"))
    now = 0.0
    for _ in range(5):
        now += 0.1
        assert limiter.decide(now).go
        limiter.rejected(limiter.started(now), now + 0.002)
        now += 0.01
        if limiter.closed:
            break
    assert limiter.closed
