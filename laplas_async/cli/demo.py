"""``laplas demo``: what the library does, in about ten seconds, without a key or a network.

The simulator and the client share one event loop; everything shown is measured, nothing is played
back. It refuses to report success when a step failed: then the exit code is 1.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

from laplas_async import ChatCompletion, LaplasClient, LaplasError, StreamTruncatedError
from laplas_async import Pace as GatePace
from laplas_async.cli.exit_codes import DONE, FAILED
from laplas_async.cli.options import count
from laplas_async.cli.terminal import Output, complain, describe, make_runner

if TYPE_CHECKING:
    from laplas_async.simulator import Simulator

CALLS: Final = 30
# The speed of a large model, and a limit that thirty calls at once exceed.
_FIRST_TOKEN: Final = 0.15  # seconds
_TOKENS_PER_SECOND: Final = 80.0
_RATE: Final = 20.0  # requests per second
_BURST: Final = 10
_CUT_AFTER: Final = 12
_NEXT: Final = """\
With a key:     export LAPLAS_API_KEY=...    then: laplas chat "Name a river."
Without one:    laplas serve                 the same simulator, for your own code
From Python:    async with LaplasClient() as client:
                    completion = await client.complete("Name a river.")
                    print(completion.text)
"""


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``laplas demo`` to the command line."""
    demo = commands.add_parser(
        "demo",
        help="show what the library does in ten seconds; needs no key and no network",
        description="Start the simulator, stream a story from it, make thirty calls at once "
        "under a hidden limit, break a stream. Nothing leaves this machine.",
        allow_abbrev=False,
    )
    demo.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="show instead how N processes share one hidden limit",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show every step. Returns 0 only if all of them succeeded."""
    output = Output()
    view = _make_view(output)
    if arguments.workers is not None:
        return _show_workers(output, view, arguments.workers)
    with make_runner() as runner:
        return DONE if runner.run(_show(output, view)) else FAILED


def _show_workers(output: Output, view: "_View", workers: int) -> int:
    from laplas_async.cli import demo_workers  # noqa: PLC0415 - not for ``laplas --help``

    view.title(f"{workers} processes, {demo_workers.CALLS} calls each, under one hidden limit")
    with make_runner() as runner:
        text, complete = runner.run(demo_workers.run(workers))
    output.write(text)
    if not complete:
        complain("the demo failed: a worker did not get all its answers")
    return DONE if complete else FAILED


def _make_simulator() -> "Simulator":
    # Not for ``laplas --help``: it loads aiohttp's server.
    from laplas_async.simulator import HiddenLimit, Simulator, Timing  # noqa: PLC0415

    return Simulator(
        timing=Timing(first_token=_FIRST_TOKEN, tokens_per_second=_TOKENS_PER_SECOND),
        limit=HiddenLimit(rate=_RATE, burst=_BURST),
    )


async def _show(output: Output, view: "_View") -> bool:
    async with (
        _make_simulator() as simulator,
        LaplasClient("demo-key", simulator.base_url) as client,
    ):
        output.write(
            f"A simulator of the API runs at {simulator.base_url}; its text is made up, its "
            "behaviour is the service's.\n"
        )
        for step in (_stream_story, _call_at_once, _break_stream):
            try:
                await step(client, simulator, output, view)
            except (LaplasError, _Unexpected) as error:
                output.end_line()
                message = describe(error) if isinstance(error, LaplasError) else str(error)
                complain(f"the demo failed: {message}")
                return False
    view.title("What next")
    output.write(_NEXT)
    return True


class _Unexpected(Exception):  # noqa: N818 - caught in this module
    """A step had another result than the demo promises."""


async def _stream_story(
    client: LaplasClient, _simulator: "Simulator", output: Output, view: "_View"
) -> None:
    view.title("A short story, streamed")
    started = time.perf_counter()
    first = None
    async with client.stream("Tell me a short tale about a lighthouse.", seed=7) as stream:
        async for text in stream.text():
            first = time.perf_counter() if first is None else first
            output.write(text)
        completion = await stream.completion()
    ended = time.perf_counter()
    output.end_line()
    usage = completion.usage
    if first is None or usage is None or completion.finish_reason != "stop":
        raise _Unexpected("the story has no text, no usage or no end")
    pace = (usage.completion_tokens - 1) / (ended - first)
    output.write(
        f"\nFirst token after {first - started:.2f} s, then {pace:.0f} tokens per second; "
        f"{usage.completion_tokens} tokens in all.\n"
    )


async def _call_at_once(
    client: LaplasClient, simulator: "Simulator", output: Output, view: "_View"
) -> None:
    view.title(f"{CALLS} calls at once, under a hidden limit")
    rejected = simulator.counts.rejected
    answered = 0

    async def call(number: int) -> ChatCompletion:
        nonlocal answered
        completion = await client.complete(f"Name river number {number}.", max_tokens=24)
        answered += 1
        view.progress(answered, CALLS, client.pace)
        return completion

    started = time.perf_counter()
    view.progress(0, CALLS, client.pace)
    try:
        calls = (call(number) for number in range(1, CALLS + 1))
        results = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        view.end_progress()
    lasted = time.perf_counter() - started
    errors = [result for result in results if isinstance(result, BaseException)]
    completions = [result for result in results if not isinstance(result, BaseException)]
    view.table(
        {
            "answered": f"{len(completions)} of {CALLS}",
            "rejected on the way (429)": str(simulator.counts.rejected - rejected),
            "attempts, at most": str(max((len(done.attempts) for done in completions), default=0)),
            "limit found": _limit_found(client.pace),
            "seconds": f"{lasted:.1f}",
            "tokens": str(sum(done.usage.completion_tokens for done in completions if done.usage)),
        }
    )
    if errors:
        raise errors[0]
    if not all(done.text and done.usage for done in completions):
        raise _Unexpected("a call was answered without text or usage")
    output.write(
        f"The service accepts {_RATE:g} calls per second and bursts of {_BURST}, and does not say "
        "so; the client discovered it.\n"
    )


def _limit_found(pace: GatePace) -> str:
    return "; ".join(pace.describe()) or "not reached"


async def _break_stream(
    client: LaplasClient, simulator: "Simulator", output: Output, view: "_View"
) -> None:
    from laplas_async.simulator import Fault  # noqa: PLC0415 - as in _make_simulator

    view.title("A stream that breaks")
    simulator.script(Fault.cut(after=_CUT_AFTER))
    try:
        async with client.stream("Tell me another tale.") as stream:
            async for text in stream.text():
                output.write(text)
    except StreamTruncatedError as error:
        output.end_line()
        if not error.partial.text:
            raise _Unexpected("the broken stream left no partial text") from None
        output.write(
            f"\n{type(error).__name__}: {error}\n"
            f"error.partial.text holds the {len(error.partial.text)} characters received before: "
            "a truncated answer is never presented as complete.\n"
        )
    else:
        raise _Unexpected("a stream was truncated, and no error was raised")


# --- how it looks -----------------------------------------------------------------------------


class _View(Protocol):
    """What frames the text: headings, a count that moves, a table."""

    def title(self, text: str) -> None: ...

    def progress(self, done: int, whole: int, pace: GatePace) -> None: ...

    def end_progress(self) -> None: ...

    def table(self, rows: Mapping[str, str]) -> None: ...


def _make_view(output: Output) -> _View:
    if output.is_terminal:
        with suppress(ImportError):  # without the extra "cli": plain text
            return _RichView(output)
    return _PlainView(output)


class _PlainView:
    """Plain lines, for a pipe or without rich."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def title(self, text: str) -> None:
        self._output.write(f"\n== {text}\n\n")

    def progress(self, done: int, whole: int, pace: GatePace) -> None:
        """Nothing: a file cannot show a line that changes."""

    def end_progress(self) -> None:
        """Nothing."""

    def table(self, rows: Mapping[str, str]) -> None:
        width = max(map(len, rows))
        self._output.write("".join(f"{name:<{width}}  {value}\n" for name, value in rows.items()))


class _RichView:
    """The same on a terminal, by rich. Raises ``ImportError`` without it."""

    def __init__(self, output: Output) -> None:
        self._table: Any = import_module("rich.table").Table
        self._console: Any = import_module("rich.console").Console(file=sys.stdout, highlight=False)
        self._output = output
        self._status: Any = None

    def title(self, text: str) -> None:
        self._output.end_line()
        self._console.print()
        self._console.rule(text, align="left", characters="-")
        self._console.print()

    def progress(self, done: int, whole: int, pace: GatePace) -> None:
        text = (
            f"answered {done} of {whole}, {pace.in_flight} in flight, {pace.waiting} waiting, "
            f"{pace.rejected} rejected; limit: {_limit_found(pace)}"
        )
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)

    def end_progress(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def table(self, rows: Mapping[str, str]) -> None:
        table = self._table(show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in rows.items():
            table.add_row(name, value)
        self._console.print(table)
