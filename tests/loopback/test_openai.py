"""openai's surface over sockets where no recorded program goes: attrs classes, keys, closing."""

from typing import Any

import attrs
import pytest

from laplas_async import Gate, openai
from laplas_async.simulator import Fault, Simulator

ASK: Any = [{"role": "user", "content": "A river, please."}]


@attrs.frozen
class River:
    name: str
    length: int


async def test_attrs_classes_are_parsed_whole_and_streamed(simulator: Simulator, key: str) -> None:
    async with openai.AsyncOpenAI(api_key=key, base_url=simulator.base_url) as client:
        completion: Any = await client.chat.completions.parse(messages=ASK, response_format=River)
        river = completion.choices[0].message.parsed
        assert isinstance(river, River)
        async with client.beta.chat.completions.stream(
            messages=ASK, response_format=River
        ) as stream:
            events = [event async for event in stream]
            final: Any = await stream.get_final_completion()
        assert final.choices[0].message.parsed == river
        done = [event for event in events if event.type == "content.done"]
        assert [event.parsed for event in done] == [river]
        deltas = [event for event in events if event.type == "content.delta"]
        assert deltas[-1].parsed == attrs.asdict(river)


async def test_each_key_has_its_own_gate_unless_one_is_shared(
    simulator: Simulator, key: str
) -> None:
    gate = Gate()
    async with openai.AsyncOpenAI(api_key=key, base_url=simulator.base_url) as client:
        other = client.with_options(api_key="another-key-entirely")
        assert other._core().gate is not client._core().gate
        with pytest.raises(openai.AuthenticationError) as caught:
            await other.chat.completions.create(messages=ASK)
        assert "another-key-entirely" not in repr(caught.value)
        await client.chat.completions.create(messages=ASK)
    async with openai.AsyncOpenAI(api_key=key, gate=gate) as client:
        assert client.with_options(api_key="another-key")._core().gate is gate


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize("status", [429, 503])
async def test_max_retries_counts_rejections_and_failures_alike(
    simulator: Simulator, key: str, retries: int, status: int
) -> None:
    simulator.script(*[Fault.status(status if number % 2 else 429) for number in range(8)])
    async with openai.AsyncOpenAI(
        api_key=key, base_url=simulator.base_url, max_retries=retries
    ) as client:
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(messages=ASK)
    assert len(simulator.requests) == retries + 1


async def test_a_cut_stream_is_never_a_whole_one(simulator: Simulator, key: str) -> None:
    simulator.script(Fault.truncate(after=3))
    async with openai.AsyncOpenAI(
        api_key=key, base_url=simulator.base_url, max_retries=0
    ) as client:
        with pytest.raises(openai.APIConnectionError) as caught:
            async for _ in await client.chat.completions.create(messages=ASK, stream=True):
                pass
    assert caught.value.partial is not None
    assert caught.value.partial.text


async def test_a_streams_timeout_bounds_silence_and_not_its_length(key: str) -> None:
    async with Simulator(api_key=key) as simulator:
        simulator.script(Fault.stall(after=2))
        async with openai.AsyncOpenAI(
            api_key=key, base_url=simulator.base_url, max_retries=0, timeout=0.3
        ) as client:
            with pytest.raises(openai.APITimeoutError):
                async for _ in await client.chat.completions.create(messages=ASK, stream=True):
                    pass


async def test_a_value_the_service_refuses_is_a_bad_request_and_not_sent(
    simulator: Simulator, key: str
) -> None:
    async with openai.AsyncOpenAI(api_key=key, base_url=simulator.base_url) as client:
        with pytest.raises(openai.BadRequestError, match="temperature=7") as caught:
            await client.chat.completions.create(messages=ASK, temperature=7)
    assert isinstance(caught.value, ValueError)
    assert caught.value.status_code == 400
    assert not simulator.requests
