"""Every error that leaves the library, as plain data that survives pickling.

Nothing else leaves it, but asyncio's own cancellation. No error holds the API key: whoever builds
one from a server's words takes the key out first (``transport``).
"""

from typing import Any

from laplas_async.types import Attempt, ChatCompletion


class LaplasError(Exception):
    """The root of all errors of this library.

    ``attempts`` are the tries that were made, the last one being the one that failed for good;
    empty where nothing was sent.
    """

    attempts: tuple[Attempt, ...] = ()
    request_id: str | None = None

    @property
    def message(self) -> str:
        """The error in words."""
        return str(self.args[0]) if self.args else ""

    # Keyword arguments live in __dict__ and the message alone in args: that is all that
    # BaseException.__reduce__ needs to carry an error through pickle.


class ConfigError(LaplasError, ValueError):
    """Something is wrong on this side, found before anything was sent."""


class APIError(LaplasError):
    """The service answered with an error.

    ``status`` is the HTTP status (or the one inside an error event), ``code`` the service's own
    word for it, ``retry_after`` seconds, ``body`` the answer as it came (JSON or text, shortened).
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
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body
        self.attempts = attempts


class BadRequestError(APIError):
    """400, 422: the request is wrong. Never retried."""


class AuthenticationError(APIError):
    """401: the key is missing or wrong. Never retried."""


class PermissionDeniedError(APIError):
    """403: the key may not do this. Never retried."""


class OutOfCreditsError(PermissionDeniedError):
    """403 with the words of an empty account: pay, then go on. Never retried."""


class NotFoundError(APIError):
    """404: a wrong base URL or model. Never retried."""


class RateLimitError(APIError):
    """429: too many requests, or too many at once. Slows the whole client; retried."""


class QuotaExceededError(RateLimitError):
    """429 for a quota (an hourly free tier, say): waiting seconds does not help. Not retried."""


class ServerError(APIError):
    """5xx: the service failed. Retried."""


class TransportError(LaplasError):
    """No whole answer came: the connection failed or time ran out."""

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
    """The connection could not be made, or broke before the answer was whole.

    ``sent``: False if the request certainly never reached the service. ``permanent``: trying
    again cannot help (a certificate that is not trusted).
    """

    def __init__(
        self, message: str = "", *, sent: bool = True, permanent: bool = False, **data: Any
    ) -> None:
        super().__init__(message, **data)
        self.sent = sent
        self.permanent = permanent


class RequestTimeoutError(TransportError, TimeoutError):
    """Time ran out: ``phase`` is connect, first_token or total."""

    def __init__(self, message: str = "", *, phase: str = "total", **data: Any) -> None:
        super().__init__(message, **data)
        self.phase = phase


class StreamError(LaplasError):
    """A stream did not come to its end. ``partial`` is what had come."""

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
    """The stream ended with neither ``finish_reason`` nor ``[DONE]``, or was cut before them."""


class StreamTimeoutError(StreamError, TimeoutError):
    """Nothing of content came for too long: ``phase`` is idle or total."""

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
    """What came is no stream of chunks: not JSON, not the shape, too large, an HTML page."""


class JournalError(LaplasError):
    """A file of a batch cannot be used, or used any longer; what was saved stays.

    ``path`` is the file, ``line`` the line at which it is broken, where there is one.
    """

    def __init__(self, message: str = "", *, path: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
