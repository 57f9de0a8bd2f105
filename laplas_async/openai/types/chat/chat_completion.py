"""``openai.types.chat.chat_completion``."""

from laplas_async.openai.results import ChatCompletion, Choice, ChoiceLogprobs

__all__ = ["ChatCompletion", "Choice", "ChoiceLogprobs"]
