"""``AsyncStream``: the chunks of a streamed completion in openai's shape."""

from types import TracebackType
from typing import Any, Self

from laplas_async.openai.errors import openai_errors
from laplas_async.openai.headers import ResponseHead
from laplas_async.openai.results import ChatCompletion, ChatCompletionChunk
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.types import ChatCompletion as CoreCompletion
from laplas_async.types import ChatCompletionChunk as CoreChunk
from laplas_async.wire.codec import to_dict


class AsyncStream:
    """Iterate it for ``ChatCompletionChunk``s; ``close()`` ends it early, as leaving a block does.

    Iterating to the end means that the completion was whole; anything else raises.
    ``response`` has ``status_code`` and ``headers``.
    """

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream
        self.response = ResponseHead(stream.status or 0, stream.headers)

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        """The next chunk. Raises ``OpenAIError``'s subclasses."""
        with openai_errors():
            chunk = await anext(self._stream, None)
        if chunk is None:
            raise StopAsyncIteration
        return chunk_from(chunk)

    async def __aenter__(self) -> Self:
        """The stream itself; leaving the block closes it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close the connection at once; safe to call twice."""
        await self._stream.aclose()

    def received(self) -> ChatCompletion:
        """The completion of what has been received so far."""
        return completion_from(self._stream.partial)


def chunk_from(chunk: CoreChunk) -> ChatCompletionChunk:
    """A chunk of the core client in openai's shape."""
    values = to_dict(chunk)
    for choice in values["choices"]:
        choice.setdefault("finish_reason", None)
    return ChatCompletionChunk(**values)


def completion_from(completion: CoreCompletion) -> ChatCompletion:
    """A completion of the core client in openai's shape."""
    values = to_dict(completion)
    for choice in values["choices"]:
        # servers write these, null or not, and ``to_dict()`` shows what was sent.
        choice.setdefault("logprobs", None)
        choice["message"] = _NULLS | choice["message"]
    made = ChatCompletion(**values)
    status = completion.attempts[-1].status if completion.attempts else None
    object.__setattr__(made, "_response", ResponseHead(status or 0, completion.headers))
    return made


_NULLS: dict[str, Any] = {"content": None}
