"""Which errors are tried again, how often, and after what delay; pure.

The delays are the ``backoff`` package's sequences and jitter; only the deciding is ours. It
refuses to wait: ``calls`` does.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import backoff
from attrs import frozen

from laplas_async.errors import (
    APIError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    QuotaExceededError,
    RequestTimeoutError,
    StreamAPIError,
    StreamTruncatedError,
)
from laplas_async.wire.error_body import is_quota

# 408 Request Timeout, 409 Conflict, 429 Too Many Requests; every 5xx beside them.
RETRIED_STATUSES = frozenset({408, 409, 429})


def is_quota_error(error: LaplasError) -> bool:
    """Whether it is a limit for which waiting seconds does not help, also inside a stream."""
    return isinstance(error, QuotaExceededError) or (
        isinstance(error, StreamAPIError)
        and error.status == 429
        and is_quota(f"{error.message} {error.code}")
    )


@frozen
class RetryPolicy:
    """When a call is tried again. Nothing is, once content has come.

    ``max_attempts``: tries in all, the first included; 1 never retries. A rejection for a limit is
    the gate's affair, not a try: up to ``max_rejections`` of one request are borne.
    ``max_elapsed``: no retry begins later than this many seconds after the first try began. Delays
    grow from ``first_delay`` by a factor of 2 to ``max_delay`` seconds, each drawn by full jitter
    (between 0 and it). What the service asks for in ``Retry-After`` is waited at least; if that is
    longer than ``max_retry_after`` seconds, the error is raised instead. ``when`` replaces the rule
    of which errors count: it is given the error and answers True to try again. ``jitter`` is given
    a delay and answers the one to wait.

    By default are retried: connection errors, a first token that is late, 408, 409, 429 (not a
    quota), 5xx, and a stream that breaks before its first content.
    """

    max_attempts: int = 8
    max_rejections: int = 12
    max_elapsed: float = 300.0
    first_delay: float = 0.5
    max_delay: float = 30.0
    max_retry_after: float = 120.0
    when: Callable[[LaplasError], bool] | None = None
    jitter: Callable[[float], float] = backoff.full_jitter

    def __attrs_post_init__(self) -> None:
        for name, least in (("max_attempts", 1), ("max_rejections", 0)):
            value = getattr(self, name)
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
        """Whether this kind of error is worth another try."""
        if self.when is not None:
            return self.when(error)
        match error:
            case APIError() | StreamAPIError() if is_quota_error(error):
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
        """The sequence of delays before jitter, endless: 0.5, 1, 2, ... 30, 30, ..."""
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
        asked = getattr(error, "retry_after", None) or 0.0
        if (
            self.max_attempts == 1
            or rejections > self.max_rejections
            or not self.retries(error)
            or asked > self.max_retry_after
            or elapsed + asked > self.max_elapsed
        ):
            return None
        return 0.0

    def delay(
        self, error: LaplasError, pause: float, *, tries: int, elapsed: float
    ) -> float | None:
        """Seconds to wait before the next try; None: raise the error.

        ``pause`` is the next of ``delays()``, ``tries`` how many have been made, ``elapsed`` the
        seconds since the first began.
        """
        if tries >= self.max_attempts or not self.retries(error):
            return None
        delay = self.jitter(pause)
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            if asked > self.max_retry_after:
                return None
            # Later than asked, never sooner, and not all at the same moment.
            delay = max(delay, asked + min(delay, 0.1 * asked))
        return None if elapsed + delay > self.max_elapsed else delay
