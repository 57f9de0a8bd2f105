"""``openai.types.chat.chat_completion_message_function_tool_call``."""

from laplas_async.openai.results import ChatCompletionMessageFunctionToolCall, Function

__all__ = ["ChatCompletionMessageFunctionToolCall", "Function"]
