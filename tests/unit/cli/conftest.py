"""Commands in this process; see tests/commanding.py."""

from commanding import command, document, folder, migrated

__all__ = ["command", "document", "folder", "migrated"]
