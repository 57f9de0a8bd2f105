"""``openai.resources``: the classes of a client's parts, to annotate with."""

from laplas_async.openai.client import AsyncChat
from laplas_async.openai.models import AsyncModels

__all__ = ["AsyncChat", "AsyncModels"]
