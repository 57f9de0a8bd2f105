"""A service that hides its limit, and what each client makes of it: a Markdown table.

python benchmarks/hidden_limit.py --quick        # the two main scenarios, about 7 minutes
python benchmarks/hidden_limit.py --ours         # all scenarios, our client alone, about 10 minutes
python benchmarks/hidden_limit.py                # all of it, about an hour and a half
python benchmarks/hidden_limit.py --ours --only "rate 20/s,16 at a time" --json rows.json

The simulator runs on loopback in a process of its own, started anew for each row, and so does each
client; all calls of a job are begun at once, and the client is left to its defaults. Rejected
requests are counted by the server. A client that is not done in time is stopped, and the calls
completed by then are counted. A peer that is not installed (benchmarks/requirements-peers.txt) is
left out.

"Possible" is the time that a client would take who knows the limit: it sends each call at the first
moment at which the limit lets it in, in virtual time, through the simulator's own limiter and
without any cost for the network. For a rate R with a burst B, N calls and answers of S seconds that
is (N - B) / R + S. Where a number of places C is all there is, and the answers take equally long,
it is N * S / C: all places taken all the time. Where answers vary, it is given the very answers
that the client got, in the order in which it asked. A limit that moves does so at the second at
which this client has sent half of its calls.

Throughput is possible seconds / seconds, given only for jobs that were answered whole.
"""

import argparse
import asyncio
import contextlib
import heapq
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import logging
import multiprocessing
import os
import platform
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import aiohttp
import backoff
from attrs import asdict, evolve, frozen

import laplas_async
from laplas_async import LaplasClient
from laplas_async.simulator import HiddenLimit, Simulator, Timing
from laplas_async.simulator.limiter import RequestLimiter
from laplas_async.simulator.limits import Rival

KEY = "none"
MODEL = "any"
MAX_TOKENS = 8
READY_WITHIN = 60.0  # seconds to start a process on a busy machine
PLAIN = Timing(plain=0.2)
# The first of its tokens after 50 ms, the last after 200 ms.
STREAMED = Timing(first_token=0.05, tokens_per_second=(MAX_TOKENS - 1) / 0.15)
SLOW = Timing(plain=(1.0, 20.0))
SPAWN = multiprocessing.get_context("spawn")


# --- the scenarios ----------------------------------------------------------------------------


