"""Frameworks that insist on openai's client, run against the simulator with our pacing under them.

Each skips with a reason where its package is not installed; none needs a key or the network.
"""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from laplas_async.openai import PacingTransport
from laplas_async.simulator import Fault, Simulator

# What the frameworks use that is deprecated is theirs to change.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

KEY = "test-key-that-never-shows"
MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} is not installed or cannot be imported ({error})")


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as sim:
        yield sim


@pytest.fixture
def transport() -> PacingTransport:
    return PacingTransport()


@pytest.fixture
async def paced(sim: Simulator, transport: PacingTransport) -> AsyncIterator[Any]:
    """openai's own client on our transport."""
    openai, httpx = _installed("openai"), _installed("httpx")
    async with openai.AsyncOpenAI(
        api_key=KEY,
        base_url=sim.base_url,
        http_client=httpx.AsyncClient(transport=transport),
        max_retries=0,
    ) as client:
        yield client


async def test_instructor(sim: Simulator, paced: Any, transport: PacingTransport) -> None:
    instructor, pydantic = _installed("instructor"), _installed("pydantic")
    River = pydantic.create_model("River", name=(str, ...), length=(int, ...))  # noqa: N806
    client = instructor.from_openai(paced)
    sim.script(Fault.status(429))
    river = await client.chat.completions.create(
        model=MODEL,
        response_model=River,
        messages=[{"role": "user", "content": "A river, please."}],
    )
    assert isinstance(river.name, str)
    assert isinstance(river.length, int)
    assert transport.gate.pace.rejected == 1


async def test_pydantic_ai(sim: Simulator, paced: Any, transport: PacingTransport) -> None:
    pydantic_ai = _installed("pydantic_ai")
    models = _installed("pydantic_ai.models.openai")
    providers = _installed("pydantic_ai.providers.openai")
    model = models.OpenAIChatModel(MODEL, provider=providers.OpenAIProvider(openai_client=paced))
    agent = pydantic_ai.Agent(model)
    sim.script(Fault.status(429))
    result = await agent.run("Name a river.")
    assert result.output
    async with agent.run_stream("Name a river.") as stream:
        assert [text async for text in stream.stream_text(delta=True)]
    assert transport.gate.pace.rejected == 1
    assert transport.gate.pace.in_flight == 0


async def test_openai_agents(sim: Simulator, paced: Any, transport: PacingTransport) -> None:
    agents = _installed("agents")
    agents.set_tracing_disabled(disabled=True)
    model = agents.OpenAIChatCompletionsModel(model=MODEL, openai_client=paced)
    agent = agents.Agent(name="assistant", instructions="Be brief.", model=model)
    sim.script(Fault.status(429))
    result = await agents.Runner.run(agent, "Name a river.")
    assert result.final_output
    assert transport.gate.pace.rejected == 1


async def test_langchain_with_the_transport(sim: Simulator, transport: PacingTransport) -> None:
    langchain, httpx = _installed("langchain_openai"), _installed("httpx")
    async with httpx.AsyncClient(transport=transport) as http_client:
        model = langchain.ChatOpenAI(
            model=MODEL,
            api_key=KEY,
            base_url=sim.base_url,
            http_async_client=http_client,
            max_retries=0,
        )
        sim.script(Fault.status(429))
        assert (await model.ainvoke("Name a river.")).content
        assert [chunk.content async for chunk in model.astream("Name a river.")]
    assert transport.gate.pace.rejected == 1
    assert transport.gate.pace.in_flight == 0


async def test_langchain_with_our_client(sim: Simulator) -> None:
    langchain = _installed("langchain_openai")
    ours = importlib.import_module("laplas_async.openai")
    async with ours.AsyncOpenAI(api_key=KEY, base_url=sim.base_url) as client:
        model = langchain.ChatOpenAI(
            model=MODEL, api_key=KEY, base_url=sim.base_url, async_client=client.chat.completions
        )
        message = await model.ainvoke("Name a river.")
        assert message.content
        assert message.usage_metadata["total_tokens"] > 0
        assert [chunk.content async for chunk in model.astream("Name a river.")]
    assert sim.counts.answered == 2


async def test_litellm(
    sim: Simulator, transport: PacingTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or importing it asks the network
    litellm, httpx = _installed("litellm"), _installed("httpx")
    litellm.aclient_session = httpx.AsyncClient(transport=transport)
    try:
        sim.script(Fault.status(429))
        response = await litellm.acompletion(
            model=f"openai/{MODEL}",
            messages=[{"role": "user", "content": "Name a river."}],
            api_key=KEY,
            api_base=sim.base_url,
            max_retries=0,
        )
    finally:
        await litellm.aclient_session.aclose()
        litellm.aclient_session = None
    assert response.choices[0].message.content
    assert transport.gate.pace.rejected == 1


async def test_strands(sim: Simulator) -> None:
    strands = _installed("strands")
    models = _installed("strands.models.openai")
    ours = importlib.import_module("laplas_async.openai")
    async with ours.AsyncOpenAI(api_key=KEY, base_url=sim.base_url) as client:
        agent = strands.Agent(
            model=models.OpenAIModel(client=client, model_id=MODEL), callback_handler=None
        )
        result = await agent.invoke_async("Name a river.")
        assert str(result).strip()


async def test_many_calls_of_one_framework_stay_below_a_limit(sim: Simulator, paced: Any) -> None:
    answers = await asyncio.gather(
        *(
            paced.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": str(number)}]
            )
            for number in range(20)
        )
    )
    assert len(answers) == sim.counts.answered == 20
    assert all(json.loads(answer.to_json())["choices"] for answer in answers)
