"""SIGKILL at any moment, and an output cut at any byte: each row has one line, and is sent once.

The batch runs in a process of its own; the simulator, which is not killed, counts what it is
asked. Moments are chosen by what it has seen, or by what is in the output.
"""

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from laplas_async import LaplasClient, run_batch
from laplas_async.batch.inflight import InFlight
from laplas_async.simulator import Simulator, Timing

ROWS = 1200
KILLS = 24
BATCH = """
import asyncio, sys
from laplas_async import LaplasClient, run_batch
async def main():
    async with LaplasClient("key-of-the-test", sys.argv[3]) as client:
        report = await run_batch(sys.argv[1], sys.argv[2], client=client, ordered=True)
    print(report.ending, report.counts.possibly_duplicated)
asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def batch(folder: Path, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-c", BATCH, str(folder / "in.jsonl"), str(folder / "out"), url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def write_rows(folder: Path, count: int) -> None:
    rows = (
        {"custom_id": f"r{n}", "prompt": f"{n}: a river?", "max_tokens": 3} for n in range(count)
    )
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out").read_bytes().splitlines()]


Moment = Callable[[Simulator, Path], Awaitable[None]]


async def when_this_many_were_sent(simulator: Simulator, folder: Path, more: int) -> None:
    wanted = simulator.counts.requests + more
    await simulator.wait_for(lambda counts: counts.requests >= wanted, 10)


async def when_this_much_was_written(simulator: Simulator, folder: Path, more: int) -> None:
    out = folder / "out"
    size = out.stat().st_size if out.exists() else 0
    while not (out.exists() and out.stat().st_size >= size + 300 * more):
        await asyncio.sleep(0.001)


async def test_killed_again_and_again(tmp_path: Path) -> None:
    dice = random.Random(1)
    write_rows(tmp_path, ROWS)
    timing = Timing(plain=(0.002, 0.03))
    kills = in_flight = marked = 0
    async with Simulator(api_key="key-of-the-test", timing=timing) as simulator:
        while True:
            async with batch(tmp_path, simulator.base_url) as process:
                assert process.stdout is not None
                ended = asyncio.ensure_future(process.stdout.readline())
                if kills < KILLS:
                    choose = dice.choice([when_this_many_were_sent, when_this_much_was_written])
                    moment = asyncio.ensure_future(choose(simulator, tmp_path, dice.randrange(50)))
                    await asyncio.wait({moment, ended}, return_when=asyncio.FIRST_COMPLETED)
                    moment.cancel()
                    if not ended.done():
                        process.kill()
                        await process.wait()
                        kills += 1
                        # What it had begun to ask, as the simulator will count it.
                        await simulator.wait_idle()
                        in_flight += left_in_flight(tmp_path)
                printed = (await ended).split()
            if printed:
                break
            known = [line["custom_id"] for line in whole_lines(tmp_path)]
            assert len(set(known)) == len(known)
    assert kills >= 20
    assert printed[0] == b"done"
    done = lines(tmp_path)
    assert [line["custom_id"] for line in done] == [f"r{n}" for n in range(ROWS)]
    assert all(line["error"] is None for line in done)
    marked = sum(line["laplas"].get("possibly_duplicated", False) for line in done)
    # Only rows in flight were sent twice, and each of them is marked.
    assert simulator.counts.requests <= ROWS + in_flight
    times = [0] * ROWS
    for seen in simulator.requests:
        times[int(seen.body["messages"][0]["content"].split(":")[0])] += 1
    twice = {f"r{n}" for n in range(ROWS) if times[n] > 1}
    assert twice <= {line["custom_id"] for line in done if "possibly_duplicated" in line["laplas"]}
    assert min(times) == 1
    assert 0 < len(twice) <= marked <= in_flight
    assert not (tmp_path / "out.laplas").exists()


def whole_lines(folder: Path) -> list[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        *whole, _ = (folder / "out").read_bytes().split(b"\n")
        return [json.loads(line) for line in whole]
    return []


def left_in_flight(folder: Path) -> int:
    if not (folder / "out.laplas").exists():
        return 0
    flight = InFlight(str(folder / "out"))
    count = len(flight.left)
    flight.close()
    return count


async def test_cut_at_every_byte_of_the_last_lines(tmp_path: Path) -> None:
    write_rows(tmp_path, 3)
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("no row\n{}\n")
    async with (
        Simulator(api_key="key-of-the-test", remember=10) as simulator,
        LaplasClient("key-of-the-test", simulator.base_url) as client,
    ):

        async def run() -> int:
            before = simulator.counts.requests
            report = await run_batch(tmp_path / "in.jsonl", tmp_path / "out", client=client)
            assert (report.ending, report.rows) == ("done", 5)
            return simulator.counts.requests - before

        assert await run() == 3
        made = sorted((tmp_path / "out").read_bytes().splitlines(keepends=True), key=len)
        order = [*made[2:4], made[0], made[4], made[1]]  # bad ones are short
        whole = b"".join(order)
        for cut in range(len(b"".join(order[:2])), len(whole) + 1):
            (tmp_path / "out").write_bytes(whole[:cut])
            # A line that lacks its end alone is whole.
            assert await run() == (0 if cut >= len(whole) - len(order[4]) - 1 else 1), cut
            after = (tmp_path / "out").read_bytes().splitlines(keepends=True)
            assert {keyed(line) for line in after} == {keyed(line) for line in whole.splitlines()}
            assert len(after) == 5


def keyed(line: bytes) -> str:
    found: str = json.loads(line)["id"]
    return found
