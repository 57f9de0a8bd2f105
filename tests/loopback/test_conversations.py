"""Conversations over real sockets: what is sent with each message, and what is remembered."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from laplas_async import (
    AnswerReplacedError,
    AnswerStream,
    APIError,
    ChatBusyError,
    ConfigError,
    Conversation,
    ConversationError,
    Conversations,
    DuplicateMessageError,
    LaplasClient,
    LaplasError,
    MemoryStorage,
    Message,
    SQLiteStorage,
    StreamTruncatedError,
    Turn,
)
from laplas_async.simulator import Fault, Simulator

SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture
async def conversations(client: LaplasClient) -> AsyncIterator[Conversations]:
    async with Conversations(client, system="Be brief.") as conversations:
        yield conversations


@pytest.fixture
def chat(conversations: Conversations) -> Conversation:
    return conversations["chat"]


async def answer(stream: AnswerStream) -> str:
    async with stream:
        return (await stream.completion()).text


async def outcome(stream: AnswerStream) -> str | type[BaseException]:
    try:
        return await answer(stream)
    except LaplasError as error:
        return type(error)


def sent(simulator: Simulator, at: int = -1) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = simulator.requests[at].body["messages"]
    return messages


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [f"{message['role']}: {message['content']}" for message in messages]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def reading(stream: AnswerStream, pieces: int = 1) -> tuple[asyncio.Task[Any], list[str]]:
    """A task that reads the stream, after it has read so many pieces."""
    got: list[str] = []

    async def read() -> None:
        async with stream:
            async for text in stream.text():
                got.append(text)  # noqa: PERF401 - seen while it grows

    task = asyncio.create_task(read())
    await until(lambda: len(got) >= pieces or task.done())
    return task, got


# --- what is sent ---------------------------------------------------------------------------------


async def test_a_message_is_sent_with_the_chats_history(
    chat: Conversation, conversations: Conversations, simulator: Simulator
) -> None:
    first = await answer(chat.ask("My name is Ada."))
    await answer(conversations["another"].ask("Hello."))
    await answer(chat.ask("What is my name?", temperature=0.5))
    assert sent(simulator) == [
        SYSTEM,
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "What is my name?"},
    ]
    assert simulator.requests[-1].body["temperature"] == 0.5


async def test_the_stream_is_read_as_every_stream_is(chat: Conversation) -> None:
    async with chat.ask("Name a river.") as stream:
        assert stream.status == 200
        pieces = [piece async for piece in stream.text()]
        completion = await stream.completion()
    assert "".join(pieces) == completion.text == stream.shown
    assert len(pieces) > 1
    assert completion.attempts == stream.attempts != ()
    assert [turn.state for turn in await chat.turns()] == ["complete"]


@pytest.mark.parametrize("key", ["a", 7, -100123, ("guild", 5), "7"])
async def test_a_chat_is_found_by_its_key(conversations: Conversations, key: object) -> None:
    await answer(conversations[key].ask("One."))
    assert len(await conversations[key].turns()) == 1
    assert await conversations[("x", "7", 7)].turns() == []


@pytest.mark.parametrize("key", [None, 1.5, True, (), ("a", None), b"a"])
def test_a_key_that_would_not_survive_a_restart_is_refused(
    conversations: Conversations, key: object
) -> None:
    with pytest.raises(ConfigError, match="must be a string, an integer"):
        conversations[key]


async def test_prompts_stay_within_the_bound_as_the_service_counts(
    client: LaplasClient, simulator: Simulator
) -> None:
    async with Conversations(client, system="Be brief.", max_tokens=700) as conversations:
        chat = conversations[1]
        counted = []
        for number in range(25):
            question = f"Question {number}: " + "why " * (5 + 17 * number % 60)
            async with chat.ask(question) as stream:
                completion = await stream.completion()
            assert completion.usage is not None
            counted.append(completion.usage.prompt_tokens)
            assert sent(simulator)[0] == SYSTEM
            assert sent(simulator)[1]["role"] == "user"
            assert sent(simulator)[-1]["content"] == question
        assert max(counted[3:]) <= 700
        assert max(counted) > 400  # and it is used
        assert len(sent(simulator)) > 4


async def test_without_a_bound_the_models_context_length_is_used(policy: Any) -> None:
    listed = [{"id": "small", "info": {"contextLength": 7_000}}]
    async with (
        Simulator(models=listed) as simulator,
        LaplasClient("k", simulator.base_url, retry=policy, model="small") as client,
        Conversations(client) as conversations,
    ):
        chat = conversations[1]
        for _ in range(4):
            await chat.append([Message("user", "x" * 6_000), Message("assistant", "y")])
        await answer(chat.ask("First.", max_tokens=500))
        # About 2,000 tokens each: three of them fit into 6,500.
        assert len(sent(simulator)) == 3 * 2 + 1


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Too bad.", "code": "context_length_exceeded"}},
        {"message": "This model's maximum context length is 8192 tokens.", "statusCode": 400},
        {"detail": "Input is too long for requested model."},
    ],
)
async def test_a_prompt_that_the_service_finds_too_long_is_sent_with_half_of_its_history(
    chat: Conversation, simulator: Simulator, body: dict[str, Any]
) -> None:
    """A service that reports no usage, or a model whose context length is not known."""
    for number in range(4):
        await answer(chat.ask(f"Q{number}"))
    simulator.script(Fault.status(400, body), Fault.status(400, body))
    await answer(chat.ask("Last."))
    questions = [one["content"] for one in sent(simulator) if one["role"] == "user"]
    assert questions == ["Q3", "Last."]
    assert sent(simulator)[0] == SYSTEM
    assert len(await chat.turns()) == 2


async def test_a_question_that_is_too_long_by_itself_is_refused_and_costs_no_history(
    chat: Conversation, simulator: Simulator
) -> None:
    for number in range(4):
        await answer(chat.ask(f"Q{number}"))
    simulator.script_always(Fault.status(400, {"message": "The prompt is too long."}))
    with pytest.raises(APIError, match="too long"):
        await answer(chat.ask("Why?"))
    assert len(sent(simulator)) == 2  # the last attempt was without any history
    assert len(await chat.turns()) == 4


async def test_what_could_never_be_sent_is_not_appended(chat: Conversation) -> None:
    with pytest.raises(ConfigError, match="JSON"):
        await chat.append(Message("user", "half a pair: \ud83d"))
    assert await chat.turns() == []


async def test_a_short_history_asks_for_no_list_of_models(
    chat: Conversation, client: LaplasClient
) -> None:
    for _ in range(3):
        await answer(chat.ask("Hello."))
    assert client._account._models is None


async def test_results_of_tools_continue_the_turn_that_called_them(
    client: LaplasClient, simulator: Simulator
) -> None:
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]
    async with Conversations(client, tools=tools, max_tokens=3_000) as conversations:
        chat = conversations[1]
        async with chat.ask("What time is it?", tool_choice="required") as stream:
            completion = await stream.completion()
        [call, *_] = completion.tool_calls
        results = [Message("tool", "noon", tool_call_id=one.id) for one in completion.tool_calls]
        await answer(chat.ask(results, tool_choice="none"))
        assert [one["role"] for one in sent(simulator)][:2] == ["user", "assistant"]
        assert sent(simulator)[1]["tool_calls"][0]["id"] == call.id
        [turn] = await chat.turns()
        assert (turn.state, turn.number) == ("complete", 1)
        assert turn.tokens is not None
        await answer(chat.ask("Thanks.", tool_choice="none"))
        assert [one["role"] for one in sent(simulator)][-3:] == ["tool", "assistant", "user"] or [
            one["role"] for one in sent(simulator)
        ][-2:] == ["assistant", "user"]


async def test_calls_that_were_never_answered_are_not_sent_again(
    client: LaplasClient, simulator: Simulator
) -> None:
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]
    async with Conversations(client, tools=tools) as conversations:
        await answer(conversations[1].ask("What time is it?", tool_choice="required"))
        await answer(conversations[1].ask("Never mind.", tool_choice="none"))
        assert not any(one.get("tool_calls") for one in sent(simulator))


async def test_results_that_nobody_asked_for_are_refused_before_anything_is_sent(
    chat: Conversation, simulator: Simulator
) -> None:
    with pytest.raises(ConfigError, match="did not call"):
        await answer(chat.ask(Message("tool", "noon", tool_call_id="c1")))
    assert simulator.requests == []
    assert await chat.turns() == []


async def test_a_conversation_held_elsewhere_can_be_appended(
    chat: Conversation, simulator: Simulator
) -> None:
    await chat.append({"role": "assistant", "content": "Hello!"})
    await chat.append([Message("user", "One."), Message("assistant", "1"), Message("user", "Two.")])
    assert [len(turn.messages) for turn in await chat.turns()] == [1, 2, 1]
    await answer(chat.ask("Three."))
    assert texts(sent(simulator))[1:] == [
        "assistant: Hello!",
        "user: One.",
        "assistant: 1",
        "user: Two.",
        "user: Three.",
    ]


async def test_instructions_in_an_appended_history_are_not_trimmed(
    client: LaplasClient, simulator: Simulator
) -> None:
    held = [Message("system", "Rhyme."), Message("user", "Old."), Message("assistant", "Gold.")]
    async with Conversations(client, max_tokens=300) as conversations:
        chat = conversations[1]
        await chat.append(held)
        for number in range(8):
            await answer(chat.ask(f"Question {number}?"))
        assert sent(simulator)[0] == {"role": "system", "content": "Rhyme."}
        assert "user: Old." not in texts(sent(simulator))
        simulator.script(Fault.status(400, {"message": "The prompt is too long."}))
        await answer(chat.ask("Last?"))
        assert texts(sent(simulator))[0] == "system: Rhyme."


# --- one answer at a time -------------------------------------------------------------------------


async def test_messages_queue_in_order_of_arrival(chat: Conversation, simulator: Simulator) -> None:
    answers = await asyncio.gather(*(answer(chat.ask(f"Q{number}")) for number in range(20)))
    assert simulator.counts.max_in_flight == 1
    expected = [SYSTEM]
    for number, text in enumerate(answers):
        expected += [
            {"role": "user", "content": f"Q{number}"},
            {"role": "assistant", "content": text},
        ]
    assert sent(simulator) == expected[:-1]


async def test_chats_do_not_wait_for_each_other(
    conversations: Conversations, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=1))
    task, _ = await reading(conversations[1].ask("Stalled."))
    assert await answer(conversations[2].ask("Hello."))
    assert await conversations[1].stop()
    with pytest.raises(StreamTruncatedError):
        await task


async def test_a_message_that_waits_says_how_many_are_ahead(
    chat: Conversation, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=1))
    ahead: list[int] = []

    async def on_wait(number: int) -> None:
        ahead.append(number)

    first, _ = await reading(chat.ask("One.", on_wait=on_wait))
    second = asyncio.create_task(answer(chat.ask("Two.", on_wait=on_wait)))
    third = asyncio.create_task(answer(chat.ask("Three.", on_wait=ahead.append)))
    await until(lambda: ahead == [1, 2])
    assert chat.waiting == 3
    await chat.stop()
    await asyncio.gather(second, third)
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], LaplasError)
    assert chat.waiting == 0


async def test_a_busy_chat_refuses_if_configured(chat: Conversation, simulator: Simulator) -> None:
    simulator.script(Fault.stall(after=1))
    task, _ = await reading(chat.ask("One.", busy="refuse"))
    with pytest.raises(ChatBusyError, match="still being answered"):
        await answer(chat.ask("Two.", busy="refuse"))
    await chat.stop()
    with pytest.raises(StreamTruncatedError):
        await task
    await answer(chat.ask("Three.", busy="refuse"))
    assert [text for text in texts(sent(simulator)) if "Two" in text] == []


async def test_a_newer_message_replaces_the_answer_and_keeps_what_was_shown(
    chat: Conversation, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=3))
    task, got = await reading(chat.ask("One."), pieces=3)
    await answer(chat.ask("Two.", busy="replace"))
    with pytest.raises(AnswerReplacedError) as caught:
        await task
    assert caught.value.partial.text == "".join(got)
    assert texts(sent(simulator))[1:] == ["user: One.", "assistant: " + "".join(got), "user: Two."]
    assert [turn.state for turn in await chat.turns()] == ["interrupted", "complete"]


async def test_a_replacement_before_the_first_token_closes_the_request(
    chat: Conversation, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=0))
    first = asyncio.create_task(outcome(chat.ask("One.")))
    assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=20)
    assert isinstance(await outcome(chat.ask("Two.", busy="replace")), str)
    assert await first is AnswerReplacedError
    assert texts(sent(simulator))[1:] == ["user: One.", "user: Two."]


async def test_a_replacement_ends_those_that_wait_and_keeps_their_questions(
    chat: Conversation, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=2))
    first, got = await reading(chat.ask("One."), pieces=2)
    waiting = [asyncio.create_task(outcome(chat.ask(text))) for text in ("Two.", "Three.")]
    await until(lambda: chat.waiting == 3)
    assert isinstance(await outcome(chat.ask("Four.", busy="replace")), str)
    assert await asyncio.gather(*waiting) == [AnswerReplacedError] * 2
    with pytest.raises(AnswerReplacedError):
        await first
    shown = "assistant: " + "".join(got)
    assert texts(sent(simulator))[1:] == [
        *("user: One.", shown, "user: Two.", "user: Three.", "user: Four.")
    ]
    assert simulator.counts.requests == 2


async def test_of_many_replacements_at_once_the_newest_is_answered(
    chat: Conversation, simulator: Simulator
) -> None:
    outcomes = await asyncio.gather(
        *(outcome(chat.ask(f"Q{number}", busy="replace")) for number in range(10))
    )
    assert outcomes[:-1] == [AnswerReplacedError] * 9
    assert isinstance(outcomes[-1], str)
    questions = [turn.messages[0]["content"] for turn in await chat.turns()]
    assert sorted(questions) == sorted(f"Q{number}" for number in range(10))
    assert questions[-1] == "Q9"
    assert await simulator.wait_idle(20)


async def test_a_cancelled_message_leaves_the_line(
    chat: Conversation, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=1))
    first, _ = await reading(chat.ask("One."))
    second = asyncio.create_task(answer(chat.ask("Two.")))
    third = asyncio.create_task(answer(chat.ask("Three.")))
    await until(lambda: chat.waiting == 3)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert chat.waiting == 2
    first.cancel()
    assert await third
    await asyncio.gather(first, return_exceptions=True)
    assert "user: Two." not in texts(sent(simulator))


async def test_the_next_message_waits_until_the_block_is_left(
    chat: Conversation, simulator: Simulator
) -> None:
    """The last edit of a bot's message may take longer than the stream."""
    async with chat.ask("One.") as stream:
        await stream.completion()
        second = asyncio.create_task(answer(chat.ask("Two.")))
        await until(lambda: chat.waiting == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert simulator.counts.requests == 1
    assert await second


async def test_outside_of_a_block_the_end_of_the_stream_frees_the_chat(
    chat: Conversation,
) -> None:
    stream = chat.ask("One.")
    await stream.start()
    assert chat.waiting == 1
    assert [piece async for piece in stream.text()]
    assert chat.waiting == 0
    assert await answer(chat.ask("Two."))


# --- interrupted turns ----------------------------------------------------------------------------


async def leave(task: asyncio.Task[Any], _chat: Conversation) -> None:
    task.cancel()


async def stop(_task: asyncio.Task[Any], chat: Conversation) -> None:
    assert await chat.stop()


@pytest.mark.parametrize("interrupt", [leave, stop])
async def test_an_interrupted_turn_keeps_the_question_and_the_part_shown_once(
    chat: Conversation,
    simulator: Simulator,
    interrupt: Callable[[asyncio.Task[Any], Conversation], Awaitable[None]],
) -> None:
    simulator.script(Fault.stall(after=4))
    task, got = await reading(chat.ask("One."), pieces=4)
    await interrupt(task, chat)
    await asyncio.gather(task, return_exceptions=True)
    await answer(chat.ask("Go on."))
    assert texts(sent(simulator))[1:] == [
        "user: One.",
        "assistant: " + "".join(got),
        "user: Go on.",
    ]


@pytest.mark.parametrize(
    "fault", [Fault.cut(after=3), Fault.truncate(after=3), Fault.error_event(after=3)]
)
async def test_a_broken_answer_is_kept_as_far_as_it_was_shown(
    chat: Conversation, simulator: Simulator, fault: Fault
) -> None:
    simulator.script(fault)
    task, got = await reading(chat.ask("One."), pieces=99)
    with pytest.raises(LaplasError):
        await task
    assert got
    await answer(chat.ask("Go on."))
    assert texts(sent(simulator))[1:] == [
        "user: One.",
        "assistant: " + "".join(got),
        "user: Go on.",
    ]


async def test_a_reader_that_breaks_off_keeps_what_it_read(
    chat: Conversation, simulator: Simulator
) -> None:
    async with chat.ask("One.") as stream:
        read = await anext(stream.text())
    await answer(chat.ask("Go on."))
    assert texts(sent(simulator))[2] == f"assistant: {read}"


@pytest.mark.parametrize("fault", [Fault.status(400), Fault.status(401), Fault.quota()])
async def test_a_question_that_failed_before_any_text_is_forgotten(
    chat: Conversation, simulator: Simulator, fault: Fault
) -> None:
    simulator.script(fault)
    with pytest.raises(APIError):
        await answer(chat.ask("Refused.", message_id=1))
    assert await chat.turns() == []
    await answer(chat.ask("Refused.", message_id=1))  # and it may be asked again
    assert texts(sent(simulator))[1:] == ["user: Refused."]


async def test_a_question_cancelled_before_any_text_is_kept_and_may_be_answered_later(
    chat: Conversation, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=0))
    task = asyncio.create_task(answer(chat.ask("One.", message_id=1)))
    assert await simulator.wait_for(lambda counts: counts.in_flight == 1, timeout=20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [turn.state for turn in await chat.turns()] == ["open"]
    await answer(chat.ask("One.", message_id=1))
    assert texts(sent(simulator))[1:] == ["user: One."]


async def test_stopping_an_idle_chat_stops_nothing(chat: Conversation) -> None:
    assert not await chat.stop()
    await answer(chat.ask("One."))
    assert not await chat.stop()


async def test_clearing_ends_the_answer_and_forgets_the_history(
    chat: Conversation, simulator: Simulator
) -> None:
    await answer(chat.ask("One."))
    simulator.script(Fault.stall(after=2))
    task, _ = await reading(chat.ask("Two."), pieces=2)
    await chat.clear()
    await asyncio.gather(task, return_exceptions=True)
    assert await chat.turns() == []
    await answer(chat.ask("Three."))
    assert texts(sent(simulator))[1:] == ["user: Three."]


# --- redelivery -----------------------------------------------------------------------------------


async def test_a_redelivered_message_is_answered_once(
    chat: Conversation, simulator: Simulator
) -> None:
    outcomes = await asyncio.gather(*(outcome(chat.ask("One.", message_id=5)) for _ in range(5)))
    assert outcomes.count(DuplicateMessageError) == 4
    assert await outcome(chat.ask("One.", message_id=5)) is DuplicateMessageError
    assert isinstance(await outcome(chat.ask("One.", message_id="5")), str)  # another id
    assert simulator.counts.requests == 2


async def test_a_redelivered_message_does_not_replace_its_own_answer(
    chat: Conversation, simulator: Simulator
) -> None:
    simulator.script(Fault.stall(after=2))
    task, got = await reading(chat.ask("One.", message_id=1, busy="replace"), pieces=2)
    assert await outcome(chat.ask("One.", message_id=1, busy="replace")) is DuplicateMessageError
    assert not task.done()
    assert len(got) == 2
    await chat.stop()
    await asyncio.gather(task, return_exceptions=True)
    assert await outcome(chat.ask("One.", message_id=1)) is DuplicateMessageError


async def test_a_trimmed_message_is_still_recognised(
    client: LaplasClient, simulator: Simulator
) -> None:
    async with Conversations(client, max_tokens=100) as conversations:
        for number in range(4):
            await answer(conversations[1].ask("Why? " * 10, message_id=number))
        assert len(await conversations[1].turns()) < 4
        assert await outcome(conversations[1].ask("Why?", message_id=0)) is DuplicateMessageError


# --- storage --------------------------------------------------------------------------------------


async def test_a_restart_keeps_history_and_message_ids(
    client: LaplasClient, simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "chats.db"
    async with Conversations(client, storage=SQLiteStorage(path)) as conversations:
        first = await answer(conversations[7].ask("One.", message_id="m1"))
    async with Conversations(client, storage=SQLiteStorage(path)) as conversations:
        assert await outcome(conversations[7].ask("One.", message_id="m1")) is DuplicateMessageError
        await answer(conversations[7].ask("Two."))
    assert texts(sent(simulator)) == ["user: One.", f"assistant: {first}", "user: Two."]


KILLED_BOT = """
import asyncio, sys
from laplas_async import Conversations, LaplasClient, SQLiteStorage

async def main():
    async with LaplasClient(sys.argv[1], sys.argv[2]) as client:
        conversations = Conversations(client, storage=SQLiteStorage(sys.argv[3]))
        async with conversations[7].ask("One.", message_id=1) as stream:
            async for text in stream.text():
                pass

asyncio.run(main())
"""


async def test_a_restart_in_the_middle_of_a_turn_keeps_it_once(
    client: LaplasClient, key: str, simulator: Simulator, tmp_path: Path
) -> None:
    """The bot is killed while it shows an answer; the next process goes on from its file."""
    path = tmp_path / "chats.db"
    simulator.script(Fault.stall(after=3))
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED_BOT, key, simulator.base_url, str(path))
    )
    storage = SQLiteStorage(path)
    async with asyncio.timeout(60):
        while len((turns := await storage.load("7"))[-1:]) == 0 or len(turns[0].messages) < 2:
            assert killed.returncode is None
            await asyncio.sleep(0.02)
    killed.kill()
    await killed.wait()
    [turn] = turns
    question, part = texts(list(turn.messages))
    assert question == "user: One."
    assert part.removeprefix("assistant: ")
    async with Conversations(client, storage=storage) as conversations:
        await answer(conversations[7].ask("Go on.", message_id=2))
        assert texts(sent(simulator)) == [question, part, "user: Go on."]
        await answer(conversations[7].ask("One.", message_id=1))  # redelivered: never answered
        assert texts(sent(simulator)).count(question) == 1
        assert part not in texts(sent(simulator))


