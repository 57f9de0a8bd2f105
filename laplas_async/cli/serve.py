"""``laplas serve``: the simulator in the foreground.

It refuses to listen on anything but loopback: whoever calls it gets made-up words.
"""

import argparse
import asyncio
import os
import signal
from contextlib import suppress

from laplas_async.cli.terminal import Output, complain, end_line, make_runner
from laplas_async.errors import ConfigError
from laplas_async.simulator import Fault, HiddenLimit, Simulator, Timing, parse_faults


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Raises ``ConfigError`` for settings that cannot be."""
    try:
        simulator = make_simulator(arguments)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    with make_runner() as runner:
        return runner.run(_serve(simulator, arguments))


def make_simulator(arguments: argparse.Namespace) -> Simulator:
    """The simulator that the arguments describe, not started. Raises ``ValueError``."""
    simulator = Simulator(
        api_key=arguments.api_key,
        status=arguments.status,
        port=arguments.port,
        timing=Timing(
            first_token=arguments.first_token,
            tokens_per_second=arguments.tokens_per_second,
            plain=arguments.plain,
        ),
        limit=HiddenLimit(
            rate=arguments.rate, burst=arguments.burst, concurrency=arguments.concurrency
        ),
        faults=parse_faults(arguments.faults),
        remember=0,
    )
    if arguments.fault_always is not None:
        simulator.script_always(_only(arguments.fault_always))
    return simulator


def _only(text: str) -> Fault | None:
    faults = parse_faults(text)
    if len(faults) != 1:
        raise ValueError(f"--fault-always takes one fault, not {text!r}")
    return faults[0]


async def _serve(simulator: Simulator, arguments: argparse.Namespace) -> int:
    output = Output()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows, where Ctrl-C cancels the task
            loop.add_signal_handler(number, ended.set)
    try:
        await simulator.start()
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        complain(
            f"cannot listen on 127.0.0.1:{arguments.port}: {words}; --port 0 takes a free port"
        )
        return 1
    try:
        key = "any key" if arguments.api_key is None else "one key"
        output.write(f"serving on {simulator.base_url} ({key})\n")
        shown = "any" if arguments.api_key is None else "..."
        output.write(f"export LAPLAS_BASE_URL={simulator.base_url} LAPLAS_API_KEY={shown}\n")
        with suppress(asyncio.CancelledError):
            await ended.wait()
    finally:
        await simulator.stop()
    end_line()
    counts = simulator.counts
    output.write(
        f"{counts.requests} requests: {counts.answered} answered, {counts.rejected} rejected, "
        f"{counts.refused} refused, {counts.faulted} faulted, {counts.abandoned} abandoned; "
        f"{counts.tokens} tokens\n"
    )
    return 0
