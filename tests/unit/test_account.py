"""The models and the balance of an account, and suggestions for an unknown model."""

import asyncio

import pytest

from laplas_async.account import Account, suggest_models
from laplas_async.calls.lifetime import Lifetime
from laplas_async.calls.policy import RetryPolicy
from laplas_async.errors import APIError, ConfigError, LaplasError, NotFoundError, ServerError
from laplas_async.http.transport import Transport
from laplas_async.simulator import Simulator
from laplas_async.timeouts import Timeouts
from laplas_async.types import Model

ONCE = RetryPolicy(max_attempts=1)


async def test_models_are_kept_until_they_are_refreshed() -> None:
    async with Simulator(models=[{"id": "a"}, {"id": "b"}], balance=5) as simulator:
        transport = Transport(simulator.base_url, "key")
        account = Account(transport, Lifetime())
        models = await account.models(refresh=False, timeouts=Timeouts(), retry=ONCE)
        assert [model.id for model in models] == ["a", "b"]
        models.clear()  # the caller's own list
        balance = await account.balance(timeouts=Timeouts(), retry=ONCE)
        assert balance.credits == 5
        await transport.close()
    kept = await account.models(refresh=False, timeouts=Timeouts(), retry=ONCE)
    assert [model.id for model in kept] == ["a", "b"]
    with pytest.raises(LaplasError):  # the service is gone
        await account.models(refresh=True, timeouts=Timeouts(), retry=ONCE)
    await transport.close()


async def test_what_is_no_list_is_an_error_that_says_so() -> None:
    async with Simulator(models="nothing") as simulator:
        transport = Transport(simulator.base_url, "key")
        with pytest.raises(APIError, match="models"):
            await Account(transport, Lifetime()).models(
                refresh=False, timeouts=Timeouts(), retry=ONCE
            )
        await transport.close()


async def test_nothing_is_sent_once_the_client_is_closed() -> None:
    lifetime = Lifetime()
    await lifetime.close(0)
    account = Account(Transport("http://127.0.0.1:1/v1", "key"), lifetime)
    with pytest.raises(ConfigError, match="closed"):
        await account.balance(timeouts=Timeouts(), retry=ONCE)


async def suggested(wanted: str, *known: str) -> str:
    async def models() -> list[Model]:
        return [Model(id_) for id_ in known]

    error = NotFoundError("404: no such model", status=404)
    await suggest_models(error, wanted, models)
    return str(error)


async def test_the_closest_models_are_added_to_the_error() -> None:
    text = await suggested("llama-3.1-405", "llama-3.1-405b", "flux/schnell")
    assert text == "404: no such model; the closest models: llama-3.1-405b"


async def test_a_known_model_or_none_like_it_adds_nothing() -> None:
    assert await suggested("a", "a") == "404: no such model"
    assert await suggested("zzz", "llama-3.1-405b") == "404: no such model"


@pytest.mark.parametrize("failure", [ServerError("no list"), TimeoutError()])
async def test_a_list_that_cannot_be_had_leaves_the_error_as_it_is(failure: Exception) -> None:
    async def models() -> list[Model]:
        await asyncio.sleep(0)
        raise failure

    error = NotFoundError("404: no such model", status=404)
    await suggest_models(error, "a", models)
    assert str(error) == "404: no such model"
