"""Run one client on one job against ``replay.py``; print its cost to this process as a JSON line.

    python benchmarks/speed_clients.py CLIENT CASE URL [--events N] [--streams N] [--uvloop]

``speed.py`` starts it, a new process for each run. It can also be run by hand, under a profiler:
``py-spy record -o profile.svg -- python benchmarks/speed_clients.py laplas_async burst URL``.

Each client is used as its documentation shows, with its defaults, and passes the text of each event
to the caller; what was received is compared with what was sent, and any difference ends the run.
Two settings are made, and only for many concurrent streams: the number of connections that clients
allow by default (100 or 1,000), and the ceiling of our gate (1,000).
"""

import argparse
import asyncio
import contextlib
import importlib
import json
import logging
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

# This tree, before what is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import replay

# Before laplas_async is imported: its gate keeps fewer in flight than files may be open.
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

KEY = "none"
MODEL = "any"
PROMPT = "Tell me of a river."
MESSAGES = [{"role": "user", "content": PROMPT}]
BODY = {"model": MODEL, "messages": MESSAGES}
STREAM_BODY = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
HEADERS = {"Authorization": f"Bearer {KEY}"}
WARM_EVENTS = 200
CONCURRENT_CALLS = 50
MILLISECONDS = {"slow": 20, "memory": 200}  # between two events of a stream
GATHER_WITHIN = 120.0  # seconds for the slowest client to open all streams


class Job(NamedTuple):
    """What to do. ``streams``: how many at a time."""

    case: str
    url: str
    events: int
    streams: int
    calls: int
    shape: str

    @property
    def base_url(self) -> str:
        """The base URL that selects the responses of the server."""
        match self.case:
            case "burst":
                return f"{self.url}/burst/{self.shape}/{self.events}/v1"
            case "plain":
                return f"{self.url}/plain/v1"
        pause = MILLISECONDS[self.case]
        return f"{self.url}/slow/{self.streams}/{self.events}/{pause}/v1"


class Calls(NamedTuple):
    """The calls of one client.

    ``stream`` calls its argument when the response has begun, and returns the text; for the floor,
    the number of bytes.
    """

    stream: Callable[[Callable[[], None]], Awaitable[str | int]]
    ask: Callable[[], Awaitable[str]]


def arguments_of(chunk: Any) -> str:
    """The arguments that a chunk of ours adds."""
    return "".join(
        call.function.arguments or ""
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    )


# What a chunk of ours adds, and the whole, by the shape of the events.
OUR_PIECES: dict[str, tuple[Callable[[Any], str], Callable[[Any], str]]] = {
    "openai": (lambda chunk: chunk.text, lambda completion: completion.text),
    "reasoning": (lambda chunk: chunk.reasoning, lambda completion: completion.message.reasoning),
    "tool-call": (arguments_of, lambda completion: completion.tool_calls[0].function.arguments),
}


# --- the clients ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def floor(job: Job) -> AsyncIterator[Calls]:
    """``asyncio`` streams: no HTTP except the end of the headers, no JSON, bytes counted."""
    host, _, port = job.url.removeprefix("http://").partition(":")
    path = job.base_url.removeprefix(job.url)
    body = json.dumps(STREAM_BODY).encode()
    head = f"POST {path}/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"

    async def stream(begun: Callable[[], None]) -> int:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await reader.readuntil(b"\r\n\r\n")
            begun()
            size, end = 0, b""
            while not end.endswith(b"\r\n0\r\n\r\n"):
                data = await reader.read(65536)
                if not data:
                    raise EOFError("the stream was truncated")
                size += len(data)
                end = data[-7:] if len(data) >= 7 else (end + data)[-7:]
            return size
        finally:
            writer.close()

    async def ask() -> str:
        raise NotImplementedError

    yield Calls(stream, ask)


