"""Plain calls over a real socket: what is sent, what is returned, what is retried."""

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from laplas_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    Cost,
    Event,
    LaplasClient,
    LaplasError,
    Limits,
    Message,
    NotFoundError,
    OutOfCreditsError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    Timeouts,
    Tool,
)
from laplas_async.simulator import Fault, Simulator

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
        },
    },
}

# Every request field, with a value that the simulator's own validation accepts.
FIELDS: dict[str, Any] = {
    "max_tokens": 7,
    "stop": ["one", "two"],
    "stream_options": {"include_usage": True},
    "n": 2,
    "seed": 5,
    "top_p": 0.5,
    "top_k": 40,
    "temperature": 0.7,
    "repetition_penalty": 1.1,
    "logprobs": True,
    "top_logprobs": 3,
    "echo": True,
    "min_p": 0.05,
    "presence_penalty": -0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "tools": [WEATHER],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "response_format": {"type": "json_object"},
}


async def test_a_string_is_the_users_message(client: LaplasClient, simulator: Simulator) -> None:
    completion = await client.complete("Name a river.", max_tokens=20)

    assert completion.text
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 20
    assert completion.finish_reason == "length"
    assert simulator.requests[0].body["messages"] == [{"role": "user", "content": "Name a river."}]
    assert completion.request_id
    assert [attempt.status for attempt in completion.attempts] == [200]


@pytest.mark.parametrize("name", FIELDS)
async def test_each_field_is_sent_as_given(
    client: LaplasClient, simulator: Simulator, name: str
) -> None:
    given = {name: FIELDS[name]}
    if name == "top_logprobs":
        given["logprobs"] = True
    await client.complete("Hello", **given)
    assert simulator.requests[0].body[name] == FIELDS[name]


async def test_all_fields_at_once(client: LaplasClient, simulator: Simulator) -> None:
    completion = await client.complete("Hello", **FIELDS)
    seen = simulator.requests[0].body
    assert {name: seen[name] for name in FIELDS} == FIELDS
    assert len(completion.choices) == 2


async def test_unknown_fields_and_headers_are_sent(
    client: LaplasClient, simulator: Simulator
) -> None:
    await client.complete("Hello", extra_body={"new": {"deep": 1}}, extra_headers={"X-Team": "a"})
    assert simulator.requests[0].body["new"] == {"deep": 1}
    assert simulator.requests[0].headers["x-team"] == "a"


async def test_a_conversation_with_a_tool(client: LaplasClient, simulator: Simulator) -> None:
    history: list[Any] = [{"role": "system", "content": "Be brief."}, Message("user", "Weather?")]
    asked = await client.complete(history, tools=[WEATHER])
    (call,) = asked.tool_calls
    assert call.function.name == "get_weather"
    assert "place" in orjson.loads(call.function.arguments)

    history += [asked.message, Message("tool", "Rain.", tool_call_id=call.id)]
    completion = await client.complete(history, tools=[WEATHER])
    assert completion.text
    assert simulator.counts.answered == 2


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_any_2xx_is_success(key: str, status: int) -> None:
    async with (
        Simulator(api_key=key, status=status) as simulator,
        LaplasClient(key, simulator.base_url) as client,
    ):
        assert (await client.complete("Hello")).text
        async with client.stream("Hello") as stream:
            assert (await stream.completion()).text


