"""The arguments of ``laplas serve`` become a simulator."""

from typing import Any

import pytest

from laplas_async.cli import make_parser
from laplas_async.cli.serve import make_simulator
from laplas_async.simulator import HiddenLimit, Simulator


def simulator(*arguments: str) -> Simulator:
    return make_simulator(make_parser().parse_args(["serve", *arguments]))


def test_by_default_it_has_no_limit_and_no_fault() -> None:
    assert isinstance(simulator(), Simulator)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rate", "20", "--burst", "10", "--concurrency", "4"),
        ("--first-token", "0.2", "--tokens-per-second", "80", "--plain", "1.5"),
        ("--faults", "429,429:2,cut:5,ok*3", "--fault-always", "500"),
        ("--port", "0", "--api-key", "made-up", "--status", "201"),
    ],
)
def test_valid_settings_make_a_simulator(arguments: tuple[str, ...]) -> None:
    assert isinstance(simulator(*arguments), Simulator)


def test_the_hidden_limit_has_the_arguments_values() -> None:
    arguments = ("--requests", "30", "--tokens", "6000", "--per", "10", "--sliding")
    assert simulator(*arguments, "--limit-headers", "all").limit == HiddenLimit(
        requests=30, tokens=6000, per=10, sliding=True, headers=True
    )
    assert simulator("--rate", "2", "--limit-headers", "retry-after").limit == HiddenLimit(
        rate=2, headers="retry-after"
    )
    assert simulator().limit == HiddenLimit()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fault-always", "cut,ok"), "one fault, not 2"),
        (("--fault-always", ""), "one fault, not 0"),
        (("--burst", "3"), "burst needs a rate"),
        (("--sliding",), "phase and sliding need requests or tokens"),
        (("--tokens-per-second", "0"), "tokens_per_second"),
    ],
)
def test_invalid_settings_are_value_errors(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulator(*arguments)
