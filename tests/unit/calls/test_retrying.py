"""One request through a real gate: attempts, their record, and every permit returned."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.retrying import AttemptContext, Done, run
from laplas_async.errors import (
    APIError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    LaplasError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StreamAPIError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from laplas_async.pacing.gate import Gate
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits

Result = LaplasError | str | BaseException
Step = tuple[int | None, Result]  # the status that was received, and how the attempt ended


class Clock:
    """The time, and the only thing that moves it: a sleep that does not wait."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> asyncio.Handle:
        self.now += delay
        return asyncio.get_running_loop().call_soon(call)

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        self.now += delay


class Script:
    """An operation that ends each attempt as scripted, after one second."""

    def __init__(self, clock: Clock, *steps: Step) -> None:
        self.clock = clock
        self.steps = list(steps)
        self.turns: list[int] = []

    async def __call__(self, attempt: AttemptContext) -> str:
        status, result = self.steps.pop(0)
        self.turns.append(attempt.permit.turn)
        attempt.status = status
        attempt.request_id = f"r-{len(self.turns)}"
        self.clock.now += 1.0
        if isinstance(result, BaseException):
            raise result
        return result


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return gate_of(clock)


def gate_of(clock: Clock, concurrency: int | None = None) -> Gate:
    limiter = Limiter(Limits(concurrency=concurrency))
    return Gate(limiter=limiter, clock=clock, call_later=clock.call_later)


def policy_of(attempts: int = 4, when: Callable[[LaplasError], bool] | None = None) -> RetryPolicy:
    return RetryPolicy(max_attempts=attempts, jitter=lambda delay: delay, when=when)


async def ended(
    script: Callable[[AttemptContext], Awaitable[str]],
    gate: Gate,
    clock: Clock,
    policy: RetryPolicy,
) -> Done[str]:
    """Run it; check that no permit is held except the one that was returned."""
    try:
        done = await run(script, gate, policy, sleep=clock.sleep)
    except BaseException:
        assert_nothing_is_held(gate)
        raise
    assert gate.limiter.in_flight == 1
    done.attempt.succeed(None)
    assert_nothing_is_held(gate)
    return done


def assert_nothing_is_held(gate: Gate) -> None:
    assert gate.limiter.in_flight == 0
    assert gate.waiting == 0


BUSY = (503, ServerError("503: busy", status=503))


# --- success and failure ----------------------------------------------------------------------


async def test_the_first_success_is_the_result(gate: Gate, clock: Clock) -> None:
    before = time.time()
    done = await ended(Script(clock, (200, "hello")), gate, clock, policy_of())
    assert done.result == "hello"
    [attempt] = done.attempts
    assert before <= attempt.started <= time.time()
    assert (attempt.waited, attempt.status, attempt.request_id) == (0.0, 200, "r-1")
    assert attempt.error is None
    assert not attempt.may_be_billed
    assert clock.slept == []


async def test_recoverable_errors_are_retried_and_recorded(gate: Gate, clock: Clock) -> None:
    cut = (None, ConnectionFailedError("cut", sent=False))
    done = await ended(Script(clock, BUSY, cut, (201, "x")), gate, clock, policy_of())
    assert [(a.status, a.request_id, a.error) for a in done.attempts] == [
        (503, "r-1", "ServerError: 503: busy"),
        (None, "r-2", "ConnectionFailedError: cut"),
        (201, "r-3", None),
    ]
    assert [a.waited for a in done.attempts] == [0.0, 0.5, 1.0]
    assert clock.slept == [0.5, 1.0]


async def test_the_last_error_carries_every_attempt(gate: Gate, clock: Clock) -> None:
    last = ServerError("last", status=500)
    script = Script(clock, BUSY, BUSY, (500, last), (200, "never"))
    with pytest.raises(ServerError) as caught:
        await ended(script, gate, clock, policy_of(3))
    assert caught.value is last
    assert [attempt.status for attempt in last.attempts] == [503, 503, 500]
    assert len(script.steps) == 1
    assert len(clock.slept) == 2


