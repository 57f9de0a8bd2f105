"""The models and the balance of one client's account, and suggestions for an unknown model.

It refuses to pace these requests: limits that a client learns do not count them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from laplas_async.calls.catalog import fetch
from laplas_async.calls.lifetime import Lifetime
from laplas_async.calls.policy import RetryPolicy
from laplas_async.errors import ConnectionFailedError, LaplasError, NotFoundError
from laplas_async.http.transport import Transport
from laplas_async.timeouts import Timeouts
from laplas_async.types import Balance, Model
from laplas_async.wire.catalog import closest_models, decode_balance, decode_models

T = TypeVar("T")
_SUGGESTION_TIMEOUT = 5.0  # seconds; the error of a misspelled model is worth no more waiting


class Account:
    """What the service lists for one key. The models are fetched once, and kept."""

    __slots__ = ("_lifetime", "_models", "_transport")

    def __init__(self, transport: Transport, lifetime: Lifetime) -> None:
        self._transport = transport
        self._lifetime = lifetime
        self._models: list[Model] | None = None

    async def models(self, *, refresh: bool, timeouts: Timeouts, retry: RetryPolicy) -> list[Model]:
        """The models, fetched if they are not known or ``refresh``. Raises as a call does."""
        if self._models is None or refresh:
            self._models = await self._fetch("models", decode_models, timeouts, retry)
        return list(self._models)

    async def balance(self, *, timeouts: Timeouts, retry: RetryPolicy) -> Balance:
        """What is left, fetched each time. Raises as a call does."""
        return await self._fetch("billing/balance", decode_balance, timeouts, retry)

    async def _fetch(
        self, path: str, decode: Callable[[bytes], T], timeouts: Timeouts, retry: RetryPolicy
    ) -> T:
        self._lifetime.check_open()
        scope = self._lifetime.begin_call()
        try:
            async with scope:
                return await fetch(self._transport, path, decode, timeouts=timeouts, retry=retry)
        except TimeoutError as error:
            if isinstance(error, LaplasError):
                raise
            raise ConnectionFailedError("the client was closed during the call") from None
        finally:
            self._lifetime.end_call(scope)


async def suggest_models(
    error: NotFoundError, wanted: str, models: Callable[[], Awaitable[list[Model]]]
) -> None:
    """Add the ids most like an unknown one to its error, if the service lists any in time."""
    try:
        async with asyncio.timeout(_SUGGESTION_TIMEOUT):
            known = [found.id for found in await models()]
    except (LaplasError, TimeoutError):
        return
    near = [] if wanted in known else closest_models(wanted, known)
    if near:
        error.args = (f"{error.message}; the closest models: {', '.join(near)}",)
