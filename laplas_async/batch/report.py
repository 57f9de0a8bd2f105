"""The progress and the final report of a batch: plain values.

It refuses to count (``stats`` does) and to print (the command line does).
"""

from typing import Literal

from attrs import field, frozen

from laplas_async.pacing.gate import Pace

Ending = Literal["done", "interrupted", "max_errors", "same_failure", "long_wait", "budget"]
"""Why a batch ended: every row has a result; it was interrupted; too many rows failed; consecutive
rows failed for one reason that does not depend on the row (a bad key, no credits); the service asks
to wait longer than the client's ``RetryPolicy.max_retry_after`` allows; the next row may cost more
than is left of the budget."""


@frozen(kw_only=True)
class RowCounts:
    """Rows by result. ``answered`` and ``failed`` are of this run only.

    ``resumed``: rows whose result was already in the output; ``changed``: rows that were sent again
    because their request differs from that of the result in the output; ``possibly_duplicated``:
    rows that were in flight when an earlier run was killed, so that they may have been sent twice;
    ``bad``: failed rows that could not be sent at all; ``failed_before``: resumed rows whose result
    is a failure; ``repaired``: lines of the output that were incomplete when an earlier run ended
    (the line was completed, or removed and its row sent again).
    """

    answered: int = 0
    failed: int = 0
    bad: int = 0
    resumed: int = 0
    changed: int = 0
    possibly_duplicated: int = 0
    failed_before: int = 0
    repaired: int = 0

    @property
    def settled(self) -> int:
        """Rows that have a result."""
        return self.answered + self.failed + self.resumed


@frozen(kw_only=True)
class Tokens:
    """Tokens, as counted by the service."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt + self.completion


@frozen(kw_only=True)
class BatchProgress:
    """A batch at one moment. ``rows``: how many the input has, None until it was read to its end.

    ``saved``: results that are on disk. Rates are means over the last 10 seconds; ``elapsed`` and
    ``left`` are seconds (``left`` is None while it cannot be estimated); ``usd`` is the cost
    of this run's completions, None while none is known; ``usd_spent`` is what counts against the
    budget, earlier runs and what may be billed included, and ``usd_limit`` its cap, None without
    one. ``latency`` is that of this run's rows.
    """

    counts: RowCounts
    rows: int | None
    saved: int
    elapsed: float
    left: float | None
    rows_per_second: float
    tokens: Tokens
    tokens_per_second: float
    usd: float | None
    pace: Pace
    usd_spent: float | None = None
    usd_limit: float | None = None
    latency: "Quantiles | None" = None


@frozen(kw_only=True)
class Quantiles:
    """The percentiles p50, p90, p95 and p99, in seconds."""

    p50: float
    p90: float
    p95: float
    p99: float


@frozen(kw_only=True)
class BatchReport:
    """A batch at its end. ``rows``: how many were read; all of them, if ``ending`` is done.

    ``reason``: why it stopped early, unless it was interrupted. ``failures``: how many rows failed,
    by the name of the error; ``advice``: what to do about each, by the same name. ``latency``:
    seconds from a row's last attempt being sent to its completion; ``first_token``: to its first
    content, for streamed rows. ``rejected``: requests that the service rejected with 429;
    ``tries``: requests that were sent. ``usd``: what this run's completions cost, None: unknown;
    ``usd_by_source``: the same, as "reported" by the service, by the given "price", by
    "genai-prices"; ``usd_may_be_billed``: what failed attempts may have cost at most, as far as the
    price is known; ``usd_before``: both together, in the output's lines of earlier runs.
    """

    ending: Ending
    reason: str = ""
    rows: int
    counts: RowCounts
    tokens: Tokens
    credits: float | None = None
    usd: float | None = None
    usd_by_source: dict[str, float] = field(factory=dict)
    usd_may_be_billed: float = 0.0
    usd_before: float = 0.0
    elapsed: float
    latency: Quantiles | None = None
    first_token: Quantiles | None = None
    rejected: int = 0
    tries: int = 0
    failures: dict[str, int] = field(factory=dict)
    advice: dict[str, str] = field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every row has a completion, from this run or an earlier one."""
        counts = self.counts
        return self.ending == "done" and not counts.failed and not counts.failed_before