async def test_key_and_url_come_from_the_environment(
    key: str, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAPLAS_API_KEY", key)
    monkeypatch.setenv("LAPLAS_BASE_URL", simulator.base_url)
    async with LaplasClient() as client:
        assert (await client.complete("Hello")).text


async def test_a_callers_session_is_used_and_left_open(key: str, simulator: Simulator) -> None:
    async with aiohttp.ClientSession(headers={"X-Session": "mine"}) as session:
        async with LaplasClient(key, simulator.base_url, session=session) as client:
            await client.complete("Hello")
        assert not session.closed
    assert simulator.requests[0].headers["x-session"] == "mine"


async def test_a_callers_closed_session_is_a_config_error(key: str, simulator: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        client = LaplasClient(key, simulator.base_url, session=session)
    with pytest.raises(ConfigError, match="session"):
        await client.complete("Hello")


async def test_the_calls_of_the_openai_client_work(
    client: LaplasClient, simulator: Simulator
) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    completion = await client.chat.completions.create(model="m", messages=messages, max_tokens=9)
    stream = await client.chat.completions.create(
        model="m", messages=messages, max_tokens=9, stream=True
    )
    text = "".join([chunk.choices[0].delta.text async for chunk in stream])

    assert completion.choices[0].message.content == text
    assert "stream_options" not in simulator.requests[1].body  # its chunk would have no choice
    assert await simulator.wait_idle()


# --- errors and retries -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(400), BadRequestError),
        (Fault.status(401), AuthenticationError),
        (Fault.status(403), OutOfCreditsError),
        (Fault.status(404), NotFoundError),
        (Fault.status(422, body={"detail": [{"loc": ["body"], "msg": "bad"}]}), BadRequestError),
        (Fault.quota(), QuotaExceededError),
        (Fault.redirect("http://127.0.0.1:9/elsewhere"), APIError),
        (Fault.html(status=403), APIError),
    ],
)
async def test_a_permanent_error_is_not_retried(
    client: LaplasClient, simulator: Simulator, fault: Fault, error: type[APIError]
) -> None:
    simulator.script(fault)
    with pytest.raises(error) as caught:
        await client.complete("Hello")
    assert simulator.counts.requests == 1
    assert caught.value.request_id
    (attempt,) = caught.value.attempts
    assert attempt.error is not None
    assert error.__name__ in attempt.error or error is APIError
    assert not attempt.may_be_billed


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(408),
        Fault.status(409),
        Fault.status(429),
        Fault.status(500),
        Fault.status(502, body="<html>Bad Gateway</html>"),
        Fault.status(503),
        Fault.status(504),
        Fault.status(529, body=b""),
        Fault.drop(),
        Fault.cut(),
        Fault.reset(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_transient_error_is_retried(
    client: LaplasClient, simulator: Simulator, fault: Fault, *, streamed: bool
) -> None:
    simulator.script(fault, fault)
    if streamed:
        async with client.stream("Hello") as stream:
            completion = await stream.completion()
    else:
        completion = await client.complete("Hello")
    assert completion.text
    assert len(completion.attempts) == 3
    assert all(attempt.error for attempt in completion.attempts[:2])
    assert completion.attempts[2].error is None


async def test_the_last_error_records_every_attempt(key: str, simulator: Simulator) -> None:
    simulator.script_always(Fault.status(503))
    policy = RetryPolicy(max_attempts=3, jitter=lambda _: 0.0)
    async with LaplasClient(key, simulator.base_url, retry=policy) as client:
        with pytest.raises(ServerError) as caught:
            await client.complete("Hello")
    assert [attempt.status for attempt in caught.value.attempts] == [503] * 3
    assert all(attempt.may_be_billed for attempt in caught.value.attempts)
    assert len({attempt.request_id for attempt in caught.value.attempts}) == 3


async def test_a_retry_after_beyond_the_cap_raises(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.status(503, retry_after=3600))
    with pytest.raises(ServerError) as caught:
        await client.complete("Hello")
    assert caught.value.retry_after == 3600
    assert simulator.counts.requests == 1


async def test_a_refused_connection_was_not_sent_and_not_billed(
    key: str, policy: RetryPolicy, unused_port: int
) -> None:
    policy = RetryPolicy(max_attempts=2, jitter=lambda _: 0.0)
    async with LaplasClient(key, f"http://127.0.0.1:{unused_port}/v1", retry=policy) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.complete("Hello")
    assert not caught.value.sent
    assert len(caught.value.attempts) == 2
    assert not any(attempt.may_be_billed for attempt in caught.value.attempts)


async def test_the_total_bounds_a_plain_call(client: LaplasClient, simulator: Simulator) -> None:
    simulator.script(Fault.stall())
    with pytest.raises(RequestTimeoutError) as caught:
        await client.complete("Hello", timeouts=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.phase == "total"
    assert caught.value.attempts[0].may_be_billed
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.raw(data=b"{nope", content_type="application/json"),
        Fault.raw(data=b"[1, 2]", content_type="application/json"),
        Fault.raw(data=b'{"choices": "none"}', content_type="application/json"),
        Fault.raw(data=b"\xff\xfe\x00", content_type="application/json"),
        Fault.raw(data=b'{"id": "c"}', content_type="application/json"),
        Fault.html(),
    ],
    ids=repr,
)
async def test_an_invalid_success_body_is_an_error_that_quotes_it(
    client: LaplasClient, simulator: Simulator, fault: Fault
) -> None:
    simulator.script(fault)
    with pytest.raises(APIError, match="no chat completion") as caught:
        await client.complete("Hello")
    assert caught.value.status == 200
    assert simulator.counts.requests == 1