@frozen(kw_only=True)
class Scenario:
    """A hidden limit and a job; ``moves_to``: the limit from the middle of the job on.

    ``floor``: the least share of the possible throughput, and the most rejections an answer.
    """

    name: str
    limit: HiddenLimit
    calls: int
    timing: Timing = PLAIN
    stream: bool = False
    moves_to: HiddenLimit | None = None
    floor: tuple[float, float] = (0.90, 0.05)

    def seconds(self, number: int) -> float:
        """How long the answer to request ``number`` takes."""
        schedule = self.timing.schedule(number)
        return schedule.due(MAX_TOKENS - 1) if self.stream else schedule.whole(MAX_TOKENS)

    @property
    def varies(self) -> bool:
        """Whether one answer takes longer than another."""
        return isinstance(self.timing.plain, tuple)

    def hidden(self) -> HiddenLimit:
        """The limit with its schedule."""
        if self.moves_to is None:
            return self.limit
        sent, _ = ideal(self.limit, [self.seconds(at + 1) for at in range(self.calls)])
        middle = round(sent[self.calls // 2], 3)
        return evolve(self.limit, changes=((middle, self.moves_to),))

    def possible(self, answered: Iterable[int]) -> float:
        """Seconds that the job takes at best; ``answered``: the numbers of the requests that were.

        The formulas are in the module's docstring.
        """
        # A job that was not answered whole is filled up with the numbers that would have come.
        numbers = itertools.islice(itertools.chain(answered, itertools.count(1)), self.calls)
        durations = [self.seconds(number) for number in numbers]
        limit = self.hidden()
        number = limit.concurrency
        if number and limit == HiddenLimit(concurrency=number) and not self.varies:
            return sum(durations) / number
        return ideal(limit, durations)[1]


def ideal(limit: HiddenLimit, durations: Iterable[float]) -> tuple[list[float], float]:
    """When who knows the limit sends each call, and when the last one is answered."""
    limiter = RequestLimiter(limit, 0.0)
    now = 0.0
    running: list[float] = []
    sent: list[float] = []
    end = 0.0
    for duration in durations:
        while True:
            while running and running[0] <= now:
                heapq.heappop(running)
                limiter.leave()
            verdict = limiter.admit(now)
            if verdict.admitted:
                break
            moments = [at for at, _ in limit.changes if at > now]
            moments += (
                [now + verdict.retry_after] if verdict.reason != "concurrency" else running[:1]
            )
            now = min(moments)
        sent.append(now)
        heapq.heappush(running, now + duration)
        end = max(end, now + duration)
    return sent, end


def rate(per_second: float, burst: int | None = None) -> HiddenLimit:
    return HiddenLimit(rate=per_second, burst=burst)


def places(concurrency: int) -> HiddenLimit:
    return HiddenLimit(concurrency=concurrency)


SHORT = (0.80, 0.10)  # the floor where the limit moves, answers are slow, or the job is short
MAIN = (
    Scenario(name="rate 20/s", limit=rate(20, 20), calls=600),
    Scenario(name="16 at a time", limit=places(16), calls=600),
)
NUMBERS = (
    # Over in a hundred calls, so with the floor of short jobs.
    Scenario(name="rate 2/s", limit=rate(2), calls=100, floor=SHORT),
    Scenario(name="rate 100/s", limit=rate(100), calls=2000),
    Scenario(name="rate 500/s", limit=rate(500), calls=5000),
    Scenario(name="1 at a time", limit=places(1), calls=60),
    Scenario(name="4 at a time", limit=places(4), calls=300),
    Scenario(name="64 at a time", limit=places(64), calls=3000),
    Scenario(name="200 at a time", limit=places(200), calls=4000),
    Scenario(
        name="rate 40/s and 4 at a time",
        limit=HiddenLimit(rate=40, burst=10, concurrency=4),
        calls=300,
    ),
    Scenario(
        name="rate 10/s and 8 at a time",
        limit=HiddenLimit(rate=10, burst=5, concurrency=8),
        calls=200,
    ),
)
HARD = tuple(
    evolve(scenario, floor=SHORT)
    for scenario in (
        Scenario(name="rate 40/s to 10/s", limit=rate(40), moves_to=rate(10), calls=600),
        Scenario(name="rate 20/s to 40/s", limit=rate(20), moves_to=rate(40), calls=600),
        Scenario(name="32 to 8 at a time", limit=places(32), moves_to=places(8), calls=1200),
        Scenario(name="8 to 16 at a time", limit=places(8), moves_to=places(16), calls=900),
        Scenario(name="slow answers at rate 20/s", limit=rate(20, 20), timing=SLOW, calls=600),
        Scenario(name="slow answers 16 at a time", limit=places(16), timing=SLOW, calls=300),
        Scenario(name="100 calls at rate 20/s", limit=rate(20, 20), calls=100),
        Scenario(name="100 calls 16 at a time", limit=places(16), calls=100),
    )
)
WINDOWED = (0.85, 0.05)  # the floor of windows and of two limits together
# The other kinds of limits that services have, one of each; not limits on tokens, since ``ideal``
# does not know what a call costs.
KINDS = (
    Scenario(name="rate 20/s without burst", limit=rate(20, 1), calls=600),
    Scenario(
        name="rate 2/s without burst, answers of 6 s",
        limit=rate(2, 1),
        timing=Timing(plain=6.0),
        calls=60,
    ),
    Scenario(
        name="30 per 6 s",
        limit=HiddenLimit(requests=30, per=6.0, phase=2.0),
        calls=300,
        floor=WINDOWED,
    ),
    Scenario(
        name="100 per 10 s, sliding",
        limit=HiddenLimit(requests=100, per=10.0, sliding=True),
        calls=600,
        floor=WINDOWED,
    ),
    Scenario(
        name="60 per minute, Retry-After",
        limit=HiddenLimit(requests=60, per=60.0, phase=40.0, headers="retry-after"),
        calls=180,
        floor=WINDOWED,
    ),
    Scenario(
        name="10/s and 200 per minute",
        limit=HiddenLimit(rate=10, burst=10, also=(HiddenLimit(requests=200, sliding=True),)),
        calls=500,
        floor=WINDOWED,
    ),
    Scenario(name="16 at a time, uneven", limit=places(16), timing=SLOW, calls=200),
    Scenario(
        name="rate 20/s with a rival",
        limit=HiddenLimit(rate=20, burst=20, rival=Rival(share=0.5)),
        calls=600,
        floor=SHORT,
    ),
)
SCENARIOS = (
    *MAIN,
    *KINDS,
    *NUMBERS,
    *(
        evolve(scenario, name=f"{scenario.name} as streams", timing=STREAMED, stream=True)
        for scenario in (*MAIN, *NUMBERS)
    ),
    *HARD,
)


# --- the clients, each in a process of its own ------------------------------------------------


@frozen(kw_only=True)
class Job:
    """What a client has to do."""

    base_url: str
    calls: int
    stream: bool

    @property
    def body(self) -> dict[str, Any]:
        """What is sent, but for the messages."""
        return {"model": MODEL, "max_tokens": MAX_TOKENS, "stream": self.stream}


@frozen(kw_only=True)
class Done:
    """What a client made of it: the calls that failed, by the errors' names."""

    seconds: float
    failed: dict[str, int]


def prompt(number: int) -> str:
    return f"Name river number {number}."


def messages(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt(number)}]


async def all_at_once(job: Job, ask: Callable[[int], Awaitable[object]]) -> Done:
    failed: Counter[str] = Counter()

    async def one(number: int) -> None:
        try:
            await ask(number)
        except Exception as error:  # noqa: BLE001 - whatever it raises is a call that failed
            failed[type(error).__name__] += 1

    started = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(job.calls)))
    return Done(seconds=time.monotonic() - started, failed=dict(failed))


