"""``tests/typing/api.py`` is never executed; this checks that it leaves no public name out."""

import ast
from pathlib import Path

import laplas_async

API = Path(__file__).resolve().parents[1] / "typing" / "api.py"


def test_each_public_name_is_type_checked() -> None:
    tree = ast.parse(API.read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "laplas_async"
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(laplas_async.__all__) - imported == set()
    assert imported - used == set()
