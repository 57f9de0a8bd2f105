"""``openai.types``: the classes of results, for annotations and ``isinstance``."""

from laplas_async.openai.results import (
    CompletionTokensDetails,
    CompletionUsage,
    PromptTokensDetails,
)
from laplas_async.openai.results import ModelInfo as Model
from laplas_async.openai.types import chat

__all__ = [
    "CompletionTokensDetails",
    "CompletionUsage",
    "Model",
    "PromptTokensDetails",
    "chat",
]
