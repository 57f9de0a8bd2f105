"""``Observer``: what an observer implements, and the dispatch that no observer can break.

It refuses to know what observers do with the records: ``logs`` and ``otel`` are two of them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from laplas_async.errors import ConfigError
from laplas_async.observe.records import AttemptRecord, CallRecord
from laplas_async.types import ChatCompletion, ChatCompletionChunk

log = logging.getLogger("laplas_async")


@runtime_checkable
class Observer(Protocol):
    """Is informed of each call, in the event loop; so its methods must be quick.

    Every call that started ends exactly once. What an observer raises is logged once per observer
    and kind of error, and has no other effect.
    """

    def call_started(self, call: CallRecord) -> None:
        """A call was made; runs in the context (``contextvars``) of the caller."""
        ...

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        """One of its attempts ended: a plain one, or for a stream when its first content came."""
        ...

    def call_ended(self, call: CallRecord) -> None:
        """It is over; ``call.outcome`` says how."""
        ...


@runtime_checkable
class ChunkObserver(Observer, Protocol):
    """An observer that is also informed of each chunk of a stream, at a cost per chunk."""

    def chunk_received(self, call: CallRecord, chunk: ChatCompletionChunk) -> None:
        """A chunk of the stream was handed to its reader; it holds message content."""
        ...


@runtime_checkable
class ContentObserver(Observer, Protocol):
    """An observer that may be given message content; it is, while ``wants_content`` is True."""

    wants_content: bool

    def content_known(
        self, call: CallRecord, messages: Any, completion: ChatCompletion | None
    ) -> None:
        """The call is about to end; ``completion`` is whole, partial, or None."""
        ...


class Observers:
    """All observers of a client; calling one never raises what that one raises."""

    __slots__ = ("_reported", "all", "of_chunks", "of_content")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self.all = tuple(observers)
        for observer in self.all:
            if not isinstance(observer, Observer):
                raise ConfigError(
                    f"observers: {type(observer).__name__} lacks call_started, attempt_ended or "
                    "call_ended"
                )
        self.of_chunks = tuple(one for one in self.all if isinstance(one, ChunkObserver))
        self.of_content = tuple(
            one for one in self.all if isinstance(one, ContentObserver) and one.wants_content
        )
        self._reported: set[tuple[int, type[BaseException]]] = set()

    def __bool__(self) -> bool:
        return bool(self.all)

    def call_started(self, call: CallRecord) -> None:
        """Inform each observer."""
        for observer in self.all:
            self._call(observer, observer.call_started, call)

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        """Inform each observer."""
        for observer in self.all:
            self._call(observer, observer.attempt_ended, call, attempt)

    def call_ended(self, call: CallRecord) -> None:
        """Inform each observer."""
        for observer in self.all:
            self._call(observer, observer.call_ended, call)

    def chunk_received(self, call: CallRecord, chunk: ChatCompletionChunk) -> None:
        """Inform each observer that wants chunks."""
        for observer in self.of_chunks:
            self._call(observer, observer.chunk_received, call, chunk)

    def content_known(
        self, call: CallRecord, messages: Any, completion: ChatCompletion | None
    ) -> None:
        """Inform each observer that wants content."""
        for observer in self.of_content:
            self._call(observer, observer.content_known, call, messages, completion)

    def _call(self, observer: Observer, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except (Exception, asyncio.CancelledError) as error:
            # A broken exporter in a batch of a million rows must not write a million tracebacks.
            kind = id(observer), type(error)
            if kind not in self._reported:
                self._reported.add(kind)
                log.exception(
                    "observer %s raised; further errors of this kind are not logged",
                    type(observer).__name__,
                )
