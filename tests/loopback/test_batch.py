"""``run_batch`` against the simulator over real sockets: formats, going on, bad rows, endings."""

import asyncio
import gzip
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from laplas_async import (
    BatchProgress,
    BatchReport,
    ConfigError,
    JournalError,
    LaplasClient,
    Limits,
    run_batch,
)
from laplas_async.calls.scheduler import LOOK_AHEAD
from laplas_async.simulator import Fault, HiddenLimit, Simulator, Timing


class Files:
    """The two files of a batch, and what is in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.input = folder / "in.jsonl"
        self.output = folder / "out.jsonl"
        self.sidecar = folder / "out.jsonl.laplas"

    def write(self, *rows: Any) -> None:
        self.input.write_bytes(encoded(*rows))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    def ids(self) -> list[str]:
        return [line["custom_id"] for line in self.lines()]


def encoded(*rows: Any) -> bytes:
    return b"".join(
        (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
    )


def questions(count: int, **fields: Any) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"custom_id": f"r{n}", "prompt": f"Question {n}", "max_tokens": 3, **fields}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    threads, files = set(threading.enumerate()), open_files()
    yield
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not {name for name in left if "batch" in name}
    assert open_files() <= files


def write_and_close(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as stream:
        stream.write(data)


async def run(files: Files, client: LaplasClient, **options: Any) -> BatchReport:
    report = await run_batch(
        options.pop("input", files.input), files.output, client=client, **options
    )
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not {task for task in others if "batch" in str(task.get_coro())}
    assert client.pace.in_flight == client.pace.waiting == 0
    assert not client.gate.on_room
    return report


async def test_each_row_has_one_line(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    rows = [
        {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x"}], "seed": 7}},
        {"custom_id": "b", "prompt": "Name a river.", "max_tokens": 3},
        {"prompt": "Without an id"},
    ]
    files.write(*rows)
    progress: list[BatchProgress] = []
    report = await run(
        files, client, defaults={"max_tokens": 5}, system="Be brief.", on_progress=progress.append
    )
    assert report.ok
    assert (report.rows, report.counts.answered, report.tries) == (3, 3, 3)
    assert report.latency is not None
    lines = {line["custom_id"]: line for line in files.lines()}
    assert lines.keys() >= {"a", "b"}
    asked = {seen.body["messages"][-1]["content"]: seen.body for seen in simulator.requests}
    assert asked["x"]["seed"] == 7
    assert [body["max_tokens"] for body in asked.values()].count(5) == 2
    assert all(body["messages"][0]["content"] == "Be brief." for body in asked.values())
    usage = [line["response"]["body"]["usage"]["completion_tokens"] for line in lines.values()]
    assert report.tokens.completion == sum(usage)
    assert progress[-1].saved == progress[-1].rows == 3
    assert not files.sidecar.exists()


async def test_the_body_is_what_the_service_sent(files: Files, key: str) -> None:
    files.write(*questions(2, n=2))
    async with (
        Simulator(api_key=key, costs=True, status=201) as simulator,
        LaplasClient(key, simulator.base_url) as client,
    ):
        report = await run(files, client)
        completion = await client.complete("Question 0", max_tokens=3, n=2)
    [line] = [line for line in files.lines() if line["custom_id"] == "r0"]
    assert line["response"]["status_code"] == 201
    assert line["response"]["body"]["choices"][1]["message"]["content"]
    assert line["response"]["body"]["meta"] == completion.extra["meta"]
    assert report.usd is not None
    assert report.usd == pytest.approx(sum(one["laplas"]["usd"] for one in files.lines()))


async def test_streams_measure_the_first_token(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(20))
    report = await run(files, client, stream=True)
    assert report.ok
    assert report.first_token is not None
    assert simulator.counts.streams == 20
    assert all(line["laplas"]["first_token"] >= 0 for line in files.lines())
    assert (await run(files, client)).counts.resumed == 20  # asked one way or the other


@pytest.mark.parametrize("kind", ["gz", "zst", "stream", "pipe"])
async def test_inputs(files: Files, client: LaplasClient, kind: str) -> None:
    data = encoded(*questions(200))
    path = files.folder / f"in.{kind}"
    if kind == "pipe":
        reader, writer = os.pipe()
        thread = threading.Thread(target=write_and_close, args=(writer, data))
        thread.start()
        with os.fdopen(reader, "rb") as stream:
            report = await run(files, client, input=stream)
        thread.join()
    elif kind == "stream":
        report = await run(files, client, input=io.BytesIO(data))
    else:
        pack = gzip.compress if kind == "gz" else zstandard.ZstdCompressor().compress
        path.write_bytes(pack(data))
        report = await run(files, client, input=str(path))
    assert report.ok
    assert sorted(files.ids()) == sorted(f"r{n}" for n in range(200))


async def test_finished_rows_are_not_sent_again(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(100))
    await run(files, client)
    before = files.output.read_bytes()
    files.write(*reversed([*questions(110)]))
    report = await run(files, client)
    assert (report.counts.resumed, report.counts.answered) == (100, 10)
    assert simulator.counts.requests == 110
    assert files.output.read_bytes().startswith(before)
    report = await run(files, client)
    assert (report.counts.resumed, report.counts.answered, report.ok) == (110, 0, True)


async def test_rows_without_an_id_are_identified_by_their_content(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    rows = [{"prompt": f"Question {n}"} for n in (1, 2, 1, 1)]
    files.write(*rows)
    await run(files, client)
    files.write({"prompt": "One more"}, *rows, rows[0])
    report = await run(files, client)
    assert (report.counts.resumed, report.counts.answered) == (4, 2)
    assert len(set(files.ids())) == 6
    report = await run(files, client, defaults={"max_tokens": 2})
    assert report.counts.changed == 6
    assert len(set(files.ids())) == len(files.ids()) == 6


async def test_a_changed_row_is_sent_again(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(10))
    await run(files, client)
    rows = [*questions(10)]
    rows[3]["prompt"] = rows[7]["prompt"] = "Changed"
    files.write(*rows)
    report = await run(files, client, ordered=True)
    assert (report.counts.resumed, report.counts.answered, report.counts.changed) == (8, 2, 2)
    assert files.ids() == [f"r{n}" for n in range(10)]
    assert simulator.counts.requests == 12
    assert (await run(files, client)).counts.resumed == 10


async def test_failed_rows_are_sent_again_on_request(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(10), b"{")
    simulator.script(Fault.status(400), None, Fault.status(400))
    report = await run(files, client)
    assert (report.counts.answered, report.counts.failed, report.counts.bad) == (8, 3, 1)
    assert report.failures == {"BadRequestError": 2, "bad row": 1}
    assert not report.ok
    failed = [line for line in files.lines() if line["response"] is not None]
    assert sum(line["response"]["status_code"] == 400 for line in failed) == 2
    report = await run(files, client)
    assert (report.counts.resumed, report.counts.failed_before, report.ok) == (11, 3, False)
    report = await run(files, client, retry_failed=True)
    assert (report.counts.resumed, report.counts.answered) == (9, 2)
    assert report.counts.failed_before == 1  # a bad row gets no better
    assert len(set(files.ids())) == len(files.ids()) == 11
    files.write(*questions(10), {"custom_id": "last", "prompt": "Now it is right"})
    report = await run(files, client)
    assert report.ok
    assert len(files.ids()) == 12  # what the input no longer has is kept


async def test_in_the_order_of_the_input(files: Files, key: str) -> None:
    files.write(*questions(100), *questions(2))
    async with (
        Simulator(api_key=key, timing=Timing(plain=(0.001, 0.02))) as simulator,
        LaplasClient(key, simulator.base_url) as client,
    ):
        await run(files, client)
        assert files.ids() != [f"r{n}" for n in (*range(100), 0, 1)]
        report = await run(files, client, ordered=True)
        assert report.counts.resumed == 102
        assert files.ids() == [f"r{n}" for n in (*range(100), 0, 1)]
        inode = files.output.stat().st_ino
        await run(files, client, ordered=True)
        assert files.output.stat().st_ino == inode  # it was in order
        files.write(*reversed([*questions(50)]))
        await run(files, client, ordered=True)
        assert files.ids()[:50] == [f"r{n}" for n in reversed(range(50))]
        assert len(files.ids()) == 102


BAD = [
    (b"this is not JSON", "invalid_json"),
    (b'{"custom_id": "no-messages"}', "invalid_request"),
    (b'{"custom_id": "range", "prompt": "x", "temperature": 9}', "invalid_request"),
    (b'{"custom_id": "r1", "prompt": "x"}', "duplicate_custom_id"),
    (b'{"custom_id": "utf8", "prompt": "\xff"}', "invalid_utf8"),
    (b'{"prompt": "' + b"x" * 10_000_000 + b'"}', "line_too_long"),
]


async def test_bad_rows_become_lines(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    rows = [*questions(6)]
    files.write(*(row for pair in zip(rows, (bad for bad, _ in BAD), strict=True) for row in pair))
    report = await run(files, client, ordered=True)
    assert report.ending == "done"
    assert (report.rows, report.counts.answered, report.counts.bad) == (12, 6, 6)
    assert simulator.counts.requests == 6
    lines = files.lines()
    assert [line["laplas"]["line"] for line in lines] == list(range(1, 13))
    assert [line["error"]["code"] for line in lines[1::2]] == [code for _, code in BAD]
    assert all(f"line {n}: " in lines[n - 1]["error"]["message"] for n in range(2, 13, 2))
    assert [line["custom_id"] for line in lines if line["error"] is None] == [
        f"r{n}" for n in range(6)
    ]
    assert lines[7]["custom_id"] == "r1"
    assert len({line["id"] for line in lines}) == 12
    report = await run(files, client, ordered=True, retry_failed=True)
    assert (report.counts.resumed, report.counts.failed_before) == (12, 6)
    assert files.lines() == lines


async def test_too_many_failures_end_it(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(500))
    simulator.script_always(Fault.status(400))
    report = await run(files, client, max_errors=5)
    assert report.ending == "max_errors"
    assert report.counts.failed < 50
    assert "5 rows failed" in report.reason
    simulator.script_always(None)
    report = await run(files, client, retry_failed=True)
    assert report.ok
    assert sorted(files.ids()) == sorted(f"r{n}" for n in range(500))


async def test_bad_rows_alone_can_be_too_many(files: Files, client: LaplasClient) -> None:
    files.write(*(b"no row %d" % n for n in range(1000)))
    report = await run(files, client, max_errors=100)
    assert (report.ending, report.counts.failed) == ("max_errors", 100)
    report = await run(files, client)
    assert (report.ending, report.counts.resumed, report.counts.bad) == ("done", 100, 900)


async def test_a_bad_key_ends_it_early(files: Files, simulator: Simulator) -> None:
    files.write(*questions(1000))
    async with LaplasClient("wrong-key", simulator.base_url) as client:
        report = await run(files, client)
    assert report.ending == "same_failure"
    assert 10 <= report.counts.failed < 100
    assert "LAPLAS_API_KEY" in report.reason
    assert "retry_failed" in report.advice["AuthenticationError"]
    async with LaplasClient("test-key-that-never-shows", simulator.base_url) as client:
        report = await run(files, client, retry_failed=True)
    assert report.ok
    assert report.counts.answered == 1000
    assert len(files.ids()) == 1000


async def test_a_wait_that_is_longer_than_allowed_ends_it_early_with_the_time(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    """No row that waits at the gate is kept waiting in vain; the same call sends them later."""
    files.write(*questions(40))
    simulator.script_always(Fault.status(429, retry_after=86_400))
    report = await run(files, client)
    assert report.ending == "long_wait"
    assert "86,400 s" in report.reason
    assert "max_retry_after" in report.reason
    assert client.pace.waiting == client.pace.in_flight == 0
    assert len(files.ids()) == report.counts.failed < 40
    simulator.script_always(None)
    async with LaplasClient("test-key-that-never-shows", simulator.base_url) as other:
        report = await run(files, other, retry_failed=True)
    assert report.ok
    assert len(files.ids()) == 40


async def test_a_client_that_is_closed_ends_it(files: Files, client: LaplasClient) -> None:
    files.write(*questions(100))
    await client.aclose()
    report = await run_batch(files.input, files.output, client=client)
    assert report.ending == "same_failure"
    assert "closed" in report.reason


async def test_stopping_saves_what_is_in_flight(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(1000))
    stop = asyncio.Event()

    def look(progress: BatchProgress) -> None:
        if progress.counts.answered > 50:
            stop.set()

    report = await run(files, client, stop=stop, on_progress=look, progress_interval=0.005)
    assert report.ending == "interrupted"
    assert simulator.counts.requests == report.counts.answered == len(files.ids()) < 1000
    assert not files.sidecar.exists()
    report = await run(files, client, stop=asyncio.Event())
    assert report.ending == "done"
    assert simulator.counts.requests == 1000


async def test_stopped_before_it_began(files: Files, client: LaplasClient) -> None:
    files.write(*questions(10))
    stop = asyncio.Event()
    stop.set()
    report = await run(files, client, stop=stop)
    assert report.counts.answered == 0
    assert report.ending == "interrupted"


async def test_stopping_while_the_input_waits(files: Files, client: LaplasClient) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", buffering=0) as out, os.fdopen(reader, "rb") as stream:
        out.write(encoded(*questions(3)) + b'{"custom_id": ')
        stop = asyncio.Event()

        def look(progress: BatchProgress) -> None:
            if progress.saved == 3:
                stop.set()

        report = await run(
            files, client, input=stream, stop=stop, on_progress=look, progress_interval=0.005
        )
    assert report.ending == "interrupted"
    assert sorted(files.ids()) == ["r0", "r1", "r2"]


async def test_cancelling_leaves_all_to_go_on_with(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(100))
    simulator.script(*[None] * 20, *[Fault.stall()] * 200)
    task = asyncio.create_task(run_batch(files.input, files.output, client=client))
    assert await simulator.wait_for(lambda counts: counts.answered == 20 and counts.in_flight > 2)
    # The server has not yet seen those whose connection is being made, nor those at the gate.
    most = client.pace.in_flight + LOOK_AHEAD
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(files.ids()) == 20
    assert files.sidecar.exists()
    assert await simulator.wait_idle()
    flying = simulator.counts.requests - 20
    assert flying > 2
    simulator.clear()
    report = await run(files, client)
    assert report.counts.resumed == 20
    assert flying <= report.counts.possibly_duplicated <= most
    marked = [line for line in files.lines() if "possibly_duplicated" in line["laplas"]]
    assert len(marked) == report.counts.possibly_duplicated
    assert len(set(files.ids())) == len(files.ids()) == 100
    assert not files.sidecar.exists()


async def test_cancelling_while_it_opens(files: Files, client: LaplasClient) -> None:
    files.write(*questions(10))
    for turns in range(6):
        task = asyncio.create_task(run_batch(files.input, files.output, client=client))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await run(files, client)).ok


async def test_two_runs_on_one_output(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    files.write(*questions(3))
    simulator.script(Fault.stall())
    task = asyncio.create_task(run_batch(files.input, files.output, client=client))
    assert await simulator.wait_for(lambda counts: counts.in_flight > 0)
    with pytest.raises(JournalError, match="another run"):
        await run_batch(files.input, files.output, client=client)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_wrong_use(files: Files, client: LaplasClient) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        await run(files, client)
    assert not files.output.exists()
    files.write(*questions(1))
    with pytest.raises(ConfigError, match="folder"):
        await run_batch(files.input, files.folder, client=client)
    with pytest.raises(ConfigError, match="both"):
        await run_batch(files.input, files.input, client=client)
    for options in ({"max_errors": 0}, {"progress_interval": 0}, {"defaults": {"n": 0}}):
        with pytest.raises(ConfigError):
            await run(files, client, **options)
    files.output.write_bytes(b"my notes\n")
    with pytest.raises(JournalError, match="line 1"):
        await run(files, client)
    assert files.output.read_bytes() == b"my notes\n"


async def test_what_on_progress_raises_comes_back(files: Files, client: LaplasClient) -> None:
    files.write(*questions(300))

    def fail(progress: BatchProgress) -> None:
        if progress.counts.answered:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_batch(
            files.input, files.output, client=client, on_progress=fail, progress_interval=0.001
        )
    assert (await run(files, client)).ok


async def test_an_input_that_breaks_off(
    files: Files, client: LaplasClient, simulator: Simulator
) -> None:
    path = files.folder / "in.gz"
    data = gzip.compress(encoded(*questions(200)))
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(JournalError, match="cut off"):
        await run(files, client, input=path)
    saved = len(files.ids())
    assert saved == simulator.counts.requests > 0
    path.write_bytes(data)
    report = await run(files, client, input=path)
    assert (report.counts.resumed, report.counts.answered) == (saved, 200 - saved)


async def test_it_keeps_to_hidden_limits(files: Files, key: str) -> None:
    files.write(*questions(150))
    limit = HiddenLimit(concurrency=8)
    async with (
        Simulator(api_key=key, limit=limit, timing=Timing(plain=0.01)) as simulator,
        LaplasClient(key, simulator.base_url) as client,
    ):
        report = await run(files, client)
    assert report.ok
    assert report.rejected == simulator.counts.rejected
    assert report.tries == simulator.counts.requests


async def test_it_reads_only_as_far_as_it_asks(files: Files, key: str) -> None:
    files.write(*questions(20_000))
    async with (
        Simulator(api_key=key) as simulator,
        LaplasClient(key, simulator.base_url, limits=Limits(concurrency=3)) as client,
    ):
        simulator.script_always(Fault.stall())
        progress: list[BatchProgress] = []
        task = asyncio.create_task(
            run_batch(
                files.input,
                files.output,
                client=client,
                on_progress=progress.append,
                progress_interval=0.01,
            )
        )
        assert await simulator.wait_for(lambda counts: counts.in_flight == 3)
        seen = len(progress)
        while len(progress) < seen + 3:
            await asyncio.sleep(0.005)
        assert progress[-1].rows is None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert simulator.counts.requests == 3


async def test_big_rows_do_not_pile_up(files: Files, client: LaplasClient) -> None:
    big = "x" * 1_000_000
    files.write(
        *({"custom_id": f"r{n}", "prompt": big + str(n), "max_tokens": 1} for n in range(9))
    )
    assert (await run(files, client)).ok


async def test_the_loop_stays_free(files: Files, client: LaplasClient) -> None:
    """No step of the loop takes long while big lines are read, hashed and written."""
    rows = [{"custom_id": f"r{n}", "n": 0, "prompt": "x" * 4_000_000} for n in range(8)]
    files.write(*rows)  # bad ones: what is asked is the client's own work
    # CPU time of this thread: what other threads and processes take meanwhile does not count.
    longest, last = 0.0, time.thread_time()
    task = asyncio.create_task(run_batch(files.input, files.output, client=client))
    while not task.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    assert (await task).counts.bad == 8
    # Reading and hashing four million characters takes longer than any step should.
    assert longest < 0.02


FULL_DISK = """
import asyncio, resource, signal, sys
from laplas_async import JournalError, LaplasClient, run_batch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
async def main():
    async with LaplasClient("test-key-that-never-shows", sys.argv[3]) as client:
        try:
            await run_batch(sys.argv[1], sys.argv[2], client=client)
        except JournalError as error:
            print(error)
asyncio.run(main())
"""


@pytest.mark.parametrize("room", [270_000, 1000])
async def test_a_full_disk(
    files: Files, client: LaplasClient, simulator: Simulator, room: int
) -> None:
    files.write(*questions(800))
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FULL_DISK),
        *(str(files.input), str(files.output), simulator.base_url, str(room)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await ran.communicate()
    assert ran.returncode == 0
    assert b"File too large" in out
    saved = 0
    if room > 1000:  # else not even the sidecar fits
        assert b"make room" in out
        saved = len(files.ids())
        assert 0 < saved < 800
        assert files.output.stat().st_size <= room
    asked = simulator.counts.requests
    report = await run(files, client)
    assert report.ok
    assert report.counts.resumed == saved
    assert report.counts.possibly_duplicated >= asked - saved
    assert len(set(files.ids())) == len(files.ids()) == 800
