"""openai's exceptions, as real base classes: the same names, attributes and inheritance.

``from_core`` maps an error of the core client to the one that a program written for openai
catches; the core error stays reachable as ``__cause__``. It refuses to import openai.

Two differences, both on purpose: every class also derives from ``LaplasError``, and a stream that
breaks raises ``APIConnectionError`` (openai lets httpx's own exception through).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from laplas_async import errors as core
from laplas_async.openai.response import Request, Response
from laplas_async.types import ChatCompletion


class OpenAIError(core.LaplasError):
    """The root of openai's exceptions."""

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the service invited another request; None: it did not."""
        return getattr(self.__cause__, "retry_after", None)

    def __reduce__(self) -> Any:
        """Survive pickling, although openai's constructors do not take what they store."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    cls: type[OpenAIError], arguments: tuple[Any, ...], fields: dict[str, Any]
) -> OpenAIError:
    made = cls.__new__(cls)
    made.args = arguments
    made.__dict__.update(fields)
    return made


class UnsupportedError(OpenAIError, core.ConfigError, AttributeError):
    """A part of openai's client that this one does not have; the message says what to write.

    An ``AttributeError`` too, so that ``hasattr(client, "responses")`` is False.
    """


class SettingsError(OpenAIError, core.ConfigError):
    """A client was constructed with settings that cannot be right."""


class ClientClosedError(OpenAIError, core.ConfigError, RuntimeError):
    """A call on a client that has been closed: a ``RuntimeError``, as httpx raises there."""


class APIError(OpenAIError):
    """Any failure of a call. ``body`` is the inner error object, where the response had one."""

    code: str | None = None
    param: str | None = None
    type: str | None = None

    def __init__(self, message: str = "", request: Any = None, *, body: Any = None) -> None:
        super().__init__(message)
        self.request = request
        self.body = body
        self.partial: ChatCompletion | None = None
        if isinstance(body, Mapping):
            self.code = _text(body.get("code"))
            self.param = body.get("param")
            self.type = body.get("type")


class APIResponseValidationError(APIError):
    """The response was no chat completion."""

    def __init__(
        self, response: Any = None, body: Any = None, *, message: str = "", request: Any = None
    ) -> None:
        super().__init__(
            message or "Data returned by API invalid for expected schema.", request, body=body
        )
        self.response = response
        self.status_code: int | None = getattr(response, "status_code", None)


class APIStatusError(APIError):
    """The response had an error status: ``status_code``, ``response``, ``request_id``."""

    def __init__(self, message: str = "", *, response: Any = None, body: Any = None) -> None:
        super().__init__(message, getattr(response, "request", None), body=body)
        self.response = response
        self.status_code: int = getattr(response, "status_code", 0)
        headers = getattr(response, "headers", None) or {}
        self.request_id = headers.get("x-request-id")


class APIConnectionError(APIError):
    """There was no response, or it broke off."""

    def __init__(self, *, message: str = "Connection error.", request: Any = None) -> None:
        super().__init__(message, request)


class APITimeoutError(APIConnectionError, TimeoutError):
    """Time ran out."""

    def __init__(self, request: Any = None, *, message: str = "Request timed out.") -> None:
        super().__init__(message=message, request=request)


class BadRequestError(APIStatusError):
    """400."""


class RefusedRequestError(BadRequestError, core.ConfigError):
    """A request that the service would refuse, found before it was sent.

    A ``BadRequestError`` because that is what the service's response would have raised; its
    ``response`` has status 400 and no headers, as nothing was sent.
    """


class AuthenticationError(APIStatusError):
    """401."""


class PermissionDeniedError(APIStatusError):
    """403; also 402, an empty account."""


class NotFoundError(APIStatusError):
    """404."""


class ConflictError(APIStatusError):
    """409."""


class UnprocessableEntityError(APIStatusError):
    """422."""


class RateLimitError(APIStatusError):
    """429."""


class InternalServerError(APIStatusError):
    """500 and above."""


class LengthFinishReasonError(OpenAIError):
    """``parse`` met an answer that was cut by ``max_tokens``: ``completion``."""

    def __init__(self, *, completion: Any = None) -> None:
        usage = getattr(completion, "usage", None)
        super().__init__(
            "Could not parse response content as the length limit was reached"
            + (f" - {usage}" if usage else "")
        )
        self.completion = completion


class ContentFilterFinishReasonError(OpenAIError):
    """``parse`` met an answer that the content filter stopped."""

    def __init__(self) -> None:
        super().__init__(
            "Could not parse response content as the request was rejected by the content filter"
        )


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


@contextmanager
def openai_errors(request: Request | None = None) -> Iterator[None]:
    """Raise the core client's errors from the block as openai's, with the request they have."""
    try:
        yield
    except OpenAIError:
        raise
    except core.LaplasError as error:
        raise from_core(error, request) from error


def from_core(error: core.LaplasError, request: Request | None = None) -> OpenAIError:
    """The exception that a program for openai expects in place of a core error."""
    made = _made(error, request)
    made.attempts = error.attempts
    made.request_id = made.request_id or error.request_id
    if isinstance(made, APIError):
        made.partial = getattr(error, "partial", None)
        made.request = request
    return made


def _made(error: core.LaplasError, request: Request | None) -> OpenAIError:
    match error:
        case core.ConfigError():
            body = {"message": error.message, "type": "invalid_request_error", "code": None}
            response = Response(400, body={"error": body}, request=request)
            return RefusedRequestError(error.message, response=response, body=body)
        case core.APIError():
            return _status_error(error, request)
        case core.StreamAPIError():
            inner = _inner(error.body)
            message = inner.get("message") if isinstance(inner, Mapping) else None
            return APIError(message if isinstance(message, str) else error.message, body=inner)
        case core.RequestTimeoutError() | core.StreamTimeoutError():
            return APITimeoutError(message=f"Request timed out. ({error.message})")
        case core.StreamProtocolError():
            return APIResponseValidationError(message=error.message)
    return APIConnectionError(message=f"Connection error. ({error.message})")


def _status_error(error: core.APIError, request: Request | None) -> APIError:
    status, body = error.status or 0, error.body
    response = Response(status, error.headers, body, request=request)
    if status < 400:
        return APIResponseValidationError(response, body, message=error.message)
    cls = _BY_STATUS.get(status) or (InternalServerError if status >= 500 else APIStatusError)
    # openai's words, for the programs that search them ("context_length_exceeded" in str(e)).
    message = f"Error code: {status} - {body}" if isinstance(body, dict | list) else body
    return cls(message or f"Error code: {status}", response=response, body=_inner(body))


def _inner(body: Any) -> Any:
    return body.get("error", body) if isinstance(body, Mapping) else body


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
