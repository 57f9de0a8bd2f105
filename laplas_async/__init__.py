"""An asyncio client for the Apilaplas chat-completions API; see README.md.

This module holds the public names and nothing else. What is needed for calls and streams is
imported at once, every other name when it is first used.

Code and tests cite these laws by number:

1. **A truncated stream is never a complete response**, and neither is a failure that a server
   presents as an end.
2. **No request is repeated once text has been received.** An attempt that may have produced a
   response is marked ``may_be_billed``.
3. **One gate.** A 429 slows down every task of the client; waiting tasks proceed in order of
   arrival. No single response, such as a Retry-After of a day, silently stops the client.
4. **Cancel anywhere.** Afterwards no task, socket or permit remains. A user's hook, listener or
   tool that raises leaks nothing. No work is done in ``__del__``.
5. **Memory is bounded** by what is in flight.
6. **The event loop is never blocked** by files, DNS, certificates, or more than a few
   milliseconds of CPU work.
7. **The key never leaks**: not into a repr, log, span, report, error or traceback, nor to another
   host on a redirect. Message content appears in no log or span unless requested.
8. **Server vocabularies stay open**: an unknown finish reason, field, event or content part is
   preserved, never fatal.
9. **Pay only for what you use**: ``import laplas_async`` loads none of batch, bots, tools,
   structured, openai, report, observe.otel.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from laplas_async.calls.fanout import Outcome, OutcomeStream
from laplas_async.calls.policy import RetryPolicy
from laplas_async.client import LaplasClient
from laplas_async.errors import (
    AnswerReplacedError,
    APIError,
    AuthenticationError,
    BadRequestError,
    BudgetError,
    ChatBusyError,
    ConfigError,
    ConnectionFailedError,
    ContentFilterError,
    ConversationError,
    DuplicateMessageError,
    InvalidJSONError,
    JournalError,
    LaplasError,
    NotFoundError,
    OutOfCreditsError,
    OutputError,
    OutputValidationError,
    PermissionDeniedError,
    Problem,
    QuotaExceededError,
    RateLimitError,
    RefusalError,
    RequestTimeoutError,
    RunLimitError,
    ServerError,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    TransportError,
    TruncatedOutputError,
)
from laplas_async.observe.events import Event
from laplas_async.pacing.gate import Gate, Pace
from laplas_async.pacing.limits import Limits
from laplas_async.streaming.chat_stream import ChatStream
from laplas_async.timeouts import Timeouts
from laplas_async.types import (
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    Attempt,
    Balance,
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
    Model,
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
    from laplas_async.bots.answer_stream import AnswerStream
    from laplas_async.bots.conversations import Conversation, Conversations
    from laplas_async.bots.history import Turn
    from laplas_async.bots.live_text import LiveText
    from laplas_async.bots.serving import relay, relay_websocket
    from laplas_async.bots.sqlite_storage import SQLiteStorage
    from laplas_async.bots.storage import MemoryStorage, Storage
    from laplas_async.observe.logs import Logs
    from laplas_async.observe.observer import ChunkObserver, ContentObserver, Observer
    from laplas_async.observe.otel import OTel
    from laplas_async.observe.records import AttemptRecord, CallRecord
    from laplas_async.pacing.budget import Budget
    from laplas_async.pacing.price import Price
    from laplas_async.streaming.parsed_stream import ParsedStream
    from laplas_async.structured.converter import strict_converter
    from laplas_async.structured.parsing import Parsed
    from laplas_async.structured.reading import OutputType
    from laplas_async.tools.calling import PendingCall, ToolResult
    from laplas_async.tools.definition import ToolContext, ToolFunction, tool
    from laplas_async.tools.limits import RunLimits
    from laplas_async.tools.loop import RunEvent, ToolRun, ToolStream

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_MODEL",
    "APIError",
    "AnswerReplacedError",
    "AnswerStream",
    "Attempt",
    "AttemptRecord",
    "AuthenticationError",
    "BadRequestError",
    "Balance",
    "BatchProgress",
    "BatchReport",
    "Budget",
    "BudgetError",
    "CallRecord",
    "ChatBusyError",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatStream",
    "Choice",
    "ChunkChoice",
    "ChunkObserver",
    "ConfigError",
    "ConnectionFailedError",
    "ContentFilterError",
    "ContentObserver",
    "Conversation",
    "ConversationError",
    "Conversations",
    "Cost",
    "Delta",
    "DuplicateMessageError",
    "Event",
    "FunctionCall",
    "FunctionCallDelta",
    "FunctionDefinition",
    "Gate",
    "ImagePart",
    "ImageURL",
    "InvalidJSONError",
    "JSONSchema",
    "JournalError",
    "LaplasClient",
    "LaplasError",
    "Limits",
    "LiveText",
    "Logprobs",
    "Logs",
    "MemoryStorage",
    "Message",
    "Model",
    "NotFoundError",
    "OTel",
    "Observer",
    "OutOfCreditsError",
    "Outcome",
    "OutcomeStream",
    "OutputError",
    "OutputType",
    "OutputValidationError",
    "Pace",
    "Parsed",
    "ParsedStream",
    "PendingCall",
    "PermissionDeniedError",
    "Price",
    "Problem",
    "QuotaExceededError",
    "RateLimitError",
    "RefusalError",
    "RequestParameters",
    "RequestTimeoutError",
    "ResponseFormat",
    "RetryPolicy",
    "RunEvent",
    "RunLimitError",
    "RunLimits",
    "SQLiteStorage",
    "ServerError",
    "Storage",
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
    "ToolContext",
    "ToolFunction",
    "ToolResult",
    "ToolRun",
    "ToolStream",
    "TopLogprob",
    "TransportError",
    "TruncatedOutputError",
    "Turn",
    "Usage",
    "relay",
    "relay_websocket",
    "run_batch",
    "strict_converter",
    "to_dict",
    "tool",
]

# Law 9: public names whose modules are imported on first use.
_LAZY = {
    "AttemptRecord": "observe.records",
    "BatchProgress": "batch.report",
    "BatchReport": "batch.report",
    "CallRecord": "observe.records",
    "ChunkObserver": "observe.observer",
    "ContentObserver": "observe.observer",
    "Logs": "observe.logs",
    "OTel": "observe.otel",
    "Observer": "observe.observer",
    "run_batch": "batch.run",
    "LiveText": "bots.live_text",
    "AnswerStream": "bots.answer_stream",
    "Conversation": "bots.conversations",
    "Conversations": "bots.conversations",
    "MemoryStorage": "bots.storage",
    "SQLiteStorage": "bots.sqlite_storage",
    "Storage": "bots.storage",
    "Turn": "bots.history",
    "relay": "bots.serving",
    "relay_websocket": "bots.serving",
    "OutputType": "structured.reading",
    "Parsed": "structured.parsing",
    "ParsedStream": "streaming.parsed_stream",
    "PendingCall": "tools.calling",
    "Budget": "pacing.budget",
    "Price": "pacing.price",
    "RunEvent": "tools.loop",
    "RunLimits": "tools.limits",
    "ToolContext": "tools.definition",
    "ToolFunction": "tools.definition",
    "ToolResult": "tools.calling",
    "ToolRun": "tools.loop",
    "ToolStream": "tools.loop",
    "strict_converter": "structured.converter",
    "tool": "tools.definition",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(_import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
