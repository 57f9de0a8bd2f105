"""What openai's client has and this one has not: each with one line that says what to write."""

from typing import Any, NoReturn

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
    "with_raw_response",
    **{
        name: f"client.{name}: {_NO_ENDPOINT}"
        for name in (
            "audio",
            "containers",
            "conversations",
            "embeddings",
            "evals",
            "files",
            "fine_tuning",
            "graders",
            "images",
            "moderations",
            "uploads",
            "vector_stores",
            "videos",
            "webhooks",
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
    "webhook_secret": "the service has no webhooks; leave it out",
    "websocket_base_url": "the service has no websockets; leave it out",
}


def missing_attribute(owner: str, name: str) -> AttributeError:
    """The error for an attribute that is not there."""
    if name in ATTRIBUTES:
        return UnsupportedError(ATTRIBUTES[name])
    return AttributeError(f"{owner!r} object has no attribute {name!r}")


def refuse_arguments(**arguments: Any) -> None:
    """Raise for a constructor's argument that cannot be honoured, unless it is None."""
    for name, value in arguments.items():
        if value is not None:
            raise UnsupportedError(f"{name}: {_ARGUMENTS[name]}")


class _Refused:
    """A class of openai's that cannot be constructed here."""

    _message = ""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnsupportedError(self._message)


class OpenAI(_Refused):
    """The synchronous client."""

    _message = (
        "OpenAI: this library is for asyncio; use AsyncOpenAI and await its calls "
        "(asyncio.run(main()) from synchronous code)"
    )


Client = OpenAI


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
