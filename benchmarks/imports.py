"""What importing the library costs beside importing aiohttp: medians of new processes, in turn.

python benchmarks/imports.py [RUNS]
"""

import statistics
import subprocess
import sys
import time

CODES = {"nothing": "pass", "aiohttp": "import aiohttp", "laplas_async": "import laplas_async"}


def seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    taken: dict[str, list[float]] = {name: [] for name in CODES}
    for code in CODES.values():
        seconds(code)  # the first writes the byte code
    for _ in range(runs):
        for name, code in CODES.items():
            taken[name].append(seconds(code))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    nothing = medians.pop("nothing")
    for name, median in medians.items():
        print(f"import {name}: {1000 * (median - nothing):.0f} ms")
    ratio = (medians["laplas_async"] - nothing) / (medians["aiohttp"] - nothing)
    print(f"ratio: {ratio:.2f} (median of {runs} new processes each, an empty one taken off)")


if __name__ == "__main__":
    main()
