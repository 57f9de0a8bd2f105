"""``LiveText``: shows a streamed answer in a chat, as messages that are edited as the text grows.

    async with conversations[chat_id].ask(text) as stream:
        await LiveText(port).show(stream)

Two tasks: one reads the stream and never waits for the platform, the other writes. It refuses to
know a platform (a ``Port`` does), to choose where messages end (``splitter``) or when they are sent
(``schedule``).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterable
from typing import Any

from attrs import frozen

from laplas_async.bots.port import Port, PortError, Previews, TypingPort
from laplas_async.bots.writer import Writer
from laplas_async.errors import ConfigError, StreamTruncatedError

log = logging.getLogger("laplas_async")

# Items read without a pause before the writer gets a chance: a stream that is already there in
# whole would otherwise be read in one go (test_a_stream_that_never_waits_lets_others_run).
_ITEMS_IN_A_ROW = 50


@frozen
class Phrases:
    """What users are shown besides the answer.

    ``cut_off`` follows a part whose rest is lost. ``failed`` and ``empty`` replace a placeholder if
    there is no text: after an error, and for an empty answer.
    """

    cut_off: str = "\n\n(The answer was cut off.)"
    failed: str = "(No answer: something went wrong.)"
    empty: str = "(The answer is empty.)"


@frozen
class Shown:
    """What ``LiveText.show`` has shown.

    ``text`` is the answer as received, ``messages`` are those in the chat, as the port's ``send``
    returned them. ``complete`` is False if ``stop`` ended it.
    """

    text: str
    messages: tuple[Any, ...]
    complete: bool = True


class LiveText:
    """Shows a streamed answer through a port, and guarantees that its last edit arrives.

    ``placeholder``: sent before there is text, if not empty. ``cursor``: at the end of a text that
    grows; None is the platform's. ``typing``: show that the bot is typing until the first message.
    ``patience``: seconds for which the last edits may wait for the platform after the stream has
    ended. ``stop_delay``: seconds that a cancelled ``show`` takes at most to leave a tidy message.
    """

    def __init__(
        self,
        port: Port,
        *,
        placeholder: str = "",
        cursor: str | None = None,
        phrases: Phrases | None = None,
        typing: bool = True,
        patience: float = 600.0,
        stop_delay: float = 3.0,
    ) -> None:
        if patience < 0 or stop_delay < 0:
            raise ConfigError("patience and stop_delay must not be negative")
        self.port = port
        self.placeholder = placeholder
        self.phrases = phrases or Phrases()
        self.patience = patience
        self.stop_delay = stop_delay
        previews = getattr(port, "previews", None) or Previews()
        if cursor is not None:
            previews = Previews(cursor, previews.append_only, previews.lifetime)
        self._previews: Previews = previews
        self._typing = typing
        self._writer: Writer | None = None
        self._reading: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def text(self) -> str:
        """The text received so far."""
        return "" if self._writer is None else self._writer.text

    @property
    def messages(self) -> tuple[Any, ...]:
        """The messages in the chat so far, as the port's ``send`` returned them.

        After a cancellation in the middle of sending, the message that arrived is among them.
        """
        return () if self._writer is None else self._writer.sent

    def stop(self) -> None:
        """Read no further, as a stop button does: ``show`` closes the stream and returns.

        What was received is shown, without a cursor. Safe to call at any time.
        """
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    async def show(self, stream: Any) -> Shown:
        """Show a stream until it has ended, and return when the chat shows the whole text.

        ``stream``: what ``client.stream``, ``conversation.ask`` or ``client.stream_tools`` return,
        or any async iterable of texts or chunks. One that is not entered yet is entered and left.

        If the stream fails, what arrived is shown, marked as cut off, and its error is raised. If
        the platform fails for good, the stream is closed, and the ``PortError`` says what is not
        shown. Cancelling it closes nothing but stops reading; what arrived is shown without a
        cursor within ``stop_delay`` seconds, and the cancellation goes on.
        """
        if self._reading is not None:
            raise ConfigError("this LiveText is showing a stream; create another")
        writer = self._writer = Writer(self.port, self._previews, self.placeholder)
        reading = self._reading = asyncio.create_task(self._read(stream, writer))
        writing = asyncio.create_task(writer.run())
        tasks = [reading, writing]
        if self._typing and isinstance(self.port, TypingPort):
            tasks.append(asyncio.create_task(_type(self.port, writer)))
        if self._stopped:
            reading.cancel()
        try:
            return await self._supervise(stream, writer, reading, writing)
        except asyncio.CancelledError:
            reading.cancel()
            writer.end(instead=self.phrases.failed, patience=self.stop_delay)
            await asyncio.wait((reading, writing), timeout=self.stop_delay)
            raise
        finally:
            self._reading, self._stopped = None, False
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # seen: one error at most is raised

    async def _supervise(
        self,
        stream: Any,
        writer: Writer,
        reading: "asyncio.Task[None]",
        writing: "asyncio.Task[None]",
    ) -> Shown:
        await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():  # the platform failed for good, so nobody reads the rest
            reading.cancel()
            await asyncio.wait((reading,))
            await _close(stream)
        failure = None if reading.cancelled() else reading.exception()
        phrases = self.phrases
        if self._stopped or (isinstance(failure, StreamTruncatedError) and failure.closed):
            writer.end(instead=phrases.failed, patience=self.patience)
        elif failure is not None:
            writer.end(remark=phrases.cut_off, instead=phrases.failed, patience=self.patience)
        elif not reading.cancelled():
            writer.end(instead=phrases.empty, patience=self.patience)
        elif not writing.done():
            raise asyncio.CancelledError  # someone cancelled the reader alone
        if self._stopped:
            await _close(stream)
        await asyncio.wait((writing,))
        if writing.cancelled():
            raise asyncio.CancelledError
        if (refused := writing.exception()) is not None:
            raise refused from failure
        if failure is not None and not (self._stopped and _is_closing(failure)):
            raise failure
        return Shown(writer.text, writer.sent, complete=not self._stopped)

    async def _read(self, stream: Any, writer: Writer) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if _is_to_be_entered(stream):
                stream = await stack.enter_async_context(stream)
            number = 0
            async for item in stream:
                if text := _text_of(item):
                    writer.feed(text)
                number += 1
                if number % _ITEMS_IN_A_ROW == 0:
                    await asyncio.sleep(0)


def _is_closing(error: BaseException) -> bool:
    return isinstance(error, StreamTruncatedError) and error.closed


def _is_to_be_entered(stream: Any) -> bool:
    """Whether a stream is a context manager whose block has not begun."""
    if not hasattr(stream, "__aenter__"):
        return False
    # A stream that has begun knows the status of its response.
    return not hasattr(stream, "__aiter__") or getattr(stream, "status", 0) is None


def _text_of(item: Any) -> str:
    """The text of what a stream yields; "" for what has none."""
    if isinstance(item, str):
        return item
    text = getattr(item, "text", None)
    if isinstance(text, str):
        return text
    for choice in getattr(item, "choices", None) or ():
        content = getattr(getattr(choice, "delta", None), "content", None)
        return content if isinstance(content, str) else ""
    return ""


async def _close(stream: Any) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None and isinstance(stream, AsyncIterable):
        await close()


async def _type(port: TypingPort, writer: Writer) -> None:
    """Show that the bot is typing until a message has been sent."""
    try:
        while not writer.sent:
            await port.typing()
            await asyncio.sleep(port.typing_interval)
    except PortError as error:
        log.debug("the typing indicator was refused: %s", error)
    except Exception:  # an ornament must not end the answer
        log.debug("the typing indicator failed", exc_info=True)
