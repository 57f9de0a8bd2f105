"""What openai's client has and this one has not: each with one line that says what to write."""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, Generic, NoReturn, TypeVar

from laplas_async.openai.errors import UnsupportedError

_CHAT_ONLY = "the service has chat completions; use client.chat.completions"
_NO_ENDPOINT = "the service has no such endpoint; keep another client for it"

ATTRIBUTES: dict[str, str] = {
    "responses": f"client.responses: {_CHAT_ONLY}.create(messages=...)",
    "completions": f"client.completions: {_CHAT_ONLY}.create(messages=...)",
    "assistants": f"client.beta.assistants: {_CHAT_ONLY}.create(messages=...)",
    "threads": f"client.beta.threads: {_CHAT_ONLY}.create(messages=...)",
    "realtime": f"client.realtime: {_CHAT_ONLY}.create(stream=True)",
    "batches": "client.batches: laplas_async.run_batch(...) or `laplas batch` runs batch files",
    "with_streaming_response": "with_streaming_response: use create(stream=True), or "
    "client.chat.completions.with_raw_response",
    "with_raw_response": "with_raw_response: use client.chat.completions.with_raw_response",
    **{
        name: f"client.{name}: {_NO_ENDPOINT}"
        for name in (
            *("admin", "audio", "containers", "content_provenance_checks", "conversations"),
            *("decisions", "embeddings", "evals", "files", "fine_tuning", "graders", "images"),
            *("live", "moderations", "rerank", "safety", "skills", "uploads", "vector_stores"),
            *("videos", "webhooks"),
        )
    },
    **{
        name: f"client.{name}(): arbitrary requests are not sent; use "
        "client.chat.completions.create(extra_body=..., extra_query=...)"
        for name in ("get", "post", "put", "patch", "delete", "request", "get_api_list")
    },
}

_ARGUMENTS = {
    "http_client": "connections are aiohttp's; set HTTPS_PROXY for a proxy, ca_file= for a private "
    "authority, timeout= for timeouts, or session= for your own aiohttp.ClientSession",
    "organization": "the service has no organizations; leave it out",
    "project": "the service has no projects; leave it out",
    "_strict_response_validation": "responses are checked as far as the library reads them; leave "
    "it out",
    "webhook_secret": "the service has no webhooks; leave it out",
    "websocket_base_url": "the service has no websockets; leave it out",
}


_COMPLETIONS = "the service keeps no completions; keep what create() returns"

# Of the parts of a client, by the name of their class there.
_PARTS: dict[str, dict[str, str]] = {
    "AsyncCompletions": {
        name: f"chat.completions.{name}: {_COMPLETIONS}"
        for name in ("delete", "list", "messages", "retrieve", "update")
    },
    "AsyncModels": {
        "delete": "models.delete: the service's models cannot be deleted",
        "with_raw_response": "models.with_raw_response: use client.models.list()",
    },
    "RawResponse": {
        "text": "text: a stream has none; iterate parse()",
        "read": "read(): use content",
        "elapsed": "elapsed: not kept; measure around the call",
        "http_version": "http_version: not kept; aiohttp speaks HTTP/1.1",
        **{
            name: f"{name}(): the body has been decoded; use create(stream=True)"
            for name in ("iter_bytes", "iter_text", "iter_lines", "stream_to_file", "write_to_file")
        },
    },
}


def missing_attribute(owner: str, name: str) -> AttributeError:
    """The error for an attribute that does not exist."""
    message = _PARTS.get(owner, {}).get(name) or ATTRIBUTES.get(name)
    if message:
        return UnsupportedError(message)
    return AttributeError(f"{owner!r} object has no attribute {name!r}")


def refuse_arguments(**arguments: Any) -> None:
    """Raise for a constructor's argument that cannot be honoured, unless it is None."""
    for name, value in arguments.items():
        if name not in _ARGUMENTS:
            raise TypeError(f"got an unexpected keyword argument {name!r}")
        if value is not None:
            raise UnsupportedError(f"{name}: {_ARGUMENTS[name]}")


class _Refused:
    """A class of openai's that cannot be constructed here."""

    _message = ""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnsupportedError(self._message)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic models name the class as a field's type. Called by pydantic only."""
        return import_module("pydantic_core.core_schema").is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """An object that never occurs."""
        return {"type": "object", "title": cls.__name__}


class OpenAI(_Refused):
    """The synchronous client."""

    _message = (
        "OpenAI: this library is for asyncio; use AsyncOpenAI and await its calls "
        "(asyncio.run(main()) from synchronous code)"
    )


Client = OpenAI


class Together(OpenAI):
    """together's synchronous client."""


class Groq(OpenAI):
    """groq's synchronous client."""


class AsyncAzureOpenAI(_Refused):
    """Azure's client."""

    _message = "AsyncAzureOpenAI: use AsyncOpenAI(base_url=..., api_key=...)"


class AzureOpenAI(OpenAI):
    """Azure's synchronous client."""


class DefaultAsyncHttpxClient(_Refused):
    """openai's httpx client."""

    _message = f"DefaultAsyncHttpxClient: leave http_client out; {_ARGUMENTS['http_client']}"


class DefaultAioHttpClient(_Refused):
    """openai's aiohttp client."""

    _message = "DefaultAioHttpClient: leave http_client out; connections are aiohttp's already"


class DefaultHttpxClient(DefaultAsyncHttpxClient):
    """openai's synchronous httpx client."""


class DefaultAsyncHttpx2Client(DefaultAsyncHttpxClient):
    """openai's httpx2 client."""


_Chunk = TypeVar("_Chunk")


class Stream(_Refused, Generic[_Chunk]):
    """The synchronous stream: a class to annotate with, of which nothing is an instance."""

    _message = "Stream: this library is for asyncio; use AsyncStream"


def unsupported_types(endpoint: str) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that gives a class for each name of an endpoint's types.

    So that a program which imports them beside what it uses can start: nothing is an instance of
    such a class, and constructing one raises ``UnsupportedError``.
    """

    @functools.cache
    def find(name: str) -> Any:
        if not name[:1].isupper():
            raise AttributeError(f"openai.types.{endpoint}: {name!r} is not available here")
        message = f"{name}: the service has no {endpoint}; use client.chat.completions"
        return type(name, (_Refused,), {"_message": message, "__doc__": message})

    return find
