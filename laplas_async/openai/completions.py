"""``client.chat.completions``: ``create``, ``parse``, ``stream`` and ``with_raw_response``.

Each calls the core client, and gives its result or error in openai's shape. It refuses to retry,
to pace and to judge a stream.
"""

import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, overload

from laplas_async.openai.errors import openai_errors
from laplas_async.openai.omitted import NOT_GIVEN, is_given
from laplas_async.openai.parsing import Format, check_tools, parse_completion
from laplas_async.openai.requests import PARAMETERS, core_arguments
from laplas_async.openai.response import URL, Headers, Request, Response
from laplas_async.openai.results import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
from laplas_async.openai.stream_events import AsyncChatCompletionStream
from laplas_async.openai.streams import AsyncStream, completion_from
from laplas_async.openai.unsupported import missing_attribute
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.types import ChatCompletion as CoreCompletion


class Calls(Protocol):
    """What the methods need of the client: the core's two calls, with its own settings."""

    @property
    def request(self) -> Request:
        """The request that a call sends, for its results and errors."""
        ...

    async def complete(self, arguments: dict[str, Any], timeout: Any) -> CoreCompletion:
        """Call ``LaplasClient.complete``."""
        ...

    async def start(self, arguments: dict[str, Any], timeout: Any) -> ChatStream:
        """Call ``LaplasClient.stream``, and begin it."""
        ...


class AsyncCompletions:
    """``client.chat.completions``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute("AsyncCompletions", name)

    @property
    def with_raw_response(self) -> "AsyncCompletionsWithRawResponse":
        """The same methods, which return the response's status and headers too."""
        return AsyncCompletionsWithRawResponse(self)

    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: Any = NOT_GIVEN,
        stream: Literal[True],
        timeout: Any = NOT_GIVEN,
        extra_headers: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Any = None,
        **parameters: Any,
    ) -> AsyncStream[ChatCompletionChunk]: ...

    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: Any = NOT_GIVEN,
        stream: Any = NOT_GIVEN,
        timeout: Any = NOT_GIVEN,
        extra_headers: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Any = None,
        **parameters: Any,
    ) -> ChatCompletion: ...

    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: Any = NOT_GIVEN,
        stream: Any = NOT_GIVEN,
        timeout: Any = NOT_GIVEN,
        extra_headers: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Any = None,
        **parameters: Any,
    ) -> ChatCompletion | AsyncStream[ChatCompletionChunk]:
        """Request a completion; with ``stream=True`` a stream that has begun.

        ``timeout`` in seconds (or an ``httpx.Timeout``) is of one attempt; for a stream it bounds
        the wait for each content, not the whole. Raises ``OpenAIError``'s subclasses, also for
        what would be refused before it is sent. Cancelling it closes the connection.
        """
        request = self._calls.request
        with openai_errors(request):
            arguments = core_arguments(
                messages=messages,
                model=model,
                extra_headers=extra_headers,
                extra_query=extra_query,
                extra_body=extra_body,
                parameters=parameters,
            )
            if is_given(stream) and stream:
                arguments.setdefault("stream_options", None)  # usage only if requested, as there
                return AsyncStream(await self._calls.start(arguments, timeout), request)
            return completion_from(await self._calls.complete(arguments, timeout), request)

    async def parse(
        self,
        *,
        messages: Iterable[Any],
        model: Any = NOT_GIVEN,
        response_format: Any = NOT_GIVEN,
        timeout: Any = NOT_GIVEN,
        extra_headers: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Any = None,
        **parameters: Any,
    ) -> ParsedChatCompletion:
        """Request a completion whose text is an object: ``message.parsed``.

        ``response_format`` is a pydantic model or an attrs class. Raises
        ``LengthFinishReasonError`` and ``ContentFilterFinishReasonError`` where the answer is
        unfinished, and the class's own error where it does not fit.
        """
        if "stream" in parameters:
            raise TypeError("parse() got an unexpected keyword argument 'stream'; use stream()")
        format_ = Format.of(response_format)
        check_tools(parameters.get("tools"))
        completion = await self.create(
            messages=messages,
            model=model,
            timeout=timeout,
            extra_headers=extra_headers,
            extra_query=extra_query,
            extra_body=extra_body,
            **parameters | format_.parameters,
        )
        return parse_completion(completion, format_, parameters.get("tools"))

    @asynccontextmanager
    async def stream(
        self,
        *,
        messages: Iterable[Any],
        model: Any = NOT_GIVEN,
        response_format: Any = NOT_GIVEN,
        timeout: Any = NOT_GIVEN,
        extra_headers: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Any = None,
        **parameters: Any,
    ) -> AsyncIterator[AsyncChatCompletionStream]:
        """Stream events: ``async with client.chat.completions.stream(...) as stream``.

        Each has a ``type`` (``chunk``, ``content.delta``, ``content.done``, ...);
        ``get_final_completion()`` gives the whole. ``response_format`` as for ``parse``.
        """
        format_ = Format.of(response_format)
        check_tools(parameters.get("tools"))
        chunks = await self.create(
            messages=messages,
            model=model,
            stream=True,
            timeout=timeout,
            extra_headers=extra_headers,
            extra_query=extra_query,
            extra_body=extra_body,
            **parameters | format_.parameters,
        )
        try:
            yield AsyncChatCompletionStream(chunks, format_, parameters.get("tools"))
        finally:
            await chunks.close()


