"""The tool loop: request, call the tools, request again, until there is an answer or a limit.

It reaches the service through a ``Complete`` or ``OpenStream`` function. It refuses to run without
limits, to execute truncated calls, and to repeat a tool's call when a request is retried.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar

from attrs import define, evolve, field, frozen

from laplas_async.errors import BadRequestError, ConfigError, RunLimitError
from laplas_async.pacing.price import Price
from laplas_async.structured.parsing import (
    Complete,
    feedback,
    mode_parameters,
    output_error,
    rejects_mode,
    unusable,
)
from laplas_async.structured.reading import Mismatch, NoJSON, OutputType
from laplas_async.structured.spending import Spending
from laplas_async.tools.arguments import calls_in
from laplas_async.tools.calling import Approval, Caller, ToolResult, failed
from laplas_async.tools.definition import ToolFunction, as_tools
from laplas_async.tools.limits import DEFAULT_COST_USD, RunLimits
from laplas_async.types import (
    ChatCompletion,
    ChatCompletionChunk,
    Cost,
    Message,
    MessageLike,
    ToolCall,
    Usage,
)
from laplas_async.wire.codec import to_dict
from laplas_async.wire.request import check_messages

R = TypeVar("R")
T = TypeVar("T")


class OpenedStream(Protocol):
    """What ``ChatStream`` is, as far as the loop uses it."""

    async def __aenter__(self) -> Any:
        """Send the request."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""

    def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        """Iterate over the chunks."""
        ...

    async def completion(self) -> ChatCompletion:
        """The whole completion."""
        ...


OpenStream = Callable[..., OpenedStream]


@define
class ToolRun(Generic[T]):
    """The end of a tool run.

    ``output`` is the typed answer (``into=``), else the text. ``messages`` is the whole
    conversation, answer included; with a further user message it seeds the next call. ``results``
    are those of all tool calls, ``usage`` and ``cost`` sums over all ``rounds``.
    """

    output: T
    completion: ChatCompletion
    messages: list[MessageLike]
    results: list[ToolResult] = field(factory=list)
    usage: Usage | None = None
    cost: Cost | None = None
    rounds: int = 0

    @property
    def text(self) -> str:
        """The text of the final answer."""
        return self.completion.text


@frozen
class RunEvent:
    """Something that happened in a streamed run.

    ``kind`` is ``text`` (with ``text``), ``call`` (a complete ``call`` that will be run), or
    ``result`` (with ``result``).
    """

    kind: str
    text: str = ""
    call: ToolCall | None = None
    result: ToolResult | None = None