async def test_an_error_inside_a_success_is_an_error(
    client: LaplasClient, simulator: Simulator
) -> None:
    body = {"error": {"message": "slow down", "code": 429}}
    simulator.script(Fault.raw(data=orjson.dumps(body), content_type="application/json"))
    completion = await client.complete("Hello")
    assert completion.attempts[0].error is not None
    assert completion.attempts[0].error.startswith("RateLimitError: 429: slow down")


async def test_the_cost_is_read_from_body_or_stream(key: str) -> None:
    async with (
        Simulator(api_key=key, costs=True) as simulator,
        LaplasClient(key, simulator.base_url) as client,
    ):
        plain = await client.complete("Hello")
        async with client.stream("Hello") as stream:
            streamed = await stream.completion()
        assert isinstance(plain.cost, Cost)
        assert plain.cost.credits_used
        assert streamed.cost == plain.cost


@pytest.mark.parametrize(
    "arguments",
    [
        {"messages": []},
        {"messages": ""},
        {"messages": 5},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": "x", "temperature": 9},
        {"messages": "x", "max_tokens": "many"},
        {"messages": "x", "model": ""},
        {"messages": "x", "tools": [Tool(function=None)]},  # type: ignore[arg-type]
        {"messages": "x", "extra_headers": {"X": "a\r\nB: c"}},
        {"messages": "x", "extra_headers": {"X:": "a"}},
        {"messages": "x", "extra_body": {"stream": True}},
        {"messages": "x", "timeouts": -1},
        {"messages": "x", "maxtokens": 5},
    ],
    ids=repr,
)
async def test_invalid_arguments_raise_before_a_connection_is_opened(
    client: LaplasClient, simulator: Simulator, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        await client.complete(**arguments)
    with pytest.raises(ConfigError):
        client.stream(**arguments)
    assert simulator.counts.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://x/v1",
        "https://",
        "https://u:p@x/v1",
        "https://x/v1?a=b",
        "https://x/v1/chat/completions",
        "http://[::1",
        "https://x:99999/v1",
        5,
    ],
)
def test_an_invalid_url_raises_at_once(url: Any) -> None:
    with pytest.raises(ConfigError):
        LaplasClient("k", url)


def test_a_missing_key_names_the_variable_to_set() -> None:
    with pytest.raises(ConfigError, match="LAPLAS_API_KEY"):
        LaplasClient()


async def test_forty_calls_share_one_gate(client: LaplasClient, simulator: Simulator) -> None:
    completions = await asyncio.gather(*(client.complete(f"Question {i}") for i in range(40)))
    assert len({completion.id for completion in completions}) == 40
    assert simulator.counts.max_in_flight <= 40
    assert client.gate.limiter.in_flight == 0


async def test_a_very_long_retry_after_raises_a_rate_limit_error(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.status(429, retry_after=9999))
    with pytest.raises(LaplasError) as caught:
        await client.complete("Hello")
    assert isinstance(caught.value, RateLimitError)
    assert caught.value.retry_after == 9999