@contextlib.asynccontextmanager
async def by_hand(job: Job) -> AsyncIterator[Calls]:
    """The loop that people write by hand: aiohttp, ``split``, ``orjson``, a dict."""
    aiohttp: Any = importlib.import_module("aiohttp")
    orjson: Any = importlib.import_module("orjson")
    url = f"{job.base_url}/chat/completions"
    read: Callable[[dict[str, Any]], str | None] = {
        "reasoning": lambda delta: delta.get("reasoning_content"),
        "tool-call": lambda delta: (
            call[0]["function"].get("arguments") if (call := delta.get("tool_calls")) else None
        ),
    }.get(job.shape, lambda delta: delta.get("content"))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:

        async def stream(begun: Callable[[], None]) -> str:
            parts = []
            async with session.post(url, json=STREAM_BODY, raise_for_status=True) as response:
                begun()
                buffer = b""
                async for data in response.content.iter_any():
                    *events, buffer = (buffer + data).split(b"\n\n")
                    for event in events:
                        if event == b"data: [DONE]":
                            break
                        chunk = orjson.loads(event[6:])
                        for choice in chunk["choices"]:
                            content = read(choice["delta"])
                            if content:
                                parts.append(content)
            return "".join(parts)

        async def ask() -> str:
            async with session.post(url, json=BODY, raise_for_status=True) as response:
                completion = orjson.loads(await response.read())
            text: str = completion["choices"][0]["message"]["content"]
            return text

        yield Calls(stream, ask)


@contextlib.asynccontextmanager
async def ours(job: Job, observers: Callable[[], list[Any]] = list[Any]) -> AsyncIterator[Calls]:
    """``laplas_async``: retries, gate, timeouts and the accumulator at their defaults."""
    laplas: Any = importlib.import_module("laplas_async")
    settings: dict[str, Any] = {"observers": found} if (found := observers()) else {}
    piece, whole = OUR_PIECES.get(job.shape, OUR_PIECES["openai"])
    if job.streams > 1000:
        limit: Any = importlib.import_module("laplas_async.pacing.limiter")
        limiter = limit.Limiter(laplas.Limits(), ceiling=job.streams)
        settings["gate"] = laplas.Gate(limiter=limiter)
    async with laplas.LaplasClient(KEY, job.base_url, model=MODEL, **settings) as client:

        async def stream(begun: Callable[[], None]) -> str:
            length = 0
            async with client.stream(PROMPT) as response:
                begun()
                async for chunk in response:
                    length += len(piece(chunk))
                text: str = whole(await response.completion())
            if length != len(text):
                raise AssertionError(f"chunks of {length} characters, a completion of {len(text)}")
            return text

        async def ask() -> str:
            text: str = (await client.complete(PROMPT)).text
            return text

        yield Calls(stream, ask)


@contextlib.asynccontextmanager
async def over_httpx(job: Job) -> AsyncIterator[Calls]:
    """Over httpx, with httpx-sse and ``json``."""
    httpx: Any = importlib.import_module("httpx")
    httpx_sse: Any = importlib.import_module("httpx_sse")
    url = f"{job.base_url}/chat/completions"
    async with httpx.AsyncClient(
        headers=HEADERS, timeout=GATHER_WITHIN, **_limits(httpx, job)
    ) as client:

        async def stream(begun: Callable[[], None]) -> str:
            parts = []
            async with httpx_sse.aconnect_sse(client, "POST", url, json=STREAM_BODY) as source:
                begun()
                async for event in source.aiter_sse():
                    if event.data == "[DONE]":
                        break
                    for choice in json.loads(event.data)["choices"]:
                        if content := choice["delta"].get("content"):
                            parts.append(content)  # noqa: PERF401 - one by one, as users do
            return "".join(parts)

        async def ask() -> str:
            response = await client.post(url, json=BODY)
            text: str = response.json()["choices"][0]["message"]["content"]
            return text

        yield Calls(stream, ask)


def _limits(httpx: Any, job: Job) -> dict[str, Any]:
    """As many connections as streams, if that is more than the default."""
    if job.streams < 2:
        return {}
    # A number: the transport over aiohttp takes None for 100.
    connections = {"max_connections": job.streams, "max_keepalive_connections": job.streams}
    return {"limits": httpx.Limits(**connections)}


def _openai_like(create: Callable[..., Awaitable[Any]]) -> Calls:
    """A client with ``chat.completions.create`` whose results have attributes."""

    async def stream(begun: Callable[[], None]) -> str:
        parts = []
        response = await create(**STREAM_BODY)
        begun()
        async for chunk in response:
            if chunk.choices and (content := chunk.choices[0].delta.content):
                parts.append(content)  # noqa: PERF401 - one by one, as users do
        return "".join(parts)

    async def ask() -> str:
        completion = await create(**BODY)
        text: str = completion.choices[0].message.content
        return text

    return Calls(stream, ask)


