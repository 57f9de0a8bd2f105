"""``AnswerStream``: the streamed answer to one message of a chat, which the chat remembers.

It is used as a ``ChatStream`` is. It waits for the chat's other answers, sends the history with the
question, and keeps what was shown, however the answer ends. It refuses to retry.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from types import TracebackType
from typing import Any, Protocol, Self, cast

from attrs import frozen

from laplas_async.bots import history
from laplas_async.bots.chat_state import ChatState
from laplas_async.bots.history import MessageDict, Turn
from laplas_async.bots.line import Busy, Place
from laplas_async.errors import (
    AnswerReplacedError,
    BadRequestError,
    ConfigError,
    DuplicateMessageError,
    LaplasError,
    StreamTruncatedError,
)
from laplas_async.streaming.chat_stream import ChatStream, TextStream
from laplas_async.types import Attempt, ChatCompletion, ChatCompletionChunk
from laplas_async.wire.codec import repair_text, to_dict

# Seconds until what was shown is saved in any case: what the history of a killed process may lack
# (test_conversations: test_a_restart_in_the_middle_of_a_turn_keeps_it_once).
_CHECKPOINT = 1.0

OnWait = Callable[[int], Awaitable[object] | object]


@frozen
class Prompt:
    """What is sent for one question, and what it was assumed to cost.

    ``before``: the turns sent with it, of which ``droppable`` could be left out too.
    """

    messages: list[MessageDict]
    before: list[Turn]
    droppable: int
    left_out: list[Turn]
    question_tokens: int


class Host(Protocol):
    """What an answer needs of the conversations it belongs to."""

    def acquire(self, key: str) -> ChatState:
        """The chat's state, which must be released."""
        ...

    def release(self, chat: ChatState) -> None:
        """Return the state."""
        ...

    async def prompt(
        self, question: "Question", chat: ChatState, turn: Turn, left_out: int
    ) -> Prompt:
        """Choose the turns that are sent with a question; the oldest ``left_out`` are not."""
        ...

    def open_stream(self, messages: list[MessageDict], parameters: Mapping[str, Any]) -> ChatStream:
        """The request itself, not yet sent."""
        ...


@frozen
class Question:
    """A message to be answered, checked, and how."""

    key: str
    messages: tuple[MessageDict, ...]
    message_id: str | None
    system: tuple[MessageDict, ...]
    busy: Busy
    on_wait: OnWait | None
    parameters: Mapping[str, Any]


