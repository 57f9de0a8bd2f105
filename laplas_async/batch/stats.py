"""What is counted while a batch runs, and what follows: progress, report, early ending, advice.

Plain arithmetic in constant memory. It refuses to know how rows are sent.
"""

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable

from attrs import asdict, define, field

from laplas_async.batch.reader import Block
from laplas_async.batch.report import (
    BatchProgress,
    BatchReport,
    Ending,
    Quantiles,
    RowCounts,
    Tokens,
)
from laplas_async.batch.results import RowCost
from laplas_async.errors import (
    AuthenticationError,
    BudgetError,
    ConfigError,
    LaplasError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    QuotaExceededError,
)
from laplas_async.pacing.budget import Budget
from laplas_async.pacing.gate import Pace
from laplas_async.types import Attempt, Balance, ChatCompletion

# Seconds over which a rate is averaged: long enough to be steady at one row a second, short enough
# to show a pause (test_stats: progress).
_RATE_WINDOW = 10.0
_BUCKET = math.log(1.01)  # a percentile is at most 0.5 % off (test_stats: percentiles)
_SHORTEST = 1e-6  # seconds; below it, latencies are not distinguished
# Consecutive failures for one reason that does not depend on the row. One could be a glitch of the
# service; ten cost little, and a batch of a million would fail to its end (test_stats: ten).
_SAME_FAILURES = 10
# A ``ConfigError`` of a row that was valid is about the client: it is closed, or its limits.
_ACCOUNT: tuple[type[LaplasError], ...] = (
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    QuotaExceededError,
    ConfigError,
)

_UNKNOWN = RowCost()

_RERUN = "then run the same with --retry-failed (retry_failed=True)"
_ADVICE = {
    "AuthenticationError": f"check the API key (LAPLAS_API_KEY), {_RERUN}",
    "PermissionDeniedError": f"ask for access to the model with this key, {_RERUN}",
    "OutOfCreditsError": f"add credits to the account, {_RERUN}",
    "NotFoundError": f"check the base URL (LAPLAS_BASE_URL) and the name of the model, {_RERUN}",
    "QuotaExceededError": f"wait until the quota renews, {_RERUN}",
    "RateLimitError": f"set the limit if you know it (--rpm, --concurrency), {_RERUN}",
    "BadRequestError": "the service refuses these rows: correct them in the input, and run the "
    "same again",
    "ConfigError": "see the message in each line; correct it, and run the same again",
    "bad row": "correct these lines of the input (the output has each line's number), and run the "
    "same again",
}
_DEFAULT_ADVICE = f"the service or the network failed: wait a while, {_RERUN}"


def advice_for(name: str) -> str:
    """What to do about rows that failed with an error of this name, or as a ``bad row``."""
    return _ADVICE.get(name, _DEFAULT_ADVICE)


class Histogram:
    """Counts of values in buckets 1 % wide, from which percentiles are read."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count a value; less than a microsecond counts as one."""
        self._buckets[math.floor(math.log(max(value, _SHORTEST)) / _BUCKET)] += 1

    def quantiles(self) -> Quantiles | None:
        """p50, p90, p95 and p99; None if nothing was added."""
        if not self._buckets:
            return None
        p50, p90, p95, p99 = (self._at(share) for share in (0.5, 0.9, 0.95, 0.99))
        return Quantiles(p50=p50, p90=p90, p95=p95, p99=p99)

    def _at(self, fraction: float) -> float:
        wanted = fraction * self._buckets.total()
        order = sorted(self._buckets)
        reached = itertools.accumulate(self._buckets[bucket] for bucket in order)
        at = next(at for at, so_far in enumerate(reached) if so_far >= wanted)
        return math.exp((order[at] + 0.5) * _BUCKET)


@define
class _Rows:
    """The mutable form of ``RowCounts``."""

    answered: int = 0
    failed: int = 0
    bad: int = 0
    resumed: int = 0
    changed: int = 0
    possibly_duplicated: int = 0
    failed_before: int = 0
    repaired: int = 0

    def frozen(self) -> RowCounts:
        """These numbers."""
        return RowCounts(**asdict(self))


