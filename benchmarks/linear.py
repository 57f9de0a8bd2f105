"""Whether our costs stay in proportion, and for how long they hold the event loop: a table.

    python benchmarks/linear.py              # about 3 minutes
    python benchmarks/linear.py --quick      # one round, without the largest sizes; 20 s
    python benchmarks/linear.py --only whole,wide --rounds 5 --json linear.json

- wide: a stream with one event whose text has 1, 4, 16 MB; whole: the same as a plain answer.
- events: a stream of 10,000, 100,000, 1,000,000 chunks as fast as they are read.
- streams: 1,000, 5,000, 10,000 streams, all open at once, with 4 chunks in 4 seconds each, from
  opening to closing. The ceiling of the gate is raised for it, by default it is 1,000.
- gate: 10,000 and 100,000 tasks that wait at the gate, a few at once being let through.

The answers come from ``replay.py``, in a process of its own, and are checked; each size is a new
process of ours. A cost is CPU (user and system) for each unit, the median of the rounds; the last
column of a size is its ratio to that of the smallest size, so 1 is in proportion. The longest stall
is the largest gap that a task saw which sleeps for 1 ms again and again, less this 1 ms, the least
of the rounds (a busy machine makes gaps too); it stands where one answer could hold the loop. What
the decoding costs at the very least is given beside it: ``orjson.loads`` of the same bytes.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from attrs import asdict, evolve, frozen

# This tree, before what is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import replay
from benchmarks.speed import count, environment, server
from benchmarks.speed_clients import KEY, PROMPT, Meter, hard, peak_mib  # raises the file limit
from laplas_async import Gate, LaplasClient, Limits
from laplas_async.pacing.limiter import Limiter

MB = 1_000_000
RUN_WITHIN = 120.0  # seconds
TICK = 0.001
AT_ONCE = 16  # at the gate
STREAM_EVENTS, STREAM_PAUSE = 4, 1000  # milliseconds
SPARE_FILES = 100


# --- a run, in a process of its own -------------------------------------------------------------


class Ticker:
    """A task that sleeps for 1 ms, again and again, and keeps the largest gap."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last - TICK)
            last = now

    async def stop(self) -> float:
        """The largest gap, in seconds; one that is going on counts."""
        await asyncio.sleep(2 * TICK)
        self._task.cancel()
        return self.longest


@frozen(kw_only=True)
class Measured:
    """What one run cost. ``stall`` in seconds, None where it is not asked."""

    cpu: float
    peak_mib: float
    stall: float | None = None
    decoding: float | None = None


def same(got: str, sent: str) -> None:
    if got != sent:
        raise AssertionError(f"{len(got)} characters came, {len(sent)} were sent, not the same")


async def read(client: LaplasClient) -> str:
    """A stream, chunk by chunk; its text as the accumulator has it."""
    length = 0
    async with client.stream(PROMPT) as stream:
        async for chunk in stream:
            length += len(chunk.text)
        text = (await stream.completion()).text
    if length != len(text):
        raise AssertionError(f"chunks of {length} characters, an answer of {len(text)}")
    return text


async def ask(client: LaplasClient) -> str:
    """A plain answer's text."""
    return (await client.complete(PROMPT)).text


Call = Callable[[LaplasClient], Awaitable[str]]
WARM: dict[Call, tuple[str, str]] = {
    read: ("burst/openai/200", replay.text_of(200)),
    ask: ("plain", replay.PLAIN_TEXT),
}


async def measure(call: Call, url: str, path: str, sent: str) -> Measured:
    """One call, with the loop watched; before it, a small one, for what is done only once."""
    warm, expected = WARM[call]
    async with LaplasClient(KEY, f"{url}/{warm}/v1") as client:
        same(await call(client), expected)
    async with LaplasClient(KEY, f"{url}/{path}/v1") as client:
        ticker, meter = Ticker(), Meter()
        await asyncio.sleep(10 * TICK)
        ticker.longest = 0.0
        meter.begin()
        got = await call(client)
        meter.end()
        stall = await ticker.stop()
    same(got, sent)
    return Measured(cpu=meter.cpu, stall=stall, peak_mib=peak_mib())


