"""``openai.types.chat.chat_completion_message_param``."""

from laplas_async.openai.types.chat import ChatCompletionMessageParam

__all__ = ["ChatCompletionMessageParam"]
