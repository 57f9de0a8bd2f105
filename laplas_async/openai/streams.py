"""``AsyncStream``: the chunks of a streamed completion in openai's shape."""

from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from laplas_async.openai.errors import openai_errors
from laplas_async.openai.response import Request, Response
from laplas_async.openai.results import ChatCompletion, ChatCompletionChunk
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.types import ChatCompletion as CoreCompletion
from laplas_async.types import ChatCompletionChunk as CoreChunk
from laplas_async.wire.codec import to_dict

_Chunk = TypeVar("_Chunk")


class AsyncStream(Generic[_Chunk]):
    """Iterate it for ``ChatCompletionChunk``s; ``close()`` ends it early, as leaving a block does.

    Iterating to the end means that the completion was whole; anything else raises.
    ``response`` has ``status_code`` and ``headers``.
    """

    def __init__(self, stream: ChatStream, request: Request) -> None:
        self._stream = stream
        self._request = request
        self.response = Response(
            stream.status or 0,
            stream.headers,
            request=request,
            retries_taken=max(len(stream.attempts) - 1, 0),
        )

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        """The next chunk. Raises ``OpenAIError``'s subclasses."""
        with openai_errors(self._request):
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

    aclose = close

    def received(self) -> ChatCompletion:
        """The completion of what has been received so far."""
        return completion_from(self._stream.partial)


def chunk_from(chunk: CoreChunk) -> ChatCompletionChunk:
    """A chunk of the core client in openai's shape."""
    values = to_dict(chunk)
    for choice in values["choices"]:
        choice.setdefault("finish_reason", None)
        choice.setdefault("logprobs", None)
    return ChatCompletionChunk(**values)


def completion_from(completion: CoreCompletion, request: Request | None = None) -> ChatCompletion:
    """A completion of the core client in openai's shape."""
    values = to_dict(completion)
    for choice in values["choices"]:
        # servers write these, null or not, and ``to_dict()`` shows what was sent.
        choice.setdefault("logprobs", None)
        choice["message"] = _NULLS | choice["message"]
    made = ChatCompletion(**values)
    status = completion.attempts[-1].status if completion.attempts else None
    response = Response(
        status or 0,
        completion.headers,
        request=request,
        retries_taken=max(len(completion.attempts) - 1, 0),
    )
    object.__setattr__(made, "_response", response)
    return made


_NULLS: dict[str, Any] = {"content": None}
