"""README: each block of code runs against the simulator, and each name in it exists."""

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import laplas_async
from laplas_async import LaplasClient, LaplasError
from laplas_async.simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
KEY = "test-key-that-never-shows"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Block:
    """A fenced block of README, and the line on which its code starts."""

    language: str
    code: str
    line: int


BLOCKS = [
    Block(found[1], found[2], README.count("\n", 0, found.start(2)) + 1)
    for found in FENCE.finditer(README)
]


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"line {block.line}")
        for block in BLOCKS
        if block.language == language
    ]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that takes any key; the environment leads to it."""
    with Simulator().in_thread() as service:
        monkeypatch.setenv("LAPLAS_API_KEY", KEY)
        monkeypatch.setenv("LAPLAS_BASE_URL", service.base_url)
        yield service


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with the input file that README's commands name."""
    rows = [{"custom_id": f"q{n}", "prompt": "Name a river."} for n in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "questions.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- Python -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("block", blocks("python"))
async def test_a_python_block_runs(block: Block, service: Simulator, tmp_path: Path) -> None:
    if "async def test_" in block.code:
        run_as_a_test_file(block, tmp_path)
        return
    # Its line numbers in a traceback are README's.
    source = "\n" * (block.line - 1) + block.code
    code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if not code.co_flags & inspect.CO_COROUTINE:
        await asyncio.to_thread(exec, code, {"__name__": "__main__"})
    else:
        # What README's text has introduced before: a client, a conversation, lines of a file.
        async with LaplasClient() as client:
            names = {
                "client": client,
                "messages": [{"role": "user", "content": "Name a river."}],
                "lines": ["Name a river.", "Name a lake."],
                "LaplasClient": LaplasClient,
            }
            await eval(code, names)
            other: Any = names["client"]
            if other is not client:
                await other.close() if hasattr(other, "close") else await other.aclose()
    settings_only = "await" not in block.code and "asyncio.run" not in block.code
    assert settings_only or service.counts.requests or "Simulator(" in block.code


def run_as_a_test_file(block: Block, directory: Path) -> None:
    (directory / "test_block.py").write_text(block.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "test_block.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[1-9]\d* passed", done.stdout)


# --- commands ---------------------------------------------------------------------------------


def commands() -> list[Any]:
    """Each line of README's shell blocks."""
    return [
        pytest.param(line, id=line)
        for block in BLOCKS
        if block.language == "sh"
        for line in block.code.splitlines()
    ]


def make_answers() -> None:
    """Run the batch that the command before has run in README."""
    process = run_command(["batch", "questions.jsonl", "answers.jsonl"])
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def run_command(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "laplas_async", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("line", commands())
def test_a_command_does_what_it_should(line: str, workplace: Path) -> None:
    """``laplas`` commands are run; those that install are checked against pyproject."""
    subprocess.run(["bash", "-n", "-c", line], check=True)
    program, *arguments = shlex.split(line, comments=True)
    if program != "laplas":
        check_installation(line)
        return
    if arguments[0] == "serve":
        arguments += ["--port", "0"]  # the default one may be in use on this machine
    if arguments[0] == "report":
        make_answers()
    process = run_command(arguments)
    try:
        if arguments[0] == "serve":
            assert process.stdout is not None
            assert "http://127.0.0.1:" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode in (0, 130)
        else:
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, output + errors
            if "--report" in arguments or arguments[0] == "report":
                assert [page.stat().st_size for page in workplace.glob("*.html")]
            if arguments[0] == "batch":
                results = (workplace / arguments[2]).read_text(encoding="utf-8").splitlines()
                assert [json.loads(result)["error"] for result in results] == [None] * 3
            elif arguments[0] != "report":
                assert output
    finally:
        process.kill()
        process.communicate()


def check_installation(line: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for part in line.split(" && "):
        words = shlex.split(part)
        if "install" in words:
            for extra in re.findall(r"\[([\w,]+)\]", words[-1]):
                assert set(extra.split(",")) <= project["optional-dependencies"].keys()
        else:
            assert words[:3] == ["python3", "-m", "venv"] or words[0].startswith(".venv/bin/")


# --- names, links and tables ------------------------------------------------------------------


def test_each_block_has_a_known_language() -> None:
    assert {block.language for block in BLOCKS} == {"python", "sh", ""}


def test_each_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_each_script_that_is_named_exists() -> None:
    scripts = re.findall(r"python ((?:benchmarks|tests)/[\w/]+\.py)", README)
    assert scripts
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_the_table_of_errors_is_the_hierarchy() -> None:
    [table] = [block.code for block in BLOCKS if block.code.startswith("LaplasError\n")]
    named = set(re.findall(r"\b\w+Error\b", table)) - {"TimeoutError"}
    errors = {
        name
        for name in laplas_async.__all__
        if inspect.isclass(value := getattr(laplas_async, name)) and issubclass(value, LaplasError)
    }
    assert named == errors
    parents: dict[int, type] = {}
    for line in textwrap.dedent(table).splitlines():
        depth = len(line) - len(line.lstrip())
        for position, name in enumerate(re.findall(r"\b\w+Error\b", line.split(" (also")[0])):
            error = getattr(laplas_async, name)
            assert issubclass(error, parents.get(depth - 2, LaplasError))
            if not position:
                parents[depth] = error


def test_what_to_open_is_a_table_of_existing_files() -> None:
    """Links are checked above; this counts the rows, and looks up the names that are given."""
    table = README.partition("| To change | open |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = table.splitlines()
    assert len(rows) >= 10
    for row in rows:
        linked = re.findall(r"\]\((laplas_async/[^)]+)\)", row)
        assert linked, row
        for path, name in re.findall(r"\]\((laplas_async/[^)]+\.py)\) \(`(\w+)`\)", row):
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), row
