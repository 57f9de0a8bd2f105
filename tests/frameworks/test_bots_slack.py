"""``LiveText`` through slack_sdk and Bolt, against Slack's rules on loopback."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from laplas_async.bots import Gone, LiveText, PortError, SlowDown, Uncertain
from laplas_async.bots.schedule import ChatPace
from laplas_async.errors import ConfigError, StreamTruncatedError
from laplas_async.simulator import FakeSlack, Reaction

PROSE = "The river runs to the sea. It is long, and nobody knows why it is there at all.\n\n"
FAST = ChatPace(interval=0.02)
THREAD = {"channel": "D1", "thread_ts": "1.1"}

async_client: Any = pytest.importorskip(
    "slack_sdk.web.async_client", reason="slack_sdk is not installed"
)


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as slack:
        yield slack


def new_port(slack: FakeSlack, channel: str = "C1", **options: Any) -> Any:
    from laplas_async.bots import SlackPort

    client = async_client.AsyncWebClient(slack.token, base_url=slack.base_url, timeout=5)
    return SlackPort(client, channel, **{"pace": FAST, **options})


async def show(port: Any, stream: Any, **options: Any) -> Any:
    async with asyncio.timeout(20):
        return await LiveText(port, **options).show(stream)


async def seen(slack: FakeSlack, text: str) -> None:
    assert await slack.wait_for(lambda: any(text in shown for shown in slack.texts()))


async def test_the_text_grows_and_is_formatted_at_the_end(slack: FakeSlack, script: Any) -> None:
    stream = script("A **bo")
    task = asyncio.create_task(show(new_port(slack), stream))
    await seen(slack, "A **bo ▌")
    assert slack.messages[0].blocks == []
    stream.write("ld** < word").end()
    shown = await task
    assert slack.texts() == ["A **bold** < word"]
    assert slack.messages[0].blocks == [{"type": "markdown", "text": "A **bold** < word"}]
    assert slack.messages[0].raw == "A **bold** &lt; word"
    assert shown.messages[0].ts == slack.messages[0].ts


@pytest.mark.parametrize("stream", [False, True])
async def test_12390_characters_arrive_without_loss(
    slack: FakeSlack, script: Any, stream: bool
) -> None:
    text = (PROSE * 160)[:12_390]
    pieces = re.findall(r".{1,40}", text, re.DOTALL)
    await show(new_port(slack, **THREAD, stream=stream), script(*pieces).end())
    assert "".join(slack.texts()) == text
    assert len(slack.texts()) == 2


async def test_5000_emoji_arrive_without_loss(slack: FakeSlack, script: Any) -> None:
    text = "👨‍👩‍👧‍👦👍🏽🇩🇪❤️😀" * 1000
    await show(new_port(slack), script(text).end())
    assert "".join(slack.texts()) == text
    for shown in slack.texts():
        assert not re.match(r"[\u200d\ufe0f\U0001f3fb-\U0001f3ff]", shown)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_code_heavy_answer_arrives_without_loss(
    slack: FakeSlack, script: Any, stream: bool
) -> None:
    code = "".join(f"def function_{n}(x):\n    return x * {n} < {n} & 1\n\n" for n in range(500))
    text = f"Here:\n\n```python\n{code}```\n\nThat is _all_."
    port = new_port(slack, **THREAD, stream=stream)
    await show(port, script(*re.findall(r".{1,50}", text, re.DOTALL)).end())
    blocks = []
    assert len(slack.texts()) > 1
    for shown in slack.texts():
        assert shown.count("```") % 2 == 0
        blocks += re.findall(r"^```python\n(.*?)^```$", shown, re.MULTILINE | re.DOTALL)
    assert "".join(blocks) == code


async def test_a_text_of_signs_that_are_escaped_is_within_the_limits(
    slack: FakeSlack, script: Any
) -> None:
    await show(new_port(slack), script("&" * 20_000).end())
    assert "".join(slack.texts()) == "&" * 20_000


async def test_a_429_on_the_final_edit_delays_it(slack: FakeSlack, script: Any) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(new_port(slack), stream))
    await seen(slack, "Hello ▌")
    slack.script(Reaction.slow_down(1), Reaction.slow_down(1), method="chat.update")
    stream.write(" World").end()
    await task
    assert slack.texts() == ["Hello World"]
    assert slack.count("chat.postMessage") == 1


async def test_a_429_midway_means_silence_and_then_the_newest_text(
    slack: FakeSlack, script: Any
) -> None:
    stream = script("One")
    task = asyncio.create_task(show(new_port(slack), stream))
    await seen(slack, "One ▌")
    slack.script(Reaction.slow_down(1))
    stream.write(" two")
    assert await slack.wait_for(lambda: slack.count("chat.update") == 1)
    stream.write(" three", " four")
    await seen(slack, "four")
    stream.end()
    await task
    assert slack.messages[0].versions[:2] == ["One ▌", "One two three four ▌"]


async def test_during_a_wait_of_minutes_the_stream_is_read(slack: FakeSlack, script: Any) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(new_port(slack), stream, patience=5))
    await seen(slack, "Hello ▌")
    slack.script(Reaction.slow_down(280))
    stream.write(*["word "] * 300).end()
    with pytest.raises(SlowDown) as caught:
        await task
    assert stream.unread == 0
    assert caught.value.text.count("word") == 300


@pytest.mark.parametrize(
    "error", ["message_not_found", "cant_update_message", "edit_window_closed"]
)
async def test_a_message_that_cannot_be_updated_continues_in_a_new_one(
    slack: FakeSlack, script: Any, error: str
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(new_port(slack), stream))
    await seen(slack, "Hello ▌")
    slack.script(Reaction.refuse(200, error))
    stream.write(" World").end()
    await task
    assert slack.texts()[-1] == "Hello World"
    assert slack.count("chat.postMessage") == 2


async def test_a_channel_that_is_gone_closes_the_stream(slack: FakeSlack, script: Any) -> None:
    stream = script("Hello")
    with pytest.raises(Gone, match="channel_not_found") as caught:
        await show(new_port(slack, "C9"), stream)
    assert caught.value.chat
    assert stream.closed


async def test_a_message_whose_response_is_lost_is_not_sent_again(
    slack: FakeSlack, script: Any
) -> None:
    """slack_sdk's own retries would post it twice."""
    slack.script(Reaction.lost(applied=True))
    with pytest.raises(Uncertain):
        await show(new_port(slack), script("Hello").end())
    assert slack.count("chat.postMessage") == 1


