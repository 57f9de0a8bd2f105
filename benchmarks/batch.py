"""What a batch costs, beside the loop that people write by hand: a Markdown table.

    python benchmarks/batch.py                     # 100,000 rows
    python benchmarks/batch.py --rows 1000000 --json batch.json
    python benchmarks/batch.py --rows 20000 --rounds 3 --uvloop

Each row is a line of the OpenAI Batch format, and each answer a whole completion of 700 bytes from
``replay.py``, a server in a process of its own that does nothing but send it. Both clients have 200
requests in flight and write a result line for each row; ours is ``run_batch`` with its journal,
groups of fsync and a hash of each row, and the loop (aiohttp, a semaphore, ``json``) has none of
that. Each run is a new process, and they take turns, round after round.

The table has medians of the rounds: seconds and rows per second; µs of CPU per row (user and
system, of all threads of the client's process, from the first row to the last, without imports);
the peak memory of the process; and the ratio of its CPU to the loop's in the same round. What was
written is checked: one line for each row, each with an answer.
"""

import argparse
import asyncio
import importlib
import importlib.metadata
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

# This tree, before what is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.speed import count, environment, server
from benchmarks.speed_clients import Meter, peak_mib

KEY = "none"
MODEL = "any"
AT_ONCE = 200
BY_HAND, OURS = "by hand", "run_batch"
PACKAGES = ("laplas_async", "aiohttp", "orjson", "uvloop")


# --- the two clients, each in a process of its own ----------------------------------------------


