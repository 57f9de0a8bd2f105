"""``openai._streaming``."""

from laplas_async.openai.streams import AsyncStream
from laplas_async.openai.unsupported import Stream

__all__ = ["AsyncStream", "Stream"]
