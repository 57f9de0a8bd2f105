import asyncio
import itertools
import pickle
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from laplas_async.bots.live_text import LiveText, Phrases
from laplas_async.bots.pace import shared_pace
from laplas_async.bots.port import (
    BadMarkup,
    Gone,
    PacedChat,
    PortError,
    Previews,
    SlowDown,
    Uncertain,
)
from laplas_async.bots.ports.recording import RecordingPort
from laplas_async.bots.schedule import ChatPace
from laplas_async.errors import ConfigError, StreamTruncatedError

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Source:
    """A stream that yields pieces at their times and then ends or raises."""

    def __init__(
        self, *pieces: str, every: float = 0.0, error: Exception | None = None, hang: bool = False
    ) -> None:
        self.pieces = pieces
        self.every = every
        self.error = error
        self.hang = hang
        self.read = 0
        self.closed = False
        self.ended_at: float | None = None

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            for piece in self.pieces:
                await asyncio.sleep(self.every)
                self.read += 1
                yield piece
            if self.hang:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True
            self.ended_at = asyncio.get_running_loop().time()


def words(number: int) -> list[str]:
    return [f"word{index} " for index in range(number)]


def test_the_chat_shows_the_text_as_it_grows_and_then_the_whole(run: Run) -> None:
    port = RecordingPort(pace=1.0)
    shown = run(LiveText(port).show(Source(*words(40), every=0.1)))
    assert port.texts == ["".join(words(40))]
    assert shown.text == "".join(words(40))
    assert shown.messages == (1,)
    assert shown.complete
    previews = [call.text for call in port.calls if call.text and not call.formatted]
    assert previews == sorted(previews, key=len)
    assert all(text.endswith(" ▌") for text in previews)
    assert [call.formatted for call in port.calls[-1:]] == [True]


def test_edits_keep_the_pace_of_the_port(run: Run) -> None:
    port = RecordingPort(pace=1.0)
    run(LiveText(port, typing=False).show(Source(*words(60), every=0.1)))
    times = [call.at for call in port.calls]
    assert all(later - earlier >= 0.999 for earlier, later in itertools.pairwise(times))
    assert len(times) >= 6


def test_reading_never_waits_for_the_platform(run: Run) -> None:
    port = RecordingPort(latency=60.0)
    source = Source(*words(10), every=0.1)

    async def scenario() -> None:
        began = asyncio.get_running_loop().time()
        await LiveText(port).show(source)
        assert source.ended_at is not None
        assert source.ended_at - began < 2

    run(scenario())
    assert port.texts == ["".join(words(10))]


def test_a_text_over_the_limit_continues_in_further_messages_in_order(run: Run) -> None:
    port = RecordingPort(limit=100)
    run(LiveText(port).show(Source(*words(200), every=0.01)))
    assert "".join(port.texts) == "".join(words(200))
    assert all(len(call.text) <= 100 for call in port.calls)
    assert all(call.formatted for call in port.calls[-1:])


def test_a_429_midway_means_silence_and_then_the_newest_text(run: Run) -> None:
    port = RecordingPort(pace=1.0, errors=[None, SlowDown(20)])
    run(LiveText(port, typing=False).show(Source(*words(300), every=0.1)))
    times = [call.at for call in port.calls]
    assert times[2] - times[1] >= 20
    assert port.calls[2].text.count("word") > 190
    assert port.texts == ["".join(words(300))]


def test_a_429_on_the_final_edit_delays_it(run: Run) -> None:
    port = RecordingPort(pace=1.0, errors=[None, SlowDown(137)])
    run(LiveText(port).show(Source("Hello.", " World.")))
    assert port.texts == ["Hello. World."]
    assert port.calls[-1].at - port.calls[-2].at >= 137


