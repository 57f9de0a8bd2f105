"""``openai._client``."""

from laplas_async.openai.client import AsyncClient, AsyncOpenAI
from laplas_async.openai.unsupported import Client, OpenAI

__all__ = ["AsyncClient", "AsyncOpenAI", "Client", "OpenAI"]
