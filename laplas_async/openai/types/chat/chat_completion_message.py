"""``openai.types.chat.chat_completion_message``."""

from laplas_async.openai.results import ChatCompletionMessage, FunctionCall

__all__ = ["ChatCompletionMessage", "FunctionCall"]