def test_a_wait_longer_than_allowed_is_reported_at_once(run: Run) -> None:
    port = RecordingPort(pace=1.0, errors=[None, SlowDown(86_400)])

    async def scenario() -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(SlowDown, match="not be shown completely") as caught:
            await LiveText(port, patience=300).show(Source("Hello.", " World."))
        assert caught.value.text == "Hello. World."
        assert caught.value.messages == (1,)
        assert caught.value.after > 86_000
        assert asyncio.get_running_loop().time() - began < 10

    run(scenario())


def test_an_endless_series_of_refusals_ends_with_the_patience(run: Run) -> None:
    port = RecordingPort(errors=[SlowDown(0)] * 10_000)
    with pytest.raises(SlowDown):
        run(LiveText(port, patience=60).show(Source("Hello.")))
    assert len(port.calls) < 20


def test_a_429_is_not_a_markup_error(run: Run) -> None:
    port = RecordingPort(errors=[SlowDown(5)])
    run(LiveText(port, typing=False).show(Source("**Hello**")))
    assert [call.formatted for call in port.calls] == [False, True]


def test_bad_markup_falls_back_to_plain_text_once(run: Run) -> None:
    port = RecordingPort(errors=[None, None, BadMarkup("can't parse entities")])
    run(LiveText(port, typing=False).show(Source("**Hello", "*", every=1.0)))
    assert [(call.text, call.formatted) for call in port.calls[-2:]] == [
        ("**Hello*", True),
        ("**Hello*", False),
    ]
    assert port.texts == ["**Hello*"]


def test_a_preview_whose_markup_is_rejected_is_skipped(run: Run) -> None:
    port = RecordingPort(errors=[None, BadMarkup("can't parse entities")])
    run(LiveText(port, typing=False).show(Source("**Hello", "*", every=1.0)))
    assert port.texts == ["**Hello*"]


def test_bad_markup_of_plain_text_is_raised(run: Run) -> None:
    port = RecordingPort(errors=[None, *[BadMarkup("no")] * 9])
    with pytest.raises(BadMarkup):
        run(LiveText(port).show(Source("a", "b", every=1.0)))


def test_after_a_deletion_the_answer_continues_in_a_new_message(run: Run) -> None:
    port = RecordingPort(pace=1.0, errors=[None, Gone()])
    run(LiveText(port).show(Source(*words(50), every=0.1)))
    assert port.texts[-1] == "".join(words(50))
    assert len(port.texts) == 2


def test_a_message_that_is_deleted_again_and_again_is_given_up(run: Run) -> None:
    port = RecordingPort(errors=[None, Gone()] * 50)
    with pytest.raises(Gone):
        run(LiveText(port).show(Source(*words(50), every=0.1)))
    assert len(port.messages) <= 5


def test_a_blocked_bot_closes_the_stream(run: Run) -> None:
    port = RecordingPort(errors=[Gone("blocked", chat=True)])
    source = Source("Hello.", hang=True)
    with pytest.raises(Gone) as caught:
        run(LiveText(port).show(source))
    assert caught.value.chat
    assert source.closed


def test_a_message_that_may_have_been_sent_is_not_sent_again(run: Run) -> None:
    port = RecordingPort(pace=1.0, errors=[Uncertain("timeout")])
    with pytest.raises(Uncertain) as caught:
        run(LiveText(port, typing=False).show(Source("Hello.", " World.", every=0.5)))
    assert [call.text for call in port.calls if call.kind == "send"] == ["Hello. ▌", " World."]
    assert caught.value.text == "Hello. World."


def test_an_edit_that_timed_out_is_repeated(run: Run) -> None:
    port = RecordingPort(pace=1.0, errors=[None, Uncertain("timeout"), Uncertain("timeout")])
    run(LiveText(port).show(Source("Hello.", " World.")))
    assert port.texts == ["Hello. World."]


def test_an_edit_that_never_arrives_is_reported(run: Run) -> None:
    port = RecordingPort(errors=[None, *[Uncertain("timeout")] * 100])
    with pytest.raises(Uncertain):
        run(LiveText(port).show(Source("Hello.", " World.", every=0.1)))


