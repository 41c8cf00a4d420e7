"""What the guard needs to know, read in one snapshot of the store. Judges nothing."""

from datetime import datetime, timedelta

from agent.model.guard import Facts
from agent.store import account, alarms, failed_people, windows
from agent.store.engine import Connection

#: The alarm that a run raises when it stops because too much failed.
TOO_MANY_FAILED = "failed_actions"
SUBJECT = "reconcile"
#: After so long one run may try again.
PROBE = timedelta(hours=1)
#: A person's failed action waits this long, twice as long after each further one, up to the longest.
FIRST_WAIT = timedelta(minutes=10)
LONGEST_WAIT = timedelta(hours=24)
_REMEMBER = timedelta(days=7)


def gather(conn: Connection, now: datetime, *, sweep: bool, owners: frozenset[str] = frozenset()) -> tuple[Facts, int]:
    """The facts, and the population that limits are counted from."""
    row = account.get(conn)
    counts = windows.counts(conn, now)
    refused = windows.refused(conn)
    open_allowances = windows.open_allowances(conn, now)
    facts = Facts(
        sweep=sweep,
        pinned=row.pinned,
        managed_active=row.managed_active,
        active_owners=row.active_owners,
        day=counts.last_day,
        hour=counts.last_hour,
        last_good_people=row.last_good_people,
        distrust=row.distrust or "",
        quarantine=_quarantine(conn, now),
        refused=frozenset(push.directory_id for push in refused if push.rejected_at is None),
        rejected=frozenset(push.directory_id for push in refused if push.rejected_at is not None),
        owners=owners,
        announced=sum(a.count - a.used for a in open_allowances if a.directory_id is None),
        announced_for=frozenset(a.directory_id for a in open_allowances if a.directory_id is not None),
        failing=dict(_waiting(conn, now)),
    )
    return facts, counts.population


def _quarantine(conn: Connection, now: datetime) -> str:
    for alarm in alarms.open_alarms(conn):
        if (alarm.code, alarm.subject) == (TOO_MANY_FAILED, SUBJECT) and now < alarm.last_seen + PROBE:
            return f"{alarm.detail} Tried again after {alarm.last_seen + PROBE:%H:%M} UTC"
    return ""


def _waiting(conn: Connection, now: datetime) -> list[tuple[str, str]]:
    found = []
    for person in failed_people.since(conn, now - _REMEMBER):
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(person.times - 1, 10))
        if person.last + wait > now:
            detail = f"failed {person.times} times in a row ({person.error}); tried again after {person.last + wait:%Y-%m-%d %H:%M} UTC"
            found.append((person.person, detail))
    return found
