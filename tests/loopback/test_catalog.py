"""``client.models()``, ``client.balance()`` and the suggestion for a model that does not exist."""

import json

import pytest

from laplas_async import AuthenticationError, LaplasClient, NotFoundError, ServerError
from laplas_async.cli import main
from laplas_async.simulator import Fault, Simulator

MISSPELLED = "meta-llama/Meta-Llama-3.1-405B-Instruct"


async def test_models_are_fetched_once_and_again_when_wanted(client: LaplasClient) -> None:
    models = await client.models()
    assert models[0].context_length == 128_000
    assert await client.models() == models
    assert await client.models(refresh=True) == models


async def test_the_balance_needs_the_key(client: LaplasClient, simulator: Simulator) -> None:
    balance = await client.balance()
    assert balance.credits > 0
    assert balance.low_balance is False
    async with LaplasClient("another-key-entirely", simulator.base_url) as other:
        with pytest.raises(AuthenticationError):
            await other.balance()


async def test_an_unknown_model_names_the_closest_ones(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.status(404), Fault.status(404))
    with pytest.raises(NotFoundError, match="the closest models: meta-llama"):
        await client.complete("Hi", model=MISSPELLED)
    with pytest.raises(NotFoundError, match="the closest models"):
        async with client.stream("Hi", model=MISSPELLED):
            pass


async def test_a_404_for_a_known_model_suggests_nothing(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script(Fault.status(404))
    with pytest.raises(NotFoundError) as caught:
        await client.complete("Hi")
    assert "closest" not in str(caught.value)


async def test_a_wrong_base_url_keeps_its_own_error(simulator: Simulator, key: str) -> None:
    async with LaplasClient(key, simulator.base_url.replace("/v1", "/v9")) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.complete("Hi", model="nothing-like-it")
    assert "closest" not in str(caught.value)


async def test_an_error_has_the_responses_headers_and_status(
    client: LaplasClient, simulator: Simulator
) -> None:
    simulator.script_always(Fault.status(503, retry_after=0))
    with pytest.raises(ServerError) as caught:
        await client.complete("Hi")
    assert caught.value.headers["retry-after"] == "0"
    simulator.script_always(None)
    completion = await client.complete("Hi", extra_query={"trace": True})
    assert completion.headers["content-type"].startswith("application/json")
    assert completion.request_id == completion.headers["x-request-id"]


def test_the_commands_print_a_table_or_json(
    service: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--feature", "reasoning"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "deepseek/deepseek-r1"
    assert main(["models", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6
    assert main(["models", "--feature", "no-such-feature"]) == 1
    capsys.readouterr()
    assert main(["balance"]) == 0
    assert capsys.readouterr().out.startswith("balance     1,000,000 credits\n")
    assert main(["balance", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["credits"] == 1_000_000