def test_an_empty_answer_sends_nothing(run: Run) -> None:
    port = RecordingPort()
    shown = run(LiveText(port, typing=False).show(Source("", "  ", "\n\u200b")))
    assert port.calls == []
    assert shown.messages == ()


def test_an_empty_answer_replaces_the_placeholder(run: Run) -> None:
    port = RecordingPort()
    live = LiveText(port, placeholder="…", phrases=Phrases(empty="(nothing)"))
    run(live.show(Source("", every=1.0)))
    assert port.texts == ["(nothing)"]


def test_an_error_before_the_text_replaces_the_placeholder(run: Run) -> None:
    port = RecordingPort()
    live = LiveText(port, placeholder="…", phrases=Phrases(failed="Sorry."))
    with pytest.raises(StreamTruncatedError):
        run(live.show(Source("", every=1.0, error=StreamTruncatedError("cut"))))
    assert port.texts == ["Sorry."]


def test_a_truncated_answer_is_shown_marked_and_raised(run: Run) -> None:
    port = RecordingPort()
    source = Source("```py\n", "x = 1", every=0.5, error=StreamTruncatedError("cut"))
    with pytest.raises(StreamTruncatedError):
        run(LiveText(port, phrases=Phrases(cut_off="(cut off)")).show(source))
    assert port.texts == ["```py\nx = 1\n```\n(cut off)"]


def test_an_answer_that_the_program_closed_is_shown_without_a_mark(run: Run) -> None:
    port = RecordingPort()
    error = StreamTruncatedError("closed")
    error.closed = True
    with pytest.raises(StreamTruncatedError):
        run(LiveText(port).show(Source("Hello", every=0.5, error=error)))
    assert port.texts == ["Hello"]


def test_stop_shows_what_arrived_without_a_cursor(run: Run) -> None:
    port = RecordingPort(pace=1.0)
    source = Source("Hello", " World", every=0.1, hang=True)

    async def scenario() -> None:
        live = LiveText(port)
        asyncio.get_running_loop().call_later(5, live.stop)
        shown = await live.show(source)
        assert not shown.complete
        assert shown.text == "Hello World"

    run(scenario())
    assert port.texts == ["Hello World"]
    assert source.closed


def test_a_cancellation_goes_on_and_leaves_a_tidy_message(run: Run) -> None:
    port = RecordingPort(pace=1.0)

    async def scenario() -> None:
        task = asyncio.create_task(LiveText(port).show(Source("Hello", " World", hang=True)))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())
    assert port.texts == ["Hello World"]


def test_a_message_under_way_when_it_is_cancelled_is_recorded(run: Run) -> None:
    port = RecordingPort(latency=1.0)

    async def scenario() -> None:
        live = LiveText(port)
        task = asyncio.create_task(live.show(Source("Hello", hang=True)))
        while not any(call.kind == "send" for call in port.calls):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert live.messages == (1,)

    run(scenario())
    assert port.texts == ["Hello"]


def test_a_cancelled_show_does_not_wait_for_a_silent_platform(run: Run) -> None:
    port = RecordingPort(pace=1.0, errors=[None, SlowDown(300)])

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(LiveText(port).show(Source("a", "b", every=3.0, hang=True)))
        await asyncio.sleep(20)
        began = loop.time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.time() - began < 4

    run(scenario())


