"""The fakes of chat platforms enforce the platforms' rules, whatever library speaks to them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from laplas_async.bots.live_text import LiveText
from laplas_async.bots.port import Gone, SlowDown
from laplas_async.bots.ports.framework import framework, network_failure
from laplas_async.bots.ports.telegram_port import TelegramChat, refusal
from laplas_async.bots.schedule import ChatPace
from laplas_async.errors import ConfigError
from laplas_async.simulator import FakeDiscord, FakeSlack, FakeTelegram, Reaction


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


# --- Telegram ---------------------------------------------------------------------------------


class Api:
    """Telegram's Bot API without a framework."""

    def __init__(self, http: aiohttp.ClientSession, telegram: FakeTelegram) -> None:
        self._http = http
        self._url = f"{telegram.url}/bot{telegram.token}/"

    async def __call__(self, method: str, **parameters: Any) -> tuple[int, Any]:
        async with self._http.post(self._url + method, json=parameters) as response:
            body = await response.json()
            return response.status, body["result"] if body["ok"] else body

    async def refused(self, method: str, **parameters: Any) -> str:
        status, body = await self(method, **parameters)
        assert status >= 400
        return str(body["description"])


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as telegram:
        yield telegram


@pytest.fixture
def api(http: aiohttp.ClientSession, telegram: FakeTelegram) -> Api:
    return Api(http, telegram)


async def test_telegram_refuses_what_its_rules_forbid(telegram: FakeTelegram, api: Api) -> None:
    send: dict[str, Any] = {"chat_id": 7, "text": "a" * 4096}
    assert (await api("sendMessage", **send))[0] == 200
    assert "too long" in await api.refused("sendMessage", chat_id=7, text="😀" * 2049)
    assert "empty" in await api.refused("sendMessage", chat_id=7, text=" \n")
    assert "chat_id is empty" in await api.refused("sendMessage", text="a")
    assert "can't parse" in await api.refused(
        "sendMessage", chat_id=7, text="a.", parse_mode="MarkdownV2"
    )
    entity = {"type": "bold", "offset": 0, "length": 5}
    assert "BOUNDS" in await api.refused("sendMessage", chat_id=7, text="abc", entities=[entity])
    edit = {"chat_id": 7, "message_id": telegram.messages[0].message_id}
    assert "not modified" in await api.refused("editMessageText", **edit, text="a" * 4096)
    assert (await api("editMessageText", **edit, text="b"))[0] == 200
    telegram.delete(telegram.messages[0].message_id)
    assert "to edit not found" in await api.refused("editMessageText", **edit, text="c")
    telegram.block(7)
    assert "blocked" in await api.refused("sendMessage", chat_id=7, text="a")
    assert await api.refused("noSuchMethod") == "Not Found"


async def test_telegram_enforces_its_pace(http: aiohttp.ClientSession) -> None:
    clock = Clock()
    async with FakeTelegram(pace=True, clock=clock) as telegram:
        api = Api(http, telegram)
        for number in range(20):
            clock.now += 1
            assert (await api("sendMessage", chat_id=-7, text=str(number)))[0] == 200
        status, body = await api("sendMessage", chat_id=-7, text="at once")
        assert (status, body["parameters"]["retry_after"] > 30) == (429, True)
        assert (await api("sendMessage", chat_id=7, text="another chat"))[0] == 200
        assert (await api("sendMessage", chat_id=7, text="at once"))[0] == 429


async def test_telegram_delivers_updates_until_they_are_confirmed(
    telegram: FakeTelegram, api: Api
) -> None:
    waiting = asyncio.create_task(api("getUpdates", timeout=30))
    assert await telegram.wait_for(lambda: True)
    telegram.receive("/start now")
    _, [update] = await waiting
    assert update["message"]["entities"][0] == {"type": "bot_command", "offset": 0, "length": 6}
    _, again = await api("getUpdates")
    assert again == [update]
    await api("sendMessage", chat_id=7, text="Hello")
    telegram.press(telegram.messages[0], "stop")
    _, [pressed] = await api("getUpdates", offset=update["update_id"] + 1)
    assert pressed["callback_query"]["data"] == "stop"
    _, nothing = await api("getUpdates", offset=pressed["update_id"] + 1)
    assert nothing == []


