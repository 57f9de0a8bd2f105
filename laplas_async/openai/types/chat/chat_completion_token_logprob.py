"""``openai.types.chat.chat_completion_token_logprob``."""

from laplas_async.openai.results import ChatCompletionTokenLogprob, TopLogprob

__all__ = ["ChatCompletionTokenLogprob", "TopLogprob"]
