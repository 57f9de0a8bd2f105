"""The queue: arrival order, cancellation, subscribers, reservations, and the default ceiling."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from laplas_async.errors import ConfigError, RequestTimeoutError
from laplas_async.pacing import gate as gate_module
from laplas_async.pacing.gate import Gate, Pace
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.reservation import RequestSize
from laplas_async.types import Usage


class Clock:
    """Injected time; a timer moves it and runs in the next step of the loop."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.Handle:
        self.now += delay
        return asyncio.get_running_loop().call_soon(callback)


class Subscriber:
    def __init__(self) -> None:
        self.paces: list[Pace] = []

    def limit_changed(self, pace: Pace) -> None:
        self.paces.append(pace)


def gate_with(limits: Limits) -> Gate:
    clock = Clock()
    return Gate(limits, clock=clock, call_later=clock.call_later)


async def test_tasks_are_admitted_in_arrival_order() -> None:
    gate = gate_with(Limits(concurrency=1))
    order: list[int] = []

    async def pass_through(number: int) -> None:
        permit = await gate.acquire()
        order.append(number)
        await asyncio.sleep(0)
        permit.succeed()

    await asyncio.gather(*(pass_through(number) for number in range(20)))
    assert order == list(range(20))
    assert gate.pace.in_flight == gate.pace.waiting == 0


async def test_a_retry_goes_before_later_requests() -> None:
    gate = gate_with(Limits(concurrency=1))
    first = await gate.acquire()
    turn = first.turn
    later = asyncio.create_task(gate.acquire())
    await asyncio.sleep(0)
    again = asyncio.create_task(gate.acquire(turn))
    await asyncio.sleep(0)
    first.release()
    assert (await again).turn == turn
    assert not later.done()
    again.result().release()
    (await later).release()


async def test_a_permit_is_returned_once() -> None:
    gate = gate_with(Limits(concurrency=2))
    permit, _other = await gate.acquire(), await gate.acquire()
    for _ in range(3):
        permit.release()
        permit.succeed()
        permit.fail()
        permit.reject()
    assert gate.pace.in_flight == 1
    assert gate.pace.rejected == 0


async def test_max_wait_raises_and_leaves_the_queue() -> None:
    gate = Gate(Limits(concurrency=1, max_wait=0.0, adaptive=False))
    held = await gate.acquire()
    with pytest.raises(RequestTimeoutError, match="max_wait") as caught:
        await gate.acquire()
    assert caught.value.phase == "turn"
    assert gate.waiting == 0
    held.release()
    (await gate.acquire()).release()


async def test_every_subscriber_of_a_shared_gate_learns_of_a_change() -> None:
    gate = gate_with(Limits())
    one, two = Subscriber(), Subscriber()
    gate.subscribe(one)
    gate.subscribe(two)
    permits = [await gate.acquire() for _ in range(2)]
    gate.publish()
    assert one.paces == two.paces == []
    permits[1].reject()
    gate.publish()
    gate.publish()  # nothing has changed since
    assert one.paces == two.paces
    assert len(one.paces) == 1
    assert one.paces[0] == gate.pace
    permits[0].succeed()


async def test_a_query_of_the_pace_changes_nothing_for_subscribers() -> None:
    gate = gate_with(Limits())
    subscriber = Subscriber()
    gate.subscribe(subscriber)
    permits = [await gate.acquire() for _ in range(2)]
    permits[1].reject()
    assert gate.pace == gate.pace
    gate.publish()
    assert len(subscriber.paces) == 1
    permits[0].release()


async def test_a_dropped_subscriber_is_forgotten() -> None:
    gate = gate_with(Limits())
    subscriber = Subscriber()
    gate.subscribe(subscriber)
    paces = subscriber.paces
    del subscriber
    permit = await gate.acquire()
    permit.reject()
    gate.publish()
    assert paces == []


async def test_usage_corrects_the_reservation_and_the_next_estimate() -> None:
    gate = gate_with(Limits(tokens_per_minute=10_000))
    size = RequestSize(3000, max_tokens=200)
    before = gate.estimate.tokens(size)
    permit = await gate.acquire(size=size)
    permit.succeed(Usage(prompt_tokens=1500, completion_tokens=10, total_tokens=1510))
    assert gate.estimate.bytes_per_token < 4
    assert gate.estimate.tokens(size) != before


async def test_a_request_that_can_never_fit_is_refused_before_it_waits() -> None:
    gate = gate_with(Limits(tokens_per_minute=1000))
    with pytest.raises(ConfigError, match="tokens_per_minute"):
        await gate.acquire(size=RequestSize(max_tokens=1001))
    assert gate.waiting == 0


@pytest.mark.parametrize("concurrency", [1, 999, 1000, 1001, 2000, 5000])
def test_a_configured_concurrency_may_exceed_the_default_ceiling(
    concurrency: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gate_module, "_OPEN_FILES", 10_000)
    assert Gate(Limits(concurrency=concurrency)).pace.concurrency == concurrency
    assert not caplog.records


def test_a_concurrency_beyond_the_open_files_is_lowered_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request needs a socket; failing to open one would look like a failing service."""
    monkeypatch.setattr(gate_module, "_OPEN_FILES", 1000)
    with caplog.at_level(logging.WARNING, logger="laplas_async"):
        assert Gate(Limits(concurrency=2000)).pace.concurrency == 800
    assert "ulimit -n" in caplog.text


def test_without_configuration_open_files_bound_the_concurrency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate_module, "_OPEN_FILES", 500)
    assert Gate().pace.concurrency == 400
    monkeypatch.setattr(gate_module, "_OPEN_FILES", 10)
    assert Gate().pace.concurrency == 16
    monkeypatch.setattr(gate_module, "_OPEN_FILES", 10**6)
    assert Gate().pace.concurrency == 1000
