"""What is running in one client, the event loop it runs in, and how all of it is ended.

It refuses to know connections: the client closes them once nothing runs any more.
"""

import asyncio
import contextlib
import os
import weakref
from threading import get_ident

from laplas_async.calls.fanout import Fan
from laplas_async.errors import ConfigError
from laplas_async.streaming.chat_stream import ChatStream


class Lifetime:
    """The open calls, streams and fan-outs of a client, until it is closed for good."""

    __slots__ = ("_calls", "_idle", "_loop", "_process", "_thread", "closed", "fans", "streams")

    def __init__(self) -> None:
        self.closed = False
        self.fans: weakref.WeakSet[Fan] = weakref.WeakSet()
        # Weakly: a stream that is dropped must not be kept alive by the client.
        self.streams: weakref.WeakSet[ChatStream] = weakref.WeakSet()
        self._calls: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()  # closed, and nothing is running any more
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # in which the loop runs
        self._process = 0

    def begin_call(self) -> asyncio.Timeout:
        """A cancel scope for one call, to be entered; closing ends the call through it."""
        scope = asyncio.Timeout(None)
        self._calls.add(scope)
        return scope

    def end_call(self, scope: asyncio.Timeout) -> None:
        """The call is over."""
        self._calls.discard(scope)
        self._notify_if_idle()

    def end_stream(self, stream: ChatStream) -> None:
        """The stream is over."""
        self.streams.discard(stream)
        self._notify_if_idle()

    def check_open(self) -> None:
        """Raise ``ConfigError`` if the client is closed, or belongs to another loop or process."""
        if self.closed:
            raise ConfigError("this client is closed; make another LaplasClient")
        if self.is_forked:
            raise ConfigError(
                "this client was used before the process forked; make a LaplasClient in the child"
            )
        loop = self._loop
        if loop is not None and loop.is_running() and get_ident() == self._thread:
            return  # the same loop in the same thread; cheaper than asking for the running loop
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # stream() may be called, though not entered, outside of a loop
        if self._loop is None:
            self._loop, self._thread, self._process = loop, get_ident(), os.getpid()
        elif self._loop is not loop:
            raise ConfigError(
                "this client belongs to another event loop; make one LaplasClient for each loop"
            )

    @property
    def is_forked(self) -> bool:
        """Whether this is a copy, made by a fork, of a client that was in use.

        Its sockets are registered in the parent's epoll, which a fork shares: any input or output
        here, closing them too, would stop the event loop of the parent.
        """
        return self._process not in (0, os.getpid())

    async def close(self, drain: float) -> None:
        """Refuse new calls; after ``drain`` seconds end what is still running, and wait for it.

        Cancelling it stops the draining, not the closing. In a forked child it ends nothing.
        """
        self.closed = True
        if self.is_forked:
            return
        if drain > 0 and self._running():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain):
                    await self._idle.wait()
        for fan in list(self.fans):
            fan.cancel()
        for stream in list(self.streams):
            await stream.aclose()
        if self._calls and self._loop is not None:
            for scope in self._calls:
                if not scope.expired():
                    scope.reschedule(self._loop.time())
            await self._idle.wait()  # they return their connections first

    def _running(self) -> bool:
        return bool(self._calls or self.streams)

    def _notify_if_idle(self) -> None:
        if self.closed and not self._running():
            self._idle.set()