@contextlib.asynccontextmanager
async def openai_python(job: Job) -> AsyncIterator[Calls]:
    """openai-python over its default transport: httpx2, in old versions httpx."""
    openai: Any = importlib.import_module("openai")
    settings: dict[str, Any] = {}
    if job.streams > 1:
        new = hasattr(openai, "DefaultAsyncHttpx2Client")
        httpx: Any = importlib.import_module("httpx2" if new else "httpx")
        factory = openai.DefaultAsyncHttpx2Client if new else openai.DefaultAsyncHttpxClient
        settings["http_client"] = factory(**_limits(httpx, job))
    async with openai.AsyncOpenAI(api_key=KEY, base_url=job.base_url, **settings) as client:
        yield _openai_like(client.chat.completions.create)


@contextlib.asynccontextmanager
async def openai_aiohttp(job: Job) -> AsyncIterator[Calls]:
    """openai-python over aiohttp."""
    openai: Any = importlib.import_module("openai")
    httpx: Any = importlib.import_module(
        "httpx2" if hasattr(openai, "DefaultAsyncHttpx2Client") else "httpx"
    )
    transport = openai.DefaultAioHttpClient(**_limits(httpx, job))
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=job.base_url, http_client=transport
    ) as client:
        yield _openai_like(client.chat.completions.create)


@contextlib.asynccontextmanager
async def together_python(job: Job) -> AsyncIterator[Calls]:
    """The client of Together AI."""
    together: Any = importlib.import_module("together")
    settings: dict[str, Any] = {}
    if job.streams > 1:
        httpx: Any = importlib.import_module("httpx")
        settings["http_client"] = together.DefaultAsyncHttpxClient(**_limits(httpx, job))
    async with together.AsyncTogether(api_key=KEY, base_url=job.base_url, **settings) as client:

        async def create(**body: Any) -> Any:
            body.pop("stream_options", None)  # not among its parameters
            return await client.chat.completions.create(**body)

        yield _openai_like(create)


@contextlib.asynccontextmanager
async def hugging_face(job: Job) -> AsyncIterator[Calls]:
    """``huggingface_hub.AsyncInferenceClient``."""
    hub: Any = importlib.import_module("huggingface_hub")
    if job.streams > 1:
        httpx: Any = importlib.import_module("httpx")
        hub.set_async_client_factory(
            lambda: httpx.AsyncClient(timeout=None, follow_redirects=True, **_limits(httpx, job))
        )
    async with hub.AsyncInferenceClient(base_url=job.base_url, api_key=KEY) as client:
        yield _openai_like(client.chat.completions.create)


@contextlib.asynccontextmanager
async def litellm_python(job: Job) -> AsyncIterator[Calls]:
    """``litellm.acompletion``."""
    if job.streams > 1:  # read on import
        os.environ["AIOHTTP_CONNECTOR_LIMIT"] = str(job.streams)
        os.environ["AIOHTTP_CONNECTOR_LIMIT_PER_HOST"] = str(job.streams)
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True

    async def create(**body: Any) -> Any:
        return await litellm.acompletion(
            **{**body, "model": f"openai/{MODEL}"}, api_base=job.base_url, api_key=KEY
        )

    yield _openai_like(create)


class Empty:
    """An observer that does nothing: what it costs to measure and to inform."""

    def call_started(self, call: Any) -> None:
        """Nothing."""

    def attempt_ended(self, call: Any, attempt: Any) -> None:
        """Nothing."""

    def call_ended(self, call: Any) -> None:
        """Nothing."""


def logs() -> list[Any]:
    """One line per call, formatted and written to where nobody reads it."""
    logger = logging.getLogger("benchmark")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.FileHandler(os.devnull))
    return [importlib.import_module("laplas_async").Logs(logger)]


def otel() -> list[Any]:
    """Spans and metrics of the real SDK, exported in batches into memory."""
    trace: Any = importlib.import_module("opentelemetry.sdk.trace")
    export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
    memory: Any = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    metrics: Any = importlib.import_module("opentelemetry.sdk.metrics")
    reader: Any = importlib.import_module("opentelemetry.sdk.metrics.export")
    tracers = trace.TracerProvider()
    tracers.add_span_processor(export.BatchSpanProcessor(memory.InMemorySpanExporter()))
    meters = metrics.MeterProvider([reader.InMemoryMetricReader()])
    observer = importlib.import_module("laplas_async").OTel(
        tracer_provider=tracers, meter_provider=meters
    )
    return [observer]