async def test_a_call_ends_when_the_client_is_closed(key: str, simulator: Simulator) -> None:
    simulator.script(Fault.stall())
    client = LaplasClient(key, simulator.base_url, timeouts=Timeouts(total=None))
    call = asyncio.create_task(client.complete("Hello"))
    assert await simulator.wait_for(lambda counts: counts.in_flight == 1)
    await client.aclose()
    with pytest.raises(ConnectionFailedError, match="closed"):
        await call
    with pytest.raises(ConfigError, match="closed"):
        await client.complete("Hello")
    assert await simulator.wait_for(lambda counts: counts.open_connections == 0)


async def test_a_response_with_no_requests_remaining_delays_the_next(
    simulator: Simulator, key: str
) -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "Rhine"}}]}
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s"}
    simulator.script(Fault.status(200, body=body, headers=headers))
    async with LaplasClient(key, simulator.base_url, limits=Limits(max_wait=0.001)) as client:
        assert (await client.complete("Name a river.")).text == "Rhine"
        with pytest.raises(RequestTimeoutError) as caught:
            await client.complete("Another.")
    assert caught.value.phase == "turn"
    assert simulator.counts.requests == 1


async def test_a_large_response(client: LaplasClient, simulator: Simulator) -> None:
    text = 'Er sagte: "Das Wasser fließt." 🙂 河流\n' * 20_000
    body = {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    whole = orjson.dumps(body)
    simulator.script(
        Fault.raw(data=whole, content_type="application/json"),
        Fault.raw(data=whole[:-9], content_type="application/json"),
    )
    assert (await client.complete("Hi")).text == text
    retried = await client.complete("Hi")  # the cut one is not taken for an answer
    assert [attempt.may_be_billed for attempt in retried.attempts] == [True, False]


# --- plain responses in unusual forms ---------------------------------------------------------

CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "The "}}]},
    {"choices": [{"index": 0, "delta": {"content": "Rhine."}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
EVENTS = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in CHUNKS)
WHOLE = orjson.dumps(
    {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The Rhine."},
                "finish_reason": "stop",
            }
        ]
    }
)


def plain(data: bytes) -> Fault:
    return Fault.raw(data=data, content_type="application/json")


@pytest.mark.parametrize(
    "data",
    [
        WHOLE + b"\ndata: [DONE]\n\n",
        WHOLE + b"\n\n[DONE]",
        b"\n\n   " + WHOLE,
        b": working\n\n: working\n\n" + WHOLE,
        EVENTS + b"data: [DONE]\n\n",
        EVENTS,
        EVENTS.replace(b"\n\n", b"\n") + b"data: [DONE]\n",
        EVENTS.replace(b"\n", b"\r\n"),
        b"data: " + WHOLE + b"\n\ndata: [DONE]\n\n",
        EVENTS.removesuffix(b"\n\n"),
    ],
    ids=range(10),
)
async def test_a_completion_in_every_form_is_read(
    client: LaplasClient, simulator: Simulator, data: bytes
) -> None:
    simulator.script(plain(data))
    completion = await client.complete("Name a river.")
    assert completion.text == "The Rhine."
    assert completion.finish_reason == "stop"
    assert simulator.counts.requests == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \r\n\t",
        b": working\n\n",
        WHOLE[:-3],
        WHOLE[:40],
        b"{",
        WHOLE[: WHOLE.index(b"Rhine") + 2],
        EVENTS[:-60],
        b"data: " + orjson.dumps(CHUNKS[0]) + b'\n\ndata: {"cho',
        b"data: [DONE]\n\n",
    ],
    ids=range(10),
)
async def test_a_body_that_is_empty_or_cut_is_retried(
    client: LaplasClient, simulator: Simulator, data: bytes
) -> None:
    simulator.script(plain(data))
    completion = await client.complete("Name a river.")
    assert completion.text
    assert len(completion.attempts) == 2
    assert completion.attempts[0].may_be_billed