@define
class _Usage:
    """Requests, and the tokens and costs that the service reported. None: not reported."""

    attempts: int = 0
    rejected: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    credits: float | None = None
    usd_by_source: dict[str, float] = field(factory=dict)
    usd_may_be_billed: float = 0.0
    usd_in_lines: float = 0.0  # what the output's new lines say

    def add_attempts(self, attempts: tuple[Attempt, ...]) -> None:
        """The attempts of a row."""
        self.attempts += len(attempts)
        self.rejected += sum(attempt.status == 429 for attempt in attempts)

    def add(self, completion: ChatCompletion) -> None:
        """A completion."""
        self.add_attempts(completion.attempts)
        if (usage := completion.usage) is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
        if (cost := completion.cost) is not None and cost.credits_used is not None:
            self.credits = (self.credits or 0.0) + cost.credits_used

    def add_cost(self, spent: RowCost, *, in_line: bool = True) -> None:
        """What a row cost; ``in_line``: it gets a line, which says so."""
        self.usd_in_lines += spent.total * in_line
        if spent.usd is not None and spent.source is not None:
            sources = self.usd_by_source
            sources[spent.source] = sources.get(spent.source, 0.0) + spent.usd
            self.usd = (self.usd or 0.0) + spent.usd
        self.usd_may_be_billed += spent.may_be_billed

    @property
    def tokens(self) -> Tokens:
        """The tokens."""
        return Tokens(prompt=self.prompt_tokens, completion=self.completion_tokens)


class _SameFailure:
    """How many consecutive rows failed for one reason that does not depend on the row."""

    def __init__(self) -> None:
        self._count = 0
        self._last: tuple[type[LaplasError], str] | None = None

    def reset(self) -> None:
        """A row was completed."""
        self._count, self._last = 0, None

    def add(self, error: LaplasError) -> bool:
        """A row failed; whether that were enough of them."""
        if not isinstance(error, _ACCOUNT):
            self.reset()
            return False
        # Messages of ConfigError name what is wrong, so another message may be another row's own.
        reason = type(error), error.message if isinstance(error, ConfigError) else ""
        self._count = self._count + 1 if self._last == reason else 1
        self._last = reason
        return self._count >= _SAME_FAILURES