CLIENTS: dict[str, Callable[[Job], AbstractAsyncContextManager[Calls]]] = {
    "floor": floor,
    "by_hand": by_hand,
    "laplas_async": ours,
    # For observers.py: the same with observers.
    "empty": partial(ours, observers=lambda: [Empty()]),
    "logs": partial(ours, observers=logs),
    "otel": partial(ours, observers=otel),
    "httpx": over_httpx,
    "openai": openai_python,
    "openai_aiohttp": openai_aiohttp,
    "together": together_python,
    "huggingface_hub": hugging_face,
    "litellm": litellm_python,
}


# --- measuring --------------------------------------------------------------------------------


class Meter:
    """CPU (user and system, of this process) and wall-clock time between two moments."""

    def __init__(self) -> None:
        self.cpu = self.seconds = 0.0
        self._cpu_at = self._at = 0.0

    @staticmethod
    def _cpu_now() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def begin(self) -> None:
        """Start measuring."""
        self._at, self._cpu_at = time.monotonic(), self._cpu_now()

    def end(self) -> None:
        """Stop measuring."""
        self.seconds, self.cpu = time.monotonic() - self._at, self._cpu_now() - self._cpu_at


def peak_mib() -> float:
    """The peak memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmHWM in /proc/self/status")


def check(events: int, received: str | int, sent_bytes: int | None = None) -> None:
    """Raise ``AssertionError`` unless what was received is what was sent."""
    expected = replay.text_of(events) if isinstance(received, str) else sent_bytes
    if received != expected:
        size = f"{len(received)} characters" if isinstance(received, str) else f"{received} bytes"
        raise AssertionError(f"{size} received, and not what was sent")


def nothing() -> None:
    """Ignore that the response has begun."""


async def run_burst(calls: Calls, job: Job, meter: Meter) -> int:
    meter.begin()
    received = await calls.stream(nothing)
    meter.end()
    check(job.events, received, replay.burst_size(job.events, job.shape))
    return job.events


async def run_slow(calls: Calls, job: Job, meter: Meter) -> int:
    """Run all streams at the same time; cost and events count from when the last one is open."""
    begun = ended = 0

    def begin() -> None:
        nonlocal begun
        begun += 1
        if begun == job.streams:
            if ended:
                raise AssertionError(f"{begun - ended} concurrent streams, not {job.streams}")
            meter.begin()

    size = sum(len(frame) for frame in replay.script(job.events))

    async def one() -> None:
        nonlocal ended
        check(job.events, await calls.stream(begin), size)
        ended += 1

    await asyncio.gather(*(one() for _ in range(job.streams)))
    meter.end()
    return job.streams * (job.events - 1)


async def run_plain(calls: Calls, job: Job, meter: Meter) -> int:
    """Make as many unmeasured calls first: our gate starts carefully, connections are opened."""
    left = job.calls

    async def some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if await calls.ask() != replay.PLAIN_TEXT:
                raise AssertionError("the text received is not what was sent")

    await asyncio.gather(*(some() for _ in range(CONCURRENT_CALLS)))
    left = job.calls
    meter.begin()
    await asyncio.gather(*(some() for _ in range(CONCURRENT_CALLS)))
    meter.end()
    return job.calls


RUNS = {"burst": run_burst, "slow": run_slow, "memory": run_slow, "plain": run_plain}


async def live(name: str, job: Job) -> dict[str, float]:
    client = CLIENTS[name]
    if job.case != "plain":  # what happens only once happens before
        warm = job._replace(case="burst", events=WARM_EVENTS)
        async with client(warm) as calls:
            received = await calls.stream(nothing)
            check(WARM_EVENTS, received, replay.burst_size(WARM_EVENTS, job.shape))
    meter = Meter()
    async with client(job) as calls:
        units = await RUNS[job.case](calls, job, meter)
    return {
        "units": units,
        "cpu": meter.cpu,
        "seconds": meter.seconds,
        "microseconds": 1e6 * meter.cpu / units,
        "peak_mib": peak_mib(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("case", choices=RUNS)
    parser.add_argument("url", help="the line that replay.py prints")
    parser.add_argument("--events", type=int, default=100_000, help="in a stream")
    parser.add_argument("--streams", type=int, default=1, help="concurrent (slow, memory)")
    parser.add_argument("--calls", type=int, default=4000, help="plain calls")
    parser.add_argument("--shape", choices=replay.SHAPES, default="openai", help="in a burst")
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    job = Job(
        case=arguments.case,
        url=arguments.url,
        events=arguments.events,
        streams=arguments.streams,
        calls=arguments.calls,
        shape=arguments.shape,
    )
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    factory = importlib.import_module("uvloop").new_event_loop if arguments.uvloop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        report = runner.run(live(arguments.client, job))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
