"""``openai.types.responses``: names to import; the service has no such endpoint."""

from laplas_async.openai.unsupported import unsupported_types

__getattr__ = unsupported_types("responses")
