"""openai-python's surface on top of laplas-async: ``import laplas_async.openai as openai``.

The whole migration of a program that uses ``AsyncOpenAI`` (or ``AsyncTogether``, ``AsyncGroq``) is
this import. Its classes,
exceptions and results have openai's names and shapes; what cannot be honoured raises one line that
says what to write instead. It imports neither openai nor httpx, and never reads OPENAI_API_KEY.
"""

from importlib.metadata import version
from typing import Any

from laplas_async.openai import error, types
from laplas_async.openai.client import AsyncClient, AsyncOpenAI
from laplas_async.openai.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConflictError,
    ContentFilterFinishReasonError,
    InternalServerError,
    LengthFinishReasonError,
    NotFoundError,
    OpenAIError,
    PermissionDeniedError,
    RateLimitError,
    RefusedRequestError,
    SettingsError,
    UnprocessableEntityError,
    UnsupportedError,
)
from laplas_async.openai.omitted import NOT_GIVEN, NotGiven, Omit, not_given, omit
from laplas_async.openai.pacing import PacingTransport
from laplas_async.openai.parsing import pydantic_function_tool
from laplas_async.openai.results import BaseModel
from laplas_async.openai.streams import AsyncStream
from laplas_async.openai.unsupported import (
    AsyncAzureOpenAI,
    AzureOpenAI,
    Client,
    DefaultAioHttpClient,
    DefaultAsyncHttpx2Client,
    DefaultAsyncHttpxClient,
    DefaultHttpxClient,
    Groq,
    OpenAI,
    Stream,
    Together,
)

__all__ = [
    "DEFAULT_MAX_RETRIES",
    "DEFAULT_TIMEOUT",
    "NOT_GIVEN",
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncAzureOpenAI",
    "AsyncClient",
    "AsyncGroq",
    "AsyncOpenAI",
    "AsyncStream",
    "AsyncTogether",
    "AuthenticationError",
    "AzureOpenAI",
    "BadRequestError",
    "BaseModel",
    "Client",
    "ClientClosedError",
    "ConflictError",
    "ContentFilterFinishReasonError",
    "DefaultAioHttpClient",
    "DefaultAsyncHttpx2Client",
    "DefaultAsyncHttpxClient",
    "DefaultHttpxClient",
    "Groq",
    "GroqError",
    "InternalServerError",
    "LengthFinishReasonError",
    "NotFoundError",
    "NotGiven",
    "Omit",
    "OpenAI",
    "OpenAIError",
    "PacingTransport",
    "PermissionDeniedError",
    "RateLimitError",
    "RefusedRequestError",
    "SettingsError",
    "Stream",
    "Timeout",
    "Together",
    "TogetherError",
    "UnprocessableEntityError",
    "UnsupportedError",
    "error",
    "not_given",
    "omit",
    "pydantic_function_tool",
    "types",
]

DEFAULT_MAX_RETRIES = 2  # openai's constant, for programs that compute with it

# The clients of Together and Groq have the same surface, so programs move from them the same way.
AsyncTogether = AsyncGroq = AsyncOpenAI
TogetherError = GroqError = OpenAIError


class Timeout:
    """httpx's ``Timeout`` under the name that openai gives it; seconds, None for no bound."""

    def __init__(
        self,
        timeout: Any = NOT_GIVEN,
        *,
        connect: Any = NOT_GIVEN,
        read: Any = NOT_GIVEN,
        write: Any = NOT_GIVEN,
        pool: Any = NOT_GIVEN,
    ) -> None:
        parts = [
            timeout if isinstance(part, NotGiven) else part for part in (connect, read, write, pool)
        ]
        if any(isinstance(part, NotGiven) for part in parts):
            raise ValueError("Timeout: pass a default, or all of connect, read, write and pool")
        self.connect, self.read, self.write, self.pool = parts

    def __repr__(self) -> str:
        return (
            f"Timeout(connect={self.connect}, read={self.read}, write={self.write}, "
            f"pool={self.pool})"
        )


DEFAULT_TIMEOUT = Timeout(600, connect=5.0)  # likewise; what applies here is in ``Timeouts``


def __getattr__(name: str) -> Any:
    if name in ("__version__", "VERSION"):
        return version("laplas-async")
    if name in ("chat", "completions", "embeddings", "responses", "images", "audio", "models"):
        raise UnsupportedError(f"openai.{name}: construct a client: AsyncOpenAI().{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