def _with_parameters(method: Callable[..., Any]) -> inspect.Signature:
    """A method's signature with each parameter by name: programs look there for what it takes."""
    own = [
        one for one in inspect.signature(method).parameters.values() if one.kind != one.VAR_KEYWORD
    ]
    names = {one.name for one in own}
    return inspect.Signature(
        own
        + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=NOT_GIVEN)
            for name in PARAMETERS
            if name not in names
        ]
    )


for _name in ("create", "parse", "stream"):
    vars(AsyncCompletions)[_name].__signature__ = _with_parameters(getattr(AsyncCompletions, _name))


class AsyncCompletionsWithRawResponse:
    """``client.chat.completions.with_raw_response``."""

    def __init__(self, completions: AsyncCompletions) -> None:
        self._completions = completions

    async def create(self, **arguments: Any) -> "RawResponse":
        """As ``create`` of the completions."""
        return RawResponse(await self._completions.create(**arguments))

    async def parse(self, **arguments: Any) -> "RawResponse":
        """As ``parse`` of the completions."""
        return RawResponse(await self._completions.parse(**arguments))


class RawResponse:
    """A response's status, headers, and, by ``parse()``, its result.

    ``text`` and ``content`` are the result written as JSON again, not the server's bytes.
    """

    def __init__(self, result: Any) -> None:
        self._result = result
        response = result.response if isinstance(result, AsyncStream) else result._response  # noqa: SLF001
        self.http_response: Response = response

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute("RawResponse", name)

    def parse(self) -> Any:
        """The completion, or the stream that has begun."""
        return self._result

    @property
    def status_code(self) -> int:
        """The status, such as 200."""
        return self.http_response.status_code

    @property
    def headers(self) -> Headers:
        """The response's headers."""
        return self.http_response.headers

    @property
    def http_request(self) -> Request:
        """The request's method and URL."""
        request: Request = self.http_response.request
        return request

    @property
    def method(self) -> str:
        """The request's method."""
        return self.http_request.method

    @property
    def url(self) -> URL:
        """The request's URL."""
        return self.http_request.url

    @property
    def retries_taken(self) -> int:
        """How many attempts failed before this response."""
        return self.http_response.retries_taken

    @property
    def request_id(self) -> str | None:
        """The service's id of the request."""
        return self.headers.get("x-request-id")

    @property
    def text(self) -> str:
        """The completion as JSON text. Raises ``UnsupportedError`` for a stream."""
        if isinstance(self._result, AsyncStream):
            raise missing_attribute("RawResponse", "text")
        return str(self._result.model_dump_json(exclude_unset=True))

    @property
    def content(self) -> bytes:
        """The completion as JSON bytes. Raises ``UnsupportedError`` for a stream."""
        return self.text.encode()

    def json(self) -> Any:
        """The completion as plain values. Raises ``UnsupportedError`` for a stream."""
        return json.loads(self.text)