async def test_a_draft_vanishes_after_thirty_seconds(http: aiohttp.ClientSession) -> None:
    clock = Clock()
    async with FakeTelegram(clock=clock) as telegram:
        api = Api(http, telegram)
        assert (await api("sendMessageDraft", chat_id=7, draft_id=1, text="a"))[0] == 200
        assert "private" in await api.refused("sendMessageDraft", chat_id=-7, draft_id=1, text="a")
        assert "identifier" in await api.refused("sendMessageDraft", chat_id=7, text="a")
        assert telegram.visible_drafts() == ["a"]
        clock.now += 31
        assert telegram.visible_drafts() == []


class RawTelegram(TelegramChat):
    """A port for no framework at all."""

    def __init__(self, api: Api, chat_id: int, **options: Any) -> None:
        super().__init__(42, chat_id, pace=ChatPace(interval=0.01), **options)
        self._api = api

    async def _call(self, kind: str, parameters: Mapping[str, Any], *, formatted: bool) -> Any:
        methods = {"send": "sendMessage", "edit": "editMessageText", "draft": "sendMessageDraft"}
        method = methods.get(kind, "sendChatAction")
        status, body = await self._api(method, chat_id=self.chat_id, **parameters)
        if status == 200:
            return body["message_id"] if kind == "send" else None
        more = body.get("parameters", {})
        if "retry_after" in more:
            raise SlowDown(more["retry_after"])
        if "migrate_to_chat_id" in more:
            raise self.moved(more["migrate_to_chat_id"])
        raise refusal(body["description"], formatted=formatted, forbidden=status == 403)


async def text(*pieces: str) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0.03)


@pytest.mark.parametrize("drafts", [False, True])
async def test_an_answer_on_telegram(telegram: FakeTelegram, api: Api, drafts: bool) -> None:
    words = [f"**word{n}** " for n in range(1000)]
    await LiveText(RawTelegram(api, 7, drafts=drafts)).show(text(*words[:3], "".join(words[3:])))
    assert "".join(telegram.texts()) == "".join(words).replace("*", "")
    assert len(telegram.texts()) == 2
    assert (telegram.count("sendMessageDraft") > 0) == drafts


async def test_refusals_of_telegram_are_told_apart(telegram: FakeTelegram, api: Api) -> None:
    with pytest.raises(ConfigError, match="chat_id"):
        RawTelegram(api, 0)
    telegram.migrate(-7, -1007)
    await LiveText(RawTelegram(api, -7)).show(text("Hello"))
    assert telegram.texts(-1007) == ["Hello"]
    port = RawTelegram(api, 7, parse_mode="MarkdownV2")
    await LiveText(port).show(text("Not. escaped."))
    assert telegram.texts(7) == ["Not. escaped."]
    telegram.block(7)
    with pytest.raises(Gone):
        await LiveText(RawTelegram(api, 7)).show(text("Hello"))
    telegram.block(7, blocked=False)
    telegram.script(Reaction.refuse(400, "Bad Request: chat not found"), method="sendMessage")
    with pytest.raises(Gone):
        await LiveText(RawTelegram(api, 7)).show(text("Hello"))


def test_a_framework_that_is_missing_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'laplas-async\[x\]'"):
        framework("no_such_framework", "laplas-async[x]")


def test_what_was_certainly_not_sent_may_be_sent_again() -> None:
    class ConnectError(OSError):
        pass

    assert isinstance(network_failure("X", ConnectError("no")), SlowDown)
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = ConnectError("no")
    assert isinstance(network_failure("X", wrapped), SlowDown)
    assert not isinstance(network_failure("X", TimeoutError()), SlowDown)


