"""The endpoints about the simulator itself and the list of models."""

from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from laplas_async.simulator import HiddenLimit, Timing
from laplas_async.simulator.app import Service
from laplas_async.simulator.counters import Counters
from laplas_async.simulator.handler import ServerSettings, ServerState
from laplas_async.simulator.limiter import RequestLimiter
from laplas_async.simulator.script import Script


@pytest.fixture
def service() -> Service:
    settings = ServerSettings(api_key="k", status=200, timing=Timing(), costs=False)
    limiter = RequestLimiter(HiddenLimit(rate=5), 0.0)
    return Service(
        ServerState(settings=settings, counters=Counters(9), script=Script(), limiter=limiter)
    )


async def respond(service: Service, method: str, path: str, key: str = "") -> tuple[int, Any]:
    response = await service.handle(make_mocked_request(method, path, {"Authorization": key}))
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    return response.status, orjson.loads(response.body)


async def test_the_counts_are_served_and_not_counted(service: Service) -> None:
    status, counts = await respond(service, "GET", "/_counts")
    assert (status, counts["requests"]) == (200, 0)


async def test_unknown_endpoints_about_itself_are_404(service: Service) -> None:
    assert (await respond(service, "GET", "/_limit"))[0] == 404
    assert (await respond(service, "POST", "/_counts"))[0] == 404


async def test_requests_about_itself_are_reported_to_the_server(service: Service) -> None:
    paths: list[str] = []
    service.on_admin_request = lambda request: paths.append(request.path)
    await respond(service, "GET", "/_counts")
    await respond(service, "GET", "/v1/models")
    assert paths == ["/_counts"]


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/models/"])
async def test_models_need_no_key(service: Service, path: str) -> None:
    status, body = await respond(service, "GET", path)
    assert status == 200
    assert body["data"][0]["id"].startswith("meta-llama/")


async def test_the_balance_needs_a_key(service: Service) -> None:
    path = "/v1/billing/balance"
    assert (await respond(service, "GET", path, "Bearer k"))[1]["balance"] == 1_000_000
    status, body = await respond(service, "GET", path, "Bearer other")
    assert (status, body["statusCode"], body["path"]) == (401, 401, path)
