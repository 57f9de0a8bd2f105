"""``openai.types``: the classes of results, for annotations and ``isinstance``."""

from laplas_async.openai.results import (
    CompletionTokensDetails,
    CompletionUsage,
    PromptTokensDetails,
)
from laplas_async.openai.results import ModelInfo as Model
from laplas_async.openai.types import chat, shared, shared_params
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
from laplas_async.openai.unsupported import unsupported_types

__all__ = [
    "AudioModel",
    "ChatModel",
    "CompletionTokensDetails",
    "CompletionUsage",
    "EmbeddingModel",
    "FunctionDefinition",
    "FunctionParameters",
    "ImageModel",
    "Metadata",
    "Model",
    "ModerationModel",
    "PromptTokensDetails",
    "Reasoning",
    "ReasoningEffort",
    "ResponseFormatJSONObject",
    "ResponseFormatJSONSchema",
    "ResponseFormatText",
    "chat",
    "shared",
    "shared_params",
]

AudioModel = EmbeddingModel = ImageModel = ModerationModel = str  # names of models

# Embedding, Image, Completion, FileObject and so on: the service has chat completions only.
__getattr__ = unsupported_types("such endpoint")
