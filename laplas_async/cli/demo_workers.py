"""``laplas demo --workers N``: processes that share one hidden limit, and what each of them got.

The simulator runs in this process, the workers in others, as
``python -m laplas_async.cli.demo_workers BASE_URL CALLS``. It refuses to report success when a call
failed.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Final

from attrs import asdict, define

from laplas_async import LaplasClient, LaplasError
from laplas_async.cli.exit_codes import DONE, FAILED

CALLS: Final = 40
_RATE: Final = 20.0  # requests per second, of all workers together
_ANSWER: Final = 0.3  # seconds


@define
class Share:
    """What one worker did. ``started`` and ``ended``: by the machine's monotonic clock."""

    answered: int
    rejected: int
    started: float
    ended: float
    rules: list[str]


async def run(workers: int) -> tuple[str, bool]:
    """A text that shows it, and whether every call was answered."""
    # Not for ``laplas --help``: it loads aiohttp's server.
    from laplas_async.simulator import HiddenLimit, Simulator, Timing  # noqa: PLC0415

    limit = HiddenLimit(rate=_RATE, burst=int(_RATE))
    async with Simulator(timing=Timing(plain=_ANSWER), limit=limit) as simulator:
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "laplas_async.cli.demo_workers"),
                *(simulator.base_url, str(CALLS)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(workers)
        ]
        try:
            printed = await asyncio.gather(*(process.communicate() for process in processes))
        except BaseException:
            for process in processes:
                if process.returncode is None:
                    process.kill()
            await asyncio.gather(*(process.wait() for process in processes))
            raise
        shares = [Share(**json.loads(out)) for out, _ in printed if out]
        rejected = simulator.counts.rejected
    complete = len(shares) == workers and all(share.answered == CALLS for share in shares)
    return (_describe(shares, rejected) if shares else ""), complete


def _describe(shares: Sequence[Share], rejected: int) -> str:
    began, ended = min(one.started for one in shares), max(one.ended for one in shares)
    answered = sum(one.answered for one in shares)
    lines = [f"{'worker':<8}{'answered':>10}{'rejected':>10}{'seconds':>10}"]
    lines += [
        f"{number:<8}{one.answered:>10}{one.rejected:>10}{one.ended - one.started:>10.1f}"
        for number, one in enumerate(shares, 1)
    ]
    seconds = ended - began
    rules = next((one.rules for one in reversed(shares) if one.rules), ["not reached"])
    lines += [
        f"{'all':<8}{answered:>10}{rejected:>10}{seconds:>10.1f}",
        "",
        f"limit found, by all together: {', '.join(rules)}",
    ]
    text = "\n".join(lines) + "\n"
    return text + (
        f"The service accepts {_RATE:g} calls per second of one key, and bursts of {_RATE:g}. The "
        "workers have one learned limit and take turns: LaplasClient(shared=True).\n"
    )


async def _work(base_url: str, calls: int) -> Share:
    async with LaplasClient("demo-key", base_url, shared=True) as client:
        started = time.monotonic()
        requests = (client.complete(f"Name river {n}.", max_tokens=8) for n in range(calls))
        results = await asyncio.gather(*requests, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, LaplasError):
                raise result
        answered = sum(not isinstance(result, LaplasError) for result in results)
        return Share(
            answered,
            client.pace.rejected,
            started,
            time.monotonic(),
            [str(rule) for rule in client.pace.rules],
        )


def main() -> int:
    """One worker: its share as JSON on stdout."""
    share = asyncio.run(_work(sys.argv[1], int(sys.argv[2])))
    print(json.dumps(asdict(share)))
    return DONE if share.answered == int(sys.argv[2]) else FAILED


if __name__ == "__main__":
    sys.exit(main())