# --- Discord ----------------------------------------------------------------------------------


async def test_discord_refuses_what_its_rules_forbid(http: aiohttp.ClientSession) -> None:
    clock = Clock()
    async with FakeDiscord(pace=True, clock=clock) as server:
        url = f"{server.url}/api/v10"
        headers = {"Authorization": f"Bot {server.token}"}

        async def call(method: str, path: str, **body: Any) -> tuple[int, Any]:
            async with http.request(method, url + path, json=body, headers=headers) as response:
                # discord.py reads JSON from exactly this type.
                if response.status != 204:
                    assert response.headers["Content-Type"] == "application/json"
                    return response.status, await response.json()
                return response.status, None

        channel = "/channels/200/messages"
        status, message = await call(
            "POST", channel, content="a" * 2000, nonce=1, enforce_nonce=True
        )
        assert status == 200
        _, same = await call("POST", channel, content="b", nonce=1, enforce_nonce=True)
        assert same["id"] == message["id"]
        assert (await call("POST", channel, content="a" * 2001))[1]["code"] == 50035
        assert (await call("POST", channel, content=" "))[1]["code"] == 50006
        await call("PATCH", f"{channel}/{message['id']}", content="<@7> @everyone")
        assert server.messages[0].pinged
        status, body = await call("POST", channel, content="too many")
        assert (status, body["global"], 0 < body["retry_after"] < 6) == (429, False, True)
        clock.now += 6
        server.delete(int(message["id"]))
        assert (await call("PATCH", f"{channel}/{message['id']}", content="c"))[1]["code"] == 10008
        theirs = server.receive("Hello")
        assert (await call("PATCH", f"{channel}/{theirs}", content="c"))[1]["code"] == 50005
        assert (await call("GET", f"{channel}/{theirs}"))[1]["content"] == "Hello"
        assert (await call("DELETE", f"{channel}/{theirs}"))[0] == 204
        assert (await call("POST", "/channels/200/typing"))[0] == 204
        _, thread = await call("POST", f"{channel}/{theirs}/threads", name="A thread")
        assert (thread["id"], thread["type"]) == (str(theirs), 11)
        assert (await call("POST", f"{channel}/{theirs}/threads", name=""))[0] == 400
        assert (await call("GET", f"/channels/{theirs}"))[1]["name"] == "A thread"
        assert (await call("POST", "/users/@me/channels", recipient_id="7"))[1]["type"] == 1
        headers = {"Authorization": "Bot wrong"}
        assert (await call("GET", "/users/@me"))[0] == 401


async def test_an_interaction_of_discord_has_fifteen_minutes(http: aiohttp.ClientSession) -> None:
    async with FakeDiscord() as server:
        token = server.interaction()["token"]
        url = f"{server.url}/api/v10/webhooks/42/{token}"
        async with http.post(url, json={"content": "Hello"}) as response:
            assert response.status == 200
        async with http.patch(f"{url}/messages/@original", json={"content": "Bye"}) as response:
            assert response.status == 200
        async with http.get(f"{url}/messages/@original") as response:
            assert (await response.json())["content"] == "Bye"
        server.expire(token)
        async with http.post(url, json={"content": "Hello"}) as response:
            assert (response.status, (await response.json())["code"]) == (401, 50027)


