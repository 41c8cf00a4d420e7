"""docs/architecture.md names every room of the agent, and nothing that isn't there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "agent"
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([\w/]+(?:\.py|/))`", TEXT))


def test_every_room_is_named() -> None:
    rooms = {f"{path.parent.relative_to(AGENT)}/" for path in AGENT.rglob("__init__.py")} - {"./"}
    lone = {path.name for path in AGENT.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert {room for room in rooms if "migrations" not in room} | lone <= NAMED


def test_what_is_named_is_there() -> None:
    within = (AGENT, AGENT / "directory" / "remote", ROOT)
    assert [name for name in sorted(NAMED) if not any((place / name).exists() for place in within)] == []
