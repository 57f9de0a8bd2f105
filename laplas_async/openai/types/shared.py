"""``openai.types.shared``: plain types, as their values are sent as they are."""

from typing import Any

from laplas_async.openai.types.submodules import add_submodules

ChatModel = str
ReasoningEffort = str
Metadata = dict[str, str]
Reasoning = dict[str, Any]
FunctionDefinition = dict[str, Any]
FunctionParameters = dict[str, Any]
ErrorObject = dict[str, Any]
ResponseFormatJSONObject = dict[str, Any]
ResponseFormatJSONSchema = dict[str, Any]
ResponseFormatText = dict[str, Any]

add_submodules(
    __name__,
    (
        "chat_model",
        "function_definition",
        "metadata",
        "reasoning",
        "reasoning_effort",
    ),
)