@pytest.mark.parametrize("attempts", [1, 2, 8])
async def test_max_attempts_bounds_the_attempts(gate: Gate, clock: Clock, attempts: int) -> None:
    script = Script(clock, *[BUSY] * 10)
    with pytest.raises(ServerError):
        await ended(script, gate, clock, policy_of(attempts))
    assert len(script.turns) == attempts


async def test_no_attempt_begins_after_max_elapsed(gate: Gate, clock: Clock) -> None:
    script = Script(clock, *[BUSY] * 10)
    with pytest.raises(ServerError) as caught:
        await ended(script, gate, clock, RetryPolicy(max_elapsed=6, jitter=lambda delay: delay))
    assert len(caught.value.attempts) == 3  # 1 s each, then 0.5, 1 and (too late) 2 s between
    assert clock.now <= 1006.0


async def test_permanent_errors_are_raised_at_once(gate: Gate, clock: Clock) -> None:
    for error in (BadRequestError(status=400), ConfigError("no"), QuotaExceededError(status=429)):
        script = Script(clock, (error.__dict__.get("status"), error), (200, "never"))
        with pytest.raises(type(error)):
            await ended(script, gate, clock, policy_of())
        assert len(error.attempts) == 1
    assert clock.slept == []


async def test_retry_after_is_waited_at_the_gate(gate: Gate, clock: Clock) -> None:
    limited = (429, RateLimitError("429", status=429, retry_after=20))
    done = await ended(Script(clock, limited, (200, "x")), gate, clock, policy_of())
    assert done.result == "x"
    assert clock.now >= 1020


async def test_a_retry_keeps_its_turn(gate: Gate, clock: Clock) -> None:
    script = Script(clock, BUSY, BUSY, (200, "x"))
    await ended(script, gate, clock, policy_of())
    assert len(set(script.turns)) == 1


async def test_a_when_hook_that_raises_leaves_nothing(gate: Gate, clock: Clock) -> None:
    def fail(error: LaplasError) -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await ended(Script(clock, BUSY), gate, clock, policy_of(when=fail))


async def test_foreign_errors_pass_unchanged(gate: Gate, clock: Clock) -> None:
    for error in (RuntimeError("bug"), KeyboardInterrupt(), asyncio.CancelledError()):
        script = Script(clock, (None, error), (200, "never"))
        with pytest.raises(type(error)) as caught:
            await ended(script, gate, clock, policy_of())
        assert caught.value is error
    assert clock.slept == []


# --- what the gate learns ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "rejections"),
    [
        (RateLimitError(status=429), 1),
        (StreamAPIError(status=429), 1),
        (QuotaExceededError(status=429), 0),
        (StreamAPIError(status=429, code="insufficient_quota"), 0),
        (StreamAPIError(status=503), 0),
        (ServerError(status=503), 0),
        (ConnectionFailedError(), 0),
    ],
    ids=repr,
)
async def test_only_a_rate_limit_slows_the_client(
    clock: Clock, gate: Gate, error: LaplasError, rejections: int
) -> None:
    with pytest.raises(type(error)):
        await ended(Script(clock, (429, error)), gate, clock, policy_of(1))
    assert gate.limiter.rejections == rejections


# --- what may be billed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "billed"),
    [
        (None, ConnectionFailedError(sent=False), False),
        (None, ConnectionFailedError(sent=True), True),
        (200, ConnectionFailedError(), True),
        (None, RequestTimeoutError(phase="connect"), False),
        (None, RequestTimeoutError(phase="first_token"), True),
        (None, RequestTimeoutError(phase="total"), True),
        (200, RequestTimeoutError(phase="first_token"), True),
        (302, APIError(status=302), False),
        (400, BadRequestError(status=400), False),
        (429, RateLimitError(status=429), False),
        (500, ServerError(status=500), True),
        (504, ServerError(status=504), True),
        (200, StreamTruncatedError(), True),
        (200, StreamTimeoutError(), True),
        (200, StreamAPIError(status=500), True),
        (None, ConfigError("refused before it was sent"), False),
    ],
    ids=repr,
)
async def test_an_attempt_records_whether_it_may_be_billed(
    gate: Gate,
    clock: Clock,
    status: int | None,
    error: LaplasError,
    billed: bool,
) -> None:
    with pytest.raises(type(error)):
        await ended(Script(clock, (status, error)), gate, clock, policy_of(1))
    assert [attempt.may_be_billed for attempt in error.attempts] == [billed]


