"""More programs, about corners that public ones were found to use; see ``programs``."""

import asyncio
import copy
import json
import pickle
from typing import Any

from laplas_async.simulator import Fault, Simulator

KEY = "test-key-that-never-shows"
MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
ASK = [{"role": "user", "content": "Name a river."}]
DETAILED = {
    "error": {
        "message": "context too long",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}


def _client(openai: Any, sim: Simulator, **options: Any) -> Any:
    return openai.AsyncOpenAI(api_key=KEY, base_url=sim.base_url, **options)


async def annotated_streams(openai: Any, sim: Simulator, show: Any) -> None:
    chunk = openai.types.chat.ChatCompletionChunk

    async def count(stream: openai.AsyncStream[chunk]) -> int:
        return len([part async for part in stream])

    async with _client(openai, sim) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        show(isinstance(stream, openai.AsyncStream), await count(stream))
        show([part async for part in stream])  # it has been read


async def results_copied(openai: Any, sim: Simulator, show: Any) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
    for made in (
        pickle.loads(pickle.dumps(response)),
        copy.deepcopy(response),
        copy.copy(response),
        response.model_copy(deep=True),
        response.copy(),
        type(response).model_validate(response.model_dump()),
        type(response).model_validate_json(response.model_dump_json()),
    ):
        show(
            made == response, made.choices[0].message.content == response.choices[0].message.content
        )
    show(repr(response.usage), response.usage.to_dict(), dict(response.usage))
    show(response.dict()["model"], json.loads(response.json())["model"])


async def clients_copied(openai: Any, sim: Simulator, show: Any) -> None:
    client = _client(openai, sim, default_headers={"X-A": "1"}, timeout=20, max_retries=4)
    other = client.copy(max_retries=1, timeout=5, default_headers={"X-B": "2"})
    show(other.max_retries, other.timeout, client.max_retries, client.timeout)
    await other.chat.completions.create(model=MODEL, messages=ASK)
    headers = {name.lower(): value for name, value in sim.requests[-1].headers.items()}
    show(headers["x-a"], headers["x-b"], client.organization, client.project)
    show(client.is_closed())
    await client.close()
    show(client.is_closed())


async def base_urls(openai: Any, sim: Simulator, show: Any) -> None:
    for url in (sim.base_url, sim.base_url + "/"):
        async with openai.AsyncOpenAI(api_key=KEY, base_url=url) as client:
            response = await client.chat.completions.create(model=MODEL, messages=ASK)
            show(response.object, str(client.base_url) == sim.base_url + "/")
            show(client.base_url == sim.base_url + "/", client.base_url == "https://example.org/")
            show(client.base_url.scheme, client.base_url.host, client.base_url.path)
            show(str(client.base_url.join("models")) == sim.base_url + "/models")


async def model_pages(openai: Any, sim: Simulator, show: Any) -> None:
    async with _client(openai, sim) as client:
        page = await client.models.list()
        show([model.id async for model in page], page.has_next_page(), page.object)
        show(sorted(page.model_dump()), page.data[0].to_dict()["object"])


async def error_details(openai: Any, sim: Simulator, show: Any) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        sim.script(Fault.status(400, body=DETAILED))
        try:
            await client.chat.completions.create(model=MODEL, messages=ASK)
        except openai.BadRequestError as error:
            show(error.code, error.type, error.param, error.body)
            show(str(error), error.message == str(error), error.args[0] == error.message)
            show(error.response.json() == DETAILED, error.response.reason_phrase)
            show(error.request.method, str(error.request.url).endswith("/chat/completions"))
            show(error.response.is_error, error.response.is_success, error.response.url.path)


async def errors_in_streams(openai: Any, sim: Simulator, show: Any) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        sim.script(Fault.error_event(after=2, body=DETAILED))
        try:
            async for _ in await client.chat.completions.create(
                model=MODEL, messages=ASK, stream=True
            ):
                pass
        except openai.APIError as error:
            show(error.message, str(error), error.body, error.code, error.type)
            show(hasattr(error, "status_code"), error.request is not None)


async def errors_made_by_programs(openai: Any, sim: Simulator, show: Any) -> None:
    errors = (
        *("RateLimitError", "APITimeoutError", "APIConnectionError", "BadRequestError"),
        *("AuthenticationError", "PermissionDeniedError", "NotFoundError", "ConflictError"),
        *("UnprocessableEntityError", "InternalServerError", "APIStatusError", "APIError"),
        *("APIResponseValidationError", "LengthFinishReasonError"),
    )
    bases = ("OpenAIError", "APIError", "APIStatusError", "APIConnectionError")
    for name in errors:
        show(
            name,
            [base for base in bases if issubclass(getattr(openai, name), getattr(openai, base))],
        )
    show(str(openai.APITimeoutError(request=None)), str(openai.APIConnectionError(request=None)))
    show(str(openai.APIError("message", request=None, body=None)))


async def failures_gathered(openai: Any, sim: Simulator, show: Any) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        sim.script(Fault.status(500), Fault.status(400))
        calls = [client.chat.completions.create(model=MODEL, messages=ASK) for _ in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        show(sorted(type(result).__name__ for result in results))
        sim.script(Fault.status(401))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(client.chat.completions.create(model=MODEL, messages=ASK))
        except* openai.AuthenticationError as caught:
            show(len(caught.exceptions))


async def a_call_cancelled(openai: Any, sim: Simulator, show: Any) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        sim.script(Fault.slow_headers(30))
        call = client.chat.completions.create(model=MODEL, messages=ASK)
        try:
            await asyncio.wait_for(call, 0.2)
        except TimeoutError:
            show("cancelled")
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
        show(response.choices[0].finish_reason)


async def streams_of_several_choices(openai: Any, sim: Simulator, show: Any) -> None:
    texts: dict[int, str] = {}
    async with _client(openai, sim) as client:
        async for chunk in await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, n=2, max_tokens=4
        ):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    show(texts)


async def reading_raw_responses(openai: Any, sim: Simulator, show: Any) -> None:
    async with _client(openai, sim) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
        show(raw.status_code, raw.http_response.status_code, raw.method, raw.retries_taken)
        show(raw.request_id == raw.headers["x-request-id"], raw.http_request.method)
        show(str(raw.url).endswith("/chat/completions"), json.loads(raw.content)["object"])
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=ASK, stream=True
        )
        show(raw.headers["content-type"].partition(";")[0])
        show("".join([c.choices[0].delta.content or "" async for c in raw.parse() if c.choices]))


async def modules_imported(openai: Any, sim: Simulator, show: Any) -> None:
    from importlib import import_module

    names = {
        "types.chat.chat_completion": "Choice",
        "types.chat.chat_completion_chunk": "ChoiceDelta",
        "types.chat.chat_completion_tool_param": "ChatCompletionToolParam",
        "types.chat.chat_completion_message_tool_call": "Function",
        "types.completion_usage": "CompletionUsage",
        "types.shared": "ReasoningEffort",
        "_types": "NOT_GIVEN",
        "_exceptions": "RateLimitError",
        "resources.chat.completions": "AsyncCompletions",
        "lib.streaming.chat": "ContentDeltaEvent",
    }
    for module, name in names.items():
        show(hasattr(import_module(f"{openai.__name__}.{module}"), name))
    chunk = import_module(f"{openai.__name__}.types.chat.chat_completion_chunk")
    delta = chunk.ChoiceDelta(content="text", role="assistant")
    show(delta.content, delta.tool_calls, chunk.Choice(delta=delta, index=0).finish_reason)
