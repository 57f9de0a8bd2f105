"""``openai.lib.azure``."""

from laplas_async.openai.unsupported import AsyncAzureOpenAI, AzureOpenAI

__all__ = ["AsyncAzureOpenAI", "AzureOpenAI"]
