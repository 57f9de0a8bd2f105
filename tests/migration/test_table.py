"""Every part of openai's client that public programs use: it works here, or says what to write.

    pytest -s tests/migration/test_table.py     prints the table

An item is an expression or statement as in a program, run against the simulator; what it must give
is "works", or the error in one line.
"""

import ast
import inspect
from types import SimpleNamespace
from typing import Any

from laplas_async import openai
from laplas_async.simulator import Fault, Simulator

KEY = "test-key-that-never-shows"
ASK: list[Any] = [{"role": "user", "content": "Name a river."}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "f",
        "strict": True,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}

CONSTRUCTOR = [
    "api_key=KEY",
    "base_url='https://example.org/v1'",
    "timeout=20",
    "timeout=httpx_timeout",
    "timeout=None",
    "max_retries=0",
    "default_headers={'X-Title': 'app'}",
    "default_query={'v': '1'}",
    "organization=None, project=None, http_client=None",
]
CALL = [
    "temperature=0.5",
    "tools=[TOOL]",
    "max_tokens=20",
    "max_completion_tokens=20",
    "stream=True, stream_options={'include_usage': True}",
    "tools=[TOOL], tool_choice='auto'",
    "extra_body={'top_k': 3}",
    "reasoning_effort='low'",
    "timeout=20",
    "timeout=httpx_timeout",
    "extra_headers={'X-Trace': 't'}",
    "response_format={'type': 'json_object'}",
    "service_tier='auto'",
    "temperature=openai.NOT_GIVEN",
    "temperature=openai.omit",
    "user='u'",
    "verbosity='low'",
    "prompt_cache_key='k'",
    "store=False",
    "functions=[TOOL['function']]",
    "extra_query={'q': '1'}",
    "metadata={'a': 'b'}",
    "modalities=['text']",
    "safety_identifier='s'",
    "tools=[]",
]
METHODS = [
    "await client.close()",
    "client.is_closed()",
    "[m async for m in client.models.list()]",
    "await client.models.list()",
    "await client.models.retrieve('meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo')",
    "await client.chat.completions.parse(messages=ASK, tools=[TOOL])",
    "await client.beta.chat.completions.parse(messages=ASK)",
    "str(client.base_url)",
    "client.base_url.host",
    "client.api_key",
    "setattr(client, 'api_key', KEY)",
    "client.with_options(timeout=3, max_retries=0)",
    "client.copy(default_headers={'A': 'b'})",
    "(await client.chat.completions.with_raw_response.create(messages=ASK)).parse()",
    "(await client.chat.completions.with_raw_response.create(messages=ASK)).headers['Date']",
    "await events(client.chat.completions.stream(messages=ASK))",
    "await events(client.beta.chat.completions.stream(messages=ASK))",
    "client.chat.completions.create.__doc__",
]
RESULTS = [
    "message.content",
    "message.tool_calls",
    "message.function_call",
    "message.model_extra",
    "message.model_dump(exclude_none=True, mode='json')",
    "completion.usage.total_tokens",
    "completion.usage.prompt_tokens_details",
    "completion.model_dump_json(indent=2)",
    "completion.to_dict()",
    "completion.to_json()",
    "completion.choices[0].finish_reason",
    "completion.system_fingerprint",
    "completion._request_id.strip()",
    "getattr(message, 'reasoning_content', None)",
    "isinstance(completion, openai.types.chat.ChatCompletion) or 1 / 0",
    "isinstance(completion.usage, openai.types.CompletionUsage) or 1 / 0",
    "await client.chat.completions.create(messages=[*ASK, message, *ASK])",
]
DECLINED = {
    "openai.AsyncOpenAI(api_key=KEY, http_client=object())": "HTTPS_PROXY",
    "openai.AsyncOpenAI(api_key=KEY, organization='o')": "no organizations; leave it out",
    "openai.AsyncOpenAI(api_key=KEY, project='p')": "no projects; leave it out",
    "openai.AsyncOpenAI(api_key=None)": "OPENAI_API_KEY is not read",
    "openai.OpenAI(api_key=KEY)": "use AsyncOpenAI",
    "openai.AsyncAzureOpenAI(azure_endpoint='e')": "use AsyncOpenAI(base_url=",
    "client.responses.create(model='m', input='x')": "client.chat.completions",
    "client.embeddings.create(model='m', input='x')": "keep another client",
    "client.images.generate(prompt='x')": "keep another client",
    "client.audio.speech.create(input='x')": "keep another client",
    "client.moderations.create(input='x')": "keep another client",
    "client.files.list()": "keep another client",
    "client.batches.list()": "laplas batch",
    "client.completions.create(prompt='x')": "client.chat.completions",
    "client.post('/x', cast_to=object)": "client.chat.completions.create(extra_body=",
    "client.chat.completions.with_streaming_response": "create(stream=True)",
    "client.with_raw_response": "client.chat.completions.with_raw_response",
    "client.chat.completions.retrieve('id')": "keep what create() returns",
    "await client.chat.completions.create(messages=ASK, temprature=1)": "extra_body=",
    "await client.chat.completions.create(messages=ASK, temperature=7)": "temperature=7",
    "await client.chat.completions.create(messages=ASK, response_format=dict)": "parse()",
}
STATUSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    500: "InternalServerError",
    429: "RateLimitError",  # last: the gate waits after it
}


