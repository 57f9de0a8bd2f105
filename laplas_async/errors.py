"""Every error that this library raises: plain data that survives pickling.

Nothing else leaves the library except asyncio's cancellation. No error contains the API key:
``http.response`` redacts it from everything a server sends before an error is made of it. This
module refuses to decide which error a response is (``wire.error_body`` does).
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from laplas_async.types import Attempt, ChatCompletion, Cost, MessageLike, Usage


class LaplasError(Exception):
    """The base class of all errors of this library.

    ``attempts`` records every attempt made, the last of which raised this error; empty if nothing
    was sent. ``request_id`` is the service's id of the request, None if it sent none.
    """

    attempts: tuple[Attempt, ...] = ()
    request_id: str | None = None

    @property
    def message(self) -> str:
        """The message, "" if there is none."""
        return str(self.args[0]) if self.args else ""

    # The message is the only positional argument and everything else is in __dict__, so
    # BaseException.__reduce__ pickles and copies every subclass without further code.


class ConfigError(LaplasError, ValueError):
    """A setting or an argument is wrong; raised before anything is sent. Never retried."""


class APIError(LaplasError):
    """The service responded with an error.

    ``status`` is the HTTP status (or the one inside a 2xx body), ``code`` the service's name for
    the error, ``retry_after`` the seconds it asks to wait, ``body`` the response body (JSON values,
    or text, shortened). None for what the response does not contain. ``headers`` are the
    response's, with lower-case names.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body
        self.headers = dict(headers or {})
        self.attempts = attempts


class BadRequestError(APIError):
    """400, 413, 422: the request is invalid. Never retried.

    Also 500 where the body says so: llama-cpp-python's server answers invalid requests that way.
    """


class AuthenticationError(APIError):
    """401: the key is missing or wrong. Never retried."""


class PermissionDeniedError(APIError):
    """403: the key lacks permission for this. Never retried."""


class OutOfCreditsError(PermissionDeniedError):
    """402, or 403 with a message about credits: top up the account. Never retried."""


class NotFoundError(APIError):
    """404: the base URL or the model is wrong. Never retried."""


class RateLimitError(APIError):
    """429: too many requests, or too many at once. Slows down the whole client; retried."""


class QuotaExceededError(RateLimitError):
    """429 for a quota, such as an hourly free tier: waiting seconds does not help. Not retried."""


class ServerError(APIError):
    """5xx: the service failed. Retried."""