async def test_the_gateway_of_discord_sends_what_people_do(http: aiohttp.ClientSession) -> None:
    async with FakeDiscord() as server, http.ws_connect(f"{server.url}/gateway/") as socket:
        assert (await socket.receive_json())["op"] == 10
        await socket.send_json({"op": 1, "d": None})
        assert (await socket.receive_json())["op"] == 11
        await socket.send_json({"op": 6, "d": {}})
        assert (await socket.receive_json())["op"] == 9
        await socket.send_json({"op": 2, "d": {"token": server.token}})
        names = [(await socket.receive_json())["t"] for _ in range(2)]
        assert names == ["READY", "GUILD_CREATE"]
        server.receive("<@42> Hello")
        server.press(server.messages[0], "stop")
        server.command("ask", channel_id=307, question="Why?")
        events = [await socket.receive_json() for _ in range(3)]
        assert events[0]["d"]["mentions"][0]["id"] == "42"
        assert events[1]["d"]["data"]["custom_id"] == "stop"
        assert events[2]["d"]["data"]["options"][0]["value"] == "Why?"


# --- Slack ------------------------------------------------------------------------------------


async def test_slack_refuses_what_its_rules_forbid(http: aiohttp.ClientSession) -> None:
    clock = Clock()
    async with FakeSlack(clock=clock) as slack:
        headers = {"Authorization": f"Bearer {slack.token}"}

        async def call(method: str, **body: Any) -> Any:
            url = slack.base_url + method
            async with http.post(url, json=body, headers=headers) as response:
                body = await response.json()
                return body["ts"] if "ts" in body else body.get("error", response.headers)

        ts = await call("chat.postMessage", channel="C1", text="a &lt; b")
        assert slack.texts() == ["a < b"]
        assert await call("chat.postMessage", channel="C9", text="a") == "channel_not_found"
        assert await call("chat.postMessage", channel="C1", text=" ") == "no_text"
        assert await call("chat.postMessage", channel="C1", text="a" * 40_001) == "msg_too_long"
        blocks = [{"type": "markdown", "text": "a" * 12_001}]
        assert await call("chat.postMessage", channel="C1", blocks=blocks) == "invalid_blocks"
        conflict = await call("chat.postMessage", channel="C1", text="a", markdown_text="a")
        assert conflict == "markdown_text_conflict"
        blocks = [{"type": "markdown", "text": "**a**"}]
        await call("chat.update", channel="C1", ts=ts, text="a", blocks=blocks)
        assert slack.texts() == ["**a**"]
        await call("chat.update", channel="C1", ts=ts, text="text alone removes blocks")
        assert slack.messages[0].blocks == []
        slack.delete(ts)
        assert await call("chat.update", channel="C1", ts=ts, text="a") == "message_not_found"
        assert await call("no.such_method") == "unknown_method"

        assert await call("chat.startStream", channel="D1") == "invalid_thread_ts"
        stream = {
            "channel": "D1",
            "ts": await call("chat.startStream", channel="D1", thread_ts="1"),
        }
        await call("chat.appendStream", **stream, markdown_text="One")
        assert await call("chat.appendStream", **stream) == "no_text"
        assert await call("chat.update", **stream, text="a") == "streaming_state_conflict"
        clock.now += 301
        error = "message_not_in_streaming_state"
        assert await call("chat.stopStream", **stream, markdown_text=" two") == error
        assert slack.texts() == ["One"]
        slack.script(Reaction.slow_down(9))
        assert await call("chat.postMessage", channel="C1", text="a") == "ratelimited"
        headers = {}
        assert await call("auth.test") == "invalid_auth"


# --- all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FakeTelegram, FakeDiscord, FakeSlack])
async def test_a_fake_can_be_started_again_and_runs_in_a_thread(kind: Any) -> None:
    fake = kind()
    with pytest.raises(RuntimeError, match="not started"):
        assert fake.url
    async with fake:
        assert fake.url
        with pytest.raises(RuntimeError, match="already"):
            await fake.start()
    with fake.in_thread():
        assert fake.url
    assert not await fake.wait_for(lambda: False, timeout=0)


async def test_a_lost_response_is_lost(telegram: FakeTelegram, api: Api) -> None:
    telegram.script(Reaction.lost(applied=True), Reaction.lost(applied=False))
    for _ in range(2):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await api("sendMessage", chat_id=7, text="a")
    assert telegram.texts() == ["a"]
