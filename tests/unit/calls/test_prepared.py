"""``PreparedCall`` and ``CallRunner``: one call over a real socket, and how it ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from laplas_async.calls.lifetime import Lifetime
from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.prepared import CallRunner, PreparedCall
from laplas_async.errors import ConfigError, ConnectionFailedError, ServerError
from laplas_async.http.transport import Transport
from laplas_async.observe.events import EventPublisher
from laplas_async.pacing.gate import Gate
from laplas_async.pacing.reservation import RequestSize
from laplas_async.simulator import Fault, Simulator
from laplas_async.timeouts import Timeouts

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": false}'


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def transport(simulator: Simulator) -> AsyncIterator[Transport]:
    transport = Transport(simulator.base_url, "key")
    yield transport
    await transport.close()


def prepared(transport: Transport, **fields: object) -> PreparedCall:
    retry = RetryPolicy(max_attempts=2, jitter=lambda _delay: 0.0)
    call = PreparedCall(transport, BODY, RequestSize(len(BODY)), Timeouts(), retry, {}, None)
    for name, value in fields.items():
        setattr(call, name, value)
    return call


async def test_a_call_returns_its_place_and_has_its_attempts(
    simulator: Simulator, transport: Transport
) -> None:
    gate = Gate()
    simulator.script(Fault.status(503, retry_after=0))
    runner = CallRunner(gate, EventPublisher(None), Lifetime())
    completion = await runner.complete(prepared(transport, headers={"x-mine": "1"}))
    assert completion.text
    assert [attempt.status for attempt in completion.attempts] == [503, 200]
    assert gate.pace.in_flight == 0
    assert simulator.requests[-1].headers["x-mine"] == "1"


async def test_the_last_error_is_raised(simulator: Simulator, transport: Transport) -> None:
    simulator.script_always(Fault.status(503, retry_after=0))
    runner = CallRunner(Gate(), EventPublisher(None), Lifetime())
    with pytest.raises(ServerError) as caught:
        await runner.complete(prepared(transport))
    assert len(caught.value.attempts) == 2


async def test_which_finish_reasons_fail_is_the_call_s_own(
    simulator: Simulator, transport: Transport
) -> None:
    simulator.script_always(Fault.finish("timeout"))
    runner = CallRunner(Gate(), EventPublisher(None), Lifetime())
    assert (await runner.complete(prepared(transport))).finish_reason == "timeout"
    with pytest.raises(ServerError, match="timeout"):
        await runner.complete(prepared(transport, failed_reasons=frozenset({"timeout"})))


async def test_closing_the_client_ends_a_call(simulator: Simulator, transport: Transport) -> None:
    gate, lifetime = Gate(), Lifetime()
    lifetime.check_open()  # as the client does before a call
    simulator.script_always(Fault.stall())
    runner = CallRunner(gate, EventPublisher(None), lifetime)
    call = asyncio.ensure_future(runner.complete(prepared(transport)))
    while not gate.pace.in_flight:
        await asyncio.sleep(0)
    await lifetime.close(0)
    with pytest.raises(ConnectionFailedError, match="closed during the call"):
        await call
    assert gate.pace.in_flight == 0


def test_a_budget_must_be_one() -> None:
    with pytest.raises(ConfigError, match="must be a Budget"):
        CallRunner(Gate(), EventPublisher(None), Lifetime(), budget=25)  # type: ignore[arg-type]
