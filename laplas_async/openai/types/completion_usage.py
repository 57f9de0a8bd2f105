"""``openai.types.completion_usage``."""

from laplas_async.openai.results import (
    CompletionTokensDetails,
    CompletionUsage,
    PromptTokensDetails,
)

__all__ = ["CompletionTokensDetails", "CompletionUsage", "PromptTokensDetails"]
