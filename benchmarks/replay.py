"""A server that replays answers encoded beforehand, in a process of its own, as cheaply as it can.

    python benchmarks/replay.py            # prints its URL; ends with its standard input
    curl -N -d '{}' http://127.0.0.1:PORT/burst/openai/1000/v1/chat/completions

The base URL says what is answered to a POST of anything at all:

- ``/burst/SHAPE/EVENTS/v1``: a stream of so many content chunks, as fast as the socket takes them,
  in transfer chunks of 16 KiB that end anywhere in an event, as a proxy would cut it. The shape is
  ``openai`` (what all other streams have), ``obfuscated``, ``together``, ``fresh``,
  ``reasoning``, ``tool-call`` or ``logprobs``; the text is then that of the thoughts or arguments.
- ``/slow/STREAMS/EVENTS/MILLISECONDS/v1``: a stream with one event in so many milliseconds, each a
  transfer chunk of its own. The first content comes at once; the others begin when so many streams
  are open (or when no other has come for 5 seconds), for all of them together. One timer drives
  all, and they are spread evenly over the interval.
- ``/plain/v1``: one whole answer of about 600 bytes with its length.
- ``/wide/BYTES/v1``: a stream of one event whose text has so many bytes, ``/whole/BYTES/v1`` the
  same as a plain answer.

The events are written as OpenAI writes them, about 230 bytes each; the text is German, Chinese,
English, code and emoji. ``text_of`` is what a client must have made of them.
"""

import argparse
import asyncio
import contextlib
import functools
import itertools
import json
import os
import random
import re
import resource
import string
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

PROSE = (
    "Die Brücke über die Mündung war im März noch gesperrt; größere Schiffe löschten draußen. "
    "„Es fließt“, sagte Jörg, „nur langsamer.“\n\n"
    "长江是亚洲最长的河流，发源于青藏高原，流经十一个省市，最后注入东海。👩‍🚀🚢\n"  # noqa: RUF001
    'He wrote: "a river is never the same twice", and added a tab:\t\\o/ — then left. '
    "The delta widens by about 3.5 m a year (±0.2), which is 🌊 more than anyone expected.\n"
    '```python\nprint(json.dumps({"name": "Elbe", "km": 1094}, ensure_ascii=False))\n```\n'
    "Zum Schluß: Äpfel, Öl und Übermut 🍎; naïve café, Ångström, žluťoučký kůň. "
)
# About what tokenizers make of it: a word with the space before it, long ones in pieces, Chinese
# by one or two, everything else alone.
TOKENS: tuple[str, ...] = tuple(
    re.findall(r" ?[A-Za-zÀ-ž]{1,7}|[\u4e00-\u9fff]{1,2}| ?\d{1,3}|\s+| ?[^\w\s]{1,2}|.", PROSE)
)
PLAIN_TEXT = PROSE[:230]
_FRAME_BYTES = 16 * 1024
_CYCLES = 8  # of the tokens in the block that a burst repeats
_GATHER_SECONDS = 5.0
_TICK = 0.001
_END = b"0\r\n\r\n"
_HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 24 Nov 2025 10:00:00 GMT\r\nConnection: keep-alive\r\n"
    b"Content-Type: %b\r\nx-request-id: req_5f0c7a94b7b34e2f8c1d\r\nopenai-version: 2020-10-01\r\n"
    b"openai-processing-ms: 212\r\nCache-Control: no-cache\r\n%b\r\n\r\n"
)
_STREAM_HEAD = _HEAD % (b"text/event-stream; charset=utf-8", b"Transfer-Encoding: chunked")


# --- what is sent -----------------------------------------------------------------------------


def text_of(events: int) -> str:
    """The text of a stream of so many content chunks."""
    times, rest = divmod(events, len(TOKENS))
    return "".join(TOKENS) * times + "".join(TOKENS[:rest])


