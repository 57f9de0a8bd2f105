"""Several processes under one hidden limit, with and without ``shared=True``.

    python benchmarks/shared.py [--workers 4,16] [--calls 600] [--alone] [--redis URL]

The simulator runs in this process, each worker in one of its own. ``share`` is the time an oracle
needs for the same calls, divided by the time from the first call to the last answer; Jain's index
is that of the answers of each worker when half of all were answered. ``--alone``: also with a gate
of its own in each worker. The takeover is measured between a kill -9 of the leader and the next
answer.
"""

import argparse
import asyncio
import json
import math
import os
import signal
import sys
import time
from typing import Any

from attrs import frozen

from laplas_async import LaplasClient
from laplas_async.simulator import HiddenLimit, Simulator, Timing

SECONDS = 0.2  # of an answer


@frozen
class Scenario:
    """A hidden limit, and the seconds in which so many calls are possible under it."""

    name: str
    limit: HiddenLimit

    def possible(self, calls: int) -> float:
        """The seconds in which so many calls can be answered."""
        limit = self.limit
        if limit.rate is not None:
            return max(0.0, calls - limit.size) / limit.rate + SECONDS
        if limit.concurrency is not None:
            return math.ceil(calls / limit.concurrency) * SECONDS
        return (math.ceil(calls / (limit.requests or 1)) - 1) * limit.per + SECONDS


SCENARIOS = (
    Scenario("20 a second", HiddenLimit(rate=20, burst=20)),
    Scenario("16 concurrent", HiddenLimit(concurrency=16)),
    Scenario("500 a minute", HiddenLimit(requests=500, per=60)),
)


async def work(url: str, calls: int, shared: str) -> None:
    """A worker: it says when it is ready, waits for a line, and prints its times and its CPU."""
    async with LaplasClient("key", url, shared=json.loads(shared)) as client:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        cpu, ends = time.process_time(), []

        async def call() -> None:
            await client.complete("Name a river.", max_tokens=3)
            ends.append(time.monotonic())
            if len(ends) == 1:
                print("answered", flush=True)

        started = time.monotonic()
        await asyncio.gather(*(call() for _ in range(calls)))
        print(json.dumps([started, ends, time.process_time() - cpu]), flush=True)


async def start(url: str, calls: int, shared: bool | str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--worker", url, str(calls), json.dumps(shared)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )


async def line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


def jain(values: list[int]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values) or 1)


async def measure(scenario: Scenario, workers: int, calls: int, shared: bool | str) -> str:
    each = calls // workers
    async with Simulator(timing=Timing(plain=SECONDS), limit=scenario.limit) as simulator:
        processes = await asyncio.gather(
            *(start(simulator.base_url, each, shared) for _ in range(workers))
        )
        await asyncio.gather(*map(line, processes))
        simulator.limit = scenario.limit  # unused, from now on
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
        await asyncio.gather(*map(line, processes))
        done: list[Any] = [json.loads(await line(process)) for process in processes]
        await asyncio.gather(*(process.communicate() for process in processes))
        rejected = simulator.counts.rejected
    began = min(started for started, _, _ in done)
    ends = sorted(end for _, times, _ in done for end in times)
    half = ends[len(ends) // 2]
    answered = [sum(end <= half for end in times) for _, times, _ in done]
    seconds = ends[-1] - began
    return (
        f"| {scenario.name} | {workers} | {'shared' if shared else 'alone'} | {seconds:.1f} | "
        f"{scenario.possible(workers * each) / seconds:.0%} | {rejected / len(ends):.3f} | "
        f"{jain(answered):.3f} | {1e3 * sum(cpu for *_, cpu in done) / len(ends):.2f} |"
    )


async def measure_takeover(shared: bool | str) -> list[float]:
    """Milliseconds from the leader's kill -9 to the next request that the service sees."""
    found = []
    async with Simulator(timing=Timing(plain=0.005)) as simulator:
        for _ in range(5):
            leader = await start(simulator.base_url, 3000, shared)
            await line(leader)
            assert leader.stdin is not None
            leader.stdin.write(b"\n")
            await line(leader)
            async with LaplasClient("key", simulator.base_url, shared=shared) as client:
                await client.complete("Name a river.", max_tokens=3)
                os.kill(leader.pid, signal.SIGKILL)
                killed = time.monotonic()
                await client.complete("Name a river.", max_tokens=3)
                found.append(1e3 * (simulator.requests[-1].started - killed))
            await leader.communicate()
    return found


async def measure_cost(calls: int = 300) -> tuple[float, float]:
    """Microseconds of CPU for a permit and its return, one at a time and a hundred at once."""
    from laplas_async import Gate, Limits  # noqa: PLC0415 - not for the workers

    gate = Gate.shared("key", "http://127.0.0.1:9/v1", limits=Limits(adaptive=False))

    async def one() -> None:
        (await gate.acquire()).succeed()

    await one()
    costs = []
    for at_once in (1, 100):
        cpu = time.process_time()
        for _ in range(calls):
            await asyncio.gather(*(one() for _ in range(at_once)))
        costs.append(1e6 * (time.process_time() - cpu) / (calls * at_once))
    await gate.aclose()
    return costs[0], costs[1]


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", default="4,16")
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--only", default="", help="a part of a scenario's name")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--redis", metavar="URL")
    arguments = parser.parse_args()
    shared = arguments.redis or True
    print("| hidden limit | workers | | seconds | share | rejections an answer | Jain | CPU ms |")
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for scenario in SCENARIOS:
        if arguments.only in scenario.name:
            for workers in map(int, arguments.workers.split(",")):
                for way in (shared, False) if arguments.alone else (shared,):
                    row = await measure(scenario, workers, arguments.calls, way)
                    print(row, flush=True)
    if not arguments.redis:
        times = ", ".join(f"{one:.0f}" for one in await measure_takeover(shared=True))
        print(f"\ntakeover after kill -9, until the next request arrives: {times} ms")
        alone, many = await measure_cost()
        print(f"CPU of a permit, both sides: {alone:.0f} us alone, {many:.0f} us at 100 at once")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        asyncio.run(work(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    else:
        asyncio.run(main())