@define(eq=False)
class Loop:
    """One run. ``events`` makes it; afterwards ``run`` is its result."""

    complete: Complete
    open_stream: OpenStream | None
    messages: list[MessageLike]
    parameters: dict[str, Any]
    tools: Mapping[str, ToolFunction]
    caller: Caller
    limits: RunLimits
    price: Price | None
    output: OutputType[Any] | None
    max_retries: int
    final_tool: bool = False
    run: ToolRun[Any] | None = None
    results: list[ToolResult] = field(factory=list)
    spending: Spending = field(factory=Spending)
    retries: int = 0

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """Run to the end. Raises ``RunLimitError``, ``OutputError``, and what requests raise.

        Cancelling it, or closing it, cancels the tools that run and waits for them.
        """
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        try:
            while self.run is None:
                self._check_spending()
                if self.open_stream is None:
                    completion = await self._complete(deadline)
                else:
                    completion = None
                    async with aclosing(self._stream(deadline)) as parts:
                        async for part in parts:
                            if isinstance(part, RunEvent):
                                yield part
                            else:
                                completion = part
                if completion is None:
                    continue  # the service rejected the mode; the next one is set
                self._account(completion)
                calls = calls_in(completion, self._names(), self.spending.requests)
                if not calls or self._final_call(calls) is not None:
                    self._finish(completion, calls)
                    continue
                self.messages.append(_with_calls(completion, calls))
                for call in calls:
                    yield RunEvent("call", call=call)
                for result in await self._call(completion, calls, deadline):
                    yield RunEvent("result", result=result)
        finally:
            self.caller.close()

    # --- requests -----------------------------------------------------------------------------

    async def _complete(self, deadline: float) -> ChatCompletion | None:
        request = self.complete(self.messages, **self._request_parameters())
        try:
            return await self._within(deadline, request)
        except BadRequestError as error:
            self._fall_back(error)
            return None

    async def _stream(self, deadline: float) -> AsyncGenerator[RunEvent | ChatCompletion, None]:
        assert self.open_stream is not None  # noqa: S101 - asked by the caller
        stream = self.open_stream(self.messages, **self._request_parameters())
        try:
            await self._within(deadline, stream.__aenter__())
        except BadRequestError as error:
            self._fall_back(error)
            return
        try:
            chunks = aiter(stream)
            while (chunk := await self._within(deadline, _next(chunks))) is not None:
                if chunk.text:
                    yield RunEvent("text", text=chunk.text)
            yield await stream.completion()
        finally:
            await stream.__aexit__(None, None, None)

    async def _within(self, deadline: float, request: Coroutine[Any, Any, R]) -> R:
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                return await request
        except TimeoutError:
            if scope.expired():
                self._stop("seconds", f"the run took longer than {self.limits.seconds:g} s")
            raise

    def _request_parameters(self) -> dict[str, Any]:
        tools = [to_dict(one.definition) for one in self.tools.values()]
        own: dict[str, Any] = {}
        if self.output is not None:
            own = mode_parameters("tool" if self.final_tool else "json_schema", self.output)
            own.pop("tool_choice", None)  # the model may call the other tools first
            tools += own.pop("tools", [])
        return self.parameters | own | ({"tools": tools} if tools else {})

    def _fall_back(self, error: BadRequestError) -> None:
        """The service rejects tools together with a response format: make the answer a tool."""
        if self.output is None or self.final_tool or not rejects_mode(error, "json_schema"):
            raise error
        self.final_tool = True

    def _names(self) -> set[str]:
        final = {self.output.name} if self.output is not None and self.final_tool else set()
        return {*self.tools, *final}

    # --- limits -------------------------------------------------------------------------------

    def _account(self, completion: ChatCompletion) -> None:
        if completion.cost is None and self.price is not None and completion.usage is not None:
            completion.cost = Cost(usd_spent=self.price.of(completion.usage))
        self.spending.add(completion)

    def _check_spending(self) -> None:
        limits, spending = self.limits, self.spending
        if spending.requests >= limits.rounds:
            self._stop("rounds", f"no answer after {spending.requests} rounds")
        if spending.tokens >= limits.tokens:
            self._stop("tokens", f"{spending.tokens} tokens used, the limit is {limits.tokens}")
        spent = None if spending.cost is None else spending.cost.usd_spent
        most = DEFAULT_COST_USD if limits.cost_usd is None else limits.cost_usd
        if spent is not None and spent >= most:
            self._stop("cost_usd", f"{spent:.4f} USD spent, the limit is {most:g}")
        if spent is None and spending.requests and limits.cost_usd is not None:
            self._stop("cost_usd", "the service reports no cost, so no limit on it can hold")

    def _stop(self, limit: str, reason: str) -> NoReturn:
        raise RunLimitError(
            f"{reason} (RunLimits.{limit}); error.messages can seed another run",
            limit=limit,
            messages=tuple(self.messages),
            usage=self.spending.usage,
            cost=self.spending.cost,
        )

    # --- tools --------------------------------------------------------------------------------

    async def _call(
        self, completion: ChatCompletion, calls: list[ToolCall], deadline: float
    ) -> list[ToolResult]:
        limits = self.limits
        if len(self.results) + len(calls) > limits.tool_calls:
            self._answer([failed(call, "the limit of tool calls is reached") for call in calls])
            self._stop("tool_calls", f"more than {limits.tool_calls} tool calls")
        if completion.finish_reason == "length":
            reason = "max_tokens cut this turn, so no tool was run; write less in one turn"
            return self._answer([failed(call, reason) for call in calls])
        try:
            results = await self._within(
                deadline, self.caller.call_all(calls, self.spending.requests)
            )
        except RunLimitError:
            self._answer([failed(call, "the time of the run is over") for call in calls])
            self._stop("seconds", f"the run took longer than {limits.seconds:g} s")
        return self._answer(results)

    def _answer(self, results: list[ToolResult]) -> list[ToolResult]:
        self.results += results
        self.messages += [result.message for result in results]
        return results

    # --- the end ------------------------------------------------------------------------------

    def _final_call(self, calls: list[ToolCall]) -> ToolCall | None:
        if self.output is None or not self.final_tool:
            return None
        name = self.output.name
        return next((call for call in calls if call.function.name == name), None)

    def _finish(self, completion: ChatCompletion, calls: list[ToolCall]) -> None:
        """Take the final answer, or show the model what is wrong with it."""
        final = self._final_call(calls)
        text = completion.text if final is None else final.function.arguments
        if self.output is None:
            self._end(completion, completion.text, calls)
            return
        if (error := unusable(completion, self.spending.usage)) is not None:
            raise error
        try:
            value = self.output.read(text)
        except (NoJSON, Mismatch) as wrong:
            if self.retries >= self.max_retries:
                raise output_error(text, wrong, completion, self.spending.usage) from wrong
            self.retries += 1
            if final is None:
                self.messages += feedback(text, wrong)
            else:
                self._end_calls(completion, calls, f"{wrong}; call it again, corrected")
            return
        self._end(completion, value, calls)

    def _end(self, completion: ChatCompletion, output: Any, calls: list[ToolCall]) -> None:
        if calls:
            self._end_calls(completion, calls, "")
        else:
            self.messages.append(completion.message)
        self.run = ToolRun(
            output=output,
            completion=completion,
            messages=list(self.messages),
            results=self.results,
            usage=self.spending.usage,
            cost=self.spending.cost,
            rounds=self.spending.requests,
        )

    def _end_calls(self, completion: ChatCompletion, calls: list[ToolCall], wrong: str) -> None:
        """Answer the call that is the final answer, and those beside it, which are not run."""
        self.messages.append(_with_calls(completion, calls))
        final = self._final_call(calls)
        for call in calls:
            text = (f"Error: {wrong}" if wrong else "accepted") if call is final else "not run"
            self.messages.append(Message("tool", text, tool_call_id=call.id))


