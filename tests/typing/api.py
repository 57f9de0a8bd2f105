"""The types that users' programs see: read by mypy and pyright, never executed.

Every public name is used here, so a change of a public signature shows in this file's diff.
``tests/unit/test_typing.py`` checks that no public name is missing.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, assert_type

import aiohttp
from attrs import frozen

from laplas_async import (
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    AnswerReplacedError,
    AnswerStream,
    APIError,
    Attempt,
    AttemptRecord,
    AuthenticationError,
    BadRequestError,
    Balance,
    BatchProgress,
    BatchReport,
    Budget,
    BudgetError,
    CallRecord,
    ChatBusyError,
    ChatCompletion,
    ChatCompletionChunk,
    ChatStream,
    Choice,
    ChunkChoice,
    ChunkObserver,
    ConfigError,
    ConnectionFailedError,
    ContentFilterError,
    ContentObserver,
    Conversation,
    ConversationError,
    Conversations,
    Cost,
    Delta,
    DuplicateMessageError,
    Event,
    FunctionCall,
    FunctionCallDelta,
    FunctionDefinition,
    Gate,
    ImagePart,
    ImageURL,
    InvalidJSONError,
    JournalError,
    JSONSchema,
    LaplasClient,
    LaplasError,
    Limits,
    LiveText,
    Logprobs,
    Logs,
    MemoryStorage,
    Message,
    Model,
    NotFoundError,
    Observer,
    OTel,
    Outcome,
    OutcomeStream,
    OutOfCreditsError,
    OutputError,
    OutputType,
    OutputValidationError,
    Pace,
    Parsed,
    ParsedStream,
    PendingCall,
    PermissionDeniedError,
    Price,
    Problem,
    QuotaExceededError,
    RateLimitError,
    RefusalError,
    RequestParameters,
    RequestTimeoutError,
    ResponseFormat,
    RetryPolicy,
    RunEvent,
    RunLimitError,
    RunLimits,
    ServerError,
    SQLiteStorage,
    Storage,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    TextPart,
    Timeouts,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolContext,
    ToolFunction,
    ToolResult,
    ToolRun,
    ToolStream,
    TopLogprob,
    TransportError,
    TruncatedOutputError,
    Turn,
    Usage,
    relay,
    relay_websocket,
    run_batch,
    strict_converter,
    to_dict,
    tool,
)
from laplas_async.bots import Gone, Port, RecordingPort, Shown, SlowDown

# --- bots -------------------------------------------------------------------------------------


async def show(port: Port, stream: ChatStream) -> None:
    live = LiveText(port, placeholder="…", cursor="", patience=60)
    shown = await live.show(stream)
    assert_type(shown, Shown)
    assert_type(shown.text, str)
    assert_type(shown.messages, tuple[Any, ...])
    assert_type(live.stop(), None)
    recording: Port = RecordingPort(errors=[SlowDown(1.5), Gone(chat=True), None])
    await LiveText(recording).show(stream)


# --- the client and its settings --------------------------------------------------------------

MODEL: str = DEFAULT_MODEL
BASE_URL: str = DEFAULT_BASE_URL


def on_event(event: Event) -> None:
    assert_type(event.kind, Literal["attempt", "rejected", "retry", "limit"])
    assert_type(event.pace, Pace)
    assert_type(event.attempt, Attempt | None)
    assert_type(event.delay, float | None)


def retry_when(error: LaplasError) -> bool:
    return isinstance(error, ServerError)


def settings(session: aiohttp.ClientSession, context: ssl.SSLContext) -> list[LaplasClient]:
    timeouts = Timeouts(connect=10, first_token=120.0, idle=None, total=600)
    assert_type(timeouts.idle, float | None)
    retry = RetryPolicy(max_attempts=3, max_elapsed=60, when=retry_when, jitter=lambda delay: delay)
    limits = Limits(
        concurrency=50,
        requests_per_minute=600,
        tokens_per_minute=100_000,
        adaptive=True,
        max_wait=5,
    )
    gate = Gate(limits)
    assert_type(gate.pace, Pace)
    return [
        LaplasClient(),
        LaplasClient("key", "https://host/v1", model="m"),
        LaplasClient(timeouts=timeouts, retry=retry, limits=limits, on_event=on_event),
        LaplasClient(gate=gate, headers={"X-Team": "a"}, session=session),
        LaplasClient(ssl_context=context, ca_file=Path("ca.pem")),
    ]


async def pace_and_end(client: LaplasClient) -> None:
    assert_type(client.pace.rate, float | None)
    assert_type(client.pace.concurrency, int)
    assert_type(client.pace.in_flight, int)
    assert_type(client.pace.waiting, int)
    assert_type(client.pace.rejected, int)
    assert_type(client.on_event, Callable[[Event], None] | None)
    assert_type(client.gate, Gate)
    await client.aclose()
    await client.aclose(drain=30)


# --- observers --------------------------------------------------------------------------------


class Counting:
    """An observer of calls, and no more."""

    def call_started(self, call: CallRecord) -> None:
        assert_type(call.labels, Mapping[str, str | int | float | bool])

    def attempt_ended(self, call: CallRecord, attempt: AttemptRecord) -> None:
        assert_type(attempt.attempt, Attempt)
        assert_type(attempt.gate_wait, float)

    def call_ended(self, call: CallRecord) -> None:
        assert_type(call.attempts, tuple[AttemptRecord, ...])
        assert_type(call.usage, Usage | None)
        assert_type(call.cost, Cost | None)
        assert_type(call.time_to_first_content, float | None)


class Curious(Counting):
    """An observer of chunks and content as well."""

    wants_content = True

    def chunk_received(self, call: CallRecord, chunk: ChatCompletionChunk) -> None:
        assert_type(chunk.text, str)

    def content_known(
        self, call: CallRecord, messages: Any, completion: ChatCompletion | None
    ) -> None:
        pass


async def observed() -> None:
    chunks: ChunkObserver = Curious()
    content: ContentObserver = Curious()
    observers: list[Observer] = [Counting(), chunks, content, Logs(), OTel(provider="own")]
    client = LaplasClient(observers=observers)
    labels = {"job": "nightly"}
    assert_type(await client.complete("Name a river.", labels=labels), ChatCompletion)
    assert_type(client.map([{"messages": "a"}], labels=labels), OutcomeStream)


async def capped(client: LaplasClient) -> None:
    budget = Budget(25, {"m": Price(input=3.5, output=3.5)})
    assert_type(budget.spent, float)
    assert_type(budget.may_be_billed, float)
    assert_type(await client.complete("Name a river.", budget=budget), ChatCompletion)
    assert_type(client.map([{"messages": "a"}], budget=Budget(usd=1, price=None)), OutcomeStream)
    LaplasClient(budget=budget)


# --- messages and parameters ------------------------------------------------------------------


def conversation() -> list[Message]:
    image = ImagePart(ImageURL("https://host/a.png", detail="low"))
    call = ToolCall("call-1", FunctionCall("get_weather", "{}"))
    return [
        Message("system", "Be brief."),
        Message("user", [TextPart("What is this?"), image, {"type": "text", "text": "Say."}]),
        Message("assistant", tool_calls=[call]),
        Message("tool", "12 C", tool_call_id="call-1"),
    ]


def parameters() -> RequestParameters:
    weather = FunctionDefinition("get_weather", "The weather of a city.", {"type": "object"})
    return {
        "max_tokens": 100,
        "temperature": 0.2,
        "stop": ["\n"],
        "tools": [Tool(weather), {"type": "function", "function": {"name": "get_time"}}],
        "response_format": ResponseFormat("json_schema", JSONSchema("label", {"type": "string"})),
    }


# --- calls ------------------------------------------------------------------------------------


async def complete(client: LaplasClient) -> None:
    assert_type(await client.complete("Name a river."), ChatCompletion)
    dicts: list[Mapping[str, Any]] = [{"role": "user", "content": "Name a river."}]
    assert_type(await client.complete(dicts, timeouts=30, seed=1), ChatCompletion)
    completion = await client.complete(
        conversation(),
        model="m",
        timeouts=Timeouts(total=60),
        extra_headers={"X-Trace": "1"},
        extra_body={"new_field": True},
        **parameters(),
    )
    assert_type(completion.text, str)
    assert_type(completion.finish_reason, str | None)
    assert_type(completion.tool_calls, list[ToolCall])
    assert_type(completion.message, Message)
    assert_type(completion.attempts, tuple[Attempt, ...])
    assert_type(completion.choices, list[Choice])
    assert_type(completion.usage, Usage | None)
    assert_type(completion.choices[0].logprobs, Logprobs | None)
    assert_type(to_dict(completion), dict[str, Any])


async def stream(client: LaplasClient) -> None:
    async with client.stream("Tell me a story.", temperature=1) as stream:
        assert_type(stream, ChatStream)
        async for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
            assert_type(chunk.text, str)
            assert_type(chunk.choices, list[ChunkChoice])
            assert_type(chunk.choices[0].delta, Delta)
            assert_type(chunk.choices[0].delta.tool_calls, list[ToolCallDelta] | None)
            assert_type(chunk.usage, Usage | None)
        async for text in stream.text():
            assert_type(text, str)
        assert_type(stream.partial, ChatCompletion)
        assert_type(stream.attempts, tuple[Attempt, ...])
        assert_type(stream.request_id, str | None)
        assert_type(await stream.completion(), ChatCompletion)
        await stream.aclose()


async def create(client: LaplasClient, messages: Sequence[Message]) -> None:
    assert_type(await client.chat.completions.create(messages=messages), ChatCompletion)
    assert_type(
        await client.chat.completions.create(messages=messages, stream=False), ChatCompletion
    )
    assert_type(await client.chat.completions.create(messages=messages, stream=True), ChatStream)


async def requests() -> AsyncIterator[Mapping[str, Any]]:
    yield {"messages": "Name a river."}


async def fan_out(client: LaplasClient) -> None:
    assert_type(client.map([{"messages": "a"}], ordered=True, buffer=10), OutcomeStream)
    async with client.map(requests()) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome)
            assert_type(outcome.ok, bool)
            assert_type(outcome.completion, ChatCompletion | None)
            assert_type(outcome.error, LaplasError | None)
            assert_type(outcome.attempts, tuple[Attempt, ...])


def on_progress(progress: BatchProgress) -> None:
    assert_type(progress.rows, int | None)
    assert_type(progress.pace, Pace)


async def batch(client: LaplasClient) -> None:
    report = await run_batch(
        "in.jsonl",
        Path("out.jsonl"),
        client=client,
        ordered=True,
        budget=Budget(25, Price(input=3.5, output=3.5)),
        on_progress=on_progress,
    )
    assert_type(report, BatchReport)
    assert_type(report.ok, bool)
    assert_type(report.failures, dict[str, int])


# --- typed answers and tools ------------------------------------------------------------------


@frozen
class Line:
    sku: str
    count: int


@frozen
class Invoice:
    customer: str
    lines: list[Line]


async def parse(client: LaplasClient) -> None:
    result = await client.parse("A letter.", into=Invoice, converter=strict_converter(lenient=True))
    assert_type(result, Parsed[Invoice])
    assert_type(result.output, Invoice)
    assert_type(result.completion, ChatCompletion)
    async with client.stream("A letter.", into=Invoice) as stream:
        assert_type(stream, ParsedStream[Invoice])
        async for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
        assert_type((await stream.parsed()).output, Invoice)


@tool
async def get_time(context: ToolContext, city: str) -> str:
    """Look up the time."""
    return f"{context.name} {city}"


def get_weather(city: str) -> str:
    """Look up the weather."""
    return city


async def approve(call: PendingCall) -> bool:
    return call.tool == "get_time"


async def tools(client: LaplasClient) -> None:
    assert_type(get_time, ToolFunction)
    run = await client.run_tools(
        "What time is it?",
        tools=[get_time, get_weather],
        limits=RunLimits(rounds=3, cost_usd=0.5),
        price=Price(input=1.0, output=2.0),
        approve=approve,
    )
    assert_type(run, ToolRun[Any])
    assert_type(run.text, str)
    assert_type(run.results, list[ToolResult])
    async with client.stream_tools("What time is it?", tools=[get_time]) as stream:
        assert_type(stream, ToolStream[Any])
        async for event in stream:
            assert_type(event, RunEvent)
        assert_type(await stream.run(), ToolRun[Any])


async def service(client: LaplasClient, output: OutputType[Invoice]) -> None:
    assert_type(await client.models(), list[Model])
    assert_type(await client.balance(), Balance)
    assert_type(output, OutputType[Invoice])


# --- values -----------------------------------------------------------------------------------


def values(
    completion: ChatCompletion,
    usage: Usage,
    logprobs: Logprobs,
    call: FunctionCallDelta,
    attempt: Attempt,
) -> None:
    assert_type(usage.total_tokens, int)
    assert_type(completion.cost, Cost | None)
    assert_type(logprobs.content, list[TokenLogprob] | None)
    for token in logprobs.content or ():
        assert_type(token.logprob, float)
        for top in token.top_logprobs:
            assert_type(top, TopLogprob)
    assert_type(call.arguments, str | None)
    assert_type(attempt.may_be_billed, bool)


# --- bots -------------------------------------------------------------------------------------


async def bots(client: LaplasClient, path: Path) -> None:
    storage: Storage = SQLiteStorage(path)
    async with Conversations(
        client, system="Be brief.", max_tokens=6000, busy="queue", storage=storage, temperature=0.2
    ) as conversations:
        conversation = conversations[7]
        assert_type(conversation, Conversation)
        async with conversation.ask("Hello.", message_id=1, busy="replace") as stream:
            assert_type(stream, AnswerStream)
            assert_type(await anext(stream), ChatCompletionChunk)
            async for text in stream.text():
                assert_type(text, str)
            assert_type(await stream.completion(), ChatCompletion)
        turns = await conversation.turns()
        assert_type(turns, list[Turn])
        assert_type(turns[0].tokens, int | None)
        assert_type(conversation.waiting, int)
        assert_type(await conversation.stop(), bool)
        await conversation.append([Message("user", "One."), {"role": "assistant", "content": "1"}])
        await conversation.clear()
    Conversations(client, storage=MemoryStorage(), idle=60)


async def services(client: LaplasClient, request: Any, websocket: Any) -> Any:
    outcome = await relay_websocket(client.stream("Hello."), websocket, as_="json")
    assert_type(outcome, Literal["complete", "failed", "disconnected"])
    return await relay(
        client.stream("Hello."),
        request,
        as_="sse",
        heartbeat=None,
        send_timeout=10,
        describe=lambda error: type(error).__name__,
        headers={"X-Team": "a"},
    )


# --- errors -----------------------------------------------------------------------------------


def errors(error: LaplasError) -> None:
    assert_type(error.attempts, tuple[Attempt, ...])
    assert_type(error.message, str)
    match error:
        case ConfigError():
            value_error: ValueError = error
            print(value_error)
        case QuotaExceededError() | RateLimitError() | ServerError():
            assert_type(error.retry_after, float | None)
        case BadRequestError() | AuthenticationError() | NotFoundError():
            assert_type(error.status, int | None)
        case OutOfCreditsError() | PermissionDeniedError():
            assert_type(error.code, str | None)
        case APIError():
            assert_type(error.request_id, str | None)
        case RequestTimeoutError():
            timeout: TimeoutError = error
            print(timeout)
        case ConnectionFailedError():
            assert_type(error.sent, bool)
        case TransportError():
            assert_type(error.request_id, str | None)
        case StreamTimeoutError():
            assert_type(error.phase, str)
        case StreamAPIError():
            assert_type(error.status, int | None)
        case AnswerReplacedError() | StreamTruncatedError() | StreamProtocolError():
            assert_type(error.partial, ChatCompletion)
        case StreamError():
            assert_type(error.partial, ChatCompletion)
        case RefusalError() | ContentFilterError() | InvalidJSONError() | OutputValidationError():
            assert_type(error.errors, tuple[Problem, ...])
        case TruncatedOutputError():
            assert_type(error.partial, Any)
        case OutputError():
            assert_type(error.usage, Usage | None)
        case RunLimitError():
            assert_type(error.limit, str)
        case BudgetError():
            assert_type(error.spent, float)
        case JournalError():
            assert_type(error.line, int | None)
        case ChatBusyError() | DuplicateMessageError() | ConversationError():
            assert_type(error.chat, str)
        case _:
            pass
