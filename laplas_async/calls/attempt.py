"""One attempt over the transport: the request out, and a completion or the start of a stream in.

It refuses to attempt anything twice (``retrying`` does) and to know a client.
"""

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from laplas_async.calls.retrying import AttemptContext
from laplas_async.errors import (
    APIError,
    ConnectionFailedError,
    LaplasError,
    RequestTimeoutError,
    StreamProtocolError,
)
from laplas_async.http.response import Response
from laplas_async.http.transport import Transport
from laplas_async.streaming.reader import StreamReader
from laplas_async.timeouts import Timeouts
from laplas_async.types import ChatCompletion
from laplas_async.wire.chunks import FailureEvent
from laplas_async.wire.codec import DecodeError, cost_from, dumps, quote
from laplas_async.wire.error_body import read_failure
from laplas_async.wire.finish_reason import FAILED_FINISH_REASONS
from laplas_async.wire.large_json import LARGE
from laplas_async.wire.plain_body import IncompleteBody, read_body


async def send(
    transport: Transport,
    attempt: AttemptContext,
    body: bytes,
    timeouts: Timeouts,
    headers: Mapping[str, str],
    *,
    stream: bool,
    query: Mapping[str, str] | None = None,
) -> Response:
    """Send it; a response that is no success is raised as its error."""
    response = await transport.send(
        body, stream=stream, connect_timeout=timeouts.connect, headers=headers, query=query
    )
    attempt.status, attempt.request_id = response.status, response.request_id
    if 200 <= response.status < 300:
        if (delay := response.reset_delay) is not None:
            attempt.permit.pause(delay)
        return response
    try:
        raise await response.error()
    finally:
        response.close()


async def complete(
    transport: Transport,
    attempt: AttemptContext,
    body: bytes,
    timeouts: Timeouts,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    failed_reasons: AbstractSet[str] = FAILED_FINISH_REASONS,
) -> ChatCompletion:
    """Send it, and read the completion. Cancelling it closes the connection."""
    total = timeouts.total_for(stream=False)
    try:
        async with asyncio.timeout(total):
            response = await send(
                transport, attempt, body, timeouts, headers, stream=False, query=query
            )
            try:
                data = await response.read_all()
            except BaseException:
                response.close()
                raise
    except TimeoutError as error:
        if isinstance(error, LaplasError):
            raise
        raise RequestTimeoutError(f"no completion within {total} s (total)") from None
    if len(data) <= LARGE:
        return read_completion(response, data, failed_reasons)
    return await asyncio.to_thread(read_completion, response, data, failed_reasons)


async def open_stream(
    transport: Transport,
    attempt: AttemptContext,
    body: bytes,
    timeouts: Timeouts,
    *,
    headers: Mapping[str, str],
    choices: int,
    query: Mapping[str, str] | None = None,
    failed_reasons: AbstractSet[str] = FAILED_FINISH_REASONS,
) -> StreamReader:
    """Send it; return when the first content has been received, or the end."""
    sent_at = asyncio.get_running_loop().time()
    bounds = {"first_token": timeouts.first_token, "total": timeouts.total_for(stream=True)}
    phase, timeout = min(
        ((phase, seconds) for phase, seconds in bounds.items() if seconds is not None),
        key=lambda bound: bound[1],
        default=("", None),
    )
    try:
        async with asyncio.timeout(timeout):
            response = await send(
                transport, attempt, body, timeouts, headers, stream=True, query=query
            )
    except TimeoutError as error:
        if isinstance(error, LaplasError):
            raise
        message = f"no response within {timeout} s ({phase})"
        raise RequestTimeoutError(message, phase=phase) from None
    reader = StreamReader(
        response, timeouts, choices=choices, sent_at=sent_at, failed_reasons=failed_reasons
    )
    reader.recorder = attempt.trace
    await reader.open()
    attempt.permit.accept()
    return reader


def read_completion(
    response: Response, data: bytes, failed_reasons: AbstractSet[str]
) -> ChatCompletion:
    """Decode the body of a 2xx: a completion, or an error in its place."""
    try:
        completion = read_body(data, failed_reasons)
    except FailureEvent as failure:
        raise response.error_from(
            dumps(failure.body), status=read_failure(failure.body).status or response.status
        ) from None
    except IncompleteBody as error:
        message = f"{response.status}: {response.redact(str(error))}"
        raise ConnectionFailedError(message, request_id=response.request_id) from None
    except (DecodeError, StreamProtocolError) as error:
        raise APIError(
            f"{response.status}: no chat completion in the body: {response.redact(str(error))}",
            status=response.status,
            request_id=response.request_id,
            body=response.redact(quote(data, 2000)),
        ) from None
    completion.request_id = response.request_id
    completion.headers = response.plain_headers
    if completion.cost is None:
        completion.cost = cost_from(None, response.headers)
    return completion
