"""Commands in this process; see tests/support/commands.py."""

from support.commands import command, document, folder

__all__ = ["command", "document", "folder"]
