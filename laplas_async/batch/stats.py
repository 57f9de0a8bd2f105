"""What is counted while a batch runs, and what is made of it: progress, report, reasons, advice.

Plain arithmetic in constant memory. It refuses to know how rows are asked.
"""

import itertools
import math
from collections import Counter, deque
from collections.abc import Callable

from laplas_async.batch.report import (
    BatchProgress,
    BatchReport,
    Counts,
    Ending,
    Quantiles,
    Tokens,
)
from laplas_async.errors import (
    AuthenticationError,
    ConfigError,
    LaplasError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
)
from laplas_async.pacing.gate import Pace
from laplas_async.types import Attempt, ChatCompletion

_RECENT = 10.0  # seconds that a rate is taken from
_WIDTH = math.log(1.01)
_SHORTEST = 1e-6
_SAME = 10  # failures in a row, for one reason that is no row's
# A ``ConfigError`` of a row that was fit to be asked is about the client: closed, or its limits.
_ACCOUNT: tuple[type[LaplasError], ...] = (
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    QuotaExceededError,
    ConfigError,
)

_AGAIN = "then run the same with --retry-failed (retry_failed=True)"
_ADVICE = {
    "AuthenticationError": f"check the API key (LAPLAS_API_KEY), {_AGAIN}",
    "PermissionDeniedError": f"ask for the right to use the model with this key, {_AGAIN}",
    "OutOfCreditsError": f"add credits to the account, {_AGAIN}",
    "NotFoundError": f"check the base URL (LAPLAS_BASE_URL) and the model's name, {_AGAIN}",
    "QuotaExceededError": f"wait until the quota renews, {_AGAIN}",
    "RateLimitError": f"tell the limit if you know it (--rpm, --concurrency), {_AGAIN}",
    "BadRequestError": "the service refuses these rows as they are: correct them in the input, "
    "and run the same again",
    "ConfigError": "see the words of each line; correct it, and run the same again",
    "bad row": "correct these lines of the input (the output tells each line's number), and run "
    "the same again",
}
_OTHERWISE = f"the service or the network failed: wait a while, {_AGAIN}"


