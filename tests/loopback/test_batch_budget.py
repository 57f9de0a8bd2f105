"""A batch with a cap: it stops before it may cost more, and a later run goes on from there."""

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from laplas_async import Budget, ConfigError, LaplasClient, Price, RetryPolicy, run_batch
from laplas_async.batch.report import BatchProgress
from laplas_async.cli import main
from laplas_async.report import read_run
from laplas_async.simulator import Fault, Simulator

PRICE = Price(input=1.0, output=10.0)
ROWS = 40
# About 150 bytes of body and 100 tokens: $0.0012 at most; the simulator uses about a third.
ROW_USD = 0.0012


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rows = [
        {"custom_id": f"q{n}", "prompt": f"Name river {n}.", "max_tokens": 100} for n in range(ROWS)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return source, tmp_path / "out.jsonl"


@pytest.fixture
async def client(
    key: str, simulator: Simulator, policy: RetryPolicy
) -> AsyncIterator[LaplasClient]:
    async with (
        asyncio.timeout(60),
        LaplasClient(key, simulator.base_url, retry=policy) as client,
    ):
        yield client


def lines_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_bytes().splitlines()]


def cost_of(lines: list[dict[str, Any]]) -> float:
    return math.fsum(line["laplas"].get("usd", 0.0) for line in lines)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_batch_stops_at_its_cap_and_a_later_run_goes_on(
    simulator: Simulator, client: LaplasClient, files: tuple[Path, Path], *, stream: bool
) -> None:
    source, output = files
    cap = 10 * ROW_USD
    first = await run_batch(source, output, client=client, budget=Budget(cap, PRICE), stream=stream)
    lines = lines_of(output)
    assert (first.ending, first.ok) == ("budget", False)
    assert "--max-usd" in first.reason
    assert 0 < len(lines) == first.counts.answered < ROWS
    assert first.counts.failed == 0  # a row without room is no failure
    assert first.usd == pytest.approx(cost_of(lines))
    assert first.usd is not None
    assert 0 < first.usd <= cap
    assert first.usd_by_source == {"price": first.usd}
    assert simulator.counts.requests == len(lines)  # nothing was sent in vain

    second = await run_batch(
        source, output, client=client, budget=Budget(100 * ROW_USD, PRICE), stream=stream
    )
    assert (second.ending, second.ok) == ("done", True)
    assert second.usd_before == pytest.approx(first.usd)
    assert second.counts.possibly_duplicated == 0
    assert simulator.counts.requests == len(lines_of(output)) == ROWS


async def test_what_earlier_runs_cost_counts_once(
    simulator: Simulator, client: LaplasClient, files: tuple[Path, Path]
) -> None:
    source, output = files
    budget = Budget(10 * ROW_USD, PRICE)
    first = await run_batch(source, output, client=client, budget=budget)
    spent, requests = budget.spent, simulator.counts.requests
    assert first.ending == "budget"
    again = await run_batch(source, output, client=client, budget=budget)  # the same object
    assert again.ending == "budget"
    assert budget.spent == pytest.approx(spent + (again.usd or 0.0))
    other = Budget(10 * ROW_USD, PRICE)  # another process
    await run_batch(source, output, client=client, budget=other)
    assert other.spent <= other.limit
    assert cost_of(lines_of(output)) == pytest.approx(other.spent)
    assert simulator.counts.requests - requests <= 3


async def test_what_may_be_billed_is_in_the_lines_and_in_the_report(
    simulator: Simulator, client: LaplasClient, files: tuple[Path, Path]
) -> None:
    source, output = files
    simulator.script(Fault.status(503))
    report = await run_batch(source, output, client=client, price=PRICE)
    lines = lines_of(output)
    billed = [line["laplas"] for line in lines if "usd_may_be_billed" in line["laplas"]]
    assert len(billed) == 1
    assert report.usd_may_be_billed == pytest.approx(billed[0]["usd_may_be_billed"])
    assert 0.0010 < report.usd_may_be_billed < 0.0020
    run = read_run(output)
    assert run.numbers.usd == pytest.approx(report.usd)
    assert run.numbers.usd_by_source == pytest.approx(report.usd_by_source)
    assert run.numbers.usd_may_be_billed == pytest.approx(report.usd_may_be_billed)
    assert "by the price given" in run.html()
    assert "1 more attempt may be billed (at most $0.00" in run.html()


async def test_a_reported_cost_goes_before_the_price(
    key: str, policy: RetryPolicy, files: tuple[Path, Path]
) -> None:
    source, output = files
    async with (
        asyncio.timeout(60),
        Simulator(api_key=key, costs=True) as simulator,
        LaplasClient(key, simulator.base_url, retry=policy) as client,
    ):
        report = await run_batch(source, output, client=client, price=PRICE)
    assert list(report.usd_by_source) == ["reported"]
    assert all("usd_source" not in line["laplas"] for line in lines_of(output))


async def test_without_a_price_the_cost_is_unknown_and_a_cap_is_refused(
    simulator: Simulator,
    client: LaplasClient,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    source, output = files
    with pytest.raises(ConfigError, match="no price is known"):
        await run_batch(source, output, client=client, budget=Budget(1.0))
    with pytest.raises(ConfigError, match="must be a Budget"):
        await run_batch(source, output, client=client, budget=1.0)  # type: ignore[arg-type]
    assert simulator.counts.requests == 0
    assert not output.exists()
    report = await run_batch(source, output, client=client)
    assert (report.usd, report.usd_by_source) == (None, {})
    assert read_run(output).numbers.usd is None


async def test_progress_has_the_cost_so_far_the_cap_and_the_latency(
    client: LaplasClient, files: tuple[Path, Path]
) -> None:
    source, output = files
    seen: list[BatchProgress] = []
    budget = Budget(1.0, PRICE)
    await run_batch(source, output, client=client, budget=budget, on_progress=seen.append)
    last = seen[-1]
    assert (last.usd_limit, last.usd_spent) == (1.0, budget.spent)
    assert last.latency is not None


async def test_a_batch_without_credits_says_what_is_left_and_what_it_needs(
    key: str, policy: RetryPolicy, files: tuple[Path, Path]
) -> None:
    source, output = files
    message = "You've run out of credits. Please top up your balance."
    async with (
        asyncio.timeout(60),
        Simulator(api_key=key, costs=True) as simulator,
        LaplasClient(key, simulator.base_url, retry=policy) as client,
    ):
        simulator.script(*[None] * 5)
        simulator.script(*[Fault.status(403, {"message": message})] * ROWS)
        report = await run_batch(source, output, client=client)
    assert report.ending == "same_failure"
    assert "add credits" in report.reason
    assert "the balance is" in report.reason
    assert "rows are left, which need about" in report.reason


def test_the_command_stops_with_code_3_and_the_same_command_resumes(
    service: Simulator, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = files
    summary = output.with_name("summary.json")
    command = ["batch", str(source), str(output), "--price", "1", "10", "--summary", str(summary)]
    assert main([*command, "--max-usd", str(8 * ROW_USD)]) == 3
    assert "stopped early: the budget of $0.01 has no room" in capsys.readouterr().err
    numbers = json.loads(summary.read_bytes())
    assert numbers["ending"] == "budget"
    assert numbers["usd"] == pytest.approx(cost_of(lines_of(output)))
    assert main([*command, "--max-usd", "1"]) == 0
    assert service.counts.requests == ROWS
    assert "in earlier runs" in capsys.readouterr().err


def test_a_cap_without_a_price_is_wrong_usage(
    service: Simulator, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert main(["batch", *map(str, files), "--max-usd", "5"]) == 2
    assert service.counts.requests == 0
