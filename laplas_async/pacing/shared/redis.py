"""Workers of many machines: the messages of ``messages`` through lists of a Redis server.

A thread with a loop of its own does all of it, one for each process and server, so no user's call
ever awaits Redis. The leader holds a key with a lease that it extends each 250 ms, and grants only
until its last extension + 1.5 s on its own clock, so there are never two. Each worker and each
leader has a list of messages. It refuses to keep state in Redis: all of it is in the workers, so
a server that was emptied, or replaced, costs nothing but the time without it.
"""

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from importlib import import_module
from typing import Any, Final

from laplas_async.errors import ConfigError
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.service import LeaderService
from laplas_async.pacing.shared.unix import Receiver

# Seconds: of the leader's key, and how often it is extended and looked at.
LEASE: Final = 1.5
_LOOK_EVERY: Final = 0.25
# Seconds a new leader waits for the workers of the last one: each looks for it that often, twice.
COLLECT_FOR: Final = 2 * _LOOK_EVERY
_BLOCK_FOR: Final = 0.5  # seconds: one wait for a message
_ANSWER_WITHIN: Final = 1.5  # seconds: a server that takes longer hangs
_LIST_FOR: Final = 5000  # milliseconds: lists of workers that have ended disappear
_AT_ONCE: Final = 100  # batches taken from a list in one step
# Batches that wait for a slow server; what is beyond them is lost, which workers and leader repair.
_MOST_PENDING: Final = 1000
_LEAVE_WITHIN: Final = 1.0  # seconds
_EXTEND: Final = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then "
    "return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"
)
_RELEASE: Final = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then "
    "return redis.call('del', KEYS[1]) else return 0 end"
)


# Where ``Exception`` is caught below: a server that is down, hangs or is no Redis raises more than
# the client's own errors, and the client fails in its own ways where a connection is cut in the
# middle of a reply. Whatever it is, the next step is to try again; workers notice the silence.


class RedisLink:
    """The connection of one worker; belongs to the running loop."""

    def __init__(self, url: str, group: str, receiver: Receiver) -> None:
        self._hub = _Hub.get(url)
        self._member = _Member(self._hub, group, receiver, asyncio.get_running_loop())
        self._hub.join(self._member)

    def send(self, messages: Iterable[m.Message]) -> None:
        """Send to the leader, if one is known."""
        data = b"".join(map(m.encode, messages))
        self._hub.call(self._member.send, data)

    def check(self, silent: float) -> None:
        """Nothing: the leader's lease ends by itself."""

    async def aclose(self) -> None:
        """Leave; waits for Redis no longer than a second."""
        self.send([m.Bye()])
        await asyncio.wait([asyncio.wrap_future(self._hub.leave(self._member))])


class _Hub:
    """The thread of this process for one server, and its client; ends with its last member."""

    _all: "dict[tuple[int, str], _Hub]" = {}  # noqa: RUF012 - of this process: guarded by the lock
    _lock = threading.Lock()

    def __init__(self, key: tuple[int, str], client: Any) -> None:
        self._key = key
        self.client = client
        self._members: set[_Member] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="laplas-redis", daemon=True)
        self._thread.start()

    @classmethod
    def get(cls, url: str) -> "_Hub":
        """That of this process for this server."""
        key = os.getpid(), url
        with cls._lock:
            if key not in cls._all:
                cls._all[key] = cls(key, make_client(url))
            return cls._all[key]

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call it in the thread, soon."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def join(self, member: "_Member") -> None:
        """Serve it from now on."""
        with self._lock:
            self._members.add(member)
        self.call(member.start)

    def leave(self, member: "_Member") -> "Future[None]":
        """Serve it no more; done when that is so."""
        with self._lock:
            self._members.discard(member)
            last = not self._members
            if last:
                self._all.pop(self._key, None)
        return asyncio.run_coroutine_threadsafe(self._leave(member, last=last), self._loop)

    async def _leave(self, member: "_Member", *, last: bool) -> None:
        await _try(member.leave())
        if last:
            await _try(self.client.aclose())
            self._loop.call_soon(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            if tasks := asyncio.all_tasks(self._loop):
                for task in tasks:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=_LEAVE_WITHIN))
        finally:
            self._loop.close()