class Spread:
    """How numbers are spread, in buckets 1 % wide; so a quantile is at most 0.5 % off."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """One more; below a microsecond it counts as one."""
        self._buckets[math.floor(math.log(max(value, _SHORTEST)) / _WIDTH)] += 1

    def quantiles(self) -> Quantiles | None:
        """The usual three; None of nothing."""
        if not self._buckets:
            return None
        return Quantiles(p50=self._at(0.5), p95=self._at(0.95), p99=self._at(0.99))

    def _at(self, part: float) -> float:
        wanted = part * self._buckets.total()
        order = sorted(self._buckets)
        reached = itertools.accumulate(self._buckets[bucket] for bucket in order)
        at = next(at for at, so_far in enumerate(reached) if so_far >= wanted)
        return math.exp((order[at] + 0.5) * _WIDTH)


class Tally:
    """The sums of one run. ``max_errors``: after so many failures, ``ending`` is set."""

    def __init__(self, clock: Callable[[], float], max_errors: int | None = None) -> None:
        self._clock = clock
        self._began = clock()
        self._max_errors = max_errors
        self.ending: Ending | None = None
        self.reason = ""
        self.read = 0  # rows of the input
        self.done: float | None = None  # the part of the input that is read
        self.is_read = False
        self.saved = 0
        self.answered = self.failed = self.bad = self.resumed = self.failed_before = 0
        self.changed = self.maybe_twice = self.mended = 0
        self.tries = self.rejected = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.usd: float | None = None
        self.credits: float | None = None
        self.latency = Spread()
        self.first_token = Spread()
        self.failures: Counter[str] = Counter()
        self._same = 0
        self._last: tuple[type[LaplasError], str] | None = None
        self._samples: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])

    def answer(self, completion: ChatCompletion, latency: float, first_token: float | None) -> None:
        """A row was answered."""
        self.answered += 1
        self._same = 0
        self._add_tries(completion.attempts)
        self.latency.add(latency)
        if first_token is not None:
            self.first_token.add(first_token)
        if (usage := completion.usage) is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
        if (cost := completion.cost) is not None:
            if cost.usd_spent is not None:
                self.usd = (self.usd or 0.0) + cost.usd_spent
            if cost.credits_used is not None:
                self.credits = (self.credits or 0.0) + cost.credits_used

    def fail(self, error: LaplasError) -> None:
        """A row failed for good."""
        self._add_tries(error.attempts)
        kind = type(error)
        self.bad += isinstance(error, ConfigError)
        if not isinstance(error, _ACCOUNT):
            self._same, self._last = 0, None
        else:
            words = error.message if isinstance(error, ConfigError) else ""
            self._same = self._same + 1 if self._last == (kind, words) else 1
            self._last = (kind, words)
            if self._same >= _SAME:
                reason = f"{_SAME} rows in a row failed: {error.message}"
                self._end("same_failure", f"{reason}; {_ADVICE.get(kind.__name__, '')}")
        self._fail(kind.__name__)

    def refuse(self) -> None:
        """A row could not be asked."""
        self.bad += 1
        self._fail("bad row")

    def _fail(self, name: str) -> None:
        self.failed += 1
        self.failures[name] += 1
        if self._max_errors is not None and self.failed >= self._max_errors:
            self._end("max_errors", f"{self.failed} rows failed, and max_errors={self._max_errors}")

    def _end(self, ending: Ending, reason: str) -> None:
        if self.ending is None:
            self.ending, self.reason = ending, reason

    def _add_tries(self, attempts: tuple[Attempt, ...]) -> None:
        self.tries += len(attempts)
        for one in attempts:
            if one.status == 429:
                self.rejected += 1

    # --- what is told -------------------------------------------------------------------------

    def _counts(self) -> Counts:
        return Counts(
            answered=self.answered,
            failed=self.failed,
            bad=self.bad,
            resumed=self.resumed,
            changed=self.changed,
            maybe_twice=self.maybe_twice,
            failed_before=self.failed_before,
            mended=self.mended,
        )

    def _tokens(self) -> Tokens:
        return Tokens(prompt=self.prompt_tokens, completion=self.completion_tokens)

    def progress(self, pace: Pace) -> BatchProgress:
        """This moment."""
        now = self._clock()
        samples = self._samples
        samples.append((now, self.answered + self.failed, self._tokens().total))
        while samples[1][0] <= now - _RECENT:
            samples.popleft()
        then, rows_then, tokens_then = samples[0]
        seconds = max(now - then, 1e-9)
        rate = (samples[-1][1] - rows_then) / seconds
        counts = self._counts()
        total: float | None = self.read if self.is_read else None
        if total is None and self.done:
            total = self.read / self.done  # as if rows were of one length
        left = None if total is None or not rate else max(0.0, (total - counts.settled) / rate)
        return BatchProgress(
            counts=counts,
            rows=self.read if self.is_read else None,
            saved=self.resumed + self.saved,
            elapsed=now - self._began,
            left=left,
            rows_per_second=rate,
            tokens=self._tokens(),
            tokens_per_second=(samples[-1][2] - tokens_then) / seconds,
            usd=self.usd,
            pace=pace,
        )

    def report(self) -> BatchReport:
        """The end."""
        return BatchReport(
            ending=self.ending or "done",
            reason=self.reason,
            rows=self.read,
            counts=self._counts(),
            tokens=self._tokens(),
            credits=self.credits,
            usd=self.usd,
            elapsed=self._clock() - self._began,
            latency=self.latency.quantiles(),
            first_token=self.first_token.quantiles(),
            rejected=self.rejected,
            tries=self.tries,
            failures=dict(self.failures.most_common()),
            advice={name: _ADVICE.get(name, _OTHERWISE) for name, _ in self.failures.most_common()},
        )
