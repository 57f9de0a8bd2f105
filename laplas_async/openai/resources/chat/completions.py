"""``openai.resources.chat.completions``."""

from laplas_async.openai.completions import AsyncCompletions, AsyncCompletionsWithRawResponse

__all__ = ["AsyncCompletions", "AsyncCompletionsWithRawResponse"]
