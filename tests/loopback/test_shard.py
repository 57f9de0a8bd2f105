"""A shard is requested once and committed once, whatever dies in between; no engine needed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from laplas_async import LaplasClient, Limits
from laplas_async.batch.parts import COLUMNS, JSONLParts
from laplas_async.batch.shard import ShardResult, ShardWorker
from laplas_async.errors import JournalError
from laplas_async.simulator import Fault, Simulator

KEY = "test-key-that-never-shows"


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"custom_id": f"r{n}", "prompt": f"Number {n}"} | more for n in range(count)]


async def complete(
    directory: Path, wanted: list[dict[str, Any]], simulator: Simulator, **options: Any
) -> ShardResult:
    source = options.pop("source", "")
    async with LaplasClient(KEY, simulator.base_url) as client:
        return await ShardWorker(client, directory, JSONLParts(), **options).run(wanted, source)


def parts(directory: Path) -> list[Path]:
    return sorted(directory.glob("part-*"))


def left_over(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "work").iterdir())


async def test_each_row_has_one_result_in_the_order_of_the_rows(tmp_path: Path) -> None:
    async with Simulator(api_key=KEY) as simulator:
        result = await complete(tmp_path, rows(20), simulator)
    assert [row["custom_id"] for row in result.rows] == [f"r{n}" for n in range(20)]
    assert all(row["text"] and row["finish_reason"] == "stop" for row in result.rows)
    assert json.loads(result.rows[0]["body"])["choices"][0]["message"]["content"]
    assert set(result.rows[0]) == set(COLUMNS)
    (part,) = parts(tmp_path)
    assert JSONLParts().read(part) == result.rows
    report = result.report
    assert (report.rows, report.answered, report.failed, report.requests) == (20, 20, 0, 20)
    assert not left_over(tmp_path)


async def test_a_shard_that_is_done_is_read_and_not_requested(tmp_path: Path) -> None:
    async with Simulator(api_key=KEY) as simulator:
        first = await complete(tmp_path, rows(5), simulator)
        again = await complete(tmp_path, rows(5), simulator)
        assert len(simulator.requests) == 5
        assert again.rows == first.rows
        assert (again.report.resumed, again.report.requests) == (5, 0)
        # Another range, other rows or other settings are another shard.
        await complete(tmp_path, rows(5), simulator, source="file:0-5")
        await complete(tmp_path, rows(4), simulator)
        await complete(tmp_path, rows(5), simulator, defaults={"temperature": 0})
    assert len(parts(tmp_path)) == 4


async def test_bad_rows_are_in_the_part_with_their_reason_and_in_errors(tmp_path: Path) -> None:
    wanted: list[dict[str, Any]] = [
        {"custom_id": "a", "prompt": "Hello"},
        {"custom_id": "a", "prompt": "Hello again"},
        {"custom_id": "b", "prompt": ""},
        {"custom_id": "c", "prompt": "Hello", "temperature": 9},
        {"custom_id": "d", "body": {"messages": [{"role": "user", "content": "Hi"}]}},
        {"prompt": "without an id"},
        {"prompt": "without an id"},
    ]
    async with Simulator(api_key=KEY) as simulator:
        result = await complete(tmp_path, wanted, simulator)
        assert len(simulator.requests) == 4
        assert (result.report.answered, result.report.failed) == (4, 3)
        codes = [row["error_code"] for row in result.rows]
        assert codes == [
            *(None, "duplicate_custom_id", "invalid_request", "invalid_request"),
            *(None, None, None),
        ]
        assert result.rows[5]["custom_id"] != result.rows[6]["custom_id"]
        (errors,) = (tmp_path / "errors").iterdir()
        bad = [json.loads(line) for line in errors.read_text().splitlines()]
        assert [row["custom_id"] for row in bad] == ["a", "b", "c"]
        await complete(tmp_path, wanted, simulator)
        assert len(simulator.requests) == 4


async def test_failed_rows_are_requested_again_on_demand_and_no_others(tmp_path: Path) -> None:
    async with Simulator(api_key=KEY) as simulator:
        simulator.script(Fault.status(400))
        first = await complete(tmp_path, rows(5), simulator)
        assert (first.report.failed, len(simulator.requests)) == (1, 5)
        assert next(row["error_code"] for row in first.rows if row["error_code"])
        again = await complete(tmp_path, rows(5), simulator, retry_failed=True)
        assert len(simulator.requests) == 6
    assert (again.report.failed, again.report.resumed) == (0, 5)
    assert all(row["text"] for row in again.rows)
    assert not list((tmp_path / "errors").iterdir())
    assert not left_over(tmp_path)


async def test_a_cancelled_shard_resumes_and_suspects_no_row(tmp_path: Path) -> None:
    async with Simulator(api_key=KEY) as simulator:
        simulator.script(*[None] * 3, Fault.slow_headers(60))
        async with LaplasClient(KEY, simulator.base_url, limits=Limits(concurrency=1)) as client:
            worker = ShardWorker(client, tmp_path, JSONLParts())
            task = asyncio.create_task(worker.run(rows(8)))
            assert await simulator.wait_for(
                lambda counts: (counts.answered, counts.in_flight) == (3, 1), timeout=30
            )
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        result = await complete(tmp_path, rows(8), simulator)
    assert result.report.resumed == 3
    assert result.report.requests == 5
    assert result.report.set_aside == 0
    # A row counts as in flight from when its call is made, also while that waits for its turn.
    assert 1 <= sum(row["possibly_duplicated"] for row in result.rows) <= 5


async def test_a_bad_key_stops_the_shard_and_commits_nothing(tmp_path: Path) -> None:
    async with (
        Simulator(api_key="another-key") as simulator,
        LaplasClient(KEY, simulator.base_url) as client,
    ):
        with pytest.raises(JournalError, match="stopped early"):
            await ShardWorker(client, tmp_path, JSONLParts()).run(rows(30))
    assert not parts(tmp_path)


async def test_two_workers_on_one_shard_request_it_once(tmp_path: Path) -> None:
    async with Simulator(api_key=KEY) as simulator:
        one, two = await asyncio.gather(
            complete(tmp_path, rows(10), simulator), complete(tmp_path, rows(10), simulator)
        )
        assert len(simulator.requests) == 10
    assert one.rows == two.rows
    assert len(parts(tmp_path)) == 1


async def test_death_between_the_part_and_its_clean_up_costs_nothing(tmp_path: Path) -> None:
    async with Simulator(api_key=KEY) as simulator:
        result = await complete(tmp_path, rows(3), simulator)
        journal = tmp_path / "work" / f"{result.report.shard}.jsonl"
        journal.write_bytes(b"what a killed process left")
        again = await complete(tmp_path, rows(3), simulator)
        assert again.rows == result.rows
        assert len(simulator.requests) == 3
    assert not left_over(tmp_path)


# --- real processes -------------------------------------------------------------------------------

WORKER = """
import asyncio, json, os, sys
from laplas_async import LaplasClient, Limits
from laplas_async.batch.parts import JSONLParts
from laplas_async.batch.shard import ShardWorker

