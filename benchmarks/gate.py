"""What the gate itself costs a call, with many tasks waiting: acquire and give back, no request.

    python benchmarks/gate.py [CALLS] [RUNS]

All tasks are there from the start, and a few may go at once, so the queue is as long as it gets.
The same tasks behind an ``asyncio.Semaphore`` are the comparison; what is left over is the gate's.
"""

import asyncio
import statistics
import sys
import time

from laplas_async import Gate, Limits
from laplas_async.pacing.limiter import Limiter

AT_ONCE = 16


async def through_gate(calls: int) -> float:
    gate = Gate(limiter=Limiter(Limits(concurrency=AT_ONCE, adaptive=False)))

    async def call() -> None:
        permit = await gate.acquire()
        await asyncio.sleep(0)
        permit.succeed()

    return await cpu_of([call() for _ in range(calls)])


async def through_semaphore(calls: int) -> float:
    semaphore = asyncio.Semaphore(AT_ONCE)

    async def call() -> None:
        async with semaphore:
            await asyncio.sleep(0)

    return await cpu_of([call() for _ in range(calls)])


async def cpu_of(work: list) -> float:  # type: ignore[type-arg]
    begun = time.process_time()
    await asyncio.gather(*work)
    return time.process_time() - begun


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    gate, semaphore = [], []
    for _ in range(runs):
        gate.append(asyncio.run(through_gate(calls)) / calls * 1e6)
        semaphore.append(asyncio.run(through_semaphore(calls)) / calls * 1e6)
    print(f"{calls} tasks waiting, {AT_ONCE} at once; µs of CPU a call, median of {runs}:")
    print(f"gate {statistics.median(gate):.1f}, semaphore {statistics.median(semaphore):.1f}")


if __name__ == "__main__":
    main()
