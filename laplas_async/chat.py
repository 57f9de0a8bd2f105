"""``client.chat.completions.create(...)``: the calls that programs for other clients already make.

The names of OpenAI's, Together's and Groq's clients over ``complete`` and ``stream``; it adds no
behaviour.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.types import ChatCompletion, Labels, MessageLike, RequestParameters

if TYPE_CHECKING:  # law 9: imported by programs with budgets
    from laplas_async.pacing.budget import Budget


class Completions:
    """``client.chat.completions``."""

    def __init__(
        self,
        complete: Callable[..., Awaitable[ChatCompletion]],
        stream: Callable[..., ChatStream],
    ) -> None:
        self._complete = complete
        self._stream = stream

    @overload
    async def create(
        self,
        *,
        messages: str | Sequence[MessageLike],
        model: str | None = None,
        stream: Literal[False] | None = False,
        timeout: float | None = None,  # noqa: ASYNC109 - the name in those clients
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str | float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        labels: Labels | None = None,
        budget: "Budget | None" = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatCompletion: ...

    @overload
    async def create(
        self,
        *,
        messages: str | Sequence[MessageLike],
        model: str | None = None,
        stream: Literal[True],
        timeout: float | None = None,  # noqa: ASYNC109 - the name in those clients
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str | float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        labels: Labels | None = None,
        budget: "Budget | None" = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatStream: ...

    async def create(
        self,
        *,
        messages: str | Sequence[MessageLike],
        model: str | None = None,
        stream: bool | None = False,
        timeout: float | None = None,  # noqa: ASYNC109 - the name in those clients
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, str | float] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        labels: Labels | None = None,
        budget: "Budget | None" = None,
        **parameters: Unpack[RequestParameters],
    ) -> ChatCompletion | ChatStream:
        """Request a completion; with ``stream=True``, a stream that has begun.

        Iterate the stream to its end, or use it as ``async with await create(...) as stream`` to
        have it closed in any case. A stream reports usage only if ``stream_options`` requests it,
        as in those clients. ``timeout``: total seconds of one attempt. Errors are those of
        ``LaplasClient.complete`` and ``stream``.
        """
        keywords: dict[str, Any] = {
            "model": model,
            "timeouts": timeout,
            "extra_headers": extra_headers,
            "extra_query": extra_query,
            "extra_body": extra_body,
            "labels": labels,
            "budget": budget,
            **parameters,
        }
        if not stream:
            return await self._complete(messages, **keywords)
        keywords.setdefault("stream_options", None)
        begun = self._stream(messages, **keywords)
        await begun.start()
        return begun


class Chat:
    """``client.chat``."""

    def __init__(self, completions: Completions) -> None:
        self.completions = completions
