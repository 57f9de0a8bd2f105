"""Run the programs with openai's own package, compare with ours, and record what openai's shows.

python tests/migration/record.py     (where openai is installed; writes shown.json beside it)
"""

import asyncio
import importlib
import json
import runpy
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    programs = runpy.run_path(str(HERE / "programs.py"))
    theirs, ours = (importlib.import_module(name) for name in ("openai", "laplas_async.openai"))
    recorded: dict[str, Any] = {}
    same = 0
    for name in programs["PROGRAMS"]:
        shown = []
        for package in (theirs, ours):
            try:
                shown.append(asyncio.run(programs["shown_by"](name, package)))
            except Exception as error:  # noqa: BLE001 - that is the result
                shown.append([[f"raised {type(error).__name__}: {error}"]])
        recorded[name] = shown[0]
        same += shown[0] == shown[1]
        print("same     " if shown[0] == shown[1] else "DIFFERENT", name)
        if shown[0] != shown[1]:
            print(f"   openai {shown[0]}\n   ours   {shown[1]}")
    version = theirs.__version__
    print(f"{same} of {len(recorded)} show the same with openai {version}")
    data = {"openai": version, "programs": recorded}
    (HERE / "shown.json").write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
