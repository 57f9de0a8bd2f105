"""``openai._base_client``: the httpx clients that programs pass as ``http_client``."""

from laplas_async.openai.unsupported import DefaultAsyncHttpxClient, DefaultHttpxClient

AsyncHttpxClientWrapper = DefaultAsyncHttpxClient
SyncHttpxClientWrapper = DefaultHttpxClient

__all__ = ["AsyncHttpxClientWrapper", "SyncHttpxClientWrapper"]