async def _try(work: Coroutine[Any, Any, object]) -> None:
    """Wait for it, for a second: neither a server that hangs nor a cancellation holds this up."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=_LEAVE_WITHIN)
    if task.done() and not task.cancelled():
        task.exception()  # it was the last thing to do
    else:
        task.cancel()


class _Member:
    """One worker in the hub's loop, and the leader if it is elected."""

    def __init__(
        self, hub: _Hub, group: str, receiver: Receiver, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._hub = hub
        self._receiver = receiver
        self._user_loop = loop
        self._prefix = f"laplas:{{{group}}}:"
        self._id = secrets.token_hex(6)
        self._leader: str | None = None  # the value of its key, as it was seen last
        self._service: LeaderService | None = None
        self._leader_list = ""  # that of the leader's messages, if it leads
        self._outgoing: list[tuple[str, bytes]] = []  # (list, lines)
        self._has_outgoing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._inbox: asyncio.Task[None] | None = None  # the leader's
        # Cancelling a task is not enough: the client swallows it where it repairs a connection.
        self._ended = False

    # --- in the hub's loop ------------------------------------------------------------------------

    def start(self) -> None:
        """Look for the leader, listen, and send."""
        loop = asyncio.get_running_loop()
        own = f"{self._prefix}worker:{self._receiver.name}"
        for work in (self._look(), self._listen(own, self._take_own), self._send_all()):
            self._tasks.append(loop.create_task(work))

    def send(self, data: bytes) -> None:
        """Send lines to the leader."""
        if self._leader is not None:
            name = self._receiver.name.encode()
            self._push(f"{self._prefix}leader:{self._leader}", name + b"\n" + data)

    async def leave(self) -> None:
        """Send what is pending, give the key back, and end."""
        if self._service is not None:
            self._service.stop()
            key = f"{self._prefix}leader"
            with contextlib.suppress(Exception):
                await self._flush()
                await self._hub.client.eval(_RELEASE, 1, key, self._leader)
        else:
            with contextlib.suppress(Exception):
                await self._flush()
        self._ended = True
        self._has_outgoing.set()
        tasks = [*self._tasks, *([] if self._inbox is None else [self._inbox])]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _look(self) -> None:
        """Find the leader, or become it, or remain it."""
        while not self._ended:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ANSWER_WITHIN):
                    await (self._find() if self._service is None else self._extend())
            await asyncio.sleep(_LOOK_EVERY)

    async def _find(self) -> None:
        client, key = self._hub.client, f"{self._prefix}leader"
        found = await client.get(key)
        if found is None:
            epoch = await client.incr(f"{self._prefix}epoch")
            value = f"{epoch}.{self._id}"
            asked = time.monotonic()
            if not await client.set(key, value, nx=True, px=int(1000 * LEASE)):
                return
            self._lead(value, asked, first=epoch == 1)
        else:
            value = found.decode()
        if value != self._leader:
            self._leader = value
            self._inform(self._receiver.connected)

    async def _extend(self) -> None:
        asked, key = time.monotonic(), f"{self._prefix}leader"
        lease = int(1000 * LEASE)
        if await self._hub.client.eval(_EXTEND, 1, key, self._leader, lease):
            if self._service is not None:
                self._service.renew(asked + LEASE)
        else:  # it ran out, or the server was emptied
            self._step_down()
            await self._find()

    def _lead(self, value: str, asked: float, *, first: bool) -> None:
        now = time.monotonic()
        leader = self._receiver.make_leader(now)
        leader.lossy = True
        leader.lease_until = asked + LEASE
        leader.collect_until = now if first and not leader.is_continued else now + COLLECT_FOR
        self._service = LeaderService(leader, self._deliver)
        self._service.start()
        self._leader_list = f"{self._prefix}leader:{value}"
        inbox = self._listen(self._leader_list, self._take_all)
        self._inbox = asyncio.get_running_loop().create_task(inbox)

    def _step_down(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            service.stop(broadcast=False)
        self._leader_list = ""
        if self._inbox is not None:
            self._inbox.cancel()

    # --- messages ---------------------------------------------------------------------------------

    async def _listen(self, name: str, take: Callable[[bytes], None]) -> None:
        """Take what arrives in a list, over a connection of its own."""
        client = self._hub.client
        leads = take == self._take_all
        while not self._ended and not (leads and name != self._leader_list):
            try:
                async with asyncio.timeout(_BLOCK_FOR + _ANSWER_WITHIN):
                    found = await client.blmpop(
                        _BLOCK_FOR, 1, name, direction="LEFT", count=_AT_ONCE
                    )
            except Exception:  # noqa: BLE001 - see above
                await asyncio.sleep(_LOOK_EVERY)
                continue
            for data in found[1] if found else ():
                take(data)

    def _take_own(self, data: bytes) -> None:
        if messages := _decode(data):
            self._inform(self._receiver.received, messages)

    def _take_all(self, data: bytes) -> None:
        name, _, lines = data.partition(b"\n")
        if self._service is not None and (messages := _decode(lines)):
            self._service.receive(name.decode("utf-8", "replace"), messages)

    def _deliver(self, names: Iterable[str], data: bytes) -> None:
        for name in names:
            self._push(f"{self._prefix}worker:{name}", data)

    def _push(self, name: str, data: bytes) -> None:
        if len(self._outgoing) < _MOST_PENDING:
            self._outgoing.append((name, data))
            self._has_outgoing.set()

    async def _send_all(self) -> None:
        while not self._ended:
            await self._has_outgoing.wait()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ANSWER_WITHIN):
                    await self._flush()

    async def _flush(self) -> None:
        """Send what is pending. What fails is lost: it would be stale when it arrives."""
        self._has_outgoing.clear()
        outgoing, self._outgoing = self._outgoing, []
        if not outgoing:
            return
        async with self._hub.client.pipeline(transaction=False) as pipeline:
            for name, data in outgoing:
                pipeline.rpush(name, data)
            for name in {name for name, _ in outgoing}:
                pipeline.pexpire(name, _LIST_FOR)
            await pipeline.execute()

    def _inform(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the user's loop is closed
            self._user_loop.call_soon_threadsafe(function, *arguments)


def _decode(data: bytes) -> list[m.Message]:
    """The messages of a batch; none if another program wrote it."""
    try:
        return [m.decode(line) for line in data.splitlines()]
    except m.MessageError:
        return []


def make_client(url: str) -> Any:
    """A client of the ``redis`` package, which connects when it is used. Raises ``ConfigError``.

    No message names the URL: there may be a password in it.
    """
    try:
        asyncio_client = import_module("redis.asyncio")
    except ModuleNotFoundError:
        raise ConfigError(
            "shared='redis://...' needs the redis package: pip install 'laplas-async[redis]'"
        ) from None
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"redis", "rediss", "valkey", "valkeys", "unix"}:
        raise ConfigError("shared: must be True, or a URL that begins with redis:// or rediss://")
    try:
        return asyncio_client.Redis.from_url(
            f"{scheme.replace('valkey', 'redis')}://{rest}",
            socket_timeout=_BLOCK_FOR + _ANSWER_WITHIN,
            socket_connect_timeout=_ANSWER_WITHIN,
        )
    except ValueError:
        raise ConfigError("shared: the URL of the Redis server cannot be read") from None
