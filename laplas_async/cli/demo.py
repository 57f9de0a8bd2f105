"""``laplas demo``: what the library does, in some ten seconds, with neither key nor network.

The simulator and the client share one event loop; everything shown was measured, nothing is
played back. It refuses to say that all went well when it did not: the exit code is 0 only then.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, Protocol

from laplas_async import ChatCompletion, LaplasClient, LaplasError, StreamTruncatedError
from laplas_async import Pace as GatePace
from laplas_async.cli.terminal import Output, complain, describe, make_runner
from laplas_async.simulator import Fault, HiddenLimit, Simulator, Timing

CALLS: Final = 30
# A large model's timing, and a limit that thirty calls at once must meet.
_TIMING: Final = Timing(first_token=0.15, tokens_per_second=80.0)
_LIMIT: Final = HiddenLimit(rate=20.0, burst=10)
_CUT_AFTER: Final = 12
_NEXT: Final = """\
With a key:     export LAPLAS_API_KEY=...    then: laplas chat "Name a river."
Without one:    laplas serve                 the same simulator, for your own code
From Python:    async with LaplasClient() as client:
                    completion = await client.complete("Name a river.")
                    print(completion.text)
"""


def run(_arguments: argparse.Namespace) -> int:
    """Show it all. Returns 0 only if everything went as it should."""
    output = Output()
    view = _make_view(output)
    with make_runner() as runner:
        return 0 if runner.run(_show(output, view)) else 1


async def _show(output: Output, view: "_View") -> bool:
    async with (
        Simulator(timing=_TIMING, limit=_LIMIT) as simulator,
        LaplasClient("demo-key", simulator.base_url) as client,
    ):
        output.write(
            f"A simulator of the API runs at {simulator.base_url}; its words are made up, its "
            "manners are the service's.\n"
        )
        for step in (_stream_story, _call_at_once, _break_stream):
            try:
                await step(client, simulator, output, view)
            except (LaplasError, _Unexpected) as error:
                output.end_line()
                words = describe(error) if isinstance(error, LaplasError) else str(error)
                complain(f"the demo did not go as it should: {words}")
                return False
    view.title("What next")
    output.write(_NEXT)
    return True


class _Unexpected(Exception):  # noqa: N818 - a finding of the demo about itself
    """Something went otherwise than the demo says it does."""


async def _stream_story(
    client: LaplasClient, _simulator: Simulator, output: Output, view: "_View"
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
        f"\nFirst token after {first - started:.2f} s, then {pace:.0f} tokens a second; "
        f"{usage.completion_tokens} tokens in all.\n"
    )


async def _call_at_once(
    client: LaplasClient, simulator: Simulator, output: Output, view: "_View"
) -> None:
    view.title(f"{CALLS} calls at once, under a limit that nobody told")
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
            "tries, at most": str(max((len(done.attempts) for done in completions), default=0)),
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
        f"The service takes {_LIMIT.rate:g} calls a second and {_LIMIT.burst} in one burst, and "
        "tells no one; the client found its way.\n"
    )


def _limit_found(pace: GatePace) -> str:
    return "not met yet" if pace.rate is None else f"{pace.rate:.1f} a second"


async def _break_stream(
    client: LaplasClient, simulator: Simulator, output: Output, view: "_View"
) -> None:
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
            f"error.partial.text holds the {len(error.partial.text)} characters that had come: "
            "a cut answer is never passed off as a whole one.\n"
        )
    else:
        raise _Unexpected("a stream was cut, and no error told it")


# --- how it looks -----------------------------------------------------------------------------


class _View(Protocol):
    """What frames the text: headings, a count that moves, a table."""

    def title(self, text: str) -> None: ...

    def progress(self, done: int, whole: int, pace: GatePace) -> None: ...

    def end_progress(self) -> None: ...

    def table(self, rows: Mapping[str, str]) -> None: ...


def _make_view(output: Output) -> _View:
    if output.is_terminal:
        with suppress(ImportError):  # without the extra "cli" it is plain, and complete
            return _RichView(output)
    return _PlainView(output)


class _PlainView:
    """Plain lines, for a pipe or without rich."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def title(self, text: str) -> None:
        self._output.write(f"\n== {text}\n\n")

    def progress(self, done: int, whole: int, pace: GatePace) -> None:
        """Nothing: a line that is rewritten is no line of a file."""

    def end_progress(self) -> None:
        """Nothing."""

    def table(self, rows: Mapping[str, str]) -> None:
        width = max(map(len, rows))
        self._output.write("".join(f"{name:<{width}}  {told}\n" for name, told in rows.items()))


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
        words = (
            f"answered {done} of {whole}, {pace.in_flight} in flight, {pace.waiting} waiting, "
            f"{pace.rejected} rejected; limit: {_limit_found(pace)}"
        )
        if self._status is None:
            self._status = self._console.status(words)
            self._status.start()
        else:
            self._status.update(words)

    def end_progress(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def table(self, rows: Mapping[str, str]) -> None:
        table = self._table(show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, told in rows.items():
            table.add_row(name, told)
        self._console.print(table)