def least(data: bytes) -> float:
    """Seconds that ``orjson.loads`` takes, the least of three."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        orjson.loads(data)
        taken.append(time.perf_counter() - begun)
    return min(taken)


async def run_wide(url: str, size: int) -> Measured:
    text = replay.wide_text(size * MB)
    measured = await measure(read, url, f"wide/{size * MB}", text)
    return with_decoding(measured, text)


async def run_whole(url: str, size: int) -> Measured:
    text = replay.wide_text(size * MB)
    measured = await measure(ask, url, f"whole/{size * MB}", text)
    return with_decoding(measured, text)


def with_decoding(measured: Measured, text: str) -> Measured:
    body = json.dumps({"content": text}, ensure_ascii=False).encode()
    return evolve(measured, decoding=least(body))


async def run_events(url: str, size: int) -> Measured:
    return await measure(read, url, f"burst/openai/{size}", replay.text_of(size))


async def run_streams(url: str, size: int) -> Measured:
    sent = replay.text_of(STREAM_EVENTS)
    gate = Gate(limiter=Limiter(Limits(), ceiling=size))
    base_url = f"{url}/slow/{size}/{STREAM_EVENTS}/{STREAM_PAUSE}/v1"
    meter = Meter()
    begun = 0

    async with LaplasClient(KEY, base_url, gate=gate) as client:

        async def one() -> None:
            nonlocal begun
            async with client.stream(PROMPT) as stream:
                begun += 1
                if begun == size and gate.pace.in_flight < size:
                    raise AssertionError(f"{gate.pace.in_flight} at once, not {size}")
                same((await stream.completion()).text, sent)

        meter.begin()
        await asyncio.gather(*(one() for _ in range(size)))
        meter.end()
    return Measured(cpu=meter.cpu, peak_mib=peak_mib())


async def run_gate(_url: str, size: int) -> Measured:
    gate = Gate(limiter=Limiter(Limits(concurrency=AT_ONCE, adaptive=False)))
    longest = 0

    async def one() -> None:
        nonlocal longest
        permit = await gate.acquire()
        longest = max(longest, gate.waiting)
        await asyncio.sleep(0)
        permit.succeed()

    meter = Meter()
    meter.begin()
    await asyncio.gather(*(one() for _ in range(size)))
    meter.end()
    if longest < size - 2 * AT_ONCE or gate.waiting:
        raise AssertionError(f"at most {longest} waited, not {size}; {gate.waiting} wait still")
    return Measured(cpu=meter.cpu, peak_mib=peak_mib())


# --- the cases ----------------------------------------------------------------------------------


@frozen(kw_only=True)
class Case:
    """A row for each of its sizes. ``per``: seconds of a unit times this are printed."""

    name: str
    title: str
    unit: str
    per: float
    sizes: tuple[int, ...]
    run: Callable[[str, int], Awaitable[Measured]]


CASES = (
    Case(
        name="wide",
        title="one event of {} MB",
        unit="ms a MB",
        per=1e3,
        sizes=(1, 4, 16),
        run=run_wide,
    ),
    Case(
        name="whole",
        title="a plain answer of {} MB",
        unit="ms a MB",
        per=1e3,
        sizes=(1, 4, 16),
        run=run_whole,
    ),
    Case(
        name="events",
        title="a stream of {} events",
        unit="µs an event",
        per=1e6,
        sizes=(10_000, 100_000, 1_000_000),
        run=run_events,
    ),
    Case(
        name="streams",
        title="{} streams at once",
        unit="µs a stream",
        per=1e6,
        sizes=(1000, 5000, 10_000),
        run=run_streams,
    ),
    Case(
        name="gate",
        title="{} tasks waiting",
        unit="µs a task",
        per=1e6,
        sizes=(10_000, 100_000),
        run=run_gate,
    ),
)
KNOWN = {case.name: case for case in CASES}


@frozen(kw_only=True)
class Row:
    """One size of one case, over all rounds. ``cost`` of a unit, ``ratio`` to the smallest size."""

    case: str
    size: int
    title: str
    unit: str
    cost: float
    ratio: float
    stall: float | None
    decoding: float | None
    peak_mib: float

    def cells(self) -> list[str]:
        """The cells of the table, in the order of ``HEADINGS``."""
        stall = "-" if self.stall is None else f"{1000 * self.stall:.1f}"
        decoding = "-" if self.decoding is None else f"{1000 * self.decoding:.1f}"
        cost = f"{self.cost:,.2f} {self.unit}"
        return [self.title, cost, f"{self.ratio:.2f}", stall, decoding, f"{self.peak_mib:,.0f}"]


HEADINGS = (
    "what",
    "CPU",
    "ratio to the smallest",
    "longest stall, ms",
    "orjson.loads alone, ms",
    "peak MiB",
)


def run(case: Case, size: int, url: str) -> Measured:
    """One process."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", url, case.name, str(size)],
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_WITHIN,
        stdin=subprocess.DEVNULL,
        env=environment(),
    )
    if done.returncode:
        raise SystemExit(f"{case.name} {size}: exit code {done.returncode}\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return Measured(**figures)


def child(url: str, name: str, size: int) -> None:
    """What a process of this benchmark does."""

    async def live() -> Measured:
        return await KNOWN[name].run(url, size)

    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    print(json.dumps(asdict(asyncio.run(live()))))


def row(case: Case, size: int, runs: list[Measured], smallest: float | None) -> Row:
    cost = statistics.median(one.cpu for one in runs) / size * case.per
    stalls = [one.stall for one in runs if one.stall is not None]
    decodings = [one.decoding for one in runs if one.decoding is not None]
    return Row(
        case=case.name,
        size=size,
        title=case.title.format(f"{size:,}"),
        unit=case.unit,
        cost=cost,
        ratio=1.0 if smallest is None else cost / smallest,
        stall=min(stalls, default=None),
        decoding=min(decodings, default=None),
        peak_mib=statistics.median(one.peak_mib for one in runs),
    )


def print_rows(cases: list[Case], rounds: int) -> list[Row]:
    rows: list[Row] = []
    print("| " + " | ".join(HEADINGS) + " |")
    print("|---|" + "---:|" * (len(HEADINGS) - 1))
    with server() as url:
        for case in cases:
            runs: dict[int, list[Measured]] = {size: [] for size in case.sizes}
            for _ in range(rounds):
                for size in case.sizes:
                    runs[size].append(run(case, size, url))
            smallest: float | None = None
            for size in case.sizes:
                made = row(case, size, runs[size], smallest)
                smallest = made.cost if smallest is None else smallest
                rows.append(made)
                print("| " + " | ".join(made.cells()) + " |", flush=True)
    return rows


def chosen(arguments: argparse.Namespace) -> list[Case]:
    names = list(KNOWN)
    if arguments.only:
        names = [name.strip() for name in arguments.only.split(",")]
    if unknown := [name for name in names if name not in KNOWN]:
        raise SystemExit(f"no case {unknown[0]!r}; there are: {', '.join(KNOWN)}")
    cases = []
    for case in (KNOWN[name] for name in names):
        sizes = case.sizes[:-1] if arguments.quick else case.sizes
        if case.name == "streams":
            possible = tuple(size for size in sizes if size + SPARE_FILES <= hard)
            for size in sizes[len(possible) :]:
                print(f"{size:,} streams: the hard limit of open files is {hard:,}, left out\n")
            sizes = possible
        cases.append(evolve(case, sizes=sizes))
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=f"Cases: {', '.join(KNOWN)}",
    )
    parser.add_argument("--quick", action="store_true", help="one round, without the largest")
    parser.add_argument("--only", metavar="NAME,NAME", help="these cases alone")
    parser.add_argument("--rounds", type=count, metavar="N", help="default: 3, quick: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        url, name, size = arguments.child
        child(url, name, int(size))
        return
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    rows = print_rows(chosen(arguments), rounds)
    print(f"\nRounds: {rounds}. Python {platform.python_version()}, {os.cpu_count()} cores.")
    if arguments.json is not None:
        report = {"python": platform.python_version(), "rows": [asdict(made) for made in rows]}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