async def by_hand(source: Path, target: Path, base_url: str) -> None:
    """What a good engineer writes in forty lines: bounded, failures recorded, no journal."""
    aiohttp: Any = importlib.import_module("aiohttp")
    url = f"{base_url}/chat/completions"
    semaphore = asyncio.Semaphore(AT_ONCE)

    async def ask(row: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {"custom_id": row["custom_id"], "response": None, "error": None}
        try:
            async with session.post(url, json=row["body"]) as response:
                result["response"] = {
                    "status_code": response.status,
                    "request_id": response.headers.get("x-request-id"),
                    "body": await response.json(),
                }
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            result["error"] = {"code": type(error).__name__, "message": str(error)}
        return result

    with source.open(encoding="utf-8") as rows, target.open("w", encoding="utf-8") as results:

        async def work(line: str) -> None:
            try:
                result = await ask(json.loads(line))
                results.write(json.dumps(result, ensure_ascii=False) + "\n")
            finally:
                semaphore.release()

        async with (
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {KEY}"},
                connector=aiohttp.TCPConnector(limit=AT_ONCE),
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            for line in rows:
                await semaphore.acquire()
                group.create_task(work(line))


async def ours(source: Path, target: Path, base_url: str) -> None:
    """As its documents have it."""
    library: Any = importlib.import_module("laplas_async")
    limits = library.Limits(concurrency=AT_ONCE)
    async with library.LaplasClient(KEY, base_url, limits=limits) as client:
        report = await library.run_batch(source, target, client=client)
    if not report.ok:
        raise SystemExit(f"the batch did not go well: {report}")


Work = Callable[[Path, Path, str], Coroutine[Any, Any, None]]
CLIENTS: dict[str, Work] = {BY_HAND: by_hand, OURS: ours}


def run_here(arguments: argparse.Namespace) -> None:
    """In the child: do it, and print what it took as a JSON line."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    importlib.import_module("laplas_async" if arguments.child == OURS else "aiohttp")
    factory = importlib.import_module("uvloop").new_event_loop if arguments.uvloop else None
    meter = Meter()
    meter.begin()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(CLIENTS[arguments.child](arguments.source, arguments.target, arguments.url))
    meter.end()
    print(json.dumps({"seconds": meter.seconds, "cpu": meter.cpu, "mib": peak_mib()}))


# --- one run ------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Run:
    """What one run of a client took: seconds, CPU seconds, MiB."""

    seconds: float
    cpu: float
    mib: float


def run(name: str, source: Path, target: Path, arguments: argparse.Namespace, url: str) -> Run:
    """Run it in a new process, check what it wrote, and return its figures."""
    command = [sys.executable, __file__, "--child", name, "--url", f"{url}/plain/v1"]
    command += ["--source", str(source), "--target", str(target)]
    command += ["--uvloop"] if arguments.uvloop else []
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(), check=True
    )
    check(target, arguments.rows)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def check(target: Path, rows: int) -> None:
    """Each row has one result, and it is an answer."""
    seen = bytearray(rows)
    with target.open("rb") as results:
        for line in results:
            result = json.loads(line)
            seen[int(result["custom_id"].removeprefix("row-"))] += 1
            if not result["response"]["body"]["choices"][0]["message"]["content"]:
                raise SystemExit(f"no answer in {line[:200]!r}")
    if seen.count(1) != rows:
        raise SystemExit(f"{seen.count(1)} of {rows} rows have one result")


def write_rows(path: Path, rows: int) -> None:
    """The input: lines of about 400 bytes."""
    system = "You are a helpful assistant. Answer in one sentence, and only if you know it. " * 2
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            messages = [
                {"role": "system", "content": system},
                {"role": "user", "content": f"Where does river number {number} rise, and why?"},
            ]
            line = {
                "custom_id": f"row-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": MODEL, "messages": messages, "max_tokens": 64},
            }
            file.write(json.dumps(line) + "\n")


# --- the table ----------------------------------------------------------------------------------


@frozen(kw_only=True)
class Results:
    """The runs by client, one for each round."""

    rows: int
    runs: dict[str, list[Run]] = field(factory=dict)

    def cpu_ratio(self, name: str) -> float:
        """The median of the ratios to the loop in the same round."""
        pairs = zip(self.runs[name], self.runs[BY_HAND], strict=True)
        return statistics.median(one.cpu / base.cpu for one, base in pairs)

    def plain(self) -> Iterator[dict[str, float | str]]:
        """A client each, medians."""
        for name, runs in self.runs.items():
            seconds = statistics.median(run.seconds for run in runs)
            yield {
                "client": name,
                "rows": self.rows,
                "seconds": seconds,
                "rows_per_second": self.rows / seconds,
                "cpu_us_per_row": statistics.median(run.cpu for run in runs) / self.rows * 1e6,
                "peak_mib": statistics.median(run.mib for run in runs),
                "cpu_ratio": self.cpu_ratio(name),
            }

    def markdown(self) -> str:
        """The table."""
        lines = [
            "| client | rows | seconds | rows/s | µs of CPU a row | peak MiB | CPU, ratio |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        form = (
            "| {client} | {rows:,} | {seconds:.1f} | {rows_per_second:,.0f} | {cpu_us_per_row:.0f} "
            "| {peak_mib:.0f} | {cpu_ratio:.2f} |"
        )
        return "\n".join([*lines, *(form.format(**row) for row in self.plain())])


def measure(arguments: argparse.Namespace, folder: Path) -> Results:
    """Both clients in turn, round after round, the first of a round by turns, too."""
    results = Results(rows=arguments.rows, runs={name: [] for name in CLIENTS})
    source = folder / "rows.jsonl"
    write_rows(source, arguments.rows)
    names = itertools.cycle([tuple(CLIENTS), tuple(CLIENTS)[::-1]])
    with server() as url:
        for number, turn in zip(range(arguments.rounds), names, strict=False):
            for name in turn:
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    one = run(name, source, Path(own) / "results.jsonl", arguments, url)
                results.runs[name].append(one)
                result = f"{one.seconds:.1f} s, {one.cpu / arguments.rows * 1e6:.0f} µs a row"
                print(f"round {number + 1}, {name}: {result}", file=sys.stderr)
    return results


def versions(arguments: argparse.Namespace) -> dict[str, str]:
    used = PACKAGES if arguments.uvloop else PACKAGES[:-1]
    library: Any = importlib.import_module("laplas_async")
    return {
        name: library.__version__ if name == "laplas_async" else importlib.metadata.version(name)
        for name in used
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=count, metavar="N", default=100_000)
    parser.add_argument("--rounds", type=count, metavar="N", default=1)
    parser.add_argument("--uvloop", action="store_true", help="both under uvloop")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="for the files (default: /tmp's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there, too")
    for option, kind in (("--child", str), ("--url", str), ("--source", Path), ("--target", Path)):
        parser.add_argument(option, type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        run_here(arguments)
        return
    used_versions = versions(arguments)
    print(
        ", ".join(f"{name} {version}" for name, version in used_versions.items()) + "\n", flush=True
    )
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        results = measure(arguments, Path(folder))
    print(results.markdown())
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    print(f"\nMedians of {arguments.rounds}. {where}.")
    if arguments.json is not None:
        report = {
            "versions": used_versions,
            "machine": where,
            "clients": list(results.plain()),
            "runs": asdict(results)["runs"],
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
