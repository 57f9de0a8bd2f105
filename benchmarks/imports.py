"""What importing the library costs compared with importing aiohttp: medians of new processes.

python benchmarks/imports.py [RUNS]

The processes alternate. Byte code is cached, as it is after an installation, in a directory of its
own, so that neither library is compiled while it is measured. Exits 1 if the target is missed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

TARGET = 1.35  # times aiohttp's import
CODES = {"nothing": "pass", "aiohttp": "import aiohttp", "laplas_async": "import laplas_async"}


def measure(code: str, environment: dict[str, str]) -> float:
    """Return the seconds that a new interpreter takes to run the code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return time.perf_counter() - started


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    samples: dict[str, list[float]] = {name: [] for name in CODES}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        for code in CODES.values():
            measure(code, environment)  # writes the byte code
        for _ in range(runs):
            for name, code in CODES.items():
                samples[name].append(measure(code, environment))
    medians = {name: statistics.median(times) for name, times in samples.items()}
    nothing = medians.pop("nothing")
    for name, median in medians.items():
        print(f"import {name}: {1000 * (median - nothing):.0f} ms")
    ratio = (medians["laplas_async"] - nothing) / (medians["aiohttp"] - nothing)
    print(f"ratio: {ratio:.2f} (median of {runs} new processes each, an empty one subtracted)")
    print(f"target: {TARGET} {'met' if ratio <= TARGET else 'missed'}")
    sys.exit(ratio > TARGET)


if __name__ == "__main__":
    main()
