"""The example bots play a conversation with simulators, as processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize(
    ("program", "framework"), [("telegram_bot.py", "aiogram"), ("discord_bot.py", "discord")]
)
def test_an_example_bot_answers_and_can_be_stopped(program: str, framework: str) -> None:
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    process = subprocess.run(
        [sys.executable, EXAMPLES / program, "--simulate"],
        check=False,
        capture_output=True,
        timeout=170,
        encoding="utf-8",
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    shown = re.fullmatch(
        r"you: Name a river\.\nbot: (.+)\nyou: Tell me a long story\.\n"
        r"\(you press Stop\)\nbot: (.+)\n",
        process.stdout,
        re.DOTALL,
    )
    assert shown is not None, process.stdout
    assert shown[1].endswith((".", "…", "”"))
    assert "▌" not in shown[1] + shown[2]
    assert "cut off" not in shown[2]
