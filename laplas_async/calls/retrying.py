"""One request through the gate and its retries, and the record of each attempt.

The only owner of retries (law 2). It refuses to know what an attempt does: it is given a coroutine
function.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, frozen

from laplas_async.calls.policy import RetryPolicy, is_quota_error
from laplas_async.errors import (
    APIError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    RequestTimeoutError,
    StreamAPIError,
    StreamTruncatedError,
    TransportError,
)
from laplas_async.observe.events import Event, EventPublisher
from laplas_async.pacing.gate import Gate, Pace, Permit
from laplas_async.pacing.reservation import RequestSize
from laplas_async.types import Attempt, Cost, Usage

if TYPE_CHECKING:  # law 9: imported by programs with observers or budgets
    from laplas_async.observe.trace import CallTrace
    from laplas_async.pacing.budget import Claim, Reservation

T = TypeVar("T")
log = logging.getLogger("laplas_async")
_NO_LISTENER = EventPublisher()


@define
class AttemptContext:
    """One attempt: its permit and reservations, and what became known of its response."""

    permit: Permit
    trace: "CallTrace | None" = None
    reservations: "Sequence[Reservation]" = ()
    status: int | None = None
    request_id: str | None = None

    def succeed(self, usage: Usage | None, cost: Cost | None = None) -> None:
        """Return the permit after a response; what that used corrects what was reserved."""
        self.permit.succeed(usage)
        for reservation in self.reservations:
            reservation.settle(usage, cost)

    def release(self) -> None:
        """Return the permit after it was given up; it may have been sent, and be billed."""
        self.permit.release()
        self.end_reservations(may_be_billed=True)

    def end_reservations(self, *, may_be_billed: bool) -> None:
        """It ended without a response: what was reserved is free again, unless it may be billed."""
        for reservation in self.reservations:
            if may_be_billed:
                reservation.keep()
            else:
                reservation.release()


@frozen
class Done(Generic[T]):
    """The result of the last attempt, its context (permit still held), and all records."""

    result: T
    attempt: AttemptContext
    attempts: tuple[Attempt, ...]


async def run(
    operation: Callable[[AttemptContext], Awaitable[T]],
    gate: Gate,
    policy: RetryPolicy,
    *,
    size: RequestSize | None = None,
    events: EventPublisher = _NO_LISTENER,
    trace: "CallTrace | None" = None,
    claims: "Sequence[Claim]" = (),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Done[T]:
    """Attempt it until it succeeds, or until the policy says that it will not.

    ``size`` determines the tokens reserved for each attempt; ``trace`` measures all of them;
    ``claims`` are what each reserves of budgets, before it asks for its turn. Raises the last
    attempt's error, with the record of all in ``attempts``. The permit of an attempt that failed or
    was cancelled has been returned by then; that of the successful one is the caller's to return.
    """
    size = RequestSize() if size is None else size
    history = _History(gate, policy, events, trace)
    turn: int | None = None
    ready = gate.clock()
    while True:
        try:
            reservations = await _reserve(claims, gate) if claims else ()
            permit = await _acquire(gate, turn, size, reservations)
        except LaplasError as error:  # no turn in time, or nothing left of a budget
            error.attempts = tuple(history.attempts)
            raise
        turn = permit.turn
        attempt = AttemptContext(permit, trace, reservations)
        if trace is not None:
            trace.attempt_sent(gate.estimate.tokens(size))
        started, waited = time.time(), permit.started - ready
        try:
            result = await operation(attempt)
            history.add_success(_record(attempt, started, waited, None))
        except LaplasError as error:
            ready = gate.clock()
            record = _record(attempt, started, waited, error)
            delay = history.add_failure(record, error, attempt, now=ready)
            if delay is None:
                raise
        except BaseException as error:
            if trace is not None:
                trace.attempt_ended(_record(attempt, started, waited, error), error)
            attempt.release()
            raise
        else:
            return Done(result, attempt, tuple(history.attempts))
        if delay > 0:
            await sleep(delay)
        if trace is not None:
            trace.backoff_ended()


async def _reserve(claims: "Sequence[Claim]", gate: Gate) -> "Sequence[Reservation]":
    """Reserve the worst case of one attempt in each budget: in all of them, or in none."""
    held: list[Reservation] = []
    try:
        for claim in claims:
            if (reservation := claim.take()) is None:
                with gate.waiting_elsewhere():
                    reservation = await claim.wait()
            held.append(reservation)
    except BaseException:
        for one in held:
            one.release()
        raise
    return held


async def _acquire(
    gate: Gate, turn: int | None, size: RequestSize, reservations: "Sequence[Reservation]"
) -> Permit:
    """Wait for the turn; what was reserved is free again if it does not come."""
    try:
        return await gate.acquire(turn, size=size)
    except BaseException:
        for reservation in reservations:
            reservation.release()
        raise


class _History:
    """The attempts of one request: records and publishes each, and asks the policy what follows."""

    __slots__ = (
        "_ambiguous",
        "_delays",
        "_events",
        "_first",
        "_gate",
        "_policy",
        "_rejections",
        "_trace",
        "attempts",
    )

    def __init__(
        self, gate: Gate, policy: RetryPolicy, events: EventPublisher, trace: "CallTrace | None"
    ) -> None:
        self.attempts: list[Attempt] = []
        self._gate = gate
        self._policy = policy
        self._events = events
        self._trace = trace
        self._delays = policy.delays()
        self._rejections = self._ambiguous = 0
        self._first: float | None = None  # the gate's time at which the first attempt started

    def add_success(self, record: Attempt) -> None:
        """Add the last attempt."""
        self.attempts.append(record)
        if self._events.listener is not None:  # asking the gate is a cost for every call
            self._events.publish(Event("attempt", self._gate.pace, record))
        self._gate.publish()
        if self._trace is not None:
            self._trace.attempt_ended(record)

    def add_failure(
        self, record: Attempt, error: LaplasError, attempt: AttemptContext, *, now: float
    ) -> float | None:
        """Add a failed attempt and end it; the delay until the next one, None: give up."""
        gate, policy = self._gate, self._policy
        self._first = attempt.permit.started if self._first is None else self._first
        rejected = _return_permit(attempt.permit, error, policy.max_retry_after)
        attempt.end_reservations(may_be_billed=record.may_be_billed)
        self.attempts.append(record)
        error.attempts = tuple(self.attempts)
        self._ambiguous += _is_ambiguous(record, error)
        self._events.publish(_event(gate.pace, record, error, rejected=rejected))
        gate.publish()
        if self._trace is not None:
            self._trace.attempt_ended(record, error, rejected=rejected)
        delay = self._delay(error, now - self._first, rejected=rejected)
        if delay is not None:
            count = len(self.attempts)
            log.debug("attempt %d failed (%s); retry in %.2f s", count, error, delay)
            self._events.publish(Event("retry", gate.pace, delay=delay))
        return delay

    def _delay(self, error: LaplasError, elapsed: float, *, rejected: bool) -> float | None:
        if rejected and self._gate.limiter.limits.adaptive:
            # When to try again is for the gate to decide; the request did not fail.
            self._rejections += 1
            return self._policy.delay_after_rejection(
                error, rejections=self._rejections, elapsed=elapsed
            )
        return self._policy.delay(
            error,
            next(self._delays),
            attempts=len(self.attempts) - self._rejections,
            elapsed=elapsed,
            ambiguous=self._ambiguous,
        )


def _event(pace: Pace, attempt: Attempt, error: LaplasError, *, rejected: bool) -> Event:
    if not rejected:
        return Event("attempt", pace, attempt)
    return Event("rejected", pace, attempt, delay=getattr(error, "retry_after", None))


def _return_permit(permit: Permit, error: LaplasError, max_delay: float) -> bool:
    """Return it by the way the attempt ended; whether that was a rejection for a limit.

    No response holds up the other calls of the client for more than ``max_delay`` seconds, law 3.
    """
    status = error.status if isinstance(error, APIError | StreamAPIError) else None
    if status == 429 and is_quota_error(error):
        permit.exhaust(error)
        return False
    if status == 429:
        requested = getattr(error, "retry_after", None)
        if requested is not None and requested > max_delay:
            log.warning(
                "the service asks to wait %.0f s; this call fails, and others wait %.0f s "
                "(RetryPolicy.max_retry_after)",
                requested,
                max_delay,
            )
            requested = max_delay
        permit.reject(requested)
        return True
    failed = (status or 0) >= 500 and not isinstance(error, BadRequestError)
    if failed or isinstance(error, TransportError | StreamTruncatedError):
        permit.fail()
    else:
        permit.release()
    return False


def _record(
    attempt: AttemptContext, started: float, waited: float, error: BaseException | None
) -> Attempt:
    return Attempt(
        started=started,
        waited=waited,
        status=attempt.status,
        request_id=attempt.request_id,
        error=None if error is None else f"{type(error).__name__}: {error}",
        may_be_billed=error is not None and _may_be_billed(attempt, error),
    )


def _is_ambiguous(attempt: Attempt, error: LaplasError) -> bool:
    """Whether a completion may have been produced and lost; after a 5xx, services bill nothing."""
    return attempt.may_be_billed and not isinstance(error, APIError | StreamAPIError)


def _may_be_billed(attempt: AttemptContext, error: BaseException) -> bool:
    """Whether the service may have produced a completion that was not received whole."""
    if isinstance(error, ConnectionFailedError) and attempt.status is None:
        return error.sent
    if isinstance(error, ConfigError) or (
        isinstance(error, RequestTimeoutError) and error.phase == "connect"
    ):
        return False
    # A 4xx was refused. After a 5xx, a timeout or a broken response it is unknown.
    return attempt.status is None or not 300 <= attempt.status < 500
