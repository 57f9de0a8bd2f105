"""One request through the gate and its retries, and the record of each try.

The only owner of retries. It refuses to know what a try does: it is given a coroutine function.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Literal, TypeVar

from attrs import define, frozen

from laplas_async.calls.policy import RetryPolicy, is_quota_error
from laplas_async.errors import (
    APIError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    RequestTimeoutError,
    StreamAPIError,
    StreamTruncatedError,
    TransportError,
)
from laplas_async.observe.events import Event, Listener
from laplas_async.pacing.gate import Gate, Permit
from laplas_async.types import Attempt

T = TypeVar("T")
log = logging.getLogger("laplas_async")


@define
class Try:
    """One try: its permit, and what became known of it on the way."""

    permit: Permit
    status: int | None = None
    request_id: str | None = None


@frozen
class Done(Generic[T]):
    """The result of the last try, its permit (still held), and the record of all."""

    result: T
    permit: Permit
    attempts: tuple[Attempt, ...]


async def run(
    operation: Callable[[Try], Awaitable[T]],
    gate: Gate,
    policy: RetryPolicy,
    *,
    tokens: int = 0,
    listener: Listener | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Done[T]:
    """Try until it succeeds, or the policy says that it will not.

    ``tokens`` are reserved at the gate for each try. Raises the last try's error, with the record
    of all in ``attempts``. The permit of a try that failed or was cancelled is back when this
    returns; that of the one that succeeded is the caller's to give back.
    """
    attempts: list[Attempt] = []
    delays = policy.delays()
    rejections = 0
    turn: int | None = None
    first: float | None = None
    ready = gate.clock()
    while True:
        try:
            permit = await gate.acquire(turn, tokens=tokens)
        except LaplasError as error:  # no turn came in time
            error.attempts = tuple(attempts)
            raise
        turn = permit.turn
        first = permit.started if first is None else first
        this = Try(permit)
        started, waited = time.time(), permit.started - ready
        try:
            result = await operation(this)
        except LaplasError as error:
            ready = gate.clock()
            rejected = _give_back(permit, error)
            attempts.append(_attempt(this, started, waited, error))
            error.attempts = tuple(attempts)
            _tell(listener, "rejected" if rejected else "attempt", gate, attempts[-1])
            elapsed = ready - first
            if rejected and gate.limiter.limits.adaptive:
                # When to try again is the gate's to say; it is no failure of the request's.
                rejections += 1
                delay = policy.delay_after_rejection(error, rejections=rejections, elapsed=elapsed)
            else:
                tries = len(attempts) - rejections
                delay = policy.delay(error, next(delays), tries=tries, elapsed=elapsed)
            if delay is None:
                raise
            log.debug("try %d failed (%s); again in %.2f s", len(attempts), error, delay)
            if listener is not None:
                listener(Event("retry", gate.pace, delay=delay))
        except BaseException:
            permit.release()
            raise
        else:
            attempts.append(_attempt(this, started, waited, None))
            _tell(listener, "attempt", gate, attempts[-1])
            return Done(result, permit, tuple(attempts))
        if delay > 0:
            await sleep(delay)


def _tell(
    listener: Listener | None, kind: Literal["attempt", "rejected"], gate: Gate, attempt: Attempt
) -> None:
    if listener is not None:
        listener(Event(kind, gate.pace, attempt))
        if gate.limit_changed():
            listener(Event("limit", gate.pace))


def _give_back(permit: Permit, error: LaplasError) -> bool:
    """Tell the gate how it ended; whether it was rejected for a limit."""
    status = error.status if isinstance(error, APIError | StreamAPIError) else None
    if status == 429 and not is_quota_error(error):
        permit.reject(getattr(error, "retry_after", None))
        return True
    if (status or 0) >= 500 or isinstance(error, TransportError | StreamTruncatedError):
        permit.fail()
    else:
        permit.release()
    return False


def _attempt(this: Try, started: float, waited: float, error: LaplasError | None) -> Attempt:
    return Attempt(
        started=started,
        waited=waited,
        status=this.status,
        request_id=this.request_id,
        error=None if error is None else f"{type(error).__name__}: {error}",
        may_be_billed=error is not None and _may_be_billed(this, error),
    )


def _may_be_billed(this: Try, error: LaplasError) -> bool:
    """Whether the service may have produced an answer that was not received whole."""
    if isinstance(error, ConnectionFailedError) and this.status is None:
        return error.sent
    if isinstance(error, ConfigError) or (
        isinstance(error, RequestTimeoutError) and error.phase == "connect"
    ):
        return False
    # A 4xx was refused; a 5xx, a timeout, a broken answer leave it open.
    return this.status is None or not 300 <= this.status < 500