@pytest.mark.parametrize(
    ("data", "error", "attempts"),
    [
        (b'data: {"error": {"message": "no such model", "code": 404}}\n\n', NotFoundError, 1),
        (EVENTS[:80] + b'\n\ndata: {"error": {"message": "x", "code": 400}}\n\n', APIError, 1),
        (b'[{"error": {"message": "bad", "code": 400}}]', BadRequestError, 1),
        (b'{"error_type": "t", "error_message": "bad", "status_code": 422}', BadRequestError, 1),
        (b'{"detail": "Not Found", "status": 404}', NotFoundError, 1),
        (b'{"choices": [{"message": {"content": "a"}, "finish_reason": "abort"}]}', ServerError, 2),
        (b'{"choices": [{"error": {"code": 502, "message": "up"}}]}', ServerError, 2),
        (
            b'data: {"choices": [{"delta": {}, "finish_reason": "network_error"}]}\n\n',
            ServerError,
            2,
        ),
    ],
    ids=range(8),
)
async def test_a_failure_with_a_success_status_is_its_error(
    key: str, simulator: Simulator, data: bytes, error: type[APIError], attempts: int
) -> None:
    simulator.script_always(plain(data))
    policy = RetryPolicy(max_attempts=2, jitter=lambda _: 0.0)
    async with LaplasClient(key, simulator.base_url, retry=policy) as client:
        with pytest.raises(error) as caught:
            await client.complete("Hello")
    assert len(caught.value.attempts) == attempts


@pytest.mark.parametrize("reason", ["length", "content_filter", "eos", "stop_sequence", "weird"])
async def test_an_unknown_finish_reason_is_an_end(
    client: LaplasClient, simulator: Simulator, reason: str
) -> None:
    simulator.script(plain(WHOLE.replace(b'"stop"', orjson.dumps(reason))))
    assert (await client.complete("Hello")).finish_reason == reason


# --- waiting and billing ----------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("most", [0, 1, 2])
async def test_ambiguous_attempts_are_repeated_a_bounded_number_of_times(
    key: str, simulator: Simulator, most: int, *, streamed: bool
) -> None:
    """Each may be billed: the connection was lost after the request had been sent."""
    simulator.script_always(Fault.drop())
    policy = RetryPolicy(max_ambiguous=most, jitter=lambda _: 0.0)
    async with LaplasClient(key, simulator.base_url, retry=policy) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            await (client.stream("Hello").start() if streamed else client.complete("Hello"))
    assert simulator.counts.requests == most + 1
    assert all(attempt.may_be_billed for attempt in caught.value.attempts)


async def test_a_retry_after_of_a_day_does_not_stop_the_other_calls(
    key: str, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.script(Fault.status(429, retry_after=86_400))
    policy = RetryPolicy(max_retry_after=0.05, jitter=lambda _: 0.0)
    events: list[Event] = []
    async with LaplasClient(
        key, simulator.base_url, retry=policy, on_event=events.append
    ) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.complete("Hello")
        assert (await client.complete("Hello")).text
    assert caught.value.retry_after == 86_400
    assert [event.delay for event in events if event.kind == "rejected"] == [86_400]
    assert "86400 s" in caplog.text


@pytest.mark.parametrize("status", [498, 499, 520, 522, 525, 529, 530])
async def test_a_gateway_s_own_status_is_retried(
    client: LaplasClient, simulator: Simulator, status: int
) -> None:
    simulator.script(Fault.status(status, body=b""))
    completion = await client.complete("Hello")
    assert [attempt.status for attempt in completion.attempts] == [status, 200]


async def test_a_limit_per_minute_worded_like_a_quota_is_waited_for(
    client: LaplasClient, simulator: Simulator
) -> None:
    body = {"error": {"message": "You exceeded your current quota. Please retry in 0.01s."}}
    simulator.script(Fault.status(429, body=body))
    assert len((await client.complete("Hello")).attempts) == 2


async def test_a_body_of_megabytes_is_sent(client: LaplasClient, simulator: Simulator) -> None:
    text = "x" * 3_000_000
    assert (await client.complete(text, max_tokens=5)).text
    assert len(simulator.requests[0].body["messages"][0]["content"]) == 3_000_000


async def test_a_received_message_without_content_continues_the_conversation(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(plain(WHOLE.replace(b'"The Rhine."', b"null")))
    first = await client.complete("Hello")
    assert first.message.content is None
    history = [Message("user", "Hello"), first.message, Message("user", "Go on.")]
    assert (await client.complete(history, tools=[])).text
    assert "tools" not in simulator.requests[1].body
