"""Typed answers over the calls of one client: ``parse``, and streams that give objects.

It joins ``structured`` to the client's calls, and imports it on first use (law 9). It refuses to
send anything itself: it is given ``complete`` and ``stream``.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from laplas_async.calls.arguments import parameters_of, settings_of
from laplas_async.errors import LaplasError
from laplas_async.types import MessageLike, Model

if TYPE_CHECKING:
    from cattrs import BaseConverter

    from laplas_async.streaming.parsed_stream import ParsedStream
    from laplas_async.structured.parsing import Mode, Parsed, ParseRequest

_FEATURES_TIMEOUT = 5.0  # seconds; a mode that is rejected costs less than waiting longer


class TypedOutput:
    """Requests objects, and remembers for each model the mode in which it gave one.

    ``models`` lists the service's models, whose features decide where mode auto begins.
    """

    __slots__ = ("_features", "_lock", "_models", "_modes")

    def __init__(self, models: Callable[[], Awaitable[Sequence[Model]]]) -> None:
        self._models = models
        self._modes: dict[str, str] = {}
        self._features: dict[str, tuple[str, ...]] | None = None  # once they were asked for
        self._lock = asyncio.Lock()  # so that many calls at the start ask once

    async def parse(
        self,
        complete: Callable[..., Any],
        messages: str | Sequence[MessageLike],
        into: Any,
        arguments: Mapping[str, Any],
        *,
        model: str,
        **options: Any,
    ) -> "Parsed[Any]":
        """As ``LaplasClient.parse``; ``model`` is the one that the call will name."""
        from laplas_async.structured import parsing  # noqa: PLC0415 - law 9

        request = self._request(messages, into, arguments, model=model, **options)
        await self._begin_with_features(request, model)
        settings = settings_of(arguments)
        result: Parsed[Any] = await parsing.parse(partial(complete, **settings), request)
        self._modes[model] = result.mode
        return result

    def stream(
        self,
        stream: Callable[..., Any],
        messages: str | Sequence[MessageLike],
        into: Any,
        arguments: Mapping[str, Any],
        *,
        model: str,
        mode: "Mode",
    ) -> "ParsedStream[Any]":
        """As ``LaplasClient.stream`` with ``into``; nothing is sent before it is entered."""
        from laplas_async.streaming import parsed_stream  # noqa: PLC0415 - law 9

        return parsed_stream.ParsedStream(
            partial(stream, **settings_of(arguments)),
            self._request(messages, into, arguments, model=model, mode=mode),
            lambda mode: self._modes.__setitem__(model, mode),
            partial(self._begin_with_features, model=model),
        )

    async def _begin_with_features(self, request: "ParseRequest[Any]", model: str) -> None:
        """Leave out the modes that the model does not have, if the service publishes that."""
        if len(request.modes) < 2 or model in self._modes:
            return
        async with self._lock:
            if self._features is None:
                self._features = {}  # a service that lists nothing is asked once
                with contextlib.suppress(LaplasError, TimeoutError):
                    async with asyncio.timeout(_FEATURES_TIMEOUT):
                        found = await self._models()
                    self._features = {one.id: one.features for one in found}
        request.begin_with(self._features.get(model, ()))

    def _request(
        self,
        messages: str | Sequence[MessageLike],
        into: Any,
        arguments: Mapping[str, Any],
        *,
        model: str,
        mode: "Mode",
        max_retries: int = 0,
        strict: bool | None = None,
        lenient: bool = False,
        retry_truncated: bool = False,
        converter: "BaseConverter | None" = None,
    ) -> "ParseRequest[Any]":
        from laplas_async.structured import parsing, reading  # noqa: PLC0415 - law 9

        return parsing.new_request(
            messages,
            reading.OutputType(into, strict, lenient, converter),
            parameters_of(arguments),
            mode=mode,
            max_retries=max_retries,
            retry_truncated=retry_truncated,
            known_mode=self._modes.get(model),
        )
