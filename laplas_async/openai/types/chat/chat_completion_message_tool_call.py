"""``openai.types.chat.chat_completion_message_tool_call``."""

from laplas_async.openai.results import (
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageToolCall,
    Function,
)

__all__ = ["ChatCompletionMessageFunctionToolCall", "ChatCompletionMessageToolCall", "Function"]