class AnswerStream:
    """The answer to one message: ``async with conversation.ask(text) as stream``.

    Entering waits until it is this message's turn, sends it with the chat's history, and returns
    when the first content has been received; it raises what ``LaplasClient.stream`` raises, and
    ``ChatBusyError``, ``DuplicateMessageError``, ``AnswerReplacedError`` or ``ConversationError``.
    Reading is that of ``ChatStream``. Leaving the block lets the next message have its turn.

    The history keeps a complete answer, or of an interrupted one the part that was read. A question
    that failed before any text is forgotten, so that it may be asked again; one whose answer was
    cancelled or stopped before any text is kept.
    """

    def __init__(self, host: Host, question: Question) -> None:
        self._host = host
        self._question = question
        self._chat: ChatState | None = None
        self._place: Place | None = None
        self._stream: ChatStream | None = None
        self._prompt: Prompt | None = None
        self._turn: Turn | None = None
        self._continued: Turn | None = None  # the turn that this one goes on with, as it was
        self._shown: list[str] = []
        self._timer: asyncio.TimerHandle | None = None  # until the next checkpoint
        self._started = self._in_block = self._settled = self._left = False
        self._ended_by: type[StreamTruncatedError] | None = None  # closed from outside

    # --- opening ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Wait for the turn, and send the request, as entering the block does.

        Outside of a block, read it to its end or call ``aclose()``. Cancelling it leaves the line.
        """
        if self._started:
            raise ConfigError("this answer was started already; call ask() for another")
        self._started = True
        if self._ended_by is not None:
            raise ConfigError("this answer is closed; call ask() for another")
        self._chat = self._host.acquire(self._question.key)
        try:
            await self._chat.load()
            await self._join(self._chat)
            await self._open(self._chat)
        except BaseException as error:
            self._settle(failed=isinstance(error, LaplasError) and self._ended_by is None)
            self._leave()
            if self._ended_by is not None and isinstance(error, LaplasError):
                raise self._closed_error() from None
            raise

    async def _join(self, chat: ChatState) -> None:
        question = self._question
        if chat.was_answered(question.message_id):
            self._settled = True
            raise DuplicateMessageError(
                f"message {question.message_id} was delivered before", chat=chat.key
            )
        place = Place(self, question.message_id)
        replaced = chat.line.join(place, question.busy, chat.key)
        self._place = place
        for other in replaced:
            await other.owner.replace()
        if not place.turn.done() and question.on_wait is not None:
            waited = question.on_wait(len(chat.line) - 1)
            if isawaitable(waited):
                await waited
        await place.turn
        self._check_open()

    async def _open(self, chat: ChatState) -> None:
        question = self._question
        if question.messages[0]["role"] == "tool" and chat.turns:
            self._continued = chat.turns[-1]
        self._turn = chat.begin(question.messages, question.message_id)
        await chat.flush([self._turn])  # known to the storage before it is sent
        self._check_open()
        await self._send(chat, self._turn)
        self._check_open()

    async def _send(self, chat: ChatState, turn: Turn) -> None:
        """Send the prompt; with half of the history, while the service finds it too long."""
        question, left_out = self._question, 0
        while True:
            prompt = self._prompt = await self._host.prompt(question, chat, turn, left_out)
            self._check_open()
            self._stream = self._host.open_stream(prompt.messages, question.parameters)
            try:
                await self._stream.start()
            except BadRequestError as error:
                if not prompt.droppable or not history.is_too_long(error):
                    raise
                left_out = len(prompt.left_out) + (prompt.droppable + 1) // 2
            else:
                chat.trim(prompt.left_out)
                return

    def _check_open(self) -> None:
        if self._ended_by is not None:
            raise self._closed_error()

    def _closed_error(self) -> StreamTruncatedError:
        replaced = self._ended_by is AnswerReplacedError
        kind = AnswerReplacedError if replaced else StreamTruncatedError
        why = "a newer message took its place" if replaced else "it was closed before its end"
        error = kind(f"the answer was ended: {why}", partial=self.partial)
        error.attempts, error.request_id = self.attempts, self.request_id
        error.closed = True
        return error

    # --- reading ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Wait for the turn and send the request, unless that was done."""
        if self._in_block:
            raise ConfigError("this answer was entered already; call ask() for another")
        self._in_block = True
        if not self._started:
            await self.start()
        if self._stream is not None:
            await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, keep what was shown, and let the next message have its turn."""
        self._in_block = False
        await self.aclose()

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        """The next chunk. Raises as ``ChatStream`` does; after a replacement, the error says so.

        Cancelling it loses nothing inside a block; outside of one, it closes the stream.
        """
        if self._stream is None:
            self._check_open()
            raise ConfigError("enter the answer first: async with conversation.ask(...) as stream")
        try:
            chunk = await anext(self._stream)
        except StopAsyncIteration:
            self._settle(complete=True)
            self._leave_unless_in_block()
            raise
        except LaplasError as error:
            self._settle(failed=self._ended_by is None)
            self._leave_unless_in_block()
            if self._ended_by is not None and isinstance(error, StreamTruncatedError):
                raise self._closed_error() from None
            raise
        except asyncio.CancelledError:
            if not self._in_block:
                await self.aclose()
            raise
        self._show(chunk.text)
        return chunk

    def next_text(self) -> str | None:
        """A text that is ready, without its chunk; for ``text``."""
        text = None if self._stream is None else self._stream.next_text()
        if text is not None:
            self._show(text)
        return text

    def text(self) -> TextStream:
        """The text alone, piece by piece: ``async for piece in stream.text()``."""
        return TextStream(cast("ChatStream", self))

    async def completion(self) -> ChatCompletion:
        """The complete response; reads what is still to come. Raises as iterating does."""
        async for _ in self:
            pass
        return self.partial

    @property
    def shown(self) -> str:
        """The text that was read so far, which is what the history keeps."""
        return "".join(self._shown)

    @property
    def partial(self) -> ChatCompletion:
        """What has been received so far."""
        return ChatCompletion() if self._stream is None else self._stream.partial

    @property
    def request_id(self) -> str | None:
        """The service's id of this request; None before it has responded."""
        return None if self._stream is None else self._stream.request_id

    @property
    def status(self) -> int | None:
        """The response's status; None before it was received."""
        return None if self._stream is None else self._stream.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, with lower-case names; none before it was received."""
        return {} if self._stream is None else self._stream.headers

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts it took to begin."""
        return () if self._stream is None else self._stream.attempts

    async def aclose(self) -> None:
        """End the answer at once, from any task; safe to call twice.

        What was shown is kept. A task that is reading gets ``StreamTruncatedError``, unless the
        response was complete; one that waits for its turn too. Cancelling it stops only the wait
        for the history to be saved.
        """
        self._end(StreamTruncatedError)
        if self._stream is not None:
            await self._stream.aclose()
        self._leave_unless_in_block()
        if self._chat is not None:
            await self._chat.written()

    close = aclose  # its name in other clients

    # --- the end ------------------------------------------------------------------------------

    async def replace(self) -> None:
        """Give way to a newer message of the chat. Keeps the question and what was shown."""
        if self._turn is None and self._chat is not None:  # it was waiting
            first = self._question.messages[0]
            if first["role"] != "tool":
                turn = self._chat.begin(self._question.messages, self._question.message_id)
                self._chat.end(turn, None, "interrupted")
        self._end(AnswerReplacedError)
        if self._stream is not None:
            await self._stream.aclose()

    def _end(self, reason: type[StreamTruncatedError]) -> None:
        """Settle it as it is. Its reader gets ``reason`` instead of the rest."""
        if self._ended_by is None and not self._settled:
            self._ended_by = reason
        self._settle()
        if self._place is not None and not self._place.turn.done():
            self._place.turn.set_exception(self._closed_error())
            self._place.turn.exception()  # seen, should nobody wait for it any more

    def _show(self, text: str) -> None:
        if not text or self._settled:
            return
        self._shown.append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_CHECKPOINT, self._checkpoint)

    def _checkpoint(self) -> None:
        self._timer = None
        if self._chat is not None and self._turn is not None and not self._settled:
            self._chat.checkpoint(self._turn, self.shown)

    def _settle(self, *, complete: bool = False, failed: bool = False) -> None:
        """Put the outcome into the history: once, and for good."""
        if self._settled:
            return
        self._settled = True
        if self._timer is not None:
            self._timer.cancel()
        chat, turn = self._chat, self._turn  # the turn may have been forgotten meanwhile
        if chat is None or turn is None or all(one is not turn for one in chat.turns):
            return
        shown = self.shown
        if complete:
            self._keep_complete(chat, turn)
        elif shown:
            part = {"role": "assistant", "content": repair_text(shown)}
            chat.end(turn, part, "interrupted")
        elif self._continued is not None:
            chat.put(self._continued)
        elif failed:
            chat.drop(turn)
        else:
            replaced = self._ended_by is AnswerReplacedError
            chat.end(turn, None, "interrupted" if replaced else "open")

    def _keep_complete(self, chat: ChatState, turn: Turn) -> None:
        completion, prompt = self.partial, self._prompt
        calls: Sequence[Any] = completion.tool_calls
        answer = history.answer_message(completion, [to_dict(call) for call in calls])
        done = chat.end(turn, answer, "complete")
        usage = completion.usage
        if prompt is None or usage is None or not usage.prompt_tokens:
            return  # not counted: it is estimated until a later prompt is
        chat.ratio = history.ratio_of(prompt.messages, usage.prompt_tokens) or chat.ratio
        chat.count(prompt.before, done, usage, prompt.question_tokens)

    def _leave_unless_in_block(self) -> None:
        if not self._in_block:
            self._leave()

    def _leave(self) -> None:
        if self._left or self._chat is None:
            return
        self._left = True
        if self._place is not None:
            self._chat.line.leave(self._place)
        self._host.release(self._chat)
