"""``openai.lib.streaming.chat``: the events of ``chat.completions.stream``."""

from contextlib import AbstractAsyncContextManager

from laplas_async.openai.stream_events import (
    AsyncChatCompletionStream,
    ChunkEvent,
    ContentDeltaEvent,
    ContentDoneEvent,
    FunctionToolCallArgumentsDeltaEvent,
    FunctionToolCallArgumentsDoneEvent,
    LogprobsContentDeltaEvent,
    LogprobsContentDoneEvent,
    RefusalDeltaEvent,
    RefusalDoneEvent,
)

AsyncChatCompletionStreamManager = AbstractAsyncContextManager  # what ``stream()`` gives
ChatCompletionStreamEvent = (
    ChunkEvent
    | ContentDeltaEvent
    | ContentDoneEvent
    | FunctionToolCallArgumentsDeltaEvent
    | FunctionToolCallArgumentsDoneEvent
    | LogprobsContentDeltaEvent
    | LogprobsContentDoneEvent
    | RefusalDeltaEvent
    | RefusalDoneEvent
)

__all__ = [
    "AsyncChatCompletionStream",
    "AsyncChatCompletionStreamManager",
    "ChatCompletionStreamEvent",
    "ChunkEvent",
    "ContentDeltaEvent",
    "ContentDoneEvent",
    "FunctionToolCallArgumentsDeltaEvent",
    "FunctionToolCallArgumentsDoneEvent",
    "LogprobsContentDeltaEvent",
    "LogprobsContentDoneEvent",
    "RefusalDeltaEvent",
    "RefusalDoneEvent",
]
