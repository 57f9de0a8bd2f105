"""Build the wheel, install it in a new environment and use it there, far from the checkout.

    python tests/wheel/check_wheel.py        # needs the package "build" and access to PyPI

It exits 1 with the first thing that is wrong. pytest does not collect it: it takes a minute and
installs packages; ``tox run -e wheel`` runs it.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Run outside the checkout, with the wheel alone installed.
SMOKE = """
import asyncio
import importlib.metadata
import importlib.resources
import pathlib
import sys

import laplas_async
from laplas_async import LaplasClient
from laplas_async.simulator import Simulator


async def main():
    async with (
        Simulator(api_key="test-key") as simulator,
        LaplasClient("test-key", simulator.base_url) as client,
    ):
        completion = await client.complete("Name a river.")
        async with client.stream("Name a river.") as stream:
            streamed = await stream.completion()
    assert completion.text == streamed.text != "", (completion, streamed)


asyncio.run(main())
package = pathlib.Path(laplas_async.__file__).parent
assert package.is_relative_to(sys.prefix), package
assert (package / "py.typed").is_file(), "py.typed is missing"
assert importlib.metadata.version("laplas-async") == laplas_async.__version__
for name in laplas_async.__all__:
    getattr(laplas_async, name)
"""

PLUGIN_TEST = """
from laplas_async import LaplasClient


async def test_the_fixture_is_there(laplas_simulator):
    async with LaplasClient("test-key", laplas_simulator.base_url) as client:
        assert (await client.complete("Name a river.")).text
"""

# A user's own program under the strictest checker: it fails if py.typed or an annotation is lost.
TYPED = """
from typing import assert_type

from laplas_async import ChatCompletion, LaplasClient


async def main() -> None:
    async with LaplasClient() as client:
        assert_type(await client.complete("Name a river."), ChatCompletion)
"""


def run(*command: object, cwd: Path) -> str:
    """Run a command without the checkout on its path; return its output."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def check_contents(wheel: Path) -> None:
    """The wheel holds the package, its type marker and its licence; neither tests nor scripts."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    info = {top for top in tops if re.fullmatch(r"laplas_async-[^/]+\.dist-info", top)}
    if tops != {"laplas_async"} | info or len(info) != 1:
        sys.exit(f"unexpected entries at the top of {wheel.name}: {sorted(tops)}")
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "laplas_async").rglob("*")
        if path.suffix in (".py", ".typed")
    }
    packed = {name for name in names if name.startswith("laplas_async/")}
    if packed != expected:
        sys.exit(f"the wheel differs from the package: {sorted(packed ^ expected)}")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        sys.exit("the wheel has no LICENSE")


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        run(sys.executable, "-m", "build", "-q", "--wheel", "--outdir", scratch, ROOT, cwd=scratch)
        [wheel] = scratch.glob("*.whl")
        check_contents(wheel)

        environment = scratch / "venv"
        venv.create(environment, with_pip=True)
        binaries = environment / ("Scripts" if os.name == "nt" else "bin")
        python = binaries / "python"
        run(python, "-m", "pip", "install", "-q", wheel, cwd=scratch)
        run(python, "-X", "dev", "-W", "error", "-c", SMOKE, cwd=scratch)
        version = run(binaries / "laplas", "--version", cwd=scratch).split()
        if version[:1] != ["laplas"] or version[1:] != [wheel.name.split("-")[1]]:
            sys.exit(f"laplas --version printed {version}")
        run(binaries / "laplas", "demo", cwd=scratch)

        tests = [name for name in project["optional-dependencies"]["test"] if "pytest" in name]
        run(python, "-m", "pip", "install", "-q", *tests, "mypy", cwd=scratch)
        (scratch / "test_plugin.py").write_text(PLUGIN_TEST, encoding="utf-8")
        run(python, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "test_plugin.py", cwd=scratch)
        (scratch / "typed.py").write_text(TYPED, encoding="utf-8")
        run(python, "-m", "mypy", "--strict", "typed.py", cwd=scratch)
        print(f"{wheel.name}: built, installed and used outside the checkout")


if __name__ == "__main__":
    main()
