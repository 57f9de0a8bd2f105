"""What a batch tells of itself: while it runs, and at its end; plain values.

It refuses to count (``run`` does) and to print (the command line does).
"""

from typing import Literal

from attrs import field, frozen

from laplas_async.pacing.gate import Pace

Ending = Literal["done", "interrupted", "max_errors", "same_failure"]
"""Why a batch ended: all rows have a result; it was asked to stop; too many rows failed; rows
failed again and again for one reason that no row can help (a bad key, no credits)."""


@frozen(kw_only=True)
class Counts:
    """Rows by what became of them. ``answered`` and ``failed`` are of this run alone.

    ``resumed``: rows whose result was in the output already; ``changed``: rows that were asked
    anew because they ask something else than the result in the output did; ``maybe_twice``: rows
    that were in flight when an earlier run was killed, so that they may have been asked twice;
    ``bad``: rows among the failed that could not be asked at all; ``failed_before``: rows among
    the resumed whose result is a failure; ``mended``: lines of the output that had been cut off
    when an earlier run ended (the line was completed, or taken out and its row asked again).
    """

    answered: int = 0
    failed: int = 0
    bad: int = 0
    resumed: int = 0
    changed: int = 0
    maybe_twice: int = 0
    failed_before: int = 0
    mended: int = 0

    @property
    def settled(self) -> int:
        """Rows that have a result."""
        return self.answered + self.failed + self.resumed


@frozen(kw_only=True)
class Tokens:
    """Tokens that the service counted."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        """Both."""
        return self.prompt + self.completion


@frozen(kw_only=True)
class BatchProgress:
    """A batch at one moment. ``rows``: how many the input has, None until it was read to its end.

    ``saved``: results that are on disk. Rates are of the last seconds; ``elapsed`` and ``left``
    are seconds (``left`` None while nobody can tell); ``usd`` is what the service told that it
    cost, None where it tells none.
    """

    counts: Counts
    rows: int | None
    saved: int
    elapsed: float
    left: float | None
    rows_per_second: float
    tokens: Tokens
    tokens_per_second: float
    usd: float | None
    pace: Pace


@frozen(kw_only=True)
class Quantiles:
    """Seconds that half, 95 and 99 of a hundred stayed below."""

    p50: float
    p95: float
    p99: float


@frozen(kw_only=True)
class BatchReport:
    """A batch at its end. ``rows``: how many were read; all there are, where ``ending`` is done.

    ``reason``: for the endings ``max_errors`` and ``same_failure``, in words. ``failures``: how
    many rows failed, by the error's name; ``advice``: what to do about each, by the same name.
    ``latency``: seconds from a row's being sent (its last try) to its answer; ``first_token``: to
    its first content, where rows were streamed. ``rejected``: requests that the service rejected
    for a limit; ``tries``: requests that were sent.
    """

    ending: Ending
    reason: str = ""
    rows: int
    counts: Counts
    tokens: Tokens
    credits: float | None = None
    usd: float | None = None
    elapsed: float
    latency: Quantiles | None = None
    first_token: Quantiles | None = None
    rejected: int = 0
    tries: int = 0
    failures: dict[str, int] = field(factory=dict)
    advice: dict[str, str] = field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every row has an answer, be it from an earlier run."""
        counts = self.counts
        return self.ending == "done" and not counts.failed and not counts.failed_before
