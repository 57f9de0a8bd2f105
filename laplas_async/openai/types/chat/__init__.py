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
from laplas_async.openai.types.submodules import add_submodules
from laplas_async.openai.unsupported import unsupported_types

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
ChatCompletionAllowedToolChoiceParam = dict[str, Any]
ChatCompletionAllowedToolsParam = dict[str, Any]
ChatCompletionAudioParam = dict[str, Any]
ChatCompletionContentPartInputAudioParam = dict[str, Any]
ChatCompletionContentPartRefusalParam = dict[str, Any]
ChatCompletionCustomToolParam = dict[str, Any]
ChatCompletionFunctionCallOptionParam = dict[str, Any]
ChatCompletionMessageCustomToolCallParam = dict[str, Any]
ChatCompletionMessageToolCallUnionParam = dict[str, Any]
ChatCompletionNamedToolChoiceCustomParam = dict[str, Any]
ChatCompletionPredictionContentParam = dict[str, Any]
CompletionCreateParams = dict[str, Any]
ChatCompletionToolChoiceOptionParam = str | dict[str, Any]
ChatCompletionReasoningEffort = str
ChatCompletionRole = str
ChatCompletionModality = str
ChatCompletionMessageToolCallUnion = ChatCompletionMessageToolCall

# The modules in which openai declares what is sent.
_PARAMS = (
    *("allowed_tool_choice", "allowed_tools", "assistant_message", "audio", "content_part"),
    *("content_part_image", "content_part_input_audio", "content_part_refusal"),
    *("content_part_text", "custom_tool", "developer_message", "function_call_option"),
    *("function_message", "function_tool", "message", "message_custom_tool_call"),
    *("message_function_tool_call", "message_tool_call", "message_tool_call_union"),
    *("named_tool_choice", "named_tool_choice_custom", "prediction_content", "stream_options"),
    *("system_message", "tool", "tool_choice_option", "tool_message", "tool_union"),
    "user_message",
)

__all__ = [
    "ChatCompletion",
    "ChatCompletionAllowedToolChoiceParam",
    "ChatCompletionAllowedToolsParam",
    "ChatCompletionAssistantMessageParam",
    "ChatCompletionAudioParam",
    "ChatCompletionChunk",
    "ChatCompletionContentPartImageParam",
    "ChatCompletionContentPartInputAudioParam",
    "ChatCompletionContentPartParam",
    "ChatCompletionContentPartRefusalParam",
    "ChatCompletionContentPartTextParam",
    "ChatCompletionCustomToolParam",
    "ChatCompletionDeveloperMessageParam",
    "ChatCompletionFunctionCallOptionParam",
    "ChatCompletionFunctionMessageParam",
    "ChatCompletionFunctionToolParam",
    "ChatCompletionMessage",
    "ChatCompletionMessageCustomToolCallParam",
    "ChatCompletionMessageFunctionToolCall",
    "ChatCompletionMessageFunctionToolCallParam",
    "ChatCompletionMessageParam",
    "ChatCompletionMessageToolCall",
    "ChatCompletionMessageToolCallParam",
    "ChatCompletionMessageToolCallUnion",
    "ChatCompletionMessageToolCallUnionParam",
    "ChatCompletionModality",
    "ChatCompletionNamedToolChoiceCustomParam",
    "ChatCompletionNamedToolChoiceParam",
    "ChatCompletionPredictionContentParam",
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
    "CompletionCreateParams",
    "ParsedChatCompletion",
    "ParsedChatCompletionMessage",
    "ParsedChoice",
    "ParsedFunction",
    "ParsedFunctionToolCall",
]

# ChatCompletionAudio, ChatCompletionStoreMessage and so on.
__getattr__ = unsupported_types("stored or spoken completions")

add_submodules(
    __name__,
    (
        *(f"chat_completion_{name}_param" for name in _PARAMS),
        *("completion_create_params", "completion_list_params", "completion_update_params"),
    ),
)
