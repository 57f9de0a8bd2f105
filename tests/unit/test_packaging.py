"""pyproject: the oldest versions that are tested are the oldest that are allowed."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_oldest_dependencies_are_tested(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    allowed = {}
    optional = extras["cli"] + extras["socks"] + extras["uvloop"]
    for requirement in project["dependencies"] + optional:
        found = re.match(r"([\w-]+)>=([\d.]+)", requirement)
        assert found, requirement
        allowed[found[1]] = found[2]
    tested = dict(one.split("==") for one in pyproject["tool"]["tox"]["env"]["oldest"]["deps"])
    # 3.12 allows 3.12.0, which is the version to install.
    assert {name: version.removesuffix(".0") for name, version in tested.items()} == allowed


def test_each_supported_python_is_tested(pyproject: dict[str, Any]) -> None:
    classifiers = pyproject["project"]["classifiers"]
    supported = set(re.findall(r"Python :: (3\.\d+)", " ".join(classifiers)))
    assert f">={min(supported)}" == pyproject["project"]["requires-python"]
    environments = {f"py{version.replace('.', '')}" for version in supported}
    assert environments <= set(pyproject["tool"]["tox"]["env_list"])
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"for version in {' '.join(sorted(supported))}; do" in script
