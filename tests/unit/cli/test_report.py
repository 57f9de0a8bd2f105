"""``laplas report``: which file it reads, where it writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from laplas_async.batch.jsonl import digest
from laplas_async.cli import main


def line(number: int) -> bytes:
    value = {
        "id": "batch_req_" + digest(b"%d" % number).hex(),
        "custom_id": f"r{number}",
        "response": {"status_code": 200, "body": {"choices": []}},
        "error": None,
        "laplas": {"line": number, "asked": "00" * 16, "attempts": 1, "started": 1000.0 + number},
    }
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LAPLAS_API_KEY", raising=False)  # it needs none
    path = tmp_path / "out.jsonl"
    path.write_bytes(line(1) + line(2))
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n')
    return path


def test_by_default_the_report_is_beside_the_output(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(output)]) == 0
    assert "All 2 rows completed." in output.with_suffix(".html").read_text()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{output.with_suffix('.html')}: 2 rows, 0 failed\n"


def test_a_folder_stands_for_the_one_output_in_it(output: Path) -> None:
    target = output.parent / "run.html"
    assert main(["report", str(output.parent), str(target)]) == 0
    assert target.exists()


@pytest.mark.parametrize("files", [0, 2])
def test_a_folder_without_one_output_is_wrong_usage(
    output: Path, files: int, capsys: pytest.CaptureFixture[str]
) -> None:
    if files:
        (output.parent / "more.jsonl").write_bytes(line(3))
    else:
        output.unlink()
    assert main(["report", str(output.parent)]) == 2
    assert "name the file" in capsys.readouterr().err


def test_the_numbers_go_to_a_file_on_request(output: Path) -> None:
    summary = output.parent / "summary.json"
    arguments = ["report", str(output), "--summary", str(summary), "--max-latency", "1"]
    assert main(arguments) == 0
    assert json.loads(summary.read_text())["rows"] == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["none.jsonl"], 2),
        (["in.jsonl"], 1),
        (["out.jsonl", "out.jsonl"], 2),
        (["out.jsonl", "missing/run.html"], 2),
        (["out.jsonl", "--max-latency", "0"], 2),
        (["out.jsonl", "run.html", "--summary", "out.jsonl"], 2),
        ([], 2),
    ],
)
def test_wrong_usage_changes_no_file(
    output: Path, arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(output.parent)
    before = output.read_bytes()
    assert main(["report", *arguments]) == code
    assert output.read_bytes() == before
