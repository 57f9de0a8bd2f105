"""``fan_out.py``: one line out for each line in, in order, failed rows too."""

import json
from pathlib import Path

from laplas_async.simulator import Fault, Simulator

from .conftest import Start


def write_reviews(path: Path, number: int) -> list[str]:
    names = [f"r{n}" for n in range(number)]
    rows = [{"id": name, "text": f"It was fine, {name}. 日本 🙂"} for name in names]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return names


def test_each_review_gets_a_label(start: Start, service: Simulator, tmp_path: Path) -> None:
    names = write_reviews(tmp_path / "in.jsonl", 60)
    service.script(Fault.status(503, retry_after=0), Fault.cut(after=0))
    process = start("fan_out.py", tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("", "", 0)
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [result["id"] for result in results] == names
    assert {result["label"] for result in results} <= {"positive", "negative", "mixed"}


def test_failed_rows_are_written_and_reported(
    start: Start, service: Simulator, tmp_path: Path
) -> None:
    write_reviews(tmp_path / "in.jsonl", 5)
    service.script(Fault.status(400))
    process = start("fan_out.py", tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("1 rows failed")
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(results) == 5
    assert sum("BadRequestError" in result.get("error", "") for result in results) == 1
