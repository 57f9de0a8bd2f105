"""GET requests beside the chat: the service's models and the account's balance.

They are retried as calls are, through a gate of their own: they are not counted by the limits that
a client learns. It refuses to keep what it fetched.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.retrying import AttemptContext, run
from laplas_async.errors import APIError, LaplasError, RequestTimeoutError
from laplas_async.http.transport import Transport
from laplas_async.pacing.gate import Gate
from laplas_async.timeouts import Timeouts
from laplas_async.wire.codec import DecodeError

T = TypeVar("T")


async def fetch(
    transport: Transport,
    path: str,
    decode: Callable[[bytes], T],
    *,
    timeouts: Timeouts,
    retry: RetryPolicy,
) -> T:
    """Get ``path`` and decode its body. Raises as a call does; cancelling closes the connection."""
    total = timeouts.total_for(stream=False)

    async def get(attempt: AttemptContext) -> T:
        try:
            async with asyncio.timeout(total):
                return await _get(transport, attempt, path, decode, timeouts)
        except TimeoutError as error:
            if isinstance(error, LaplasError):
                raise
            raise RequestTimeoutError(f"no response within {total} s (total)") from None

    done = await run(get, Gate(), retry)
    done.attempt.permit.succeed()
    return done.result


async def _get(
    transport: Transport,
    attempt: AttemptContext,
    path: str,
    decode: Callable[[bytes], T],
    timeouts: Timeouts,
) -> T:
    response = await transport.get(path, connect_timeout=timeouts.connect)
    attempt.status, attempt.request_id = response.status, response.request_id
    try:
        if not 200 <= response.status < 300:
            raise await response.error()
        return decode(await response.read_all())
    except DecodeError as error:
        message = f"{response.status} from /{path}: {response.redact(str(error))}"
        raise APIError(message, status=response.status, request_id=response.request_id) from None
    finally:
        response.close()
