"""``Conversations``: the chats of a bot, each with a bounded history and one answer at a time.

It checks what users pass, and composes the parts: ``registry`` finds chats, ``line`` orders their
questions, ``answer_stream`` answers them. It refuses to know any chat platform.
"""

import json
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from laplas_async.bots import history
from laplas_async.bots.answer_stream import AnswerStream, OnWait, Question
from laplas_async.bots.history import MessageDict, Turn
from laplas_async.bots.line import Busy, check_busy
from laplas_async.bots.registry import ChatRegistry
from laplas_async.bots.storage import MemoryStorage, Storage
from laplas_async.client import LaplasClient
from laplas_async.errors import ConfigError
from laplas_async.types import MessageLike
from laplas_async.wire.codec import dumps
from laplas_async.wire.request import check_messages

# Seconds after which an unused chat leaves memory: longer than most pauses in a conversation.
_IDLE = 3_600.0
# What decides the shape of the answer; a history holds one text answer for each question.
_NOT_FOR_CHATS = ("into", "mode", "n")


class Conversations:
    """The chats of a bot: ``async with conversations[chat_id].ask(text) as stream``.

    ``system``: the system message (text, message or list of messages), sent first with every
    question and never trimmed. ``max_tokens``: the most tokens of a prompt, history and question
    together; the oldest turns are dropped to keep it. None: the model's context length, as the
    service lists it, less the answer; 6,000 where it lists none. Tokens are as the service counted
    them (``usage``); only what it has not counted is estimated. ``busy``: what a message does that
    arrives while another of its chat is answered: "queue" waits, "replace" ends the other answer,
    "refuse" raises ``ChatBusyError``. ``storage``: where the turns are kept; None: in memory.
    ``idle``: seconds after which an unused chat leaves memory. Other parameters are those of
    ``LaplasClient.stream``, for every question.

    Belongs to one event loop. Raises ``ConfigError`` for settings that cannot be right.
    """

    def __init__(
        self,
        client: LaplasClient,
        *,
        system: str | MessageLike | Sequence[MessageLike] | None = None,
        max_tokens: int | None = None,
        busy: Busy = "queue",
        storage: Storage | None = None,
        idle: float = _IDLE,
        clock: Callable[[], float] = time.monotonic,
        **parameters: Any,
    ) -> None:
        if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 1):
            raise ConfigError(f"max_tokens={max_tokens!r}: must be an integer, at least 1")
        if isinstance(idle, bool) or not idle > 0:
            raise ConfigError(f"idle={idle!r}: must be more than 0 seconds")
        _check_parameters(parameters)
        self._system = _system(system)
        self._busy: Busy = check_busy(busy)
        self._parameters = parameters
        self._storage = MemoryStorage() if storage is None else storage
        self._registry = ChatRegistry(
            client, self._storage, max_tokens=max_tokens, idle=float(idle), clock=clock
        )

    def __getitem__(self, chat: object) -> "Conversation":
        """The conversation of a chat; ``chat`` is a string, an integer, or a tuple of them.

        Raises ``ConfigError`` for another key: it could not be found again after a restart.
        """
        return Conversation(self, _key(chat))

    def __len__(self) -> int:
        """How many chats are in memory."""
        return len(self._registry.chats)

    async def aclose(self) -> None:
        """End the answers that are running, keep what was shown, and close the storage.

        Cancelling it leaves the storage open: call it again.
        """
        for chat in list(self._registry.chats.values()):
            for place in reversed(chat.line.places):
                await place.owner.aclose()
        await self._registry.written()
        await self._storage.aclose()

    async def __aenter__(self) -> Self:
        """The conversations; nothing is opened before the first message."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close them."""
        await self.aclose()

    def _ask(
        self,
        key: str,
        content: str | MessageLike | Sequence[MessageLike],
        *,
        message_id: object,
        system: str | MessageLike | Sequence[MessageLike] | None,
        busy: Busy | None,
        on_wait: OnWait | None,
        parameters: dict[str, Any],
    ) -> AnswerStream:
        _check_parameters(parameters)
        question = Question(
            key=key,
            messages=_question(content),
            message_id=None if message_id is None else _key(message_id, "message_id"),
            system=self._system if system is None else _system(system),
            busy=check_busy(self._busy if busy is None else busy),
            on_wait=on_wait,
            parameters={**self._parameters, **parameters},
        )
        return AnswerStream(self._registry, question)