# --- cancelled at each await ------------------------------------------------------------------


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def never(*_: object) -> str:
    await asyncio.Event().wait()
    return ""


async def cancelled(task: asyncio.Task[Done[str]]) -> None:
    await settle()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_at_the_gate_leaves_nothing(clock: Clock) -> None:
    gate = gate_of(clock, 1)
    other = await gate.acquire()
    script = Script(clock, (200, "never"))
    await cancelled(asyncio.create_task(run(script, gate, policy_of(), sleep=clock.sleep)))
    assert gate.waiting == 0
    other.release()
    assert_nothing_is_held(gate)
    assert script.turns == []


async def test_cancelling_just_as_the_gate_opens_leaves_nothing(clock: Clock) -> None:
    gate = gate_of(clock, 1)
    other = await gate.acquire()
    script = Script(clock, (200, "never"))
    task = asyncio.create_task(run(script, gate, policy_of(), sleep=clock.sleep))
    await settle()
    clock.now += 1.0  # only the place is missing
    other.release()
    assert gate.limiter.in_flight == 1  # admitted, but it has not run yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_nothing_is_held(gate)
    assert script.turns == []


async def test_cancelling_in_the_operation_leaves_nothing(gate: Gate, clock: Clock) -> None:
    await cancelled(asyncio.create_task(run(never, gate, policy_of(), sleep=clock.sleep)))
    assert_nothing_is_held(gate)


async def test_cancelling_in_backoff_leaves_nothing(gate: Gate, clock: Clock) -> None:
    async def sleep(delay: float) -> None:
        await never()

    script = Script(clock, BUSY, (200, "never"))
    await cancelled(asyncio.create_task(run(script, gate, policy_of(), sleep=sleep)))
    assert_nothing_is_held(gate)
    assert len(script.steps) == 1


async def test_cancelling_at_the_gate_of_a_second_attempt_leaves_nothing(clock: Clock) -> None:
    gate = gate_of(clock, 1)
    taken = []

    async def sleep(delay: float) -> None:
        taken.append(await gate.acquire())  # another call goes first

    script = Script(clock, BUSY, (200, "never"))
    await cancelled(asyncio.create_task(run(script, gate, policy_of(), sleep=sleep)))
    taken[0].release()
    assert_nothing_is_held(gate)


async def test_no_permit_is_held_in_backoff(clock: Clock) -> None:
    gate = gate_of(clock, 1)
    held: list[int] = []

    async def sleep(delay: float) -> None:
        held.append(gate.limiter.in_flight)

    done = await run(Script(clock, BUSY, (200, "x")), gate, policy_of(), sleep=sleep)
    done.attempt.release()
    assert held == [0]
    assert_nothing_is_held(gate)


async def test_many_calls_cancelled_at_any_moment_leave_nothing(clock: Clock) -> None:
    gate = gate_of(clock, 3)

    async def sleep(delay: float) -> None:
        await asyncio.sleep(0)

    async def operation(attempt: AttemptContext) -> str:
        for _ in range(attempt.permit.turn % 4):
            await asyncio.sleep(0)
        raise ServerError(status=503)

    for rounds in range(25):
        tasks = [
            asyncio.create_task(run(operation, gate, policy_of(3), sleep=sleep)) for _ in range(8)
        ]
        for _ in range(rounds):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError | ServerError) for r in results)
        assert_nothing_is_held(gate)