class ToolStream(Generic[T]):
    """A tool run, streamed: ``async with client.stream_tools(...) as stream``.

    Iterate for ``RunEvent``s as they happen; ``await stream.run()`` reads what is left and gives
    the ``ToolRun``. Leaving the block cancels the tools that run, and waits for them.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._events = loop.events()

    async def __aenter__(self) -> Self:
        """The stream; the first request is sent when it is read."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the run."""
        await self.aclose()

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> RunEvent:
        """The next event. Raises what ``LaplasClient.run_tools`` raises."""
        return await anext(self._events)

    async def run(self) -> ToolRun[T]:
        """Read what is left; the finished run."""
        async for _ in self:
            pass
        if self._loop.run is None:
            raise ConfigError("the run was closed before its end; call stream_tools() for another")
        return self._loop.run

    async def aclose(self) -> None:
        """End the run at once; safe to call twice."""
        await self._events.aclose()


def new_loop(
    complete: Complete,
    messages: str | Sequence[MessageLike],
    tools: Sequence[Any],
    parameters: Mapping[str, Any],
    *,
    limits: RunLimits | None = None,
    price: Price | None = None,
    cost_is_known: bool = False,
    output: OutputType[Any] | None = None,
    max_retries: int = 2,
    max_parallel: int = 8,
    tool_timeout: float = 60.0,
    approve: Approval | None = None,
    context: Any = None,
    open_stream: OpenStream | None = None,
) -> Loop:
    """Check the arguments of ``LaplasClient.run_tools``. Raises ``ConfigError``."""
    limits = RunLimits() if limits is None else limits
    if not isinstance(limits, RunLimits):
        raise ConfigError(f"limits={limits!r}: must be RunLimits")
    if limits.cost_usd is not None and price is None and not cost_is_known:
        raise ConfigError(
            "limits.cost_usd: the price is unknown, so the limit could not hold; pass"
            " price=Price(input, output) in US dollars per million tokens"
        )
    for name in ("tools", "response_format", "n"):
        if parameters.get(name) not in (None, 1):
            raise ConfigError(f"{name}: run_tools() decides it")
    if type(max_parallel) is not int or max_parallel < 1:
        raise ConfigError(f"max_parallel={max_parallel!r}: must be at least 1")
    if not tool_timeout > 0:
        raise ConfigError(f"tool_timeout={tool_timeout!r}: must be more than 0 seconds")
    known = as_tools(tools)
    if output is not None and output.name in known:
        raise ConfigError(f"tools: {output.name!r} is the name of the output type")
    caller = Caller(
        known, timeout=tool_timeout, max_parallel=max_parallel, approve=approve, data=context
    )
    return Loop(
        complete=complete,
        open_stream=open_stream,
        messages=[*check_messages(messages)],
        parameters={k: v for k, v in parameters.items() if v is not None},
        tools=known,
        caller=caller,
        limits=limits,
        price=price,
        output=output,
        max_retries=max_retries,
    )


async def run_tools(loop: Loop) -> ToolRun[Any]:
    """Run to the end. Cancelling it cancels the open request and the tools, and awaits them."""
    async with ToolStream[Any](loop) as stream:
        return await stream.run()


def _with_calls(completion: ChatCompletion, calls: list[ToolCall]) -> Message:
    """The model's turn as it is kept: calls with their unique ids, also those found in the text."""
    message = completion.message
    if not completion.tool_calls:
        return evolve(message, tool_calls=calls, content=None)
    return evolve(message, tool_calls=calls)


async def _next(chunks: AsyncIterator[ChatCompletionChunk]) -> ChatCompletionChunk | None:
    return await anext(chunks, None)
