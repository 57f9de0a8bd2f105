"""Errors that a service reports with status 200, and bodies sent in place of a stream.

It refuses to decide how the stream ends (``verdict`` does).
"""

from typing import Any

from laplas_async.errors import StreamAPIError, StreamProtocolError
from laplas_async.http.response import Response
from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.body_kind import BLANK
from laplas_async.wire.chunks import chunk_from_completion
from laplas_async.wire.codec import DecodeError, loads, quote
from laplas_async.wire.error_body import is_failure, read_failure
from laplas_async.wire.finish_reason import failed_choice


def read_other_body(response: Response, body: bytes) -> ChatCompletionChunk:
    """Read a body that is not a stream: one completion, an error in JSON, or a page.

    Raises ``StreamAPIError`` for an error, ``StreamProtocolError`` for anything but a completion.
    """
    try:
        value = loads(_without_done(body.lstrip(BLANK)))
        if isinstance(value, dict | list) and is_failure(value):
            raise reported_error(response, value)
        if isinstance(value, dict):
            return chunk_from_completion(value)
    except DecodeError as error:
        message = read_failure(body.decode("utf-8", "replace")).message or str(error)
    else:
        message = quote(body)
    raise StreamProtocolError(f"received in place of a stream: {response.redact(message)}")


def reported_error(response: Response, body: object) -> StreamAPIError:
    """The error that the service reported in ``body``, without the key."""
    clean = response.redact(body)
    failure = read_failure(clean)
    return StreamAPIError(
        f"the service reported an error in the stream: {failure.message or quote(clean, 500)}",
        status=failure.status,
        code=failure.code,
        body=clean,
    )


def failed_choice_of(chunk: ChatCompletionChunk) -> dict[str, Any] | None:
    """The error of a choice that ended in a failure (law 1), or None."""
    for choice in chunk.choices:
        if choice.finish_reason is not None or choice.extra:
            fields = {"finish_reason": choice.finish_reason, "error": choice.extra.get("error")}
            if (failure := failed_choice({"choices": [fields]})) is not None:
                return failure
    return None


def _without_done(body: bytes) -> bytes:
    """Remove the ``data: [DONE]`` that some servers send after a completion."""
    while (rest := body.rstrip()).endswith(b"[DONE]"):
        body = rest.removesuffix(b"[DONE]").rstrip().removesuffix(b"data:")
    return body
