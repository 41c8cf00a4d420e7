"""No test replaces what is private: ruff sees attributes (SLF001), and this sees the names that are given as text."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]


def private(source: str) -> Iterator[str]:
    """Names below ``_`` in calls such as ``monkeypatch.setattr("agent.room._NAME", 1)``."""
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if isinstance(node, ast.Call) and name in ("setattr", "getattr", "delattr"):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            yield from (text for text in texts if any(p.startswith("_") for p in text.split(".") if p[:2] != "__"))


def test_no_private_name_is_replaced() -> None:
    assert {file.name: found for file in TESTS.rglob("*.py") if (found := list(private(file.read_text("utf-8"))))} == {}


def test_one_would_be_seen() -> None:
    assert list(private('m.setattr("agent.store.seal._PAGE", 2); setattr(x, "_y", 1); getattr(x, "__doc__")')) == [
        "agent.store.seal._PAGE",
        "_y",
    ]