async def test_blocks_that_slack_rejects_are_shown_plain_once(
    slack: FakeSlack, script: Any
) -> None:
    stream = script("**Hello")
    task = asyncio.create_task(show(new_port(slack), stream))
    await seen(slack, "Hello ▌")
    slack.script(Reaction.refuse(200, "invalid_blocks"))
    stream.end()
    await task
    assert slack.texts() == ["**Hello"]
    assert slack.messages[0].blocks == []


async def test_a_refusal_for_good_is_raised(slack: FakeSlack, script: Any) -> None:
    slack.script(Reaction.refuse(200, "something_else"))
    with pytest.raises(PortError, match="something_else"):
        await show(new_port(slack), script("Hello"))


async def test_a_truncated_answer_is_shown_marked_and_raised(slack: FakeSlack, script: Any) -> None:
    with pytest.raises(StreamTruncatedError):
        await show(new_port(slack), script("Half").end(StreamTruncatedError("cut")))
    assert slack.texts() == ["Half\n\n(The answer was cut off.)"]


async def test_the_model_mentions_nobody(slack: FakeSlack, script: Any) -> None:
    await show(new_port(slack), script("<!channel> <@U7> `<!here>`").end())
    [message] = slack.messages
    assert "<" not in message.raw
    assert message.blocks[0]["text"] == "&lt;!channel> &lt;@U7> `<!here>`"


async def test_buttons_are_below_the_growing_text_only(slack: FakeSlack, script: Any) -> None:
    button = {"type": "actions", "elements": []}
    stream = script("Hello")
    task = asyncio.create_task(show(new_port(slack, preview_blocks=[button]), stream))
    await seen(slack, "Hello ▌")
    assert slack.messages[0].blocks[1:] == [button]
    stream.end()
    await task
    assert slack.messages[0].blocks[1:] == []


