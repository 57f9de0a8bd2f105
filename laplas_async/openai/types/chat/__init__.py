"""``openai.types.chat``: results as classes; what is sent (``...Param``) as plain dicts' type."""

from typing import Any

from laplas_async.openai.results import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageToolCall,
    ChatCompletionTokenLogprob,
    ParsedChatCompletion,
    ParsedChatCompletionMessage,
    ParsedChoice,
    ParsedFunction,
    ParsedFunctionToolCall,
)

# openai declares each as a TypedDict, which at run time is a dict: so are these, called as they are
# in programs, ``ChatCompletionUserMessageParam(role="user", content=...)``.
ChatCompletionMessageParam = dict[str, Any]
ChatCompletionSystemMessageParam = dict[str, Any]
ChatCompletionDeveloperMessageParam = dict[str, Any]
ChatCompletionUserMessageParam = dict[str, Any]
ChatCompletionAssistantMessageParam = dict[str, Any]
ChatCompletionToolMessageParam = dict[str, Any]
ChatCompletionFunctionMessageParam = dict[str, Any]
ChatCompletionContentPartParam = dict[str, Any]
ChatCompletionContentPartTextParam = dict[str, Any]
ChatCompletionContentPartImageParam = dict[str, Any]
ChatCompletionMessageToolCallParam = dict[str, Any]
ChatCompletionMessageFunctionToolCallParam = dict[str, Any]
ChatCompletionToolParam = dict[str, Any]
ChatCompletionFunctionToolParam = dict[str, Any]
ChatCompletionToolUnionParam = dict[str, Any]
ChatCompletionStreamOptionsParam = dict[str, Any]
ChatCompletionNamedToolChoiceParam = dict[str, Any]
ChatCompletionToolChoiceOptionParam = str | dict[str, Any]
ChatCompletionReasoningEffort = str
ChatCompletionRole = str

__all__ = [
    "ChatCompletion",
    "ChatCompletionAssistantMessageParam",
    "ChatCompletionChunk",
    "ChatCompletionContentPartImageParam",
    "ChatCompletionContentPartParam",
    "ChatCompletionContentPartTextParam",
    "ChatCompletionDeveloperMessageParam",
    "ChatCompletionFunctionMessageParam",
    "ChatCompletionFunctionToolParam",
    "ChatCompletionMessage",
    "ChatCompletionMessageFunctionToolCall",
    "ChatCompletionMessageFunctionToolCallParam",
    "ChatCompletionMessageParam",
    "ChatCompletionMessageToolCall",
    "ChatCompletionMessageToolCallParam",
    "ChatCompletionNamedToolChoiceParam",
    "ChatCompletionReasoningEffort",
    "ChatCompletionRole",
    "ChatCompletionStreamOptionsParam",
    "ChatCompletionSystemMessageParam",
    "ChatCompletionTokenLogprob",
    "ChatCompletionToolChoiceOptionParam",
    "ChatCompletionToolMessageParam",
    "ChatCompletionToolParam",
    "ChatCompletionToolUnionParam",
    "ChatCompletionUserMessageParam",
    "ParsedChatCompletion",
    "ParsedChatCompletionMessage",
    "ParsedChoice",
    "ParsedFunction",
    "ParsedFunctionToolCall",
]
