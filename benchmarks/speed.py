"""What each client costs its process, next to the loop that people write by hand: a Markdown table.

    python benchmarks/speed.py --quick     # the loop and ours: burst, plain calls, import; 20 s
    python benchmarks/speed.py             # all clients, all columns, about 15 minutes
    python benchmarks/speed.py --only laplas_async,openai --cases burst,slow --rounds 3
    python benchmarks/speed.py --json speed.json --svg speed.svg

Exit code 1 if ours misses one of the targets, or fails; 0 otherwise.

``replay.py`` sends responses encoded beforehand from its own process, over loopback. Each run of a
client is a new process (``speed_clients.py``), which checks the text it received; the clients take
turns, round after round, so that a busy machine is busy for all of them. The figure is the median
of the rounds; a ratio is the median of the ratios to the hand-written loop (aiohttp, ``split``,
``orjson.loads``, a dict) in the same round. With ``--uvloop`` the floor, the loop and ours run
under uvloop as well, and are compared with the loop under uvloop.

- burst: µs of CPU (user and system, of the client's process) for each content chunk of one stream
  that arrives as fast as it is read.
- burst-obfuscated, burst-together, burst-fresh (with ``--cases``): the same with events in which
  other fields change as well as the text, see ``replay.py``.
- burst-reasoning, burst-tool-call, burst-logprobs (with ``--cases``): the same with reasoning,
  fragments of a tool call, or log probabilities; of the hand-written loop and ours only.
- slow: the same for 200 concurrent streams with a chunk every 20 ms each, measured from when all
  of them are open. The server waits for that, so a client that starts carefully (ours) has done so
  before.
- plain: µs of CPU for a whole response, 50 concurrent, after as many that are not measured.
- memory: MiB, the peak of the process, for 2,000 concurrent streams with a chunk every 200 ms.
- import: seconds in a new process, the least of all; for the loop that of aiohttp alone.

The floor depends on the allocator: where each block read is a new mapping, its page faults cost
more than everything else. Slow clients are given fewer chunks and calls; all costs are per item. A
peer that is not installed (benchmarks/requirements-peers.txt) is left out, with a line.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, field, frozen

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # this tree, before what is installed
RUN_WITHIN = 180.0  # seconds
IMPORTS = 3  # in a round
BASE, OURS = "by_hand", "laplas_async"


@frozen(kw_only=True)
class Case:
    """A column. ``events``: in each stream; ``heavy_``: what slow clients get instead.

    ``target``: the most that ours may cost, as a ratio to the hand-written loop.
    """

    name: str
    heading: str
    target: float
    digits: int = 1
    events: int = 0
    heavy_events: int = 0
    streams: int = 1
    calls: int = 0
    heavy_calls: int = 0
    measure: str = "microseconds"
    shape: str = "openai"

    @property
    def kind(self) -> str:
        """The name of the case in ``speed_clients.py``."""
        return self.name.partition("-")[0]

    def options(self, *, heavy: bool) -> list[str]:
        """The arguments of ``speed_clients.py``."""
        events = self.heavy_events if heavy and self.heavy_events else self.events
        calls = self.heavy_calls if heavy else self.calls
        return [
            f"--events={events}",
            f"--streams={self.streams}",
            f"--calls={calls}",
            f"--shape={self.shape}",
        ]


CASES = (
    Case(
        name="burst",
        heading="burst, µs an event",
        target=1.2,
        digits=2,
        events=200_000,
        heavy_events=10_000,
    ),
    Case(
        name="slow",
        heading="200 slow streams, µs an event",
        target=1.1,
        events=100,
        streams=200,
    ),
    Case(name="plain", heading="plain call, µs", target=1.5, digits=0, calls=4000, heavy_calls=800),
    Case(
        name="memory",
        heading="2,000 slow streams, peak MiB",
        target=1.2,
        digits=0,
        events=25,
        streams=2000,
        measure="peak_mib",
    ),
    Case(name="import", heading="import, s", target=1.5, digits=3),
)
OWN_SHAPES = ("reasoning", "tool-call", "logprobs")  # of the loop and ours alone
# The burst again, as other servers write their events; selected by name.
SHAPES = tuple(
    evolve(CASES[0], name=f"burst-{shape}", heading=f"burst {shape}, µs an event", shape=shape)
    for shape in ("obfuscated", "together", "fresh")
) + tuple(
    # Each chunk holds more than text, which both build and read.
    evolve(
        CASES[0],
        name=f"burst-{shape}",
        heading=f"burst {shape}, µs an event",
        shape=shape,
        target=1.5,
    )
    for shape in OWN_SHAPES
)
QUICK = ("burst", "plain", "import")


@frozen(kw_only=True)
class Client:
    """A row. ``package`` must be installed; ``imports``: what its users write."""

    name: str
    title: str
    package: str
    imports: str
    heavy: bool = True
    uvloop: bool = False
    without: tuple[str, ...] = ()  # cases that do not apply to it
    needs: tuple[str, ...] = field(factory=tuple)

    def skips(self, case: Case) -> bool:
        """Whether it does not run in a case."""
        return case.name in self.without or (case.shape in OWN_SHAPES and self.heavy)

    @property
    def missing(self) -> str | None:
        """The package that is not installed, None if it can run."""
        packages: tuple[str, ...] = (
            self.package,
            *self.needs,
            *(("uvloop",) if self.uvloop else ()),
        )
        for package in packages:
            if importlib.util.find_spec(package) is None:
                return package
        return None

    @property
    def key(self) -> str:
        """Its name in rows."""
        return f"{self.name}, uvloop" if self.uvloop else self.name

    @property
    def base(self) -> str:
        """The client that it is compared with."""
        return f"{BASE}, uvloop" if self.uvloop else BASE


CLIENTS = (
    Client(
        name="floor",
        title="asyncio streams, bytes only counted",
        package="asyncio",
        imports="import asyncio",
        heavy=False,
        without=("plain",),
    ),
    Client(
        name=BASE,
        title="aiohttp + split + orjson, a dict (the hand-written loop)",
        package="aiohttp",
        needs=("orjson",),
        imports="import aiohttp",
        heavy=False,
    ),
    Client(
        name=OURS, title="**laplas_async**", package=OURS, imports=f"import {OURS}", heavy=False
    ),
    Client(
        name="httpx",
        title="httpx + httpx-sse + json",
        package="httpx",
        needs=("httpx_sse",),
        imports="import httpx, httpx_sse",
    ),
    Client(
        name="openai",
        title="openai-python",
        package="openai",
        imports="from openai import AsyncOpenAI",
    ),
    Client(
        name="openai_aiohttp",
        title="openai-python over aiohttp",
        package="openai",
        needs=("aiohttp",),
        imports="from openai import AsyncOpenAI",
    ),
    Client(
        name="together",
        title="together",
        package="together",
        imports="from together import AsyncTogether",
    ),
    Client(
        name="huggingface_hub",
        title="huggingface_hub",
        package="huggingface_hub",
        imports="from huggingface_hub import AsyncInferenceClient",
    ),
    Client(
        name="litellm",
        title="litellm",
        package="litellm",
        imports="from litellm import acompletion",
    ),
)


def with_uvloop(client: Client) -> Client:
    return evolve(
        client, title=f"{client.title}, uvloop", uvloop=True, without=(*client.without, "import")
    )


# --- one run ----------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """For the child processes: this tree first, and no client that downloads anything."""
    path = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a running replay server. It ends when its standard input is closed."""
    child = subprocess.Popen(
        [sys.executable, str(HERE / "replay.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        url = child.stdout.readline().strip()
        if not url:
            raise SystemExit(
                "the replay server does not start: run benchmarks/replay.py to see why"
            )
        yield url
    finally:
        child.stdin.close()
        child.stdout.close()
        child.terminate()
        child.wait()


class RunError(Exception):
    """A client did not do its job; the message is the last line of its errors."""


def run(client: Client, case: Case, url: str) -> float:
    """The figure of one process; for imports the least of several. Raises ``RunError``."""
    if case.name == "import":
        code = f"import time; at = time.perf_counter(); {client.imports}\n"
        code += "print(time.perf_counter() - at)"
        return min(float(python("-c", code)) for _ in range(IMPORTS))
    options = case.options(heavy=client.heavy)
    if client.uvloop:
        options.append("--uvloop")
    script = str(HERE / "speed_clients.py")
    report: Any = json.loads(python(script, client.name, case.kind, url, *options))
    return float(report[case.measure])


def python(*arguments: str) -> str:
    """Run a script and return the last line of its output. Raises ``RunError``."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=RUN_WITHIN,
            stdin=subprocess.DEVNULL,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"not done after {RUN_WITHIN:.0f} s") from None
    if done.returncode:
        raise RunError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return done.stdout.splitlines()[-1]


# --- the table --------------------------------------------------------------------------------


@frozen(kw_only=True)
class Results:
    """The measurements, by client and case, one value for each round."""

    clients: list[Client]
    cases: list[Case]
    values: dict[tuple[str, str], list[float]] = field(factory=dict)
    failed: dict[tuple[str, str], str] = field(factory=dict)

    def _values(self, key: str, case: Case) -> list[float]:
        """The measurements; none for a client that failed in any round."""
        return [] if (key, case.name) in self.failed else self.values.get((key, case.name), [])

    def value(self, client: Client, case: Case) -> float | None:
        """One figure for all rounds; None if there is none."""
        values = self._values(client.key, case)
        if not values:
            return None
        return min(values) if case.name == "import" else statistics.median(values)

    def ratio(self, client: Client, case: Case, to: str | None = None) -> float | None:
        """The ratio to the hand-written loop (or to ``to``), round by round."""
        values = self._values(client.key, case)
        base = self._values(to or client.base, case)
        if not values or not base:
            return None
        if case.name == "import":
            return min(values) / min(base)
        return statistics.median(a / b for a, b in zip(values, base, strict=False))

    def markdown(self) -> str:
        """The table: the figure and its ratio in each cell."""
        headings = ["client", *(case.heading for case in self.cases)]
        lines = ["| " + " | ".join(headings) + " |", "|---|" + "---:|" * len(self.cases)]
        for client in self.clients:
            cells = [client.title, *(self._cell(client, case) for case in self.cases)]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def _cell(self, client: Client, case: Case) -> str:
        value, ratio = self.value(client, case), self.ratio(client, case)
        if value is None:
            return "failed" if (client.key, case.name) in self.failed else "-"
        shown = f"{value:,.{case.digits}f}"
        return shown if ratio is None else f"{shown} ({ratio:.2f})"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": versions(self.clients),
            "cases": [asdict(case) for case in self.cases],
            "rows": [
                {
                    "client": client.key,
                    "case": case.name,
                    "value": self.value(client, case),
                    "ratio": self.ratio(client, case),
                    "rounds": self.values.get((client.key, case.name), []),
                    "failed": self.failed.get((client.key, case.name)),
                }
                for client in self.clients
                for case in self.cases
                if not client.skips(case)
            ],
        }

    def verdicts(self) -> Iterator[tuple[str, bool]]:
        """Ours, on asyncio's own loop, against each target: a line, and whether it was met."""
        for client in self.clients:
            if client.key != OURS:
                continue
            for case in self.cases:
                if client.skips(case):
                    continue
                ratio = self.ratio(client, case)
                if ratio is None:
                    yield f"{case.name}: no ratio, a client failed", False
                    continue
                met = ratio <= case.target
                word = "within" if met else "ABOVE"
                yield (
                    f"{case.name}: {ratio:.2f}, {word} the target of {case.target}",
                    met,
                )

    def comparisons(self) -> Iterator[str]:
        """Ours next to openai-python."""
        known = {client.key: client for client in self.clients}
        if OURS not in known:
            return
        for case in self.cases:
            for name in ("openai", "openai_aiohttp"):
                if name in known and case.name in ("burst", "slow", "plain"):
                    times = self.ratio(known[name], case, to=OURS)
                    if times is not None:
                        yield f"{case.name}: {times:.1f} times less CPU than {known[name].title}"


def versions(clients: list[Client]) -> dict[str, str]:
    found = {}
    for package in dict.fromkeys(
        package for client in clients for package in (client.package, *client.needs)
    ):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def measure(results: Results, rounds: int) -> None:
    """Run all clients in turn, all cases, round after round."""
    with server() as url:
        for number in range(rounds):
            for case in results.cases:
                for client in results.clients:
                    place = (client.key, case.name)
                    if client.skips(case) or place in results.failed:
                        continue
                    try:
                        value = run(client, case, url)
                    except RunError as error:
                        results.failed[place] = str(error)
                        print(f"failed, {case.name}, {client.key}: {error}", file=sys.stderr)
                        continue
                    results.values.setdefault(place, []).append(value)
                    print(
                        f"round {number + 1}, {case.name}, {client.key}: {value:.4g}",
                        file=sys.stderr,
                    )


def draw(results: Results, case: Case, path: Path) -> None:
    """Draw one case as bars, as SVG."""
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed, no plot: see requirements-peers.txt")
        return
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": case.name})  # text as text
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    bars = [
        (client.title.replace("**", "").partition(" (")[0].partition(",")[0], value, client)
        for client in results.clients
        if (value := results.value(client, case)) is not None and not client.uvloop
    ]
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(bars) + 0.9), layout="constrained")
    drawn = axes.barh(
        [title for title, _, _ in bars],
        [value for _, value, _ in bars],
        color=["#d9480f" if client.name == OURS else "#868e96" for _, _, client in bars],
    )
    axes.bar_label(drawn, labels=[f" {value:,.{case.digits}f}" for _, value, _ in bars])
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel(f"{case.heading} of CPU (logarithmic)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


# --- command line ---------------------------------------------------------------------------


def chosen_clients(arguments: argparse.Namespace) -> list[Client]:
    names = [client.name for client in CLIENTS]
    if arguments.quick:
        names = [BASE, OURS]
    if arguments.only:
        names = [BASE, *(name.strip() for name in arguments.only.split(","))]
    known = {client.name: client for client in CLIENTS}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"unknown client {unknown[0]!r}; known are: {', '.join(known)}")
    clients = [client for client in CLIENTS if client.name in names]
    if arguments.uvloop:
        own = [client for client in clients if client.name in ("floor", BASE, OURS)]
        clients += [with_uvloop(client) for client in own]
    for client in clients:
        if client.missing is not None:
            print(f"{client.key} is left out: {client.missing} is not installed\n")
    return [client for client in clients if client.missing is None]


def chosen_cases(arguments: argparse.Namespace) -> list[Case]:
    names = QUICK if arguments.quick else tuple(case.name for case in CASES)
    if arguments.cases:
        names = tuple(name.strip() for name in arguments.cases.split(","))
    known = {case.name: case for case in (*CASES, *SHAPES)}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"unknown case {unknown[0]!r}; known are: {', '.join(known)}")
    cases = [case for case in known.values() if case.name in names]
    if arguments.events is not None:
        few = max(1, arguments.events // 20)
        cases = [
            evolve(case, events=arguments.events, heavy_events=few) if case.heavy_events else case
            for case in cases
        ]
    return cases


def count(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=f"Clients: {', '.join(client.name for client in CLIENTS)}. "
        f"Cases: {', '.join(case.name for case in (*CASES, *SHAPES))}.",
    )
    parser.add_argument("--quick", action="store_true", help="only the hand-written loop and ours")
    parser.add_argument("--only", metavar="NAME,NAME", help="only these clients, and the loop")
    parser.add_argument("--cases", metavar="NAME,NAME", help="only these columns")
    parser.add_argument("--rounds", type=count, metavar="N", help="default: 5, quick: 3")
    parser.add_argument("--events", type=count, metavar="N", help="in a burst")
    parser.add_argument("--uvloop", action="store_true", help="add rows under uvloop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="draw the first column with matplotlib"
    )
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 5)
    results = Results(clients=chosen_clients(arguments), cases=chosen_cases(arguments))
    found = ", ".join(f"{name} {version}" for name, version in versions(results.clients).items())
    print(f"{found}\n", flush=True)
    measure(results, rounds)
    print(results.markdown() + "\n")
    for (client, case), reason in results.failed.items():
        print(f"- {client}, {case}, failed: {reason}")
    missed = 0
    for line, met in results.verdicts():
        missed += not met
        print(f"- {line}")
    for line in results.comparisons():
        print(f"- {line}")
    print(f"\nMedians of {rounds}. Python {platform.python_version()}, {os.cpu_count()} cores.")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results.plain(), indent=1) + "\n", encoding="utf-8")
    if arguments.svg is not None:
        draw(results, results.cases[0], arguments.svg)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