async def _events(manager: Any) -> list[Any]:
    async with manager as stream:
        return [event async for event in stream]


async def _run(item: str, sim: Simulator) -> str:
    """What the item gives: "works", or its error."""
    async with openai.AsyncOpenAI(api_key=KEY, base_url=sim.base_url, max_retries=0) as client:
        completion: Any = await client.chat.completions.create(messages=ASK)
        names = {
            "openai": openai,
            "client": client,
            "KEY": KEY,
            "ASK": ASK,
            "TOOL": TOOL,
            "httpx_timeout": SimpleNamespace(connect=5.0, read=20.0, write=5.0, pool=5.0),
            "events": _events,
            "completion": completion,
            "message": completion.choices[0].message,
        }
        code = compile(item, "item", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        try:
            value = eval(code, names)
            value = await value if inspect.isawaitable(value) else value
            if isinstance(value, openai.AsyncStream):
                assert [chunk async for chunk in value]
        except Exception as error:  # noqa: BLE001 - that is the result
            return f"{type(error).__name__}: {error}"
    return "works"


async def _rows(sim: Simulator) -> list[tuple[str, str, str]]:
    rows = []
    for item in CONSTRUCTOR:
        options = item if "api_key" in item else f"api_key=KEY, {item}"
        rows.append((item, await _run(f"openai.AsyncOpenAI({options})", sim), "works"))
    for item in CALL:
        call = f"await client.chat.completions.create(messages=ASK, {item})"
        rows.append((f"create({item})", await _run(call, sim), "works"))
    rows += [(item, await _run(item, sim), "works") for item in METHODS + RESULTS]
    rows += [(item, await _run(item, sim), error) for item, error in DECLINED.items()]
    return rows


async def _error_rows(sim: Simulator) -> list[tuple[str, str, str]]:
    """Each status, read the way programs read errors."""
    rows = []
    async with openai.AsyncOpenAI(api_key=KEY, base_url=sim.base_url, max_retries=0) as client:
        for status, name in STATUSES.items():
            sim.script(Fault.status(status))
            try:
                await client.chat.completions.create(messages=ASK)
            except openai.APIStatusError as error:
                read = (
                    type(error).__name__,
                    error.status_code,
                    error.response.status_code,
                    error.response.headers["content-type"].partition(";")[0],
                    isinstance(error.body, dict),
                    bool(error.request_id),
                    isinstance(error, openai.APIError),
                )
                expected = (name, status, status, "application/json", True, True, True)
                shown = "works" if read == expected else f"differs: {read}"
                rows.append((f"except openai.{name}: .status_code .body .response", shown, "works"))
    return rows


async def test_every_item_works_or_says_what_to_write() -> None:
    async with Simulator(api_key=KEY) as sim:
        rows = await _rows(sim) + await _error_rows(sim)
    table = "\n".join(f"{item:82} {shown}" for item, shown, _ in rows)
    print(f"\n{table}")
    assert len(table.splitlines()) == len(rows) > 95  # each error is one line
    assert [row for row in rows if row[2] not in row[1]] == []
    assert [row[0] for row in rows if (row[1] == "works") != (row[2] == "works")] == []
