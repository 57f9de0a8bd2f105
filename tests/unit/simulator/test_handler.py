"""What is decided when a request arrives, before anything waits."""

import pytest
from aiohttp.test_utils import make_mocked_request

from laplas_async.simulator import Fault, HiddenLimit, Timing
from laplas_async.simulator.counters import Counters
from laplas_async.simulator.handler import CHAT, RequestHandler, ServerSettings, ServerState
from laplas_async.simulator.limiter import RequestLimiter
from laplas_async.simulator.script import Script


def state_of(
    *, api_key: str | None = "key", limit: HiddenLimit | None = None, faults: tuple[Fault, ...] = ()
) -> ServerState:
    return ServerState(
        settings=ServerSettings(api_key=api_key, status=200, timing=Timing(), costs=False),
        counters=Counters(9),
        script=Script(faults),
        limiter=RequestLimiter(limit, 0.0),
    )


def arrive(
    state: ServerState, method: str = "POST", path: str = CHAT, key: str = "Bearer key"
) -> RequestHandler:
    return RequestHandler(state, make_mocked_request(method, path, {"Authorization": key}))


@pytest.mark.parametrize(
    ("expected", "sent", "valid"),
    [
        ("key", "Bearer key", True),
        ("key", "bearer  key ", True),
        ("key", "Bearer other", False),
        ("key", "Basic key", False),
        ("key", "Bearer", False),
        (None, "Bearer anything", True),
        (None, "Bearer ", False),
    ],
)
async def test_the_key_is_checked(expected: str | None, sent: str, valid: bool) -> None:
    assert arrive(state_of(api_key=expected), key=sent).has_valid_key == valid


async def test_only_authorized_chat_requests_are_limited() -> None:
    state = state_of(limit=HiddenLimit(concurrency=1))
    assert arrive(state, key="Bearer wrong").admission is None
    assert arrive(state, path="/v1/other").admission is None
    first, second = arrive(state), arrive(state)
    assert (first.holds_place, second.holds_place) == (True, False)


async def test_only_chat_requests_use_up_the_script() -> None:
    fault = Fault.drop()
    state = state_of(faults=(fault,))
    assert arrive(state, "GET").entry is None
    assert arrive(state, path="/v1/other").entry is None
    assert arrive(state).entry is fault
    assert arrive(state).entry is None


async def test_requests_are_numbered_in_order_of_arrival() -> None:
    state = state_of()
    handlers = [arrive(state) for _ in range(3)]
    assert [handler.seen.number for handler in handlers] == [1, 2, 3]
    assert handlers[2].context.request_id.endswith("3")