class Client(LaplasClient):
    async def complete(self, messages, **options):
        if "poison" in str(messages):
            await asyncio.sleep(float(sys.argv[4]))
            os._exit(9)
        return await super().complete(messages, **options)

async def main():
    rows = json.load(open(sys.argv[2]))
    limits = Limits(concurrency=4)
    async with Client("test-key-that-never-shows", sys.argv[1], limits=limits) as client:
        result = await ShardWorker(client, sys.argv[3], JSONLParts()).run(rows)
    report = result.report
    print(json.dumps([report.answered, report.requests, report.possibly_duplicated,
                      report.set_aside, report.resumed]))

asyncio.run(main())
"""


def start(
    tmp_path: Path, simulator: Simulator, wanted: list[Any], delay: float = 0
) -> "subprocess.Popen[str]":
    (tmp_path / "rows.json").write_text(json.dumps(wanted))
    return subprocess.Popen(
        [
            *(sys.executable, "-c", WORKER, simulator.base_url, tmp_path / "rows.json"),
            *(tmp_path / "out", str(delay)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )


def test_a_killed_process_is_resumed_and_what_was_in_flight_is_counted(tmp_path: Path) -> None:
    with Simulator(api_key=KEY).in_thread() as simulator:
        simulator.script(*[None] * 5, *[Fault.slow_headers(120)] * 4)
        process = start(tmp_path, simulator, rows(12))
        ready = simulator.wait_for(
            lambda counts: (counts.answered, counts.in_flight) == (5, 4), timeout=60
        )
        assert asyncio.run(ready)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        output, errors = start(tmp_path, simulator, rows(12)).communicate(timeout=60)
        assert not errors
        answered, requests, duplicated, set_aside, resumed = json.loads(output)
        assert (answered, set_aside) == (12, 0)
        assert 4 <= duplicated <= 12 - resumed
        assert requests == 12 - resumed
        assert len(simulator.requests) == 9 + requests
    (part,) = parts(tmp_path / "out")
    assert [row["custom_id"] for row in JSONLParts().read(part)] == [f"r{n}" for n in range(12)]


def test_a_row_that_kills_its_process_twice_is_set_aside(tmp_path: Path) -> None:
    wanted = rows(8)
    wanted[3]["prompt"] = "poison"
    with Simulator(api_key=KEY).in_thread() as simulator:
        codes = []
        for _ in range(4):
            process = start(tmp_path, simulator, wanted)
            output, errors = process.communicate(timeout=60)
            codes.append(process.returncode)
            if not process.returncode:
                break
    assert errors == ""
    assert codes == [9, 9, 0]
    assert json.loads(output)[0] == 7
    assert json.loads(output)[3] == 1
    (part,) = parts(tmp_path / "out")
    done = JSONLParts().read(part)
    assert [row["error_code"] for row in done if row["error_code"]] == ["killed_its_process"]
    assert all(row["text"] for row in done if row["custom_id"] != "r3")
