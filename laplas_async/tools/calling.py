"""Calling tools: in parallel, each within its time; every call gets a result.

A tool that fails, or whose arguments do not fit, yields an error as its result, for the model to
read. Plain functions run in threads; a thread that exceeds its time cannot be stopped and is left
behind. It refuses to call a tool twice for one call.
"""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import orjson
from attrs import field, frozen
from cattrs import BaseConverter

from laplas_async.structured.problems import summary
from laplas_async.structured.reading import Mismatch, NoJSON
from laplas_async.tools.arguments import read_arguments
from laplas_async.tools.definition import ToolContext, ToolFunction
from laplas_async.types import Message, ToolCall

_SHOWN: Final = 2000  # characters of a tool's exception: the model pays for each


@frozen
class ToolResult:
    """What a call resulted in: ``content`` as sent to the model, ``value`` as the tool returned it.

    ``error``: whether the tool was not run, failed, or took too long.
    """

    call: ToolCall
    content: str
    value: Any = None
    error: bool = False

    @property
    def message(self) -> Message:
        """The message that answers the call."""
        return Message("tool", self.content, tool_call_id=self.call.id)


@frozen
class PendingCall:
    """A call that is about to run, for the approval hook; ``arguments`` are typed and complete."""

    tool: str
    call: ToolCall
    arguments: Mapping[str, Any] = field(factory=dict)


Approval = Callable[[PendingCall], "bool | str | Awaitable[bool | str | None] | None"]


class Caller:
    """Calls the tools of one run; ``close`` it at the end."""

    def __init__(
        self,
        tools: Mapping[str, ToolFunction],
        *,
        timeout: float,
        max_parallel: int,
        approve: Approval | None = None,
        data: Any = None,
    ) -> None:
        self._tools = tools
        self._timeout = timeout
        self._slots = asyncio.Semaphore(max_parallel)
        self._approve = approve
        self._data = data
        self._max_parallel = max_parallel
        self._threads: ThreadPoolExecutor | None = None

    async def call_all(self, calls: Sequence[ToolCall], turn: int) -> list[ToolResult]:
        """The results, in the order of the calls.

        Raises what the approval hook raises; then, and when cancelled, the other calls are
        cancelled and awaited first.
        """
        tasks = [asyncio.create_task(self._call(call, turn)) for call in calls]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def close(self) -> None:
        """Free the threads; one that still runs a tool ends with it."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, call: ToolCall, turn: int) -> ToolResult:
        tool = self._tools.get(call.function.name)
        if tool is None:
            names = ", ".join(self._tools)
            return failed(call, f"there is no tool {call.function.name!r}; the tools are: {names}")
        try:
            values = tool.read(read_arguments(call.function.arguments))
        except NoJSON as error:
            return failed(call, f"{error}; the tool was not run")
        except Mismatch as error:
            return failed(call, f"the tool was not run:\n{summary(error.problems)}")
        async with self._slots:
            refusal = await self._refusal(PendingCall(tool.name, call, values))
            if refusal is not None:
                return failed(call, refusal)
            context = ToolContext(call.id, tool.name, turn, self._data)
            timeout = self._timeout if tool.timeout is None else tool.timeout
            return await self._run(tool, call, *tool.bind(values, context), timeout=timeout)

    async def _refusal(self, pending: PendingCall) -> str | None:
        if self._approve is None:
            return None
        verdict = self._approve(pending)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if verdict is True or verdict is None:
            return None
        return verdict if isinstance(verdict, str) else "the user did not approve this call"

    async def _run(
        self,
        tool: ToolFunction,
        call: ToolCall,
        positional: list[Any],
        keywords: dict[str, Any],
        *,
        timeout: float,  # noqa: ASYNC109 - a tool's own, ended with the message below
    ) -> ToolResult:
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                if tool.is_async:
                    value = await tool.function(*positional, **keywords)
                else:
                    value = await self._in_thread(partial(tool.function, *positional, **keywords))
                    if inspect.isawaitable(value):
                        value = await value
            return ToolResult(call, text_of(value, tool.converter), value)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return failed(call, "the tool was cancelled")  # by itself
        except TimeoutError as error:
            if scope.expired():
                return failed(call, f"the tool took longer than {timeout:g} s")
            return failed(call, _words(error))
        except Exception as error:  # noqa: BLE001 - a tool may raise anything; the model reads it
            return failed(call, _words(error))

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        if self._threads is None:
            # A pool of the run's own: the loop's default one may be smaller than max_parallel.
            self._threads = ThreadPoolExecutor(self._max_parallel, "laplas-tool")
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        work = partial(context.run, partial(_no_stop, function))
        return await loop.run_in_executor(self._threads, work)


def failed(call: ToolCall, reason: str) -> ToolResult:
    """The result of a call that did not work."""
    return ToolResult(call, f"Error: {reason}", error=True)


def text_of(value: Any, converter: BaseConverter) -> str:
    """A tool's result as text: a string as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    plain = converter.unstructure(value)
    return orjson.dumps(plain, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


def _words(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _no_stop(function: Callable[[], Any]) -> Any:
    """A ``StopIteration`` cannot pass through a future."""
    try:
        return function()
    except StopIteration as error:
        raise RuntimeError("the tool raised StopIteration") from error