async def run_ours(job: Job) -> Done:
    os.environ["LAPLAS_API_KEY"] = KEY
    os.environ["LAPLAS_BASE_URL"] = job.base_url
    async with LaplasClient() as client:

        async def ask(number: int) -> None:
            if job.stream:
                async with client.stream(prompt(number), max_tokens=MAX_TOKENS) as stream:
                    completion = await stream.completion()
            else:
                completion = await client.complete(prompt(number), max_tokens=MAX_TOKENS)
            if not completion.text:
                raise ValueError("an empty answer")

        return await all_at_once(job, ask)


async def run_openai(job: Job, **settings: Any) -> Done:
    openai: Any = importlib.import_module("openai")
    async with openai.AsyncOpenAI(api_key=KEY, base_url=job.base_url, **settings) as client:

        async def ask(number: int) -> None:
            answer = await client.chat.completions.create(messages=messages(number), **job.body)
            if job.stream:
                text = ""
                async for chunk in answer:
                    text += (chunk.choices and chunk.choices[0].delta.content) or ""
            else:
                text = answer.choices[0].message.content
            if not text:
                raise ValueError("an empty answer")

        return await all_at_once(job, ask)


async def run_openai_retrying(job: Job) -> Done:
    return await run_openai(job, max_retries=10)


async def run_aiohttp(job: Job) -> Done:
    url = f"{job.base_url}/chat/completions"
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {KEY}"}, raise_for_status=True
    ) as session:

        @backoff.on_exception(backoff.expo, aiohttp.ClientError, max_tries=8)  # with full jitter
        async def ask(number: int) -> None:
            body = {**job.body, "messages": messages(number)}
            async with session.post(url, json=body) as response:
                data = await response.read()
                if job.stream and b"data: [DONE]" not in data:
                    raise aiohttp.ClientPayloadError("cut")

        return await all_at_once(job, ask)


async def run_batch(job: Job, **limits: Any) -> Done:
    """As its documents have it, with 20 workers."""
    peer: Any = importlib.import_module("async_batch_llm")
    settings = {"rate_limit": peer.RateLimitConfig(**limits)} if limits else {}
    strategy = peer.llm(
        f"openai-compatible:{MODEL}",
        base_url=job.base_url,
        api_key=KEY,
        generation_config={"max_tokens": MAX_TOKENS},
    )
    started = time.monotonic()
    batch = await peer.process_prompts(
        strategy,
        [prompt(number) for number in range(job.calls)],
        config=peer.ProcessorConfig(concurrency=20, **settings),
    )
    failed = Counter(str(result.error)[:60] for result in batch.results if not result.success)
    return Done(seconds=time.monotonic() - started, failed=dict(failed))


