"""One try over the transport: the request out, and the answer's beginning in.

It refuses to try twice (``calls`` does) and to know a client.
"""

import asyncio
from collections.abc import Mapping

from laplas_async.calls.retrying import Try
from laplas_async.errors import APIError, LaplasError, RequestTimeoutError
from laplas_async.http.transport import Response, Transport
from laplas_async.streaming.reader import StreamedAnswer
from laplas_async.timeouts import Timeouts
from laplas_async.types import ChatCompletion
from laplas_async.wire.codec import DecodeError, completion_from, cost_from, loads, quote
from laplas_async.wire.error_body import is_failure, read_failure


async def send(
    transport: Transport,
    this: Try,
    body: bytes,
    timeouts: Timeouts,
    headers: Mapping[str, str],
    *,
    stream: bool,
) -> Response:
    """Send it; an answer that is no success is raised as its error."""
    response = await transport.post(
        body, stream=stream, connect_timeout=timeouts.connect, headers=headers
    )
    this.status, this.request_id = response.status, response.request_id
    if 200 <= response.status < 300:
        if (pause := response.pause) is not None:
            this.permit.pause(pause)
        return response
    try:
        raise await response.error()
    finally:
        response.close()


async def open_stream(
    transport: Transport,
    this: Try,
    body: bytes,
    timeouts: Timeouts,
    *,
    headers: Mapping[str, str],
    choices: int,
) -> StreamedAnswer:
    """Send it; return when its first content is there, or its end."""
    sent_at = asyncio.get_running_loop().time()
    bounds = {"first_token": timeouts.first_token, "total": timeouts.total_for(stream=True)}
    phase, seconds = min(
        ((phase, s) for phase, s in bounds.items() if s is not None),
        key=lambda bound: bound[1],
        default=("", None),
    )
    try:
        async with asyncio.timeout(seconds):
            response = await send(transport, this, body, timeouts, headers, stream=True)
    except TimeoutError as error:
        if isinstance(error, LaplasError):
            raise
        words = f"no answer within {seconds} s ({phase})"
        raise RequestTimeoutError(words, phase=phase) from None
    answer = StreamedAnswer(response, timeouts, choices=choices, sent_at=sent_at)
    await answer.open()
    return answer


def read_completion(response: Response, data: bytes) -> ChatCompletion:
    """The body of a 2xx: an answer, or an error in its place."""
    try:
        body = loads(data)
        if isinstance(body, dict) and is_failure(body):
            status = read_failure(body).status or response.status
            raise response.error_from(data, status=status)
        completion = completion_from(body)
    except DecodeError as error:
        raise APIError(
            f"{response.status}: the answer is no chat completion: {response.redact(str(error))}",
            status=response.status,
            request_id=response.request_id,
            body=response.redact(quote(data, 2000)),
        ) from None
    completion.request_id = response.request_id
    if completion.cost is None:
        completion.cost = cost_from(None, response.headers)
    return completion
