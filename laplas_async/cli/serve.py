"""``laplas serve``: the simulator in the foreground.

It refuses to listen on anything but loopback: it answers with made-up text.
"""

import argparse
import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from laplas_async.cli.exit_codes import DONE, FAILED
from laplas_async.cli.options import port
from laplas_async.cli.terminal import Output, complain, end_line, make_runner
from laplas_async.errors import ConfigError

if TYPE_CHECKING:
    from laplas_async.simulator import Fault, Simulator


_LIMIT_HEADERS: Final[dict[str, bool | Literal["retry-after", "x-ratelimit"]]] = {
    "none": False,
    "retry-after": "retry-after",
    "x-ratelimit": "x-ratelimit",
    "all": True,
}


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``laplas serve`` to the command line."""
    serve = commands.add_parser(
        "serve",
        help="run the simulator of the API on this machine",
        description="Run the simulator on 127.0.0.1 until Ctrl-C or SIGTERM. Its text is made up; "
        "its behaviour is the service's.",
        allow_abbrev=False,
    )
    serve.add_argument(
        "--port", type=port, default=8090, help="0 is any free one (default: %(default)s)"
    )
    serve.add_argument(
        "--api-key", metavar="KEY", help="the only key it accepts, a made-up one (default: any)"
    )
    serve.add_argument(
        "--status",
        type=int,
        choices=(200, 201),
        default=200,
        help="status of a successful response (default: 200)",
    )
    hidden = serve.add_argument_group("hidden limits", "a request beyond them gets 429")
    hidden.add_argument("--rate", type=float, metavar="R", help="requests per second")
    hidden.add_argument(
        "--burst", type=int, metavar="N", help="requests at once after a pause (default: the rate)"
    )
    hidden.add_argument("--concurrency", type=int, metavar="N", help="requests in flight")
    hidden.add_argument("--requests", type=int, metavar="N", help="requests per window")
    hidden.add_argument("--tokens", type=int, metavar="N", help="tokens per window")
    hidden.add_argument(
        "--per",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="length of the window (default: %(default)g)",
    )
    hidden.add_argument(
        "--sliding", action="store_true", help="count the last seconds, not fixed windows"
    )
    hidden.add_argument(
        "--limit-headers",
        choices=tuple(_LIMIT_HEADERS),
        default="none",
        help="what responses report about the limits (default: none)",
    )
    _add_behavior(serve)


def _add_behavior(serve: argparse.ArgumentParser) -> None:
    timing = serve.add_argument_group("timing")
    timing.add_argument(
        "--first-token",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="time until a stream begins",
    )
    timing.add_argument("--tokens-per-second", type=float, metavar="N", help="speed after that")
    timing.add_argument(
        "--plain",
        type=float,
        metavar="SECONDS",
        help="time until an unstreamed response (default: as long as its stream would take)",
    )
    faults = serve.add_argument_group("faults")
    faults.add_argument(
        "--faults",
        default="",
        metavar="LIST",
        help="faults of the first requests, one each, as in 429,429:2,cut:5,ok*3",
    )
    faults.add_argument(
        "--fault-always", metavar="FAULT", help="the fault of every request after them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Raises ``ConfigError`` for invalid settings."""
    try:
        simulator = make_simulator(arguments)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    with make_runner() as runner:
        return runner.run(_serve(simulator, arguments))


def make_simulator(arguments: argparse.Namespace) -> "Simulator":
    """The simulator that the arguments describe, not started. Raises ``ValueError``."""
    # Not for ``laplas --help``: it loads aiohttp's server.
    from laplas_async.simulator import (  # noqa: PLC0415
        HiddenLimit,
        Simulator,
        Timing,
        parse_faults,
    )

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
            rate=arguments.rate,
            burst=arguments.burst,
            concurrency=arguments.concurrency,
            requests=arguments.requests,
            tokens=arguments.tokens,
            per=arguments.per,
            sliding=arguments.sliding,
            headers=_LIMIT_HEADERS[arguments.limit_headers],
        ),
        faults=parse_faults(arguments.faults),
        remember=0,
    )
    if arguments.fault_always is not None:
        simulator.script_always(_only(parse_faults(arguments.fault_always)))
    return simulator


def _only(faults: "list[Fault | None]") -> "Fault | None":
    if len(faults) != 1:
        raise ValueError(f"--fault-always takes one fault, not {len(faults)}")
    return faults[0]


async def _serve(simulator: "Simulator", arguments: argparse.Namespace) -> int:
    output = Output()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows, where Ctrl-C cancels the task
            loop.add_signal_handler(number, ended.set)
    try:
        await simulator.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        complain(
            f"cannot listen on 127.0.0.1:{arguments.port}: {reason}; --port 0 takes a free port"
        )
        return FAILED
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
    return DONE
