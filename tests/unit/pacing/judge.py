"""Every kind of hidden limit: the share of the possible throughput and the rejections, a table.

python tests/unit/pacing/judge.py [--seeds 1,2,3] [--only TEXT]
"""

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

from attrs import frozen

sys.path.insert(0, str(Path(__file__).parents[3]))

from laplas_async.pacing.limiter import Limiter
from tests.unit.pacing.scenarios import WORLDS


@frozen
class Row:
    """One play, as plain data that a process can send."""

    share: float
    rejected: int
    good: bool
    cpu: float


def play(task: tuple[int, int]) -> Row:
    index, seed = task
    began = time.process_time()
    outcome = WORLDS[index].run(Limiter, seed)
    cpu = time.process_time() - began
    return Row(outcome.share, outcome.rejected, outcome.good, cpu)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", default="")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    chosen = [at for at, world in enumerate(WORLDS) if arguments.only in world.name]
    tasks = [(at, seed) for at in chosen for seed in seeds]
    with multiprocessing.get_context("fork").Pool(arguments.processes) as pool:
        plays = pool.map(play, tasks, chunksize=1)
    good = 0
    sys.stdout.write(f"{'kind':48} share  target  rejected (allowed)\n")
    for place, at in enumerate(chosen):
        world = WORLDS[at]
        rows = plays[place * len(seeds) : (place + 1) * len(seeds)]
        share, rejected = min(row.share for row in rows), max(row.rejected for row in rows)
        allowed = 12 + world.most * world.calls
        fine = all(row.good for row in rows)
        good += fine
        details = " ".join(f"{row.share:.2f}/{row.rejected}" for row in rows)
        spent = sum(row.cpu for row in rows)
        sys.stdout.write(
            f"{world.name:48} {share:5.1%}  {world.least:.0%}  {rejected} ({allowed:.0f})"
            f"  {'' if fine else 'BELOW'}   [{details}] {spent:.1f}s\n"
        )
    sys.stdout.write(f"{good} of {len(chosen)} good\n")


if __name__ == "__main__":
    main()