def test_a_second_cancellation_leaves_at_once_and_nothing_behind(run: Run) -> None:
    port = RecordingPort(latency=100.0)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(LiveText(port).show(Source("Hello", hang=True)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(0.1)
        began = loop.time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.time() == began
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


def test_a_late_preview_never_overwrites_the_final_text(run: Run) -> None:
    """A slow edit is waited for; there are never two requests under way."""
    port = RecordingPort(latency=7.0)
    run(LiveText(port).show(Source(*words(30), every=0.5)))
    edits = [call for call in port.calls if call.kind != "typing"]
    assert all(b.at - a.at >= 6.99 for a, b in itertools.pairwise(edits))
    assert edits[-1].text == "".join(words(30))


def test_typing_is_shown_until_the_first_message(run: Run) -> None:
    port = RecordingPort()
    run(LiveText(port).show(Source("Hello", every=12.0)))
    kinds = [call.kind for call in port.calls]
    assert kinds[:4] == ["typing", "typing", "typing", "send"]
    assert "typing" not in kinds[4:]


@pytest.mark.parametrize("error", [SlowDown(5), Gone(chat=True), RuntimeError("a bug")])
def test_a_refused_typing_indicator_does_not_affect_the_answer(run: Run, error: Exception) -> None:
    class Port(RecordingPort):
        async def typing(self) -> None:
            raise error

    port = Port()
    run(LiveText(port).show(Source("Hello", every=12.0)))
    assert port.texts == ["Hello"]


def test_a_preview_is_renewed_before_the_platform_removes_it(run: Run) -> None:
    port = RecordingPort(previews=Previews(lifetime=30))
    run(LiveText(port).show(Source("Hello", " World", every=100.0)))
    edits = [call for call in port.calls if call.kind in {"send", "edit"}]
    assert len(edits) >= 5
    assert all(b.at - a.at < 30 for a, b in itertools.pairwise(edits))


def test_the_chats_of_a_bot_share_its_pace(run: Run) -> None:
    """One SlowDown for the whole bot silences every chat."""

    async def scenario() -> None:
        bot = shared_pace("bot")
        pace = ChatPace(interval=1.0)
        ports = [RecordingPort(pace=PacedChat(bot, chat, pace)) for chat in ("a", "b")]
        ports[0].fail(SlowDown(50, everywhere=True))
        shows = [LiveText(port, typing=False).show(Source("Hello", every=1)) for port in ports]
        await asyncio.gather(*shows)
        refused = ports[0].calls[0].at
        later = [call.at for port in ports for call in port.calls if call.at > refused]
        assert min(later) >= refused + 50
        assert [port.texts for port in ports] == [["Hello"], ["Hello"]]

    run(scenario())


def test_a_stream_that_never_waits_lets_others_run(run: Run) -> None:
    async def source() -> AsyncIterator[str]:
        for word in words(5000):
            yield word

    port = RecordingPort(limit=10**6)
    run(LiveText(port, typing=False).show(source()))
    assert port.texts == ["".join(words(5000))]
    assert len(port.calls) > 1


def test_an_error_of_the_port_itself_is_raised_and_closes_the_stream(run: Run) -> None:
    source = Source("Hello", hang=True)
    with pytest.raises(ZeroDivisionError):
        run(LiveText(RecordingPort(errors=[ZeroDivisionError()])).show(source))
    assert source.closed


def test_one_live_text_shows_one_stream_at_a_time(run: Run) -> None:
    async def scenario() -> None:
        live = LiveText(RecordingPort())
        task = asyncio.create_task(live.show(Source("a", hang=True)))
        await asyncio.sleep(1)
        with pytest.raises(ConfigError, match="create another"):
            await live.show(Source("b"))
        live.stop()
        await task

    run(scenario())


def test_a_negative_patience_is_refused() -> None:
    with pytest.raises(ConfigError):
        LiveText(RecordingPort(), patience=-1)


def test_the_errors_of_ports_survive_pickling() -> None:
    for error in (SlowDown(3, everywhere=True), Gone("x", chat=True), BadMarkup("y"), Uncertain()):
        error.text, error.messages = "text", (object(),)
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.text) == (type(error), str(error), "text")
        assert getattr(copy, "after", None) == getattr(error, "after", None)
        assert getattr(copy, "chat", None) == getattr(error, "chat", None)
    assert issubclass(PortError, Exception)
