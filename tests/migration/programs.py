"""Programs as people write them for openai's client, each in a function of the package it uses.

``openai`` is the package (openai's own, or ours), ``sim`` the simulator, ``show`` stands for
``print``: what a program shows with both packages must be the same.
"""

import asyncio
import json
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from laplas_async.simulator import Fault, Simulator

KEY = "test-key-that-never-shows"
MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
ASK = [{"role": "user", "content": "Name a river."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
Show = Callable[..., None]


def _client(openai: Any, sim: Simulator, **options: Any) -> Any:
    return openai.AsyncOpenAI(api_key=KEY, base_url=sim.base_url, **options)


async def plain_completion(openai: Any, sim: Simulator, show: Show) -> None:
    client = _client(openai, sim)
    response = await client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=60)
    show(response.choices[0].message.content, response.choices[0].finish_reason)
    show(response.model, response.object, response.choices[0].message.role)
    await client.close()


async def context_manager(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
        show(response.usage.total_tokens, response.usage.prompt_tokens_details)
    show(client.is_closed())


async def streaming(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        text = ""
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content is not None:
                text += chunk.choices[0].delta.content
        show(text)


async def streaming_with_usage(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            if chunk.usage:
                show(chunk.usage.completion_tokens, len(chunk.choices))


async def streaming_without_usage(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model=MODEL, messages=ASK, stream=True, max_tokens=4
            )
        ]
        show([chunk.usage for chunk in chunks])
        show(chunks[0].choices[0].delta.role, chunks[-1].choices[0].finish_reason)


async def chunks_dumped(openai: Any, sim: Simulator, show: Show) -> None:
    async with (
        _client(openai, sim) as client,
        await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, max_tokens=3
        ) as stream,
    ):
        async for chunk in stream:
            show(chunk.model_dump_json())
            show(chunk.model_dump(exclude_none=True))


async def stream_left_early(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        async for _ in stream:
            break
        await stream.close()
        show(stream.response.status_code)


async def result_dumped(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(
            model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required"
        )
        show(response.model_dump())
        show(response.model_dump(exclude_none=True, mode="json"))
        show(response.model_dump(include={"model", "usage"}), response.model_dump(exclude={"id"}))
        show(response.model_dump_json(), response.model_dump_json(indent=2))
        show(response.choices[0].model_extra, sorted(response.choices[0].message.model_fields_set))
        show(json.loads(response.to_json())["choices"][0]["message"]["content"])
        show(repr(response.choices[0].message), dict(response.usage))


async def tools_round_trip(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        messages: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
        response = await client.chat.completions.create(
            model=MODEL, messages=messages, tools=[WEATHER], tool_choice="required"
        )
        message = response.choices[0].message
        show(response.choices[0].finish_reason, message.content)
        messages.append(message)  # as it is
        for call in message.tool_calls:
            show(call.type, call.function.name, sorted(json.loads(call.function.arguments)))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "4 degrees"})
        response = await client.chat.completions.create(
            model=MODEL, messages=messages, tools=[WEATHER], tool_choice="none"
        )
        show(bool(response.choices[0].message.tool_calls), response.choices[0].finish_reason)
        show([m["role"] for m in sim.requests[-1].body["messages"]])


async def message_through_json(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(
            model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required"
        )
        kept = json.dumps(response.choices[0].message.model_dump(exclude_none=True))
        message = json.loads(kept)
        answer = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "4"}
        response = await client.chat.completions.create(
            model=MODEL, messages=[*ASK, message, answer], tools=[WEATHER], tool_choice="none"
        )
        show(response.choices[0].message.content)


async def streamed_tools(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required", stream=True
        )
        calls: dict[int, Any] = {}
        async for chunk in stream:
            for piece in chunk.choices[0].delta.tool_calls or []:
                call = calls.setdefault(piece.index, {"name": "", "arguments": ""})
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments or ""
        show(calls)


async def raw_response(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
        show(raw.status_code, raw.headers["Content-Type"].split(";")[0])
        show(raw.headers.get("X-Request-ID") is not None, raw.headers.get("retry-after"))
        show(raw.parse().choices[0].message.content)


async def request_id(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
        show(bool(response._request_id))


async def options_sent(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(
        openai, sim, default_headers={"X-Title": "app", "X-Drop": "1"}, default_query={"v": "1"}
    ) as client:
        await client.chat.completions.create(
            model=MODEL,
            messages=ASK,
            temperature=0.3,
            top_p=0.9,
            n=1,
            stop=["END"],
            presence_penalty=0.1,
            frequency_penalty=0.2,
            seed=7,
            user="u1",
            reasoning_effort="low",
            service_tier="auto",
            store=False,
            metadata={"a": "b"},
            prompt_cache_key="p",
            safety_identifier="s",
            verbosity="low",
            extra_headers={"X-Trace": "t", "X-Drop": openai.omit},
            extra_query={"debug": "yes"},
            extra_body={"top_k": 5, "provider": {"order": ["a"]}},
        )
        seen = sim.requests[-1]
        body = {name: value for name, value in seen.body.items() if name != "stream"}
        show(json.dumps(body, sort_keys=True))
        headers = {name.lower(): value for name, value in seen.headers.items()}
        show(headers["x-title"], headers["x-trace"], "x-drop" in headers)
        show(headers["authorization"] == f"Bearer {KEY}")


async def not_given_and_none(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, organization=None, project=None, http_client=None) as client:
        response = await client.chat.completions.create(
            model=MODEL,
            messages=(message for message in ASK),
            temperature=openai.NOT_GIVEN,
            tools=openai.omit,
            stream=openai.NOT_GIVEN,
            timeout=openai.NOT_GIVEN,
            extra_headers=None,
            extra_query=None,
            extra_body=None,
        )
        show(response.choices[0].message.content, bool(openai.NOT_GIVEN))
        show("temperature" in sim.requests[-1].body, "tools" in sim.requests[-1].body)


async def bad_request(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        sim.script(Fault.status(400))
        try:
            await client.chat.completions.create(model=MODEL, messages=ASK)
        except openai.BadRequestError as error:
            show(error.status_code, error.response.status_code, error.code, error.param, error.type)
            show(sorted(error.body), error.body["message"])
            show(error.response.headers["content-type"].split(";")[0], bool(error.request_id))
            show(str(error).startswith("Error code: 400 - {"), error.message == str(error))


async def wrong_key(openai: Any, sim: Simulator, show: Show) -> None:
    client = openai.AsyncOpenAI(api_key="another-key-entirely", base_url=sim.base_url)
    try:
        await client.chat.completions.create(model=MODEL, messages=ASK)
    except openai.AuthenticationError as error:
        show(type(error).__name__, error.status_code, error.body["message"])
    client.api_key = KEY  # takes effect
    response = await client.chat.completions.create(model=MODEL, messages=ASK)
    show(response.choices[0].finish_reason)
    await client.close()


async def errors_by_status(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        for status in (400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 529):
            sim.script(Fault.status(status))
            try:
                await client.chat.completions.create(model=MODEL, messages=ASK)
            except openai.APIStatusError as error:
                show(status, type(error).__name__, error.status_code)
                show([c.__name__ for c in type(error).__mro__ if c.__name__.startswith("API")])


async def rate_limit(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        sim.script(Fault.status(429, retry_after=2))
        try:
            await client.chat.completions.create(model=MODEL, messages=ASK)
        except openai.RateLimitError as error:
            show(error.status_code, error.response.headers.get("Retry-After"))
        except openai.APIError:
            show("not here")


async def retries_counted(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, max_retries=1) as client:
        sim.script(Fault.status(503), Fault.status(503), None)
        try:
            await client.chat.completions.create(model=MODEL, messages=ASK)
        except openai.InternalServerError as error:
            show(error.status_code, len(sim.requests))
        response = await client.with_options(max_retries=0).chat.completions.create(
            model=MODEL, messages=ASK
        )
        show(response.choices[0].finish_reason, len(sim.requests), client.max_retries)


async def retried_to_success(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, max_retries=2) as client:
        sim.script(Fault.status(500), Fault.status(429))
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
        show(response.choices[0].finish_reason, len(sim.requests))


async def no_connection(openai: Any, sim: Simulator, show: Show) -> None:
    client = openai.AsyncOpenAI(api_key=KEY, base_url="http://127.0.0.1:9/v1", max_retries=0)
    try:
        await client.chat.completions.create(model=MODEL, messages=ASK)
    except openai.APITimeoutError:
        show("not here")
    except openai.APIConnectionError as error:
        show(type(error).__name__, str(error).startswith("Connection error."), error.body)
        show(isinstance(error, openai.APIError), error.__cause__ is not None)
    await client.close()


async def timed_out(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, max_retries=0, timeout=0.2) as client:
        sim.script(Fault.slow_headers(5.0))
        try:
            await client.chat.completions.create(model=MODEL, messages=ASK)
        except openai.APITimeoutError as error:
            show(str(error).startswith("Request timed out."))
            show(isinstance(error, openai.APIConnectionError))


async def timeout_object(openai: Any, sim: Simulator, show: Show) -> None:
    timeout = SimpleNamespace(connect=5.0, read=30.0, write=5.0, pool=5.0)  # httpx.Timeout's shape
    if openai.__name__ == "openai":
        timeout = openai.Timeout(30.0, connect=5.0)
    async with _client(openai, sim, timeout=timeout) as client:
        response = await client.chat.completions.create(model=MODEL, messages=ASK, timeout=20)
        show(response.choices[0].finish_reason)
        copy = client.copy(timeout=openai.Timeout(10, read=8, write=8, connect=2))
        response = await copy.chat.completions.create(model=MODEL, messages=ASK)
        show(response.choices[0].finish_reason)
        response = await client.chat.completions.create(model=MODEL, messages=ASK, timeout=None)
        show(response.choices[0].finish_reason)


async def error_inside_a_stream(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        sim.script(Fault.error_event(after=3, body={"error": {"message": "overloaded"}}))
        count = 0
        try:
            async for _ in await client.chat.completions.create(
                model=MODEL, messages=ASK, stream=True
            ):
                count += 1
        except openai.APIError as error:
            show("APIError", isinstance(error, openai.OpenAIError), count)


async def models_listed(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        page = await client.models.list()
        show([model.id for model in page.data], page.object, page.data[0].owned_by)
        show([model.id async for model in client.models.list()])
        show(page.data[0].object, page.data[0].info["contextLength"])


async def base_url_shown(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        show(str(client.base_url) == sim.base_url + "/", client.base_url.host, client.api_key)
        show(client.base_url.path)


async def without_a_key(openai: Any, sim: Simulator, show: Show) -> None:
    try:
        openai.AsyncOpenAI(base_url=sim.base_url)
    except openai.OpenAIError as error:
        show("OpenAIError", "api_key" in str(error))


async def concurrent_calls(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        semaphore = asyncio.Semaphore(5)

        async def ask(number: int) -> str | None:
            async with semaphore:
                response = await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": f"Number {number}"}]
                )
                text: str | None = response.choices[0].message.content
                return text

        show(await asyncio.gather(*(ask(number) for number in range(12))))


async def several_choices(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(model=MODEL, messages=ASK, n=3)
        show([(choice.index, choice.message.content) for choice in response.choices])


async def log_probabilities(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(
            model=MODEL, messages=ASK, logprobs=True, top_logprobs=2, max_tokens=3
        )
        for token in response.choices[0].logprobs.content:
            show(token.token, token.logprob, [top.token for top in token.top_logprobs])


async def stream_events(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        async with client.chat.completions.stream(model=MODEL, messages=ASK) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    show(event.type, event.delta, event.snapshot)
                elif event.type == "content.done":
                    show(event.type, event.content, event.parsed)
                elif event.type == "chunk":
                    show(event.type, event.chunk.choices[0].finish_reason)
                else:
                    show(event.type)
            completion = await stream.get_final_completion()
        show(completion.choices[0].message.content, completion.choices[0].finish_reason)


async def stream_tool_events(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        async with client.beta.chat.completions.stream(
            model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required"
        ) as stream:
            async for event in stream:
                if event.type == "tool_calls.function.arguments.delta":
                    show(event.type, event.name, event.arguments_delta, event.arguments)
                elif event.type == "tool_calls.function.arguments.done":
                    show(event.type, event.name, event.index, event.parsed_arguments)
            completion = await stream.get_final_completion()
        call = completion.choices[0].message.tool_calls[0]
        show(call.function.name, call.function.parsed_arguments)


async def parsed_tools(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        completion = await client.chat.completions.parse(
            model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required"
        )
        message = completion.choices[0].message
        show(message.parsed, message.tool_calls[0].function.parsed_arguments)
        loose = {"type": "function", "function": {"name": "loose", "parameters": {}}}
        try:
            await client.chat.completions.parse(model=MODEL, messages=ASK, tools=[loose])
        except ValueError as error:
            show(str(error))


async def parse_cut_short(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        try:
            await client.beta.chat.completions.parse(
                model=MODEL, messages=ASK, response_format={"type": "text"}, max_tokens=2
            )
        except openai.LengthFinishReasonError as error:
            show(error.completion.choices[0].finish_reason, isinstance(error, openai.OpenAIError))


async def json_object(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(
            model=MODEL, messages=ASK, response_format={"type": "json_object"}
        )
        show(type(json.loads(response.choices[0].message.content)).__name__)


async def extra_fields(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
        message = response.choices[0].message
        show(getattr(message, "reasoning_content", "none"), hasattr(message, "reasoning"))
        show(message.function_call, message.audio, response.system_fingerprint)
        copied = message.model_copy(update={"content": "other"})
        show(copied.content, message.content != copied.content)


async def unknown_argument(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim) as client:
        try:
            await client.chat.completions.create(model=MODEL, messages=ASK, temprature=1)
        except TypeError as error:
            show("unexpected keyword argument 'temprature'" in str(error))


async def types_checked(openai: Any, sim: Simulator, show: Show) -> None:
    chat = openai.types.chat
    async with _client(openai, sim) as client:
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
        show(isinstance(response, chat.ChatCompletion))
        show(isinstance(response.choices[0].message, chat.ChatCompletionMessage))
        show(isinstance(response.usage, openai.types.CompletionUsage))
        made = chat.ChatCompletionMessage(role="assistant", content="made here")
        show(made.content, made.tool_calls, made.to_dict())
        message = chat.ChatCompletionUserMessageParam(role="user", content="a dict")
        response = await client.chat.completions.create(model=MODEL, messages=[message, made, *ASK])
        show(sim.requests[-1].body["messages"])


async def environment(openai: Any, sim: Simulator, show: Show) -> None:
    async with openai.AsyncOpenAI() as client:  # the package's own variables, set by the runner
        response = await client.chat.completions.create(model=MODEL, messages=ASK)
        show(response.choices[0].message.content)


async def pickled_errors(openai: Any, sim: Simulator, show: Show) -> None:
    async with _client(openai, sim, max_retries=0) as client:
        sim.script(Fault.status(404))
        try:
            await client.chat.completions.create(model=MODEL, messages=ASK)
        except openai.NotFoundError as error:
            show(error.status_code)
        except (openai.APIConnectionError, openai.APITimeoutError):
            show("not here")


PROGRAMS: dict[str, Any] = {
    name: value
    for name, value in [
        *globals().items(),
        *runpy.run_path(str(Path(__file__).parent / "more_programs.py")).items(),
    ]
    if asyncio.iscoroutinefunction(value) and not name.startswith("_")
}


async def shown_by(name: str, openai: Any) -> list[list[Any]]:
    """Return what one program shows with a package, as JSON has it."""
    lines: list[list[Any]] = []

    def show(*values: Any) -> None:
        lines.append(json.loads(json.dumps(values, default=repr)))

    prefix = "OPENAI" if openai.__name__ == "openai" else "LAPLAS"
    async with Simulator(api_key=KEY) as sim:
        if name == "environment":
            os.environ[f"{prefix}_API_KEY"] = KEY
            os.environ[f"{prefix}_BASE_URL"] = sim.base_url
        try:
            await PROGRAMS[name](openai, sim, show)
        finally:
            os.environ.pop(f"{prefix}_API_KEY", None)
            os.environ.pop(f"{prefix}_BASE_URL", None)
    return lines
