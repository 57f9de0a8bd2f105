"""``openai.types.shared_params``: what is sent, as plain dicts."""

from laplas_async.openai.types.shared import (
    ChatModel,
    FunctionDefinition,
    FunctionParameters,
    Metadata,
    Reasoning,
    ReasoningEffort,
    ResponseFormatJSONObject,
    ResponseFormatJSONSchema,
    ResponseFormatText,
)
from laplas_async.openai.types.submodules import add_submodules

__all__ = [
    "ChatModel",
    "FunctionDefinition",
    "FunctionParameters",
    "Metadata",
    "Reasoning",
    "ReasoningEffort",
    "ResponseFormatJSONObject",
    "ResponseFormatJSONSchema",
    "ResponseFormatText",
]

add_submodules(
    __name__,
    (
        "chat_model",
        "function_definition",
        "function_parameters",
        "metadata",
        "reasoning",
        "reasoning_effort",
        "response_format_json_object",
        "response_format_json_schema",
        "response_format_text",
    ),
)
