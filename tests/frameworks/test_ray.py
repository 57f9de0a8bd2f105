"""Datasets over a real Ray: each row once, whatever is killed. Skipped where Ray is missing."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laplas_async import LaplasClient
from laplas_async.errors import ConfigError
from laplas_async.simulator import Simulator, Timing

ray: Any = pytest.importorskip("ray", reason="ray is not installed")
arrow: Any = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("ray.data", reason="ray[data] is not installed")
parquet: Any = pytest.importorskip("pyarrow.parquet")
laplas_ray: Any = pytest.importorskip("laplas_async.ray")

# Ray's own warnings, and the sockets that it leaves to the end of the process, are not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

KEY = "test-key-that-never-shows"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(api_key=KEY, timing=Timing(first_token=0.05)).in_thread() as simulator:
        yield simulator


@pytest.fixture(scope="module", autouse=True)
def cluster(simulator: Simulator) -> Iterator[None]:
    variables = {"LAPLAS_API_KEY": KEY, "LAPLAS_BASE_URL": simulator.base_url}
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": variables},
    )
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.shutdown()


def make_client(url: str, pids: str) -> LaplasClient:
    Path(pids, str(os.getpid())).touch()
    return LaplasClient(KEY, url)


def batch_file(path: Path, count: int) -> Path:
    lines = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": f"Number {n}"}]},
        }
        for n in range(count)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def read_parts(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted(output.glob("part-*.parquet")):
        rows += parquet.ParquetFile(path).read().to_pylist()
    return rows


def test_a_batch_file_is_completed_into_parts_and_a_second_run_requests_nothing(
    tmp_path: Path, simulator: Simulator
) -> None:
    source, output = batch_file(tmp_path / "in.jsonl", 50), tmp_path / "out"
    before = len(simulator.requests)

    def run() -> list[dict[str, Any]]:
        ds = laplas_ray.read_batch(source, shard_rows=20)
        done = laplas_ray.complete_dataset(
            ds, column="body", into="answer", output=output, concurrency=2
        )
        rows: list[dict[str, Any]] = done.take_all()
        return sorted(rows, key=lambda row: int(row["custom_id"][1:]))

    rows = run()
    assert [row["custom_id"] for row in rows] == [f"r{n}" for n in range(50)]
    assert all(row["answer"] and row["answer_finish_reason"] == "stop" for row in rows)
    assert all(row["answer_error"] is None for row in rows)
    assert rows[7]["source"].endswith("in.jsonl:8")
    assert len(simulator.requests) - before == 50
    parts = read_parts(output)
    assert sorted(row["custom_id"] for row in parts) == sorted(row["custom_id"] for row in rows)
    assert len(list(output.glob("part-*.parquet"))) == 3
    assert run() == rows
    assert len(simulator.requests) - before == 50


def test_any_dataset_with_a_column_of_prompts(tmp_path: Path, simulator: Simulator) -> None:
    items = [{"question": f"Number {n}", "kept": n} for n in range(10)]
    items += [{"question": None, "kept": 10}]
    done = laplas_ray.complete_dataset(
        ray.data.from_items(items, override_num_blocks=2),
        column="question",
        into="answer",
        defaults={"max_tokens": 20},
        system="Be brief.",
    ).take_all()
    rows = sorted(done, key=lambda row: row["kept"])
    assert [row["kept"] for row in rows] == list(range(11))
    assert all(row["answer"] for row in rows[:10])
    assert "invalid_request" in rows[10]["answer_error"]
    assert len({row["custom_id"] for row in rows}) == 11
    body = simulator.requests[-1].body
    assert (body["max_tokens"], body["messages"][0]["role"]) == (20, "system")


def test_a_killed_actor_costs_at_most_what_it_had_in_flight(
    tmp_path: Path, simulator: Simulator
) -> None:
    source, output = batch_file(tmp_path / "in.jsonl", 300), tmp_path / "out"
    pids = tmp_path / "pids"
    pids.mkdir()
    before = simulator.counts.answered
    killed = threading.Event()

    def kill() -> None:
        while simulator.counts.answered - before < 60 or not list(pids.iterdir()):
            time.sleep(0.01)
        os.kill(int(min(pids.iterdir()).name), signal.SIGKILL)
        killed.set()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    done = laplas_ray.complete_dataset(
        laplas_ray.read_batch(source, shard_rows=100),
        column="body",
        into="answer",
        output=output,
        concurrency=2,
        client=functools.partial(make_client, simulator.base_url, str(pids)),
    ).take_all()
    thread.join(10)
    assert killed.is_set()
    assert sorted(row["custom_id"] for row in done) == sorted(f"r{n}" for n in range(300))
    assert all(row["answer"] for row in done)
    parts = read_parts(output)
    assert sorted(row["custom_id"] for row in parts) == sorted(f"r{n}" for n in range(300))
    twice = simulator.counts.answered - before - 300
    assert 0 <= twice <= sum(row["possibly_duplicated"] for row in parts)


DRIVER = """
import sys, ray, laplas_async.ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
ds = laplas_async.ray.complete_dataset(
    laplas_async.ray.read_batch(sys.argv[1], shard_rows=100),
    column="body", into="answer", output=sys.argv[2], concurrency=1,
)
print(len(ds.take_all()))
"""


def test_a_killed_driver_is_resumed_by_the_next(tmp_path: Path, simulator: Simulator) -> None:
    source, output = batch_file(tmp_path / "in.jsonl", 300), tmp_path / "out"
    before = simulator.counts.answered
    command = [sys.executable, "-c", DRIVER, str(source), str(output)]
    environment = {
        **os.environ,
        "LAPLAS_API_KEY": KEY,
        "LAPLAS_BASE_URL": simulator.base_url,
        "RAY_ADDRESS": "local",
    }
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    while simulator.counts.answered - before < 150:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # its raylet and workers too, as when a machine dies
    process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "300"
    parts = read_parts(output)
    assert sorted(row["custom_id"] for row in parts) == sorted(f"r{n}" for n in range(300))
    twice = simulator.counts.answered - before - 300
    assert 0 <= twice <= sum(row["possibly_duplicated"] for row in parts) + 100


def test_wrong_arguments_are_reported_before_anything_runs() -> None:
    ds = ray.data.from_items([{"a": "b"}])
    for options in (
        {"column": "", "into": "x"},
        {"column": "a", "into": str},
        {"column": "a", "into": "x", "concurrency": 0},
        {"column": "a", "into": "x", "client": LaplasClient, "shared": "redis://"},
    ):
        with pytest.raises(ConfigError):
            laplas_ray.complete_dataset(ds, **options)
    with pytest.raises(ConfigError, match="No such file"):
        laplas_ray.read_batch("no-such-file.jsonl")
