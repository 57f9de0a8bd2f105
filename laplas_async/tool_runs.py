"""Runs of tools over the calls of one client.

It joins ``tools`` to the client's calls, and imports it on first use (law 9). It refuses to send
anything itself: it is given ``complete`` and ``stream``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from laplas_async.calls.arguments import parameters_of, settings_of
from laplas_async.types import MessageLike

if TYPE_CHECKING:
    from laplas_async.tools.limits import RunLimits
    from laplas_async.tools.loop import Loop, ToolRun, ToolStream

_LOOP_ARGUMENTS = (
    "price",
    "max_retries",
    "max_parallel",
    "tool_timeout",
    "approve",
    "context",
)


class ToolRuns:
    """Runs tools, and remembers whether the service's responses state their cost."""

    __slots__ = ("_cost_is_known",)

    def __init__(self, *, cost_is_known: bool) -> None:
        self._cost_is_known = cost_is_known

    async def run(
        self,
        complete: Callable[..., Any],
        messages: str | Sequence[MessageLike],
        tools: Sequence[Any],
        arguments: Mapping[str, Any],
        *,
        limits: "RunLimits | None",
        into: Any,
    ) -> "ToolRun[Any]":
        """As ``LaplasClient.run_tools``."""
        from laplas_async.tools import loop  # noqa: PLC0415 - law 9

        run: ToolRun[Any] = await loop.run_tools(
            self._loop(complete, None, messages, tools, arguments, limits=limits, into=into)
        )
        self._cost_is_known |= run.cost is not None
        return run

    def stream(
        self,
        complete: Callable[..., Any],
        stream: Callable[..., Any],
        messages: str | Sequence[MessageLike],
        tools: Sequence[Any],
        arguments: Mapping[str, Any],
        *,
        limits: "RunLimits | None",
        into: Any,
    ) -> "ToolStream[Any]":
        """As ``LaplasClient.stream_tools``; nothing is sent before it is entered."""
        from laplas_async.tools import loop  # noqa: PLC0415 - law 9

        return loop.ToolStream(
            self._loop(complete, stream, messages, tools, arguments, limits=limits, into=into)
        )

    def _loop(
        self,
        complete: Callable[..., Any],
        stream: Callable[..., Any] | None,
        messages: str | Sequence[MessageLike],
        tools: Sequence[Any],
        arguments: Mapping[str, Any],
        *,
        limits: "RunLimits | None",
        into: Any,
    ) -> "Loop":
        from laplas_async.structured import reading  # noqa: PLC0415 - law 9
        from laplas_async.tools import loop  # noqa: PLC0415

        settings = settings_of(arguments)
        parameters = parameters_of(arguments)
        own = {name: parameters.pop(name) for name in _LOOP_ARGUMENTS if name in parameters}
        return loop.new_loop(
            partial(complete, **settings),
            messages,
            tools,
            parameters,
            limits=limits,
            cost_is_known=self._cost_is_known,
            output=None if into is None else reading.OutputType(into),
            open_stream=None if stream is None else partial(stream, **settings),
            **own,
        )