def wide_text(size: int) -> str:
    """A text of about so many bytes in UTF-8."""
    return PROSE * max(1, size // len(PROSE.encode()))


def burst_size(events: int, shape: str = "openai") -> int:
    """The bytes of a burst's body, transfer encoding included."""
    return sum(len(piece) for piece in burst(events, shape))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _usage(events: int) -> dict[str, Any]:
    return {"prompt_tokens": 9, "completion_tokens": events, "total_tokens": 9 + events}


def _choice(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


class OpenAI:
    """As OpenAI wrote events for long: the text alone is new in each."""

    head: ClassVar[dict[str, Any]] = {
        "id": "chatcmpl-CfUyZ2vXw3kQ9bT7mR",
        "object": "chat.completion.chunk",
        "created": 1763978400,
        "model": "gpt-4o-mini",
        "system_fingerprint": "fp_560af6e559",
    }

    def __init__(self) -> None:
        self._random = random.Random(1)

    def event(self, *choices: dict[str, Any], **more: Any) -> bytes:
        """One event."""
        return b"data: %b\n\n" % _json({**self.head, "choices": choices, **more})

    def first(self) -> bytes:
        """The role."""
        return self.event(_choice(role="assistant", content="", refusal=None))

    def content(self, token: str) -> bytes:
        """A piece of the text."""
        return self.event(_choice(content=token))

    def last(self, events: int) -> bytes:
        """The reason, the usage, [DONE]."""
        end = self.event(_choice("stop")) + self.event(usage=_usage(events))
        return end + b"data: [DONE]\n\n"


class Obfuscated(OpenAI):
    """As OpenAI writes them now: a random text behind the choices hides the length of the token."""

    def event(self, *choices: dict[str, Any], **more: Any) -> bytes:
        """One event."""
        noise = self._random.choices(string.ascii_letters, k=self._random.randint(1, 16))
        return super().event(*choices, **{"usage": None, **more, "obfuscation": "".join(noise)})


class Together(OpenAI):
    """As Together and those that resell it: the text twice, and the number of the token."""

    head: ClassVar[dict[str, Any]] = {
        "id": "oLm3VwY-4Yz4kd-9a3d2f1b7c6e5d48",
        "object": "chat.completion.chunk",
        "created": 1763978400,
        "model": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    }

    def content(self, token: str) -> bytes:
        """A piece of the text."""
        number = self._random.randint(1, 128_000)
        choice = _choice(token_id=number, role="assistant", content=token, tool_calls=None)
        return self.event({"text": token, "seed": None, **choice})


class Fresh(OpenAI):
    """As gateways that give each event an id and a time of its own."""

    def event(self, *choices: dict[str, Any], **more: Any) -> bytes:
        """One event."""
        number = self._random.getrandbits(96)
        new = {**self.head, "id": f"chatcmpl-{number:024x}", "created": 1763978400 + number % 60}
        return b"data: %b\n\n" % _json({**new, "choices": choices, **more})


class Reasoning(OpenAI):
    """The model's thoughts, token by token, in a field of their own."""

    def content(self, token: str) -> bytes:
        """A piece of the thoughts."""
        return self.event(_choice(content=None, reasoning_content=token))


class ToolCall(OpenAI):
    """One tool call whose arguments arrive token by token."""

    def first(self) -> bytes:
        """The role, and the name of the function."""
        function = {"name": "write", "arguments": ""}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        return self.event(_choice(role="assistant", content=None, tool_calls=[call]))

    def content(self, token: str) -> bytes:
        """A piece of the arguments."""
        return self.event(_choice(tool_calls=[{"index": 0, "function": {"arguments": token}}]))


class Logprobs(OpenAI):
    """The text with the log probability of each token, without alternatives."""

    def content(self, token: str) -> bytes:
        """A piece of the text."""
        probability = round(-5 * self._random.random(), 6)
        data = list(token.encode())
        found = {"token": token, "logprob": probability, "bytes": data, "top_logprobs": []}
        logprobs = {"content": [found], "refusal": None}
        return self.event({**_choice(content=token), "logprobs": logprobs})


SHAPES = {
    "openai": OpenAI,
    "obfuscated": Obfuscated,
    "together": Together,
    "fresh": Fresh,
    "reasoning": Reasoning,
    "tool-call": ToolCall,
    "logprobs": Logprobs,
}


def frames(data: bytes) -> bytes:
    """Bytes in the transfer chunks that they are sent in."""
    pieces = (data[at : at + _FRAME_BYTES] for at in range(0, len(data), _FRAME_BYTES))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@functools.lru_cache(maxsize=len(SHAPES))
def _cycle(shape: str) -> tuple[tuple[bytes, ...], bytes]:
    """The events of all tokens, some times over, and the same as they are sent."""
    made = SHAPES[shape]()
    events = tuple(made.content(token) for token in TOKENS * _CYCLES)
    return events, frames(b"".join(events))


def burst(events: int, shape: str = "openai") -> Iterator[bytes]:
    """The body of a burst; however long it is, there is one copy of what repeats."""
    made = SHAPES[shape]()
    contents, framed = _cycle(shape)
    yield frames(made.first())
    times, rest = divmod(events, len(contents))
    yield from itertools.repeat(framed, times)
    yield frames(b"".join(contents[:rest]))
    yield frames(made.last(events)) + _END


@functools.lru_cache(maxsize=4)
def script(events: int) -> tuple[bytes, ...]:
    """A slow stream, one transfer chunk after the other; the first has the first content."""
    made = OpenAI()
    framed = {token: frames(made.content(token)) for token in TOKENS}
    tokens = itertools.islice(itertools.cycle(TOKENS), 1, events)
    first = frames(made.first() + made.content(TOKENS[0]))
    return (first, *(framed[token] for token in tokens), frames(made.last(events)) + _END)


def _completion(text: str) -> bytes:
    answer = {
        "id": "chatcmpl-CfUyZ2vXw3kQ9bT7mR",
        "object": "chat.completion",
        "created": 1763978400,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": _usage(64),
        "service_tier": "default",
        "system_fingerprint": "fp_560af6e559",
    }
    body = _json(answer)
    return _HEAD % (b"application/json", b"Content-Length: %d" % len(body)) + body


PLAIN = _completion(PLAIN_TEXT)


@functools.lru_cache(maxsize=2)
def whole(size: int) -> bytes:
    """A plain answer of about so many bytes, with its head."""
    return _completion(wide_text(size))


@functools.lru_cache(maxsize=2)
def wide(size: int) -> bytes:
    """A stream with one event of about so many bytes."""
    made = OpenAI()
    return frames(made.first() + made.content(wide_text(size)) + made.last(1)) + _END


# --- how it is sent ---------------------------------------------------------------------------


class Wheel:
    """One timer for all slow streams of an interval: a slot for each millisecond of it."""

    def __init__(self, milliseconds: int) -> None:
        self._slots: list[list[Connection]] = [[] for _ in range(milliseconds)]
        self._running = 0
        self._next_slot = 0
        self._at = 0
        self._due = 0.0

    def add(self, connection: "Connection") -> None:
        """Its next event comes within the interval."""
        self._slots[self._next_slot].append(connection)
        self._next_slot = (self._next_slot + 1) % len(self._slots)
        self._running += 1
        if self._running == 1:
            loop = asyncio.get_running_loop()
            self._due = loop.time() + _TICK
            loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in self._slots:  # late: catch up, but let others in between
            if self._due > loop.time():
                break
            slot = self._slots[self._at]
            ended = [connection for connection in slot if not connection.step()]
            for connection in ended:
                slot.remove(connection)
            self._running -= len(ended)
            self._at = (self._at + 1) % len(self._slots)
            self._due += _TICK
        if self._running:
            loop.call_at(self._due, self._tick)


class Gathering:
    """Slow streams that wait until as many are open as configured."""

    def __init__(self, streams: int, wheel: Wheel) -> None:
        self._streams = streams
        self._wheel = wheel
        self._waiting: list[Connection] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: "Connection") -> None:
        """One more is open."""
        self._waiting = [one for one in self._waiting if one.streaming]
        self._waiting.append(connection)
        if self._timer is not None:
            self._timer.cancel()
        if len(self._waiting) >= self._streams:
            self._begin()
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_GATHER_SECONDS, self._begin)

    def _begin(self) -> None:
        self._timer = None
        for connection in self._waiting:
            self._wheel.add(connection)
        self._waiting = []


