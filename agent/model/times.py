"""How a time is written wherever people read one: tables, sentences, the journal, pages, mails. Pure; machines get ISO 8601."""

from datetime import UTC, datetime


def when(moment: datetime | None) -> str:
    """``2026-03-01 12:03:11Z``: UTC, to the second, and as ``--since`` takes it; "" for None."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
