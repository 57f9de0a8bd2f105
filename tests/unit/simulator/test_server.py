"""The simulator before it listens: its settings, script and counts."""

import pytest

from laplas_async.simulator import Counts, HiddenLimit, Simulator


@pytest.mark.parametrize("status", [199, 300, 404])
def test_the_status_must_be_a_success(status: int) -> None:
    with pytest.raises(ValueError, match="200 to 299"):
        Simulator(status=status)


def test_it_has_no_address_before_it_is_started() -> None:
    simulator = Simulator(api_key="secret")
    for name in ("base_url", "port"):
        with pytest.raises(RuntimeError, match="not started"):
            getattr(simulator, name)
    assert repr(simulator) == "<Simulator not started>"


async def test_stopping_what_was_not_started_does_nothing() -> None:
    await Simulator().stop()


def test_the_limit_can_be_replaced_and_removed() -> None:
    simulator = Simulator(limit=HiddenLimit(rate=3))
    assert simulator.limit == HiddenLimit(rate=3)
    simulator.limit = None
    assert simulator.limit == HiddenLimit()


def test_without_requests_all_counts_are_zero() -> None:
    simulator = Simulator()
    assert simulator.counts == Counts()
    assert simulator.requests == []
    assert simulator.block_until()
    assert not simulator.block_until(lambda counts: counts.requests > 0, timeout=0.001)
