"""The chats in memory: found by their key, evicted when idle, and the prompt of each question.

It refuses to know the order of answers (``line``) and how they are read (``answer_stream``).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from laplas_async.bots import history
from laplas_async.bots.answer_stream import Prompt, Question
from laplas_async.bots.chat_state import ChatState
from laplas_async.bots.history import MessageDict, Turn
from laplas_async.bots.storage import Storage
from laplas_async.client import LaplasClient
from laplas_async.errors import ConfigError, LaplasError
from laplas_async.streaming.chat_stream import ChatStream

# Tokens of the history where neither the program nor the service says more: what nearly every chat
# model has left beside an answer.
DEFAULT_TOKENS = 6_000
# The service's default for an answer without max_tokens (WIRE.md, "Request").
_ANSWER_TOKENS = 512
# Seconds; a question is not delayed longer to learn how much of its history may be sent.
_MODELS_TIMEOUT = 5.0


class ChatRegistry:
    """All chats of one ``Conversations``."""

    def __init__(
        self,
        client: LaplasClient,
        storage: Storage,
        *,
        max_tokens: int | None,
        idle: float,
        clock: Callable[[], float],
    ) -> None:
        self.client = client
        self.storage = storage
        self.chats: OrderedDict[str, ChatState] = OrderedDict()  # the longest unused first
        self._max_tokens = max_tokens
        self._idle = idle
        self._clock = clock
        self._context_lengths: dict[str, int] | None = None
        self._evictions: set[asyncio.Task[None]] = set()

    def acquire(self, key: str) -> ChatState:
        """The chat's state, which must be released."""
        chat = self.chats.get(key)
        if chat is None:
            chat = self.chats[key] = ChatState(key, self.storage)
        chat.users += 1
        self._touch(chat)
        self._evict()
        return chat

    def release(self, chat: ChatState) -> None:
        """Return the state."""
        chat.users -= 1
        if chat.key in self.chats:
            self._touch(chat)

    def _touch(self, chat: ChatState) -> None:
        chat.last_used = self._clock()
        self.chats.move_to_end(chat.key)

    def _evict(self) -> None:
        limit = self._clock() - self._idle
        for _ in range(len(self.chats)):
            key, chat = next(iter(self.chats.items()))
            if chat.last_used > limit:
                break
            if not chat.idle:
                self._touch(chat)
            else:
                del self.chats[key]
                task = asyncio.get_running_loop().create_task(self.storage.evict(key))
                self._evictions.add(task)
                task.add_done_callback(self._evictions.discard)

    async def written(self) -> None:
        """Wait until nothing is being written or evicted any more."""
        for chat in list(self.chats.values()):
            await chat.written()
        if self._evictions:
            await asyncio.wait(self._evictions)

    async def prompt(
        self, question: Question, chat: ChatState, turn: Turn, left_out: int
    ) -> Prompt:
        """Choose the turns that are sent with a question; the oldest ``left_out`` are not.

        Raises ``ConfigError`` for results of tools that were not called. Cancelling it changes
        nothing.
        """
        turns = [one for one in chat.turns if one is not turn and one.messages]
        pinned = [one for one in turns if history.is_pinned(one)]
        droppable = [one for one in turns if not history.is_pinned(one)]
        before = droppable[left_out:]
        text = repr(question.system)
        if chat.system_tokens is None or chat.system_tokens[0] != text:
            chat.system_tokens = text, history.size(question.system, chat.ratio)
        tokens = history.most(question.messages, chat.ratio)
        if (known := len(turn.messages) - len(question.messages)) > 0:  # results of tools
            asked = turn.tokens
            tokens += history.size(turn.messages[:known], chat.ratio) if asked is None else asked
        fixed = chat.system_tokens[1] + tokens
        fixed += sum(history.tokens_of(one, chat.ratio) for one in pinned)
        total = fixed + sum(history.tokens_of(one, chat.ratio) for one in before)
        limit = await self._limit(question.parameters, total)
        dropped = history.excess(before, fixed, limit, chat.ratio)
        kept = sorted([*pinned, *before[dropped:]], key=lambda one: one.number)
        messages = [message for one in [*kept, turn] for message in one.messages]
        paired = history.pair_tools(messages)
        if not paired or paired[-1] != turn.messages[-1]:
            raise ConfigError("messages: a result of a tool that the assistant did not call")
        return Prompt(
            [*question.system, *paired],
            before=kept,
            droppable=len(before) - dropped,
            left_out=droppable[: left_out + dropped],
            question_tokens=tokens,
        )

    async def _limit(self, parameters: Mapping[str, Any], needed: int) -> int:
        if self._max_tokens is not None:
            return self._max_tokens
        if needed <= DEFAULT_TOKENS:
            return DEFAULT_TOKENS  # it fits in any case: no need to ask
        model = parameters.get("model") or self.client.model
        context = (await self._known_lengths()).get(model)
        if context is None:
            return DEFAULT_TOKENS
        answer = parameters.get("max_tokens") or _ANSWER_TOKENS
        return max(context - answer, 1)

    async def _known_lengths(self) -> dict[str, int]:
        """The context length of each model, as the service lists it; asked for once."""
        if self._context_lengths is None:
            try:
                async with asyncio.timeout(_MODELS_TIMEOUT):
                    models = await self.client.models()
            except (LaplasError, TimeoutError):
                models = []
            self._context_lengths = {
                model.id: model.context_length for model in models if model.context_length
            }
        return self._context_lengths

    def open_stream(self, messages: list[MessageDict], parameters: Mapping[str, Any]) -> ChatStream:
        """The request itself, not yet sent. Raises ``ConfigError``."""
        stream: ChatStream = self.client.stream(messages, **parameters)
        return stream
