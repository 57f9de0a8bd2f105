"""Errors that a service reports with status 200, and bodies sent in place of a stream.

It refuses to decide how the stream ends (``verdict`` does).
"""

import time
from collections.abc import Set as AbstractSet
from typing import Any

from laplas_async.errors import StreamAPIError, StreamProtocolError, StreamTruncatedError
from laplas_async.http.response import Response
from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.body_kind import BLANK, has_choices
from laplas_async.wire.chunks import ChunkDecoder, chunk_from_completion
from laplas_async.wire.codec import DecodeError, quote
from laplas_async.wire.error_body import is_failure, read_failure
from laplas_async.wire.finish_reason import failure_of
from laplas_async.wire.plain_body import IncompleteBody, load_whole


def read_other_body(response: Response, body: bytes) -> list[ChatCompletionChunk]:
    """Read a body that is not a stream: one completion, a list of chunks, an error, or a page.

    Raises ``StreamAPIError`` for an error, ``StreamTruncatedError`` for JSON that is cut,
    ``StreamProtocolError`` for anything else.
    """
    try:
        value = load_whole(body.lstrip(BLANK))
        if is_failure(value):
            raise reported_error(response, value)
        if isinstance(value, dict):
            return [chunk_from_completion(value)]
        if isinstance(value, list) and value and all(map(has_choices, value)):
            decoder = ChunkDecoder()
            return [chunk for item in value if (chunk := decoder.decode_body(item)) is not None]
    except IncompleteBody as error:
        raise StreamTruncatedError(response.redact(str(error))) from None
    except DecodeError as error:
        message = read_failure(body.decode("utf-8", "replace")).message or str(error)
    else:
        message = quote(body)
    raise StreamProtocolError(f"received in place of a stream: {response.redact(message)}")


def reported_error(response: Response, body: object) -> StreamAPIError:
    """The error that the service reported in ``body``, without the key."""
    clean = response.redact(body)
    failure = read_failure(clean, now=time.time())
    message = failure.message or quote(clean, 500) if clean else "it gives no explanation"
    return StreamAPIError(
        f"the service reported an error in the stream: {message}",
        status=failure.status,
        code=failure.code,
        retry_after=failure.retry_after,
        body=clean,
    )


def failed_choice_of(
    chunk: ChatCompletionChunk, reasons: AbstractSet[str]
) -> dict[str, Any] | None:
    """The error of a choice that ended in a failure (law 1), or None."""
    for choice in chunk.choices:
        if choice.finish_reason is None and not choice.extra and not choice.delta.extra:
            continue  # nearly every chunk
        error = choice.extra.get("error") or choice.delta.extra.get("error")
        if (failure := failure_of(choice.finish_reason, error, reasons)) is not None:
            return failure
    return None
