"""``openai.resources.chat``."""

from laplas_async.openai.client import AsyncChat
from laplas_async.openai.completions import AsyncCompletions

__all__ = ["AsyncChat", "AsyncCompletions"]