async def run_batch_tuned(job: Job) -> Done:
    """By hand for 20 a second: the best of six settings tried, not only the cooldown."""
    return await run_batch(
        job,
        cooldown_seconds=1.0,
        slow_start_items=10,
        slow_start_initial_delay=0.2,
        slow_start_final_delay=0.02,
    )


@frozen(kw_only=True)
class Client:
    """A way to do the job. ``bound``: the most seconds for it; None: by what is possible."""

    name: str
    package: str
    run: Callable[[Job], Awaitable[Done]]
    streams: bool = True
    bound: float | None = None
    main_only: bool = False

    def seconds_for(self, possible: float) -> float:
        """When it is stopped."""
        return 60 + 4 * possible if self.bound is None else max(self.bound, possible)


OURS = Client(name="laplas_async", package="laplas_async", run=run_ours)
CLIENTS = (
    OURS,
    Client(name="openai-python, defaults", package="openai", run=run_openai),
    Client(name="openai-python, 10 retries", package="openai", run=run_openai_retrying),
    Client(name="aiohttp + backoff.expo, 8 tries", package="aiohttp", run=run_aiohttp),
    Client(
        name="async-batch-llm, defaults",  # each 429 pauses it for 300 s
        package="async_batch_llm",
        run=run_batch,
        streams=False,
        bound=60.0,
        main_only=True,
    ),
    Client(
        name="async-batch-llm, tuned",
        package="async_batch_llm",
        run=run_batch_tuned,
        streams=False,
    ),
)


# --- the processes ----------------------------------------------------------------------------


def settle_in() -> None:
    """What each child does first: it ends with its parent, whatever ends that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the children itself
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    logging.getLogger().addHandler(logging.NullHandler())  # or each rejection fills the terminal


@frozen(kw_only=True)
class Served:
    """What the server saw; ``numbers``: which requests it answered, where answers vary."""

    answered: int
    rejected: int
    numbers: tuple[int, ...]


def serve(link: Connection, scenario: Scenario) -> None:
    """The server's process: tells its URL, sets the limit when asked, tells what it saw."""
    settle_in()

    async def live() -> None:
        remember = 50 * scenario.calls if scenario.varies else 0
        async with Simulator(timing=scenario.timing, remember=remember) as simulator:
            link.send(simulator.base_url)
            await asyncio.to_thread(link.recv)
            simulator.limit = scenario.hidden()  # its schedule counts from here
            link.send(None)
            await asyncio.to_thread(link.recv)
            counts = simulator.counts
            numbers = tuple(
                seen.number for seen in simulator.requests if seen.outcome == "answered"
            )
            link.send(Served(answered=counts.answered, rejected=counts.rejected, numbers=numbers))

    asyncio.run(live())


def work(link: Connection, client: Client) -> None:
    """A client's process: gets its job, and tells what it made of it."""
    settle_in()
    importlib.import_module(client.package)
    link.send(None)
    job: Job = link.recv()

    async def live() -> Done:
        return await client.run(job)

    link.send(asyncio.run(live()))


@contextlib.contextmanager
def process(
    target: Callable[..., None], subject: Scenario | Client
) -> Iterator[tuple[Connection, Any]]:
    """A process with a line to it, and the first thing it tells."""
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=target, args=(theirs, subject))
    child.start()
    theirs.close()  # so that a child that dies is told by an EOFError
    try:
        yield ours, told(ours)
    finally:
        child.kill()
        child.join()
        ours.close()


def told(link: Connection, within: float = READY_WITHIN) -> Any:
    if not link.poll(within):
        raise TimeoutError("a process of the benchmark does not answer")
    return link.recv()


# --- the rows ---------------------------------------------------------------------------------


@frozen(kw_only=True)
class Row:
    """One client in one scenario. ``stopped``: it was not done in time."""

    scenario: str
    client: str
    calls: int
    answered: int
    rejected: int
    seconds: float
    possible: float
    stopped: bool
    failed: dict[str, int]

    @property
    def rejected_per_answer(self) -> float:
        """Requests rejected for each answer."""
        return self.rejected / max(1, self.answered)

    @property
    def throughput(self) -> float | None:
        """The share of what is possible; None where calls were not answered."""
        return self.possible / self.seconds if self.answered == self.calls else None

    def cells(self) -> list[str]:
        """The cells of the table, in the order of ``HEADINGS``."""
        share = self.throughput
        return [
            self.scenario,
            self.client,
            f"{self.answered} of {self.calls}",
            f"{self.rejected:,}",
            f"{self.rejected_per_answer:.3f}",
            f"not done after {self.seconds:.0f}" if self.stopped else f"{self.seconds:.1f}",
            f"{self.possible:.1f}",
            "-" if share is None else f"{share:.1%}",
        ]


