"""Streams as real servers wrote them: each gives its completion, or is reported."""

import json
from pathlib import Path
from typing import Any, Literal, cast

import pytest

import laplas_async
from laplas_async import LaplasClient, LaplasError, StreamError, to_dict
from laplas_async.simulator import Fault, Simulator

CORPUS = Path(__file__).parents[1] / "corpus"
NAMES = sorted(path.name.removesuffix(".json") for path in CORPUS.glob("*.json"))


def load(name: str) -> tuple[dict[str, Any], bytes]:
    case: dict[str, Any] = json.loads((CORPUS / f"{name}.json").read_text("utf-8"))
    packed = CORPUS / f"{name}.sse.gz"
    return case, (packed if packed.exists() else CORPUS / f"{name}.sse").read_bytes()


def replay(case: dict[str, Any], data: bytes, chunk: int | None) -> Fault:
    headers = case["headers"]
    return Fault.raw(
        data,
        chunk=chunk,
        end=cast("Literal['clean', 'cut']", case["end"]),
        status=case.get("status", 200),
        content_type=headers["content-type"],
        content_encoding=headers.get("content-encoding"),
    )


async def read(client: LaplasClient, case: dict[str, Any]) -> dict[str, Any]:
    async with client.stream("Anything.", n=case["request"].get("n")) as stream:
        return to_dict(await stream.completion())


def test_each_capture_has_its_case() -> None:
    captures = {path.name.removesuffix(".gz") for path in CORPUS.glob("*.sse*")}
    assert captures == {f"{name}.sse" for name in NAMES}
    assert NAMES


@pytest.mark.parametrize("chunk", [None, 7, 1], ids=["whole", "by sevens", "byte by byte"])
@pytest.mark.parametrize("name", NAMES)
async def test_what_a_server_wrote(
    client: LaplasClient, simulator: Simulator, name: str, chunk: int | None
) -> None:
    case, data = load(name)
    simulator.script_always(replay(case, data, chunk))
    if "completion" in case:
        assert await read(client, case) == case["completion"]
        assert simulator.counts.requests == 1
        return
    kind: type[LaplasError] = getattr(laplas_async, case["error"])
    with pytest.raises(kind) as caught:
        await read(client, case)
    assert type(caught.value) is kind
    assert caught.value.attempts
    if isinstance(caught.value, StreamError):
        assert caught.value.partial.text == case["partial"]