class Connection(asyncio.Protocol):
    """One connection, kept alive: a request, its answer, the next."""

    wheels: dict[int, Wheel] = {}  # noqa: RUF012 - of the process
    gatherings: dict[bytes, Gathering] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = b""
        self._pieces: Iterator[bytes] | None = None
        self._frames: tuple[bytes, ...] = ()
        self._position = 0
        self._writable = True
        self.streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """It is gone; what sends to it lets go of it."""
        self._pieces = None
        self.streaming = False

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._buffer += data
        while not self.streaming:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[: end + 2]
            at = head.lower().find(b"\r\ncontent-length:")
            size = int(head[at + 17 : head.find(b"\r\n", at + 17)]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        write = self._transport.write
        match path.split(b"/"):
            case [_, b"plain", *_]:
                write(PLAIN)
            case [_, b"whole", size, *_]:
                write(whole(int(size)))
            case [_, b"wide", size, *_]:
                write(_STREAM_HEAD)
                write(wide(int(size)))
            case [_, b"burst", shape, events, *_]:
                self.streaming = True
                write(_STREAM_HEAD)
                self._pieces = burst(int(events), shape.decode())
                self._pump()
            case [_, b"slow", streams, events, milliseconds, *_]:
                self.streaming = True
                self._frames, self._position = script(int(events)), 1
                write(_STREAM_HEAD + self._frames[0])
                gathering = self.gatherings.get(path)
                if gathering is None:
                    interval = int(milliseconds)
                    wheel = self.wheels.setdefault(interval, Wheel(interval))
                    gathering = self.gatherings[path] = Gathering(int(streams), wheel)
                gathering.add(self)
            case _:
                write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _pump(self) -> None:
        """Write as long as the socket takes it."""
        while self._writable and self._pieces is not None:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                self.streaming = False
            else:
                self._transport.write(piece)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """The socket has room."""
        self._writable = True
        self._pump()

    def step(self) -> bool:
        """The next event of a slow stream; whether there are more."""
        if self.streaming:
            self._transport.write(self._frames[self._position])
            self._position += 1
            if self._position == len(self._frames):
                self.streaming = False
        return self.streaming


async def serve(port: int, tell: Callable[[str], object]) -> None:
    """Serve on loopback until the standard input ends."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin)
            ended.set_result(None)

    with contextlib.suppress(PermissionError):  # /dev/null never ends
        loop.add_reader(sys.stdin, read)
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=4096)
    tell(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await ended


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(arguments.port, lambda url: print(url, flush=True)))


if __name__ == "__main__":
    main()