class RunStats:
    """The sums of one run, and whether it should end early.

    ``ending`` is set after ``max_errors`` failures, and when the service asks to wait longer than
    ``max_wait`` seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        max_errors: int | None = None,
        *,
        max_wait: float = math.inf,
    ) -> None:
        self._clock = clock
        self._started = clock()
        self._max_errors = max_errors
        self._max_wait = max_wait
        self.ending: Ending | None = None
        self.reason = ""
        self.read = 0  # rows of the input
        self.done: float | None = None  # the fraction of the input that is read
        self.is_read = False
        self.saved = 0
        self.usd_before = 0.0  # in the output's lines of earlier runs
        self.rows = _Rows()
        self.usage = _Usage()
        self.latency = Histogram()
        self.first_token = Histogram()
        self.failures: Counter[str] = Counter()
        self._same_failure = _SameFailure()
        self._samples: deque[tuple[float, int, int]] = deque([(self._started, 0, 0)])

    def add_block(self, block: Block) -> None:
        """Rows were read."""
        self.read += block.read
        self.rows.resumed += block.resumed
        self.rows.failed_before += block.failed_before
        self.done, self.is_read = block.done, block.is_last

    def add_completion(
        self,
        completion: ChatCompletion,
        latency: float,
        first_token: float | None,
        spent: RowCost = _UNKNOWN,
    ) -> None:
        """A row was completed, after ``latency`` seconds."""
        self.rows.answered += 1
        self._same_failure.reset()
        self.usage.add(completion)
        self.usage.add_cost(spent)
        self.latency.add(latency)
        if first_token is not None:
            self.first_token.add(first_token)

    def add_failure(self, error: LaplasError, spent: RowCost = _UNKNOWN) -> None:
        """A row failed for good."""
        self.usage.add_attempts(error.attempts)
        self.usage.add_cost(spent)
        name = type(error).__name__
        self.rows.bad += isinstance(error, ConfigError)
        wait = getattr(error, "retry_after", None)
        if wait is not None and wait > self._max_wait:
            until = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + wait))
            self._end(
                "long_wait",
                f"the service asks to wait {wait:,.0f} s, until {until}, longer than the"
                f" {self._max_wait:,.0f} s of RetryPolicy.max_retry_after: {error.message};"
                f" wait until then, {_RERUN}",
            )
        if self._same_failure.add(error):
            reason = f"{_SAME_FAILURES} consecutive rows failed: {error.message}"
            self._end("same_failure", f"{reason}; {advice_for(name)}")
        self._fail(name)

    def add_unsent(self, error: BudgetError, spent: RowCost) -> None:
        """The budget has no room for a row, which is left for another run."""
        self.usage.add_attempts(error.attempts)
        self.usage.add_cost(spent, in_line=False)
        before = f" (${self.usd_before:.4f} of it in earlier runs)" if self.usd_before else ""
        self._end(
            "budget",
            f"the budget of ${error.limit:,.2f} has no room for another row: ${error.spent:.4f} "
            f"spent{before}; raise it (--max-usd, Budget(usd=...)) or lower max_tokens",
        )

    @property
    def is_out_of_credits(self) -> bool:
        """Whether rows failed because the account has no credits left."""
        return OutOfCreditsError.__name__ in self.failures

    def add_balance(self, balance: Balance) -> None:
        """Add to the reason what is left on the account, and what the rows left would need."""
        self.reason += f"; the balance is {balance.credits:,g} credits"
        used, answered = self.usage.credits, self.rows.answered
        total = self.read if self.is_read or not self.done else self.read / self.done
        left = round(total) - self.rows.frozen().settled + self.failures["OutOfCreditsError"]
        if used and answered and left > 0:
            about = "" if self.is_read else "about "
            self.reason += (
                f", and {about}{left:,} rows are left, which need about "
                f"{left * used / answered:,.3g} (the mean of {answered:,} rows)"
            )

    def add_bad_row(self) -> None:
        """A row could not be sent."""
        self.rows.bad += 1
        self._fail("bad row")

    def _fail(self, name: str) -> None:
        self.rows.failed += 1
        self.failures[name] += 1
        failed = self.rows.failed
        if self._max_errors is not None and failed >= self._max_errors:
            self._end("max_errors", f"{failed} rows failed, and max_errors={self._max_errors}")

    def _end(self, ending: Ending, reason: str) -> None:
        if self.ending is None:
            self.ending, self.reason = ending, reason

    # --- the results --------------------------------------------------------------------------

    def progress(self, pace: Pace, budget: Budget | None = None) -> BatchProgress:
        """This moment, which also becomes a sample of the rate."""
        now = self._clock()
        rows, tokens, samples = self.rows, self.usage.tokens, self._samples
        samples.append((now, rows.answered + rows.failed, tokens.total))
        while samples[1][0] <= now - _RATE_WINDOW:
            samples.popleft()
        then, rows_then, tokens_then = samples[0]
        seconds = max(now - then, 1e-9)
        rate = (samples[-1][1] - rows_then) / seconds
        counts = rows.frozen()
        total: float | None = self.read if self.is_read else None
        if total is None and self.done:
            total = self.read / self.done  # as if all rows were of one length
        left = None if total is None or not rate else max(0.0, (total - counts.settled) / rate)
        return BatchProgress(
            counts=counts,
            rows=self.read if self.is_read else None,
            saved=rows.resumed + self.saved,
            elapsed=now - self._started,
            left=left,
            rows_per_second=rate,
            tokens=tokens,
            tokens_per_second=(samples[-1][2] - tokens_then) / seconds,
            usd=self.usage.usd,
            usd_spent=None if budget is None else budget.spent,
            usd_limit=None if budget is None else budget.limit,
            latency=self.latency.quantiles(),
            pace=pace,
        )

    def report(self) -> BatchReport:
        """The end."""
        failures = dict(self.failures.most_common())
        return BatchReport(
            ending=self.ending or "done",
            reason=self.reason,
            rows=self.read,
            counts=self.rows.frozen(),
            tokens=self.usage.tokens,
            credits=self.usage.credits,
            usd=self.usage.usd,
            usd_by_source=dict(self.usage.usd_by_source),
            usd_may_be_billed=self.usage.usd_may_be_billed,
            usd_before=self.usd_before,
            elapsed=self._clock() - self._started,
            latency=self.latency.quantiles(),
            first_token=self.first_token.quantiles(),
            rejected=self.usage.rejected,
            tries=self.usage.attempts,
            failures=failures,
            advice={name: advice_for(name) for name in failures},
        )
