"""``openai.error`` and ``together.error``: where early versions of both had their exceptions."""

from laplas_async.openai.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    OpenAIError,
    RateLimitError,
)
from laplas_async.openai.errors import APITimeoutError as Timeout
from laplas_async.openai.errors import BadRequestError as InvalidRequestError
from laplas_async.openai.errors import InternalServerError as ServiceUnavailableError
from laplas_async.openai.errors import PermissionDeniedError as PermissionError  # noqa: A004 - its name there

__all__ = [
    "APIConnectionError",
    "APIError",
    "AuthenticationError",
    "InvalidRequestError",
    "OpenAIError",
    "PermissionError",
    "RateLimitError",
    "ServiceUnavailableError",
    "Timeout",
]