class Conversation:
    """One chat of ``Conversations``. It holds no state itself, so it may be kept or dropped."""

    __slots__ = ("_conversations", "_key")

    def __init__(self, conversations: Conversations, key: str) -> None:
        self._conversations = conversations
        self._key = key

    def __repr__(self) -> str:
        """The chat's key, never its messages."""
        return f"<Conversation {self._key}>"

    def ask(
        self,
        content: str | MessageLike | Sequence[MessageLike],
        *,
        message_id: object = None,
        system: str | MessageLike | Sequence[MessageLike] | None = None,
        busy: Busy | None = None,
        on_wait: OnWait | None = None,
        **parameters: Any,
    ) -> AnswerStream:
        """Ask, with the chat's history: ``async with conversation.ask(text) as stream``.

        ``content``: text, a message, or several, such as the results of tools that the last answer
        called. ``message_id``: the platform's id of the update or message; a second one raises
        ``DuplicateMessageError`` on entering, also after a restart. ``on_wait`` is called with the
        number of messages ahead, if there are any. ``system`` and ``busy`` as for
        ``Conversations``, for this message. Other parameters are those of ``LaplasClient.stream``.

        Raises ``ConfigError`` for what cannot be sent; entering raises as ``AnswerStream`` says.
        """
        return self._conversations._ask(  # noqa: SLF001 - two halves of one thing
            self._key,
            content,
            message_id=message_id,
            system=system,
            busy=busy,
            on_wait=on_wait,
            parameters=parameters,
        )

    @property
    def waiting(self) -> int:
        """How many messages are being answered or waiting."""
        chat = self._registry.chats.get(self._key)
        return 0 if chat is None else len(chat.line)

    async def stop(self) -> bool:
        """End the answer that is running, as a stop button does; whether there was one.

        What was shown is kept; its reader gets ``StreamTruncatedError``. Messages that wait are
        answered next.
        """
        chat = self._registry.chats.get(self._key)
        place = None if chat is None else chat.line.first
        if place is None:
            return False
        await place.owner.aclose()
        return True

    async def turns(self) -> list[Turn]:
        """The turns in the history, oldest first; the last may be open. See ``Turn``."""
        registry = self._registry
        chat = registry.acquire(self._key)
        try:
            await chat.load()
            return [turn for turn in chat.turns if turn.messages]
        finally:
            registry.release(chat)

    async def messages(self) -> list[MessageDict]:
        """The messages in the history, without the system message."""
        return [dict(message) for turn in await self.turns() for message in turn.messages]

    async def append(self, messages: MessageLike | Sequence[MessageLike]) -> None:
        """Add messages to the history: a greeting, or a conversation held elsewhere.

        They are cut into turns, each from a message of the user to the next.
        """
        added = check_messages(_as_list(messages))
        try:
            dumps(added)  # else no later question could be sent
        except (TypeError, RecursionError) as error:
            raise ConfigError(f"messages: cannot be encoded as JSON ({error})") from None
        registry = self._registry
        chat = registry.acquire(self._key)
        try:
            await chat.load()
            turns = [
                chat.end(chat.begin(turn, None), None, "complete")
                for turn in history.split_turns(added)
            ]
            await chat.flush(turns)
        finally:
            registry.release(chat)

    async def clear(self) -> None:
        """Forget the history, after ending the answers that are running or waiting."""
        registry = self._registry
        chat = registry.acquire(self._key)
        try:
            await chat.load()
            for place in reversed(chat.line.places):
                await place.owner.aclose()
            turns = list(chat.turns)
            for turn in turns:
                chat.drop(turn)
            await chat.flush(turns)
        finally:
            registry.release(chat)

    @property
    def _registry(self) -> ChatRegistry:
        return self._conversations._registry  # noqa: SLF001 - two halves of one thing


def _check_parameters(parameters: dict[str, Any]) -> None:
    for name in _NOT_FOR_CHATS:
        if parameters.get(name) not in (None, 1):
            raise ConfigError(f"{name}: a conversation has one text answer for each message")


def _as_list(content: str | MessageLike | Sequence[MessageLike]) -> Any:
    if isinstance(content, str):
        return content
    return list(content) if isinstance(content, Sequence) else [content]


def _question(content: str | MessageLike | Sequence[MessageLike]) -> tuple[MessageDict, ...]:
    messages = tuple(check_messages(_as_list(content)))
    if messages[-1]["role"] == "assistant":
        raise ConfigError("messages: the last one must not be the assistant's; use append()")
    return messages


def _system(
    system: str | MessageLike | Sequence[MessageLike] | None,
) -> tuple[MessageDict, ...]:
    if system is None:
        return ()
    if isinstance(system, str):
        return ({"role": "system", "content": system},) if system else ()
    return tuple(check_messages(_as_list(system))) if system else ()


def _key(key: object, name: str = "chat") -> str:
    """A key as JSON, so that 5 and "5" are different, also in a database."""
    if not _is_key(key):
        raise ConfigError(f"{name}={key!r}: must be a string, an integer, or a tuple of them")
    return json.dumps(key, ensure_ascii=False)


def _is_key(key: object) -> bool:
    if isinstance(key, tuple):
        return bool(key) and all(_is_key(part) for part in key)
    return isinstance(key, str | int) and not isinstance(key, bool)
