"""What observers cost: one call, and each event of a stream, without any and with ours.

    python benchmarks/observers.py               # about a minute
    python benchmarks/observers.py --rounds 9

The server and the measuring are those of ``speed.py``, with fewer events and calls: µs of CPU, the
median of the rounds, in which the variants take turns. "none" is a client without observers;
"empty" has one that does nothing. ``OTel`` runs with the SDK, exporting in batches into memory.
"""

import argparse
import statistics
import sys
from pathlib import Path

from attrs import evolve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import speed

VARIANTS = {"laplas_async": "none", "empty": "empty", "logs": "`Logs()`", "otel": "`OTel()`"}


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=speed.count, default=5, metavar="N")
    rounds = parser.parse_args().rounds
    ours = next(client for client in speed.CLIENTS if client.name == speed.OURS)
    burst, plain = (case for case in speed.CASES if case.name in ("burst", "plain"))
    cases = [evolve(burst, events=50_000), evolve(plain, calls=1_500)]
    figures: dict[tuple[str, str], list[float]] = {}
    with speed.server() as url:
        for _ in range(rounds):
            for name in VARIANTS:
                for case in cases:
                    figure = speed.run(evolve(ours, name=name), case, url)
                    figures.setdefault((name, case.name), []).append(figure)
    print(f"| observers | {' | '.join(case.heading for case in cases)} |")
    print(f"|---|{'---:|' * len(cases)}")
    for name, title in VARIANTS.items():
        medians = (statistics.median(figures[name, case.name]) for case in cases)
        print(f"| {title} | {' | '.join(f'{median:.2f}' for median in medians)} |")


if __name__ == "__main__":
    main()