async def test_stop_shows_what_arrived_without_a_cursor(slack: FakeSlack, script: Any) -> None:
    live = LiveText(new_port(slack))
    task = asyncio.create_task(live.show(script("Hello")))
    await seen(slack, "Hello ▌")
    live.stop()
    assert not (await task).complete
    assert slack.texts() == ["Hello"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_answer_is_left_tidy(slack: FakeSlack, script: Any, stream: bool) -> None:
    task = asyncio.create_task(show(new_port(slack, **THREAD, stream=stream), script("Hello")))
    await seen(slack, "Hello")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slack.texts() == ["Hello"]
    assert slack.messages[0].stream_started is None


async def test_a_thread_shows_a_status_until_there_is_text(slack: FakeSlack, script: Any) -> None:
    stream = script()
    task = asyncio.create_task(show(new_port(slack, **THREAD), stream))
    assert await slack.wait_for(lambda: slack.statuses == ["is typing…"])
    stream.write("Hello").end()
    await task
    assert slack.messages[0].thread_ts == "1.1"


async def test_a_rejected_status_does_not_affect_the_answer(slack: FakeSlack, script: Any) -> None:
    stream = script()
    slack.script(Reaction.refuse(200, "missing_scope"), method="assistant.threads.setStatus")
    task = asyncio.create_task(show(new_port(slack, **THREAD), stream))
    assert await slack.wait_for(lambda: slack.count("assistant.threads.setStatus") == 1)
    stream.write("Hello").end()
    await task
    assert slack.texts() == ["Hello"]


# --- chat streams -----------------------------------------------------------------------------


async def test_a_stream_is_appended_to_and_stopped(slack: FakeSlack, script: Any) -> None:
    stream = script("A **bo")
    task = asyncio.create_task(show(new_port(slack, **THREAD, stream=True), stream))
    await seen(slack, "A **bo")
    stream.write("ld**")
    await seen(slack, "A **bold**")
    stream.write(" word").end()
    await task
    assert slack.texts() == ["A **bold** word"]
    assert slack.messages[0].stream_started is None
    assert slack.count("chat.update") == 0


async def test_a_stream_that_slack_refuses_falls_back_to_updates(script: Any) -> None:
    async with FakeSlack(streams=False) as slack:
        stream = script("Hello")
        task = asyncio.create_task(show(new_port(slack, **THREAD, stream=True), stream))
        await seen(slack, "Hello")
        stream.write(" World").end()
        await task
        assert slack.texts() == ["Hello World"]


async def test_an_expired_stream_is_updated_with_the_full_text(script: Any) -> None:
    now = 0.0
    async with FakeSlack(clock=lambda: now) as slack:
        stream = script("Hello")
        task = asyncio.create_task(show(new_port(slack, **THREAD, stream=True), stream))
        await seen(slack, "Hello")
        now = 301.0
        stream.write(" World").end()
        await task
        assert slack.texts() == ["Hello World"]
        assert len(slack.messages) == 1
        assert slack.count("chat.update") >= 1


async def test_an_append_whose_response_is_lost_is_not_doubled(
    slack: FakeSlack, script: Any
) -> None:
    stream = script("Hello")
    task = asyncio.create_task(show(new_port(slack, **THREAD, stream=True), stream))
    await seen(slack, "Hello")
    slack.script(Reaction.lost(applied=True))
    stream.write(" World")
    await seen(slack, "Hello World")
    stream.write("!").end()
    await task
    assert slack.texts() == ["Hello World!"]


def test_a_stream_needs_a_thread() -> None:
    with pytest.raises(ConfigError, match="thread_ts"):
        new_port(FakeSlackAddress(), stream=True)


class FakeSlackAddress(FakeSlack):
    base_url = "http://127.0.0.1:1/api/"


async def test_a_blocking_client_is_refused(slack: FakeSlack) -> None:
    from slack_sdk import WebClient

    from laplas_async.bots import SlackPort

    with pytest.raises(ConfigError, match="AsyncWebClient"):
        SlackPort(WebClient("x"), "C1")


async def test_a_handler_of_bolt_shows_an_answer(slack: FakeSlack, script: Any) -> None:
    pytest.importorskip("slack_bolt", reason="slack-bolt is not installed")
    from slack_bolt.async_app import AsyncApp, AsyncBoltRequest

    from laplas_async.bots import SlackPort

    app = AsyncApp(
        client=async_client.AsyncWebClient(slack.token, base_url=slack.base_url),
        signing_secret="secret",
        process_before_response=True,
    )

    @app.event("message")
    async def answer(event: dict[str, Any], client: Any) -> None:
        port = SlackPort(client, event["channel"], thread_ts=event["ts"], pace=FAST)
        await show(port, script("You said: ", event["text"]).end())

    body = slack.message_event("Hello")
    response = await app.async_dispatch(AsyncBoltRequest(body=body, mode="socket_mode"))
    assert response.status == 200
    assert slack.texts("D1") == ["You said: Hello"]
    assert slack.messages[0].thread_ts == body["event"]["ts"]
