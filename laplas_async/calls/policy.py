"""Which errors are retried, how often, and after what delay; pure.

The delays are the ``backoff`` package's sequences and jitter; only the decision is made here. It
refuses to wait: ``retrying`` does.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import backoff
from attrs import frozen

from laplas_async.errors import (
    APIError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    QuotaExceededError,
    RequestTimeoutError,
    StreamAPIError,
    StreamTruncatedError,
)
from laplas_async.wire.error_body import is_quota

# 408 Request Timeout, 409 Conflict, 429 Too Many Requests; 498 and 499, which gateways send when a
# token of theirs expired or their own client gave up; and every 5xx.
RETRIED_STATUSES = frozenset({408, 409, 429, 498, 499})
# Added to a server's Retry-After, as a share of it, so that clients do not return all at once.
_SPREAD = 0.1


def is_quota_error(error: LaplasError) -> bool:
    """Whether it is a limit for which waiting seconds does not help, also inside a stream."""
    return isinstance(error, QuotaExceededError) or (
        isinstance(error, StreamAPIError)
        and error.status == 429
        and is_quota(f"{error.message} {error.code}", retry_after=error.retry_after)
    )


@frozen
class RetryPolicy:
    """When a call is attempted again. Never after content has been received (law 2).

    ``max_attempts``: attempts in all, the first included; 1 never retries. A rejection for a rate
    limit is the gate's concern and no attempt: it fails no request before ``max_elapsed``, unless
    ``max_rejections`` sets a bound. ``max_elapsed``: no retry begins later than this many seconds
    after the first attempt began. ``max_ambiguous``: how often an attempt is repeated that may have
    produced a completion which was lost (a late first token, a connection lost after sending): each
    may be billed. Delays grow from ``first_delay`` by a factor of 2 to ``max_delay`` seconds, each
    drawn by full jitter (between 0 and it). A ``Retry-After`` is waited in full at least; if it is
    longer than ``max_retry_after`` seconds, the error is raised instead. ``when`` replaces the rule
    of which errors are retried: it receives the error and returns True to retry. ``jitter``
    receives a delay and returns the one to wait.

    Retried by default: connection errors, a late first token, 408, 409, 429 (unless it is a quota),
    5xx, and a stream that breaks before its first content. Raises ``ConfigError``.
    """

    max_attempts: int = 8
    max_rejections: int | None = None
    max_ambiguous: int = 2
    max_elapsed: float = 300.0
    first_delay: float = 0.5
    max_delay: float = 30.0
    max_retry_after: float = 120.0
    when: Callable[[LaplasError], bool] | None = None
    jitter: Callable[[float], float] = backoff.full_jitter

    def __attrs_post_init__(self) -> None:
        for name, least in (("max_attempts", 1), ("max_rejections", 0), ("max_ambiguous", 0)):
            value = getattr(self, name)
            if value is None and name == "max_rejections":
                continue
            if type(value) is not int or value < least:
                raise ConfigError(f"RetryPolicy.{name}={value!r}: must be at least {least}")
        for name in ("max_elapsed", "first_delay", "max_delay", "max_retry_after"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ConfigError(f"RetryPolicy.{name}={value!r}: must be seconds, at least 0")
        for name in ("when", "jitter"):
            value = getattr(self, name)
            if not callable(value) and not (name == "when" and value is None):
                raise ConfigError(f"RetryPolicy.{name}={value!r}: must be a function")

    def retries(self, error: LaplasError) -> bool:
        """Whether this kind of error is worth another attempt."""
        if self.when is not None:
            return self.when(error)
        match error:
            case APIError() | StreamAPIError() if is_quota_error(error):
                return False
            case BadRequestError():  # whatever its status
                return False
            case APIError() | StreamAPIError():
                status = error.status or 0
                return status in RETRIED_STATUSES or status >= 500
            case ConnectionFailedError():
                return not error.permanent
            case RequestTimeoutError():
                return error.phase != "total"
        return isinstance(error, StreamTruncatedError)

    def delays(self) -> Generator[float, Any, None]:
        """The endless sequence of delays before jitter, in seconds: 0.5, 1, 2, ... 30, 30, ..."""
        sequence = backoff.expo(base=2, factor=self.first_delay, max_value=self.max_delay)
        next(sequence)  # backoff's generators yield once before the first delay
        with contextlib.suppress(OverflowError):  # a first delay of (nearly) 0 never grows
            yield from sequence
        while True:
            yield self.max_delay if self.first_delay else 0.0

    def delay_after_rejection(
        self, error: LaplasError, *, rejections: int, elapsed: float
    ) -> float | None:
        """0 if the request may wait for its turn at the gate again; None: raise the error."""
        requested = getattr(error, "retry_after", None) or 0.0
        if (
            self.max_attempts == 1
            or (self.max_rejections is not None and rejections > self.max_rejections)
            or not self.retries(error)
            or requested > self.max_retry_after
            or elapsed + requested > self.max_elapsed
        ):
            return None
        return 0.0

    def delay(
        self,
        error: LaplasError,
        base: float,
        *,
        attempts: int,
        elapsed: float,
        ambiguous: int = 0,
    ) -> float | None:
        """Seconds to wait before the next attempt; None: raise the error.

        ``base`` is the next of ``delays()``, ``attempts`` how many have been made, ``elapsed`` the
        seconds since the first began, ``ambiguous`` how many of them, this one included, lost a
        completion that may have been produced.
        """
        if (
            attempts >= self.max_attempts
            or ambiguous > self.max_ambiguous
            or not self.retries(error)
        ):
            return None
        delay = self.jitter(base)
        requested = getattr(error, "retry_after", None)
        if requested is not None:
            if requested > self.max_retry_after:
                return None
            delay = max(delay, requested + min(delay, _SPREAD * requested))
        return None if elapsed + delay > self.max_elapsed else delay