HEADINGS = (
    "scenario",
    "client",
    "answered",
    "rejected requests",
    "rejected per answer",
    "seconds",
    "possible seconds",
    "throughput",
)


def measure(scenario: Scenario, client: Client) -> Row:
    bound = client.seconds_for(scenario.possible(()))
    done: Done | None = None
    with (
        process(serve, scenario) as (server, base_url),
        process(work, client) as (worker, _),
    ):
        server.send(None)
        told(server)
        started = time.monotonic()
        worker.send(Job(base_url=base_url, calls=scenario.calls, stream=scenario.stream))
        failed = {}
        if worker.poll(bound):
            try:
                done = worker.recv()
            except EOFError:
                failed = {"crashed": scenario.calls}
        seconds = time.monotonic() - started
        server.send(None)
        served: Served = told(server)
    return Row(
        scenario=scenario.name,
        client=client.name,
        calls=scenario.calls,
        answered=served.answered if done is None else scenario.calls - sum(done.failed.values()),
        rejected=served.rejected,
        seconds=seconds if done is None else done.seconds,
        possible=scenario.possible(served.numbers),
        stopped=done is None,
        failed=failed if done is None else done.failed,
    )


def print_rows(scenarios: Iterable[Scenario], clients: Iterable[Client]) -> list[Row]:
    rows: list[Row] = []
    print("| " + " | ".join(HEADINGS) + " |")
    print("|---|---|" + "---:|" * (len(HEADINGS) - 2))
    below: list[str] = []
    for scenario in scenarios:
        for client in clients:
            if (scenario.stream and not client.streams) or (
                client.main_only and scenario.name not in {main.name for main in MAIN}
            ):
                continue
            row = measure(scenario, client)
            rows.append(row)
            print("| " + " | ".join(row.cells()) + " |", flush=True)
            least, most = scenario.floor
            if client is OURS and (
                (row.throughput or 0.0) < least or row.rejected_per_answer > most
            ):
                below.append(f"{scenario.name} (floor {least:.0%}, {most})")
    print(f"\nOurs below the floor: {', '.join(below) or 'nowhere'}.", end=" ")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores.")
    return rows


def version_of(client: Client) -> str:
    if client is OURS:
        return laplas_async.__version__
    return importlib.metadata.version(client.package)


def installed(client: Client) -> bool:
    return importlib.util.find_spec(client.package) is not None


def chosen(arguments: argparse.Namespace) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in SCENARIOS}
    names = list(known)
    if arguments.quick:
        names = [scenario.name for scenario in MAIN]
    if arguments.only:
        names = [name.strip() for name in arguments.only.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no scenario {unknown[0]!r}; there are: {', '.join(known)}")
    return [
        known[name] if arguments.calls is None else evolve(known[name], calls=arguments.calls)
        for name in names
    ]


def count(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Scenarios: " + ", ".join(scenario.name for scenario in SCENARIOS),
    )
    parser.add_argument("--quick", action="store_true", help="the two main scenarios alone")
    parser.add_argument("--only", metavar="NAME,NAME", help="these scenarios alone")
    parser.add_argument("--ours", action="store_true", help="our client alone")
    parser.add_argument("--calls", type=count, metavar="N", help="this many calls in each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    arguments = parser.parse_args()
    scenarios = chosen(arguments)
    clients = [OURS] if arguments.ours else [client for client in CLIENTS if installed(client)]
    for client in () if arguments.ours else CLIENTS:
        if client not in clients:
            print(f"{client.name}: not installed, left out (requirements-peers.txt)\n")
    versions = {client.package: version_of(client) for client in clients}
    print(", ".join(f"{package} {version}" for package, version in versions.items()) + "\n")
    rows = print_rows(scenarios, clients)
    if arguments.json is not None:
        report = {"versions": versions, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
