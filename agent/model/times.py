"""How a time, and how long something lasts, is written wherever people read it: tables, sentences, the journal, pages, mails.

Pure; machines get ISO 8601.
"""

from datetime import UTC, datetime, timedelta


def when(moment: datetime | None) -> str:
    """``2026-03-01 12:03:11Z``: UTC, to the second, and as ``--since`` takes it; "" for None."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def lasts(span: timedelta) -> str:
    """The two largest units: ``2 d 3 h``, ``45 s``."""
    seconds = int(span.total_seconds())
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days:,} d {hours} h" if hours and days < 10 else f"{days:,} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"