class TransportError(LaplasError):
    """No complete response was received: the connection failed or a timeout expired."""

    def __init__(
        self,
        message: str = "",
        *,
        request_id: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.attempts = attempts


class ConnectionFailedError(TransportError):
    """The connection could not be opened, or broke before the response was complete.

    ``sent``: False if the request certainly never reached the service. ``permanent``: retrying
    cannot help (an untrusted certificate, a proxy that refuses).
    """

    def __init__(
        self, message: str = "", *, sent: bool = True, permanent: bool = False, **data: Any
    ) -> None:
        super().__init__(message, **data)
        self.sent = sent
        self.permanent = permanent


class RequestTimeoutError(TransportError, TimeoutError):
    """A timeout expired before the response was complete; for streams, before the first content.

    ``phase``: "connect" (opening the connection), "first_token" (a stream's first content),
    "total" (the whole attempt), or "turn" (waiting at the gate, ``Limits.max_wait``; nothing was
    sent).
    """

    def __init__(self, message: str = "", *, phase: str = "total", **data: Any) -> None:
        super().__init__(message, **data)
        self.phase = phase


class StreamError(LaplasError):
    """A stream failed before its end. ``partial`` is the completion received so far."""

    def __init__(
        self,
        message: str = "",
        *,
        request_id: str | None = None,
        partial: ChatCompletion | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.partial = partial if partial is not None else ChatCompletion()
        self.attempts = attempts


class StreamTruncatedError(StreamError):
    """The stream ended, or was cut, with neither ``finish_reason`` nor ``[DONE]``.

    ``closed``: the program itself closed it, through ``aclose()``.
    """

    closed: bool = False


class AnswerReplacedError(StreamTruncatedError):
    """A newer message of the same chat took the place of this one (``busy="replace"``)."""


class StreamTimeoutError(StreamError, TimeoutError):
    """A timeout expired in a stream: ``phase`` is "idle" (no content for too long) or "total"."""

    def __init__(self, message: str = "", *, phase: str = "idle", **data: Any) -> None:
        super().__init__(message, **data)
        self.phase = phase


class StreamAPIError(StreamError):
    """The service reported an error inside the stream; the fields are those of ``APIError``."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
        **data: Any,
    ) -> None:
        super().__init__(message, **data)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.body = body


class StreamProtocolError(StreamError):
    """The response is not a stream of chunks: not JSON, other objects, too large, an HTML page."""


class BudgetError(LaplasError):
    """A call may cost more than is left of its ``Budget``; nothing was sent. In US dollars.

    ``spent`` has been settled, ``reserved`` is the worst case of calls in flight.
    """

    def __init__(
        self, message: str = "", *, spent: float = 0.0, reserved: float = 0.0, limit: float = 0.0
    ) -> None:
        super().__init__(message)
        self.spent = spent
        self.reserved = reserved
        self.limit = limit


class JournalError(LaplasError):
    """A batch file cannot be read or written; results that were saved are kept.

    ``path`` is the file, ``line`` the number of the invalid line (from 1), None if there is none.
    """

    def __init__(self, message: str = "", *, path: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


@frozen
class Problem:
    """One thing that is wrong with an output: ``path`` is like ``lines[2].price``, "" for all."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class OutputError(LaplasError):
    """The model's answer is not the object that was asked for.

    ``text`` is the answer as received, ``errors`` every problem found in it and ``path`` the place
    of the first. ``usage`` is the sum over all attempts, ``completion`` the last response (None
    where the service rejected what its model had generated).
    """

    def __init__(
        self,
        message: str = "",
        *,
        text: str = "",
        errors: tuple[Problem, ...] = (),
        usage: Usage | None = None,
        completion: ChatCompletion | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.text = text
        self.errors = errors
        self.usage = usage
        self.completion = completion
        self.attempts = attempts

    @property
    def path(self) -> str:
        """Where the first problem is; "" for the whole answer."""
        return self.errors[0].path if self.errors else ""


class RefusalError(OutputError):
    """The model declined to answer; ``text`` says how. Asking again the same way does not help."""


class ContentFilterError(RefusalError):
    """The service withheld the answer (``finish_reason`` is ``content_filter``)."""


class TruncatedOutputError(OutputError):
    """``max_tokens`` ended the answer in the middle; raise it, or ask for less.

    ``partial`` holds the values that were complete, as plain JSON values; None where none was.
    """

    def __init__(self, message: str = "", *, partial: Any = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.partial = partial


class InvalidJSONError(OutputError):
    """The answer holds no JSON, broken JSON, or more than one JSON value."""


class OutputValidationError(OutputError):
    """The answer is JSON, but does not fit the type; ``errors`` lists every problem."""


class RunLimitError(LaplasError):
    """A tool run reached one of its limits.

    ``limit`` names the field of ``RunLimits``. ``messages`` is the conversation so far, with every
    tool call answered, so it can seed another run; ``usage`` and ``cost`` are what was spent.
    """

    def __init__(
        self,
        message: str = "",
        *,
        limit: str = "",
        messages: tuple[MessageLike, ...] = (),
        usage: Usage | None = None,
        cost: Cost | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.messages = messages
        self.usage = usage
        self.cost = cost
        self.attempts = attempts


class ConversationError(LaplasError):
    """A message was not answered because of the state of its chat; nothing was sent.

    ``chat`` is the chat's key, as JSON. Raised itself if the chat's history cannot be read or
    saved.
    """

    def __init__(self, message: str = "", *, chat: str = "") -> None:
        super().__init__(message)
        self.chat = chat


class ChatBusyError(ConversationError):
    """The chat's previous message is still being answered (``busy="refuse"``)."""


class DuplicateMessageError(ConversationError):
    """This message was delivered before, and was answered or is being answered."""
