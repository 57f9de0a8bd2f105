"""Run the programs with openai's own package and record what they show.

python tests/migration/runner.py     (where openai is installed; writes shown.json beside it)
"""

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from programs import KEY, PROGRAMS

from laplas_async.simulator import Simulator

SHOWN = Path(__file__).with_name("shown.json")


async def shown_by(name: str, openai: Any) -> list[list[Any]]:
    """What one program shows, as JSON has it."""
    lines: list[list[Any]] = []

    def show(*values: Any) -> None:
        lines.append(json.loads(json.dumps(values, default=repr)))

    async with Simulator(api_key=KEY) as sim:
        prefix = "OPENAI" if openai.__name__ == "openai" else "LAPLAS"
        if name == "environment":
            os.environ[f"{prefix}_API_KEY"] = KEY
            os.environ[f"{prefix}_BASE_URL"] = sim.base_url
        try:
            await PROGRAMS[name](openai, sim, show)
        finally:
            os.environ.pop(f"{prefix}_API_KEY", None)
            os.environ.pop(f"{prefix}_BASE_URL", None)
    return lines


def main() -> None:
    packages = [importlib.import_module(name) for name in ("openai", "laplas_async.openai")]
    recorded: dict[str, Any] = {"openai": packages[0].__version__, "programs": {}}
    same = 0
    for name in PROGRAMS:
        shown = []
        for package in packages:
            try:
                shown.append(asyncio.run(shown_by(name, package)))
            except Exception as error:  # noqa: BLE001 - that is the result
                shown.append([[f"RAISED {type(error).__name__}: {error}"]])
        recorded["programs"][name] = shown[0]
        same += shown[0] == shown[1]
        print(f"{'same     ' if shown[0] == shown[1] else 'DIFFERENT'} {name}")
        if shown[0] != shown[1]:
            for at in range(max(map(len, shown))):
                lines = [str(some[at]) if at < len(some) else "-" for some in shown]
                if lines[0] != lines[1]:
                    print(f"   openai {lines[0][:600]}\n   laplas {lines[1][:600]}")
    print(f"{same} of {len(PROGRAMS)} show the same")
    SHOWN.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
