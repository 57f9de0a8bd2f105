"""Programs for openai's client run unchanged: with ours they show what was recorded of openai's.

``record.py`` runs the same programs with openai's package against the same simulator.
"""

import json
import runpy
from pathlib import Path

import pytest

import laplas_async.openai

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "shown.json").read_text())
programs = runpy.run_path(str(HERE / "programs.py"))


def test_every_program_was_recorded() -> None:
    assert sorted(RECORDED["programs"]) == sorted(programs["PROGRAMS"])
    assert len(programs["PROGRAMS"]) >= 30


@pytest.mark.parametrize("name", programs["PROGRAMS"])
async def test_a_program_shows_what_it_shows_with_openai(name: str) -> None:
    shown = await programs["shown_by"](name, laplas_async.openai)
    assert shown
    assert shown == RECORDED["programs"][name]
