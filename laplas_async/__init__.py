"""An asyncio client for the Apilaplas chat-completions API; see README.md.

The public names, and nothing else.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from laplas_async.calls.fanout import Outcome, OutcomeStream
from laplas_async.calls.policy import RetryPolicy
from laplas_async.client import DEFAULT_BASE_URL, LaplasClient
from laplas_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    JournalError,
    LaplasError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    TransportError,
)
from laplas_async.observe.events import Event
from laplas_async.pacing.gate import Gate, Pace
from laplas_async.pacing.limits import Limits
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.timeouts import Timeouts
from laplas_async.types import (
    DEFAULT_MODEL,
    Attempt,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Cost,
    Delta,
    FunctionCall,
    FunctionCallDelta,
    FunctionDefinition,
    ImagePart,
    ImageURL,
    JSONSchema,
    Logprobs,
    Message,
    RequestParameters,
    ResponseFormat,
    TextPart,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
    Usage,
)
from laplas_async.wire.codec import to_dict

if TYPE_CHECKING:
    from laplas_async.batch.report import BatchProgress, BatchReport
    from laplas_async.batch.run import run_batch

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_MODEL",
    "APIError",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BatchProgress",
    "BatchReport",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatStream",
    "Choice",
    "ChunkChoice",
    "ConfigError",
    "ConnectionFailedError",
    "Cost",
    "Delta",
    "Event",
    "FunctionCall",
    "FunctionCallDelta",
    "FunctionDefinition",
    "Gate",
    "ImagePart",
    "ImageURL",
    "JSONSchema",
    "JournalError",
    "LaplasClient",
    "LaplasError",
    "Limits",
    "Logprobs",
    "Message",
    "NotFoundError",
    "OutOfCreditsError",
    "Outcome",
    "OutcomeStream",
    "Pace",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "RequestParameters",
    "RequestTimeoutError",
    "ResponseFormat",
    "RetryPolicy",
    "ServerError",
    "StreamAPIError",
    "StreamError",
    "StreamProtocolError",
    "StreamTimeoutError",
    "StreamTruncatedError",
    "TextPart",
    "Timeouts",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "TopLogprob",
    "TransportError",
    "Usage",
    "run_batch",
    "to_dict",
]

_BATCH = {"BatchProgress": "report", "BatchReport": "report", "run_batch": "run"}


def __getattr__(name: str) -> object:
    # Who runs no batch does not wait for its modules.
    if name not in _BATCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(f"{__name__}.batch.{_BATCH[name]}"), name)
