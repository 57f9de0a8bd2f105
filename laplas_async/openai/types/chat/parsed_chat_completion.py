"""``openai.types.chat.parsed_chat_completion``."""

from laplas_async.openai.results import (
    ParsedChatCompletion,
    ParsedChatCompletionMessage,
    ParsedChoice,
)

__all__ = ["ParsedChatCompletion", "ParsedChatCompletionMessage", "ParsedChoice"]
