"""``openai.types.create_embedding_response``: the service has no embeddings."""

from laplas_async.openai.unsupported import unsupported_types

__getattr__ = unsupported_types("embeddings")