async def test_closing_in_the_middle_of_a_turn_saves_the_part_that_was_shown(
    client: LaplasClient, simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "chats.db"
    simulator.script(Fault.stall(after=3))
    async with Conversations(client, storage=SQLiteStorage(path)) as conversations:
        task, got = await reading(conversations[7].ask("One."), pieces=3)
        waiting = asyncio.create_task(outcome(conversations[7].ask("Two.")))
        await until(lambda: conversations[7].waiting == 2)
    assert await waiting is StreamTruncatedError
    with pytest.raises(StreamTruncatedError):
        await task
    storage = SQLiteStorage(path)
    [turn] = await storage.load("7")
    assert turn.state == "interrupted"
    assert turn.messages[-1]["content"] == "".join(got)
    await storage.aclose()


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_an_idle_chat_leaves_memory_and_a_busy_one_stays(
    client: LaplasClient, simulator: Simulator
) -> None:
    clock = Clock()
    async with Conversations(client, idle=60, clock=clock) as conversations:
        await answer(conversations["idle"].ask("One."))
        simulator.script(Fault.stall(after=1))
        task, _ = await reading(conversations["busy"].ask("Two."))
        clock.now = 61.0
        await answer(conversations["other"].ask("Three."))
        assert len(conversations) == 2
        assert await conversations["idle"].turns() == []
        assert len(await conversations["busy"].turns()) == 1
        await conversations["busy"].stop()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_idle_chat_comes_back_from_its_file(
    client: LaplasClient, simulator: Simulator, tmp_path: Path
) -> None:
    clock, storage = Clock(), SQLiteStorage(tmp_path / "chats.db")
    async with Conversations(client, idle=60, clock=clock, storage=storage) as conversations:
        await answer(conversations[1].ask("One."))
        clock.now = 100.0
        await answer(conversations[2].ask("Two."))
        assert len(conversations) == 1
        await answer(conversations[1].ask("Three."))
        assert texts(sent(simulator))[0] == "user: One."


class BrokenStorage(MemoryStorage):
    """A database that fails on demand."""

    fails = ""

    async def load(self, chat: str) -> list[Turn]:
        if self.fails == "load":
            raise OSError("the disk is gone")
        return await super().load(chat)

    async def save(self, chat: str, turn: Turn) -> None:
        if self.fails == turn.state:
            raise OSError("the disk is full")
        await super().save(chat, turn)


async def test_a_storage_that_cannot_be_read_or_written_fails_before_anything_is_sent(
    client: LaplasClient, simulator: Simulator
) -> None:
    storage = BrokenStorage()
    async with Conversations(client, storage=storage) as conversations:
        for fails, message in (("load", "disk is gone"), ("open", "disk is full")):
            storage.fails = fails
            with pytest.raises(ConversationError, match=message):
                await answer(conversations[1].ask("One."))
        assert simulator.requests == []
        storage.fails = ""
        await answer(conversations[1].ask("One."))
        assert texts(sent(simulator)) == ["user: One."]


async def test_an_answer_that_cannot_be_saved_is_shown_all_the_same(
    client: LaplasClient, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    storage = BrokenStorage()
    async with Conversations(client, storage=storage) as conversations:
        storage.fails = "complete"
        first = await answer(conversations[1].ask("Tell me a secret."))
        assert first
        assert "was not saved: OSError" in caplog.text
        assert "secret" not in caplog.text
        storage.fails = ""
        await answer(conversations[1].ask("Two."))
        assert first in texts(sent(simulator))[1]
        await conversations._registry.written()
        assert len(await storage.load("1")) == 2  # the first was saved with the second


async def test_a_turn_that_can_never_be_saved_holds_up_no_other(
    client: LaplasClient, simulator: Simulator
) -> None:
    class Picky(MemoryStorage):
        async def save(self, chat: str, turn: Turn) -> None:
            if turn.number == 1 and turn.state == "complete":
                raise ValueError("no place for this one")
            await super().save(chat, turn)

    storage = Picky()
    async with Conversations(client, storage=storage) as conversations:
        for question in ("One.", "Two.", "Three."):
            await answer(conversations[1].ask(question))
        await conversations._registry.written()
        states = {turn.number: turn.state for turn in await storage.load("1")}
        assert states == {1: "open", 2: "complete", 3: "complete"}
        assert len(sent(simulator)) == 5


@pytest.mark.parametrize("text", ["\x00", "\u2028 \r\n\t", "🦙" * 100])
async def test_odd_texts_survive_a_file(
    client: LaplasClient, simulator: Simulator, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "chats.db"
    async with Conversations(client, storage=SQLiteStorage(path)) as conversations:
        await conversations[1].append([Message("user", text), Message("assistant", text)])
    async with Conversations(client, storage=SQLiteStorage(path)) as conversations:
        assert [one["content"] for one in await conversations[1].messages()] == [text, text]


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{"max_tokens": 0}, {"max_tokens": True}, {"busy": "wait"}, {"idle": 0}, {"n": 2}],
)
async def test_settings_that_cannot_be_right_are_refused(
    client: LaplasClient, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Conversations(client, **settings)


async def test_a_question_that_cannot_be_sent_is_refused_and_forgotten(
    chat: Conversation, simulator: Simulator
) -> None:
    wrong: list[Any] = ["", [], {"role": "usr", "content": "x"}, Message("assistant", "I")]
    for content in wrong:
        with pytest.raises(ConfigError):
            chat.ask(content)
    with pytest.raises(ConfigError, match="temperature"):
        await answer(chat.ask("Hello.", temperature=9))
    assert simulator.requests == []
    assert await chat.turns() == []


async def test_an_answer_is_entered_once(chat: Conversation) -> None:
    stream = chat.ask("One.")
    with pytest.raises(ConfigError, match="enter the answer first"):
        await anext(stream)
    await answer(stream)
    with pytest.raises(ConfigError, match="started already"):
        await stream.start()


async def test_a_closed_answer_cannot_be_started(chat: Conversation, simulator: Simulator) -> None:
    stream = chat.ask("One.")
    await stream.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await stream.start()
    assert simulator.requests == []
